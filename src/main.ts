#!/usr/bin/env node
// The `writ` command. Only what every command needs is loaded here.

const needed = 24;
const major = Number(process.versions.node.split(".")[0]);
if (major < needed) {
  process.stderr.write(`writ: needs Node ${needed} or newer; this is ${process.version}\n`);
  process.exit(1);
}
const { run } = await import("./cli/program.ts");
process.exitCode = await run(process.argv.slice(2));
