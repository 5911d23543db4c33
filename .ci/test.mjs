// `npm test`: types, lint (import directions are rules of it), format, schemas, then unit, conformance and end-to-end tests.
// Stops at the first stage that fails and names it. `node .ci/test.mjs` tests with the node that runs it.

import { close, node, tool, vitest } from "./stages.mjs";

const stages = {
  types: () => tool("typescript", [], "tsc"),
  lint: () => tool("oxlint", ["--type-aware", "--deny-warnings", "."]),
  format: () => tool("oxfmt", ["--check", "."]),
  schemas: () => node(["src/main.ts", "schemas", "--check"]),
};

console.log(`node ${process.version}`);
const broken = Object.keys(stages).find((name) => {
  console.log(`\n== ${name}`);
  return !stages[name]();
});
if (broken !== undefined) {
  console.error(`\nnpm test: stopped at ${broken}`);
  process.exitCode = 1;
} else {
  console.log("\n== tests");
  close(vitest("vitest.config.mjs"));
}
