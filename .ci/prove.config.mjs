import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: `${import.meta.dirname}/..`,
    include: ["src/**/*.prove.ts", "test/**/*.prove.ts"],
    passWithNoTests: true,
    testTimeout: 600_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 200_000 } },
    pool: "forks",
    fileParallelism: false,
  },
});
