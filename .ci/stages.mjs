// Runs the project's tools one after another, each with the node that runs this file, so that `node .ci/test.mjs` tests
// the version it is started with.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "..");
process.chdir(root);

/** The script behind a package's command. */
function bin(name, command = name) {
  const file = join(root, "node_modules", name, "package.json");
  const { bin: commands } = JSON.parse(readFileSync(file, "utf8"));
  return join(dirname(file), typeof commands === "string" ? commands : commands[command]);
}

/** Runs `args` with this node and gives the exit code; 1 where a signal ended it. */
export function exitCode(args) {
  const result = spawnSync(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/** True where it ended well. */
export const node = (args) => exitCode(args) === 0;

export const tool = (name, args, command) => node([bin(name, command), ...args]);

/** Runs vitest; counts come from its JSON report, so that a run that never came to its end counts as failed. */
export function vitest(config) {
  const report = join(root, ".cache", `${config}.json`);
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const ended = tool("vitest", [
    "run",
    "--config",
    `.ci/${config}`,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
  ]);
  try {
    const {
      numPassedTests: passed,
      numFailedTests: failed,
      numPendingTests,
      numTodoTests = 0,
      success,
    } = JSON.parse(readFileSync(report, "utf8"));
    // A file that does not load, or an error outside of any test, has no test to count.
    const lost = failed === 0 && !(ended && success) ? 1 : 0;
    return { passed, failed: failed + lost, skipped: numPendingTests + numTodoTests };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/** Prints the closing line and sets the exit code: skipped tests fail in CI. */
export function close({ passed, failed, skipped }) {
  const strict = process.env.CI !== undefined && process.env.CI !== "" && process.env.CI !== "false";
  if (strict && skipped > 0) console.error(`${skipped} skipped: in CI every test runs`);
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  process.exitCode = failed > 0 || (strict && skipped > 0) ? 1 : 0;
}
