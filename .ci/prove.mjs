// `npm run prove`: what takes too long for every change. Files *.prove.ts, then the benches, each of which counts as one
// test; where there is no load client the first says so and counts as none.

import { close, exitCode, vitest } from "./stages.mjs";

/** The bench's exit code where it could not run. */
const unable = 77;

const { passed, failed, skipped } = vitest("prove.config.mjs");
console.log("\n== bench");
const benches = ["test/bench/run.mjs", "test/bench/gitops.mjs"].map((file) => exitCode([file]));
console.log("");
close({
  passed: passed + benches.filter((code) => code === 0).length,
  failed: failed + benches.filter((code) => code !== 0 && code !== unable).length,
  skipped,
});
