// A traced run: between the arrival of a write and its answer the kernel has synced a file of the storage.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { environmentOf } from "../../.ci/tools.mjs";
import { build, Server } from "./server.ts";

const writes = 50;

/** Null, and said so, where nothing can be traced. */
const traced = ((): Record<string, string> | null => {
  const env = environmentOf("strace");
  if (env === null) return null;
  const { status, stderr } = spawnSync("strace", ["-f", "-o", "/dev/null", "true"], {
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  if (status === 0) return env;
  console.error(`nothing can be traced here (${stderr.trim()}): the traced run is skipped`);
  return null;
})();

const folder = mkdtempSync(join(tmpdir(), "writ-trace-"));
let server: Server | null = null;
beforeAll(build);
afterEach(async () => {
  await server?.remove();
  server = null;
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Call {
  readonly name: string;
  /** With what -y says of descriptors. */
  readonly text: string;
  /** Lines on which it began and ended. */
  readonly begin: number;
  readonly end: number;
}

/** The calls of a trace made with -f, in the order in which they ended. */
function callsOf(trace: string): Call[] {
  const open = new Map<string, { name: string; text: string; begin: number }>();
  const calls: Call[] = [];
  for (const [line, text] of trace.split("\n").entries()) {
    const [, thread = "", rest = ""] = /^(\d+) +(.*)$/.exec(text) ?? [];
    const resumed = /^<\.\.\. (\w+) resumed>(.*)$/.exec(rest);
    if (resumed !== null) {
      const begun = open.get(thread);
      open.delete(thread);
      if (begun !== undefined) calls.push({ ...begun, text: begun.text + (resumed[2] ?? ""), end: line });
      continue;
    }
    const name = /^(\w+)\(/.exec(rest)?.[1];
    if (name === undefined) continue;
    if (rest.endsWith("<unfinished ...>")) open.set(thread, { name, text: rest, begin: line });
    else calls.push({ name, text: rest, begin: line, end: line });
  }
  return calls;
}

test.skipIf(traced === null).each(["sqlite", "file"])("on %s: a sync before every answer to a write", async (type) => {
  server = await Server.make(`{ type: ${type}, path: storage }`);
  const output = join(folder, type);
  const calls = "trace=read,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync";
  // -D: the server stays this process's own child.
  await server.start({
    command: ["strace", "-D", "-f", "-y", "-s", "80", "-e", calls, "-o", output],
    env: traced ?? {},
  });
  await server.initialize();
  await server.must("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  for (let n = 0; n < writes; n++) await server.must("POST", `kv/data/traced-${n}-`, { data: { n } });
  await server.stop();
  const found = callsOf(readFileSync(output, "utf8"));
  const storage = `${server.folder}/storage/`;
  const syncs = found.filter(
    ({ name, text }) => (name === "fsync" || name === "fdatasync") && text.includes(storage) && text.endsWith(" = 0"),
  );
  for (let n = 0; n < writes; n++) {
    const asked = found.find(({ text }) => text.includes(`"POST /v1/kv/data/traced-${n}- `));
    expect(asked, `the arrival of write ${n}`).toBeDefined();
    const answered = found.find(
      ({ name, text, begin }) =>
        begin > (asked?.end ?? 0) && /^(write|send)/.test(name) && /^\w+\(\d+<(socket|TCP).*"HTTP\/1\.1 200/.test(text),
    );
    expect(answered, `the answer to write ${n}`).toBeDefined();
    const between = syncs.filter(({ begin, end }) => begin > (asked?.end ?? 0) && end < (answered?.begin ?? 0));
    expect(between.length, `syncs before the answer to write ${n}`).toBeGreaterThan(0);
  }
  console.log(`${type}: ${writes} writes, each with a sync between arrival and answer; ${syncs.length} syncs in all`);
});
