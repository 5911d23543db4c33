import { execFileSync, spawn, spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Chainer, conformsAsDevice, readAll } from "../../../test/conformance/audit.ts";
import { manualClock } from "../../lib/clock.ts";
import { silent } from "../../lib/log.ts";
import { publicLine } from "../../lib/sshsig.ts";
import type { AuditDevice } from "../../sdk/audit.ts";
import { parse } from "../../sdk/fields.ts";
import { type GitStatus, plugin } from "./index.ts";

let folder = "";
let places = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "audit-git-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { privateKey: signing } = generateKeyPairSync("ed25519");
const fresh = (): string => join(folder, String(++places), "audit.git");
type GitDevice = AuditDevice & { flush(): Promise<void>; status(): GitStatus };
const openAt = (path: string, more: Record<string, unknown> = {}): Promise<GitDevice> =>
  plugin.open(
    "git",
    parse(plugin.fields, { path, interval: "1h", ...more }).values,
    { signing },
    silent,
    manualClock(),
  ) as Promise<GitDevice>;
const git = (path: string, ...args: string[]): string =>
  execFileSync("git", ["--git-dir", path, ...args], {
    maxBuffer: 2 ** 28,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();

describe("with closing committing everything", () =>
  conformsAsDevice(() => {
    const path = fresh();
    return Promise.resolve({
      open: () => openAt(path),
      tear: (bytes) => {
        const name = readdirSync(join(path, "spool")).sort().at(-1) ?? "0000000000000001.jsonl";
        return Promise.resolve(appendFileSync(join(path, "spool", name), bytes));
      },
    });
  }, 3));

test("committed lines are read back out of git, the spool being gone", async () => {
  const path = fresh();
  const chain = new Chainer();
  const first = await openAt(path);
  await first.write(chain.batch(20));
  await first.flush();
  await first.write(chain.batch(5));
  await first.flush();
  expect(first.status()).toMatchObject({ head: chain.head, committed: chain.head, lag: 0, alarm: null, error: null });
  await first.close();
  rmSync(join(path, "spool"), { recursive: true });
  const second = await openAt(path);
  expect(await second.head()).toEqual(chain.head);
  expect((await readAll(second)).join("")).toBe(chain.lines.join(""));
  await second.write(chain.batch(3));
  expect((await readAll(second)).join("")).toBe(chain.lines.join(""));
  await second.close();
});

/** What stock git needs to check SSH signatures. Without it that one check is left out, loudly. */
const sshKeygen = spawnSync("ssh-keygen", ["-?"]).error === undefined;
if (!sshKeygen) console.warn("SKIPPED: git verify-commit, because there is no ssh-keygen here");

test("the repository is bare, private, and sound to git", async () => {
  const path = fresh();
  const chain = new Chainer();
  const device = await openAt(path);
  for (let round = 0; round < 3; round++) {
    await device.write(chain.batch(4));
    await device.flush();
  }
  await device.close();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(git(path, "rev-parse", "--is-bare-repository")).toBe("true");
  expect(git(path, "symbolic-ref", "HEAD")).toBe("refs/heads/audit/2026-05");
  expect(git(path, "ls-tree", "-r", "--name-only", "HEAD").split("\n")).toEqual([
    "requests/2026/05/05/06/000000000001.jsonl",
    "requests/2026/05/05/06/000000000005.jsonl",
    "requests/2026/05/05/06/000000000009.jsonl",
  ]);
  expect(git(path, "log", "-1", "--format=%B")).toBe(
    `audit 9-12\n\nWrit-First-Seq: 9\nWrit-Last-Seq: 12\nWrit-Head: ${chain.head.hash}`,
  );
  expect(git(path, "fsck", "--strict", "--full")).toBe("");
  if (!sshKeygen) return;
  const signers = join(folder, "signers");
  writeFileSync(signers, `audit@writ.invalid ${publicLine(signing)}\n`);
  const config = ["-c", "gpg.format=ssh", "-c", `gpg.ssh.allowedSignersFile=${signers}`];
  const ids = git(path, "rev-list", "HEAD").split("\n");
  expect(ids).toHaveLength(3);
  for (const id of ids) git(path, ...config, "verify-commit", id);
  writeFileSync(signers, `audit@writ.invalid ${publicLine(generateKeyPairSync("ed25519").publicKey)}\n`);
  expect(() => git(path, ...config, "verify-commit", "HEAD")).toThrow();
});

test("a killed process loses nothing that was kept, and nothing is committed twice", async () => {
  const path = fresh();
  // Commits run all the time while lines are written; the process dies somewhere in between.
  const script = `
    import { plugin } from ${JSON.stringify(new URL("./index.ts", import.meta.url).href)};
    import { parse } from ${JSON.stringify(new URL("../../sdk/fields.ts", import.meta.url).href)};
    import { silent } from ${JSON.stringify(new URL("../../lib/log.ts", import.meta.url).href)};
    import { createHash, createPrivateKey } from "node:crypto";
    const settings = parse(plugin.fields, { path: process.argv[2], interval: 1, commit_bytes: 1024 }).values;
    const signing = createPrivateKey({ key: JSON.parse(process.argv[3]), format: "jwk" });
    const device = await plugin.open("git", settings, { signing }, silent, { now: Date.now });
    let { seq, hash } = (await device.head()) ?? { seq: 0, hash: "0".repeat(64) };
    for (;;) {
      const text = JSON.stringify({ seq: ++seq, prev: hash, time: new Date().toISOString(), pad: "x".repeat(200) });
      hash = createHash("sha256").update(text).digest("hex");
      const line = Buffer.from(text + "\\n");
      await device.write({ first: seq, lines: [line], bytes: line, head: { seq, hash } });
      process.stdout.write(seq + " " + hash + "\\n");
    }
  `;
  let last = { seq: 0, hash: "" };
  const key = JSON.stringify(signing.export({ format: "jwk" }));
  mkdirSync(join(path, ".."), { recursive: true });
  const program = join(path, "../program.mts");
  writeFileSync(program, script);
  const args = ["--disable-warning=ExperimentalWarning", program, path, key];
  for (const lines of [300, 900, 1700]) {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const rows = (rest + text).split("\n");
      rest = rows.pop() ?? "";
      const [seq = "", hash = ""] = rows.at(-1)?.split(" ") ?? [];
      if (seq !== "") last = { seq: Number(seq), hash };
      if (last.seq > lines) child.kill("SIGKILL");
    });
    await new Promise((resolve) => child.once("close", resolve));
    expect(last.seq).toBeGreaterThan(lines);
  }
  const device = await openAt(path);
  const head = await device.head();
  expect(head?.seq).toBeGreaterThanOrEqual(last.seq);
  await device.flush();
  expect(device.status()).toMatchObject({ committed: head, lag: 0, error: null, alarm: null });
  await device.close();
  const months = git(path, "for-each-ref", "--format=%(refname)", "refs/heads/audit").split("\n");
  const texts = months.flatMap((month) =>
    git(path, "ls-tree", "-r", "--name-only", month)
      .split("\n")
      .map((name) => git(path, "cat-file", "blob", `${month}:${name}`)),
  );
  const rows = texts.join("\n").split("\n");
  expect(rows).toHaveLength(head?.seq ?? 0);
  expect(rows.map((row) => (JSON.parse(row) as { seq: number }).seq)).toEqual(rows.map((_row, at) => at + 1));
  expect(rows[last.seq - 1]).toContain(`"seq":${last.seq},`);
});

test("a worker that cannot commit loses nothing; status says so", async () => {
  const path = fresh();
  const chain = new Chainer();
  const device = await openAt(path);
  await device.write(chain.batch(2));
  // A folder where git must put a file: every commit fails until it is gone.
  mkdirSync(join(path, "refs/heads/audit/2026-05.lock"), { recursive: true });
  await device.flush();
  expect(device.status()).toMatchObject({ committed: null, lag: 2, error: expect.stringContaining("commit failed") });
  await device.write(chain.batch(2));
  rmSync(join(path, "refs/heads/audit/2026-05.lock"), { recursive: true });
  await device.flush();
  expect(device.status()).toMatchObject({ committed: chain.head, lag: 0, error: null });
  await device.close();
});

test("settings that cannot work are refused when the device is opened", async () => {
  const remote = { push_remote: "/somewhere.git" };
  await expect(openAt(fresh(), remote)).rejects.toMatchObject({ code: "audit" });
  await expect(openAt(fresh(), { push_remote: "ext::sh -c true" })).rejects.toMatchObject({ code: "audit" });
  const path = join(folder, "plain");
  writeFileSync(path, "");
  await expect(openAt(path)).rejects.toMatchObject({ code: "audit", message: expect.not.stringContaining(folder) });
});
