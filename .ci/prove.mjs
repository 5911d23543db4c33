// `npm run prove`: what takes too long for every change. Files *.prove.ts, then the bench, which counts as one test; where
// there is no load client it says so and counts as none.

import { close, exitCode, vitest } from "./stages.mjs";

/** The bench's exit code where it could not run. */
const unable = 77;

const { passed, failed, skipped } = vitest("prove.config.mjs");
console.log("\n== bench");
const bench = exitCode(["test/bench/run.mjs"]);
console.log("");
close({
  passed: passed + (bench === 0 ? 1 : 0),
  failed: failed + (bench !== 0 && bench !== unable ? 1 : 0),
  skipped,
});
