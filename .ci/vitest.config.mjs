import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/..`,
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // For what hangs: a busy machine makes no test fail.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 200_000 } },
    pool: "forks",
  },
});
