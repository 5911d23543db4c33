#!/usr/bin/env -S MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 node --max-semi-space-size=16 --disable-sigusr1 --disable-proto=delete
// The `writ` command. Only what every command needs is loaded here. A young generation of 16 MiB, half of the default, takes
// less memory and serves as fast. glibc is told to give large pieces of memory back when they are freed, and not to keep a
// heap for each thread.

const needed = 24;
const major = Number(process.versions.node.split(".")[0]);
if (major < needed) {
  process.stderr.write(`writ: needs Node ${needed} or newer; this is ${process.version}\n`);
  process.exit(1);
}
const { run } = await import("./cli/program.ts");
// Whoever reads the output may have seen enough (`writ plan | head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.exitCode = await run(process.argv.slice(2));
