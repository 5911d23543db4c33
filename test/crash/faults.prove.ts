// The built server on a disk that is full, lost or read-only, beside another server, and with too little memory; clocks that
// are set are in test/core/time.test.ts. Each test's name says what comes of it.
// Must hold in all of them: nothing that was answered is lost, and no answer names a path of the file system.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { freePort, root, runToEnd, until } from "../e2e/server.ts";
import { type Answer, build, Server } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-faults-"));
const mounted: string[] = [];
let server: Server;

beforeAll(build);
afterEach(async () => {
  await server.kill();
  for (const path of mounted.splice(0)) execFileSync(...asRoot("umount", "-l", path));
  await server.remove();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A user who is not root may be one by asking. */
const asRoot = (...command: string[]): [string, string[]] => {
  const [first = "", ...rest] = process.getuid?.() === 0 ? command : ["sudo", "-n", ...command];
  return [first, rest];
};
const mine = `mode=700,uid=${process.getuid?.() ?? 0}`;

/** Says, where it cannot be done, why what needs it is skipped. */
function can(what: string, command: string, args: readonly string[]): boolean {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return true;
  console.error(`${what}: ${(error?.message ?? stderr).trim()}: what needs it is skipped`);
  return false;
}

function canMount(): boolean {
  const at = join(folder, "mount");
  mkdirSync(at);
  const mounting = asRoot("mount", "-t", "tmpfs", "-o", "size=1m", "none", at);
  if (!can("no file system can be mounted here", ...mounting)) return false;
  execFileSync(...asRoot("umount", at));
  return true;
}

const shim = join(folder, "fault.so");
const source = join(import.meta.dirname, "fault.c");
const hasMount = canMount();
const hasShim = can("no C compiler", "cc", ["-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"]);

const trigger = (): string => join(server.folder, "trigger");
const shimmed = (kind: "sync" | "write" | "hang") => ({
  LD_PRELOAD: shim,
  FAULT_KIND: kind,
  FAULT_TRIGGER: trigger(),
  FAULT_FOLDER: `${server.folder}/storage`,
});

function mount(size: string): void {
  const at = join(server.folder, "storage");
  mkdirSync(at, { mode: 0o700 });
  execFileSync(...asRoot("mount", "-t", "tmpfs", "-o", `size=${size},${mine}`, "none", at));
  mounted.push(at);
}

async function make(type: string): Promise<void> {
  server = await Server.make(`{ type: ${type}, path: storage }`);
}

async function prepare(): Promise<void> {
  await server.initialize();
  await server.must("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
}

const text = "x".repeat(50_000);
const answered: number[] = [];
let next = 0;

/** Writes a secret of 50 kB; remembers it if it was answered. */
async function write(): Promise<Answer> {
  const n = (next += 1);
  const answer = await server.ask("POST", `kv/data/${n}`, { data: { n, text } });
  if (answer.status === 200) answered.push(n);
  else expectNoPath(answer.body);
  return answer;
}

function expectNoPath(body: unknown): void {
  const said = JSON.stringify(body);
  for (const path of [server.folder, tmpdir(), "writ.db", "journal-", "/entries", "entries/"]) {
    expect(said).not.toContain(path);
  }
}

/** Writes until one is refused; its answer. */
async function writeUntilRefused(): Promise<Answer> {
  for (let tries = 0; tries < 2_000; tries++) {
    const answer = await write();
    if (answer.status !== 200) return answer;
  }
  throw new Error("2,000 writes went through");
}

async function expectAnswered(): Promise<void> {
  for (const n of answered) {
    const { data } = (await server.must("GET", `kv/data/${n}`)) as { data: { data: { n: number; text: string } } };
    expect([data.data.n, data.data.text.length]).toEqual([n, text.length]);
  }
}

beforeAll(() => {
  answered.length = 0;
});
afterEach(() => {
  answered.length = 0;
});

const sealed = async (): Promise<boolean> =>
  ((await server.ask("GET", "sys/seal-status")).body as { sealed: boolean }).sealed;

describe.each(["sqlite", "file"])("%s", (type) => {
  test.skipIf(!hasMount)("disk full: writes are refused, reads go on, and writes do once there is room", async () => {
    await make(type);
    mount("40m");
    const filler = join(server.folder, "storage/filler");
    writeFileSync(filler, Buffer.alloc(12 * 1024 * 1024), { mode: 0o600 });
    await server.start();
    await prepare();
    const refused = await writeUntilRefused();
    expect(refused.status).toBe(500);
    expect(JSON.stringify(refused.body)).toMatch(/storage: nothing was written/);
    expect(await sealed()).toBe(false);
    await expectAnswered();
    rmSync(filler);
    await until("a write to go through", async () => (await write()).status === 200);
    await server.kill();
    await server.start();
    await server.unseal();
    await expectAnswered();
    expect(answered.length).toBeGreaterThan(20);
  });

  test.skipIf(!hasMount)("read-only: does not start, and changes nothing", async () => {
    await make(type);
    mount("40m");
    await server.start();
    await prepare();
    await write();
    await server.stop();
    const before = execFileSync("find", [
      join(server.folder, "storage"),
      "-type",
      "f",
      "-exec",
      "sha256sum",
      "{}",
      "+",
    ]);
    execFileSync(...asRoot("mount", "-o", "remount,ro", join(server.folder, "storage")));
    await expect(server.start()).rejects.toThrow(/storage/);
    const after = execFileSync("find", [join(server.folder, "storage"), "-type", "f", "-exec", "sha256sum", "{}", "+"]);
    expect(String(after)).toBe(String(before));
    execFileSync(...asRoot("mount", "-o", "remount,rw", join(server.folder, "storage")));
    await server.start();
    await server.unseal();
    await expectAnswered();
  });

  test.skipIf(!hasShim).each([
    ["a failed sync", "sync"],
    ["a disk that turns read-only", "write"],
  ] as const)("%s: seals, and refuses everything until a restart, though the disk works again", async (_, kind) => {
    await make(type);
    await server.start({ env: shimmed(kind) });
    await prepare();
    for (let n = 0; n < 5; n++) expect((await write()).status).toBe(200);
    writeFileSync(trigger(), "");
    const refused = await writeUntilRefused();
    rmSync(trigger());
    expect([500, 503]).toContain(refused.status);
    expect((await write()).status).not.toBe(200);
    await until("the vault to seal", sealed);
    const unseal = await server.ask("PUT", "sys/unseal", { key: server.shares[0] });
    expect(unseal.status).toBeGreaterThanOrEqual(400);
    expectNoPath(unseal.body);
    expect(await sealed()).toBe(true);
    await server.kill();
    await server.start();
    await server.unseal();
    await expectAnswered();
    expect((await write()).status).toBe(200);
  });

  test.skipIf(!hasShim)(
    "a storage that hangs: SIGTERM ends the process, and nothing that was answered is lost",
    async () => {
      await make(type);
      await server.start({ env: shimmed("hang") });
      await prepare();
      expect((await write()).status).toBe(200);
      writeFileSync(trigger(), "");
      const waiting = write().catch(() => null);
      expect((await server.ask("GET", "sys/health")).status).toBe(200);
      const { running } = server;
      await server.stop();
      expect(running.output()).toContain("not everything ended in time: the process ends as it is");
      expect((await waiting)?.status).not.toBe(200);
      rmSync(trigger());
      await server.start();
      await server.unseal();
      await expectAnswered();
      expect((await write()).status).toBe(200);
    },
  );

  test("a second server on one storage: is refused with the first one's process id, and the first goes on", async () => {
    await make(type);
    await server.start();
    await prepare();
    const config = readFileSync(join(server.folder, "writ.yaml"), "utf8");
    const second = join(server.folder, "second.yaml");
    writeFileSync(second, config.replace(`:${server.port}`, `:${await freePort()}`).replace("audit.log", "audit2.log"));
    const args = [join(root, "dist/main.js"), "server", "--config", second];
    const { code, stderr } = await runToEnd(process.execPath, args);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`in use by process ${server.running.child.pid}`);
    expect((await write()).status).toBe(200);
    await server.kill();
    // The lock went with the process.
    await server.start();
    await server.unseal();
    await expectAnswered();
  });

  test("too little memory: the process ends, and what was answered is there after a restart", async () => {
    await make(type);
    await server.start({ flags: ["--max-old-space-size=40"] });
    await prepare();
    const { child } = server.running;
    // Many large requests at once, in memory as text and as objects.
    const big = { list: Array.from({ length: 20_000 }, (_, n) => ({ n })) };
    for (let round = 0; round < 50 && child.exitCode === null && child.signalCode === null; round++) {
      const requests = Array.from({ length: 40 }, () => server.ask("POST", "kv/data/big", { data: big }));
      await Promise.all([write().catch(() => null), ...requests.map((one) => one.catch(() => null))]);
    }
    await server.running.ended();
    expect(server.running.output()).toMatch(/heap out of memory|heap limit/);
    await server.kill();
    await server.start();
    await server.unseal();
    await expectAnswered();
  });
});

test.skipIf(!hasMount)(
  "file: a full disk fails the spreading of entries, which goes on by itself once there is room",
  async () => {
    await make("file");
    mount("60m");
    await server.start();
    await prepare();
    // Entries take more room as files than in the journal.
    await writeUntilRefused();
    await expectAnswered();
    execFileSync(...asRoot("mount", "-o", "remount,size=300m", join(server.folder, "storage")));
    // Until the spreading tries again, at most a second, a write can still be refused.
    for (let n = 0; n < 500; n++) await until("a write to go through", async () => (await write()).status === 200);
    await expectAnswered();
    await server.kill();
    await server.start();
    await server.unseal();
    await expectAnswered();
  },
);

test.skipIf(!hasShim)(
  "an audit device that hangs: nothing is answered, and SIGTERM ends the process within 5 s",
  async () => {
    await make("sqlite");
    const config = join(server.folder, "writ.yaml");
    const text = readFileSync(config, "utf8");
    writeFileSync(config, text.replace("path: audit.log", "path: audit/log, sync: batch"));
    mkdirSync(join(server.folder, "audit"), { mode: 0o700 });
    await server.start({ env: { ...shimmed("hang"), FAULT_FOLDER: `${server.folder}/audit` } });
    await prepare();
    expect((await write()).status).toBe(200);
    writeFileSync(trigger(), "");
    const waiting = write().catch(() => null);
    expect((await server.ask("GET", "sys/health")).status).toBe(200);
    const begun = Date.now();
    await server.stop();
    // Four seconds, and what a busy machine adds; otherwise it would be for ever.
    expect(Date.now() - begun).toBeLessThan(60_000);
    expect((await waiting)?.status).not.toBe(200);
    rmSync(trigger());
    await server.start();
    await server.unseal();
    await expectAnswered();
  },
);
