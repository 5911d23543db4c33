import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Chainer } from "../../test/conformance/audit.ts";
import { Committer, spoolFolder } from "../audit/git/committer.ts";
import { Spool } from "../audit/git/spool.ts";
import { manualClock } from "../lib/clock.ts";
import { silent } from "../lib/log.ts";
import { publicLine, signSsh } from "../lib/sshsig.ts";
import type { Head } from "../sdk/audit.ts";
import { verifyAudit, type VerifyOptions } from "./audit.ts";

const { privateKey: signing } = generateKeyPairSync("ed25519");
const key = publicLine(signing);
let folder = "";
let built = "";
let copies = 0;
let head: Head = { seq: 0, hash: "" };
let log = "";
const git = (at: string, ...args: string[]): string =>
  execFileSync("git", ["-C", at, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

/** A repository of two months, four commits, twelve lines, one reconcile; and the same lines as a file. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "verify-"));
  built = join(folder, "audit.git");
  const clock = manualClock(Date.UTC(2026, 9, 31, 23, 0));
  const timer = { after: () => () => {} };
  const rest = { remote: null, log: silent, clock, timer, random: () => 0, onStatus: () => {} };
  const committer = new Committer({ path: built, signing, interval: 1, ...rest });
  await committer.open();
  const spool = new Spool(spoolFolder(built), { mode: 0o600, sync: false });
  const chain = new Chainer(() => clock.now());
  for (let round = 0; round < 4; round++) {
    await spool.append(chain.batch(2));
    const reconcile = `"type":"reconcile","reconcile":{"commit":"${"ab".repeat(20)}"}`;
    await spool.append(chain.batch(1, round === 1 ? () => reconcile : undefined));
    await committer.commit();
    clock.advance(1_300_000);
  }
  head = chain.head;
  log = chain.lines.join("");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let repository = "";
let file = "";
beforeEach(() => {
  const place = join(folder, String(++copies));
  mkdirSync(place);
  repository = join(place, "audit.git");
  file = join(place, "audit.jsonl");
  writeFileSync(file, log);
  git(folder, "clone", "-q", "--mirror", built, repository);
});

async function verify(options: VerifyOptions): Promise<{ code: number; out: string; err: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await verifyAudit(options, { out: (line) => void out.push(line), err: (line) => void err.push(line) });
  return { code, out: out.join("\n"), err: err.join("\n") };
}

/** A commit on the last month's branch, made of `files`, by whoever holds the key (or nobody). */
function intrude(files: Record<string, string | null>, options: { signed?: boolean; message?: string } = {}): string {
  const branch = "refs/heads/audit/2026-11";
  const env = { ...process.env, GIT_INDEX_FILE: join(repository, "index.tmp") };
  const run = (args: string[], input = ""): string =>
    execFileSync("git", ["-C", repository, ...args], { env, input, encoding: "utf8" }).trim();
  run(["read-tree", branch]);
  for (const [path, text] of Object.entries(files)) {
    if (text === null) run(["update-index", "--index-info"], `0 ${"0".repeat(40)}\t${path}\n`);
    else run(["update-index", "--add", "--cacheinfo", `100644,${run(["hash-object", "-w", "--stdin"], text)},${path}`]);
  }
  const message = options.message ?? `audit x\n\nWrit-Last-Seq: ${head.seq}\nWrit-Head: ${head.hash}\n`;
  const header = `tree ${run(["write-tree"])}\nparent ${run(["rev-parse", branch])}\nauthor x <x@x> 1 +0000\ncommitter x <x@x> 1 +0000\n`;
  const signature = signSsh(signing, "git", Buffer.from(`${header}\n${message}`)).replaceAll("\n", "\n ");
  const text = `${header}${options.signed === true ? `gpgsig ${signature}\n` : ""}\n${message}`;
  const id = run(["hash-object", "-t", "commit", "-w", "--stdin"], text);
  run(["update-ref", branch, id]);
  return id;
}
const firstFile = "requests/2026/11/01/00/000000000010.jsonl";

describe("a file", () => {
  test("that is whole passes; the summary names its head", async () => {
    const { code, out } = await verify({ source: file });
    expect([code, out]).toEqual([0, expect.stringContaining(`12 lines, seq 1 to 12, head 12:${head.hash}`)]);
    expect(out).toContain("no head was given");
    for (const given of [`12:${head.hash}`, head.hash]) {
      expect(await verify({ source: file, head: given })).toMatchObject({ code: 0, err: "" });
    }
  });

  test("with a changed line is named with file, line and seq", async () => {
    const lines = log.split("\n");
    lines[6] = (lines[6] ?? "").replace("request", "REQUEST");
    writeFileSync(file, lines.join("\n"));
    expect(await verify({ source: file })).toMatchObject({
      code: 1,
      err: expect.stringContaining(`${file}:8: seq 8: `),
    });
  });

  test("that was cut passes alone, and fails against a head from elsewhere", async () => {
    writeFileSync(file, `${log.split("\n").slice(0, 7).join("\n")}\n`);
    expect((await verify({ source: file })).code).toBe(0);
    const missing = { code: 1, err: expect.stringContaining("ends at seq 7, before seq 12") };
    expect(await verify({ source: file, head: `12:${head.hash}` })).toMatchObject(missing);
    expect(await verify({ source: file, git: repository, key })).toMatchObject(missing);
    expect(await verify({ source: file, head: head.hash })).toMatchObject({
      code: 1,
      err: expect.stringContaining("no line"),
    });
  });

  test("whose last line was changed, where no later line shows it, fails against the repository", async () => {
    writeFileSync(file, log.replace(/request(?!.*\n.)/, "REQUEST"));
    expect((await verify({ source: file })).code).toBe(0);
    expect(await verify({ source: file, git: repository })).toMatchObject({
      code: 1,
      err: expect.stringContaining(`${file}:12: seq 12: `),
    });
  });

  test("and a head or a key that cannot be read are errors that say so", async () => {
    expect(await verify({ source: `${file}.no` })).toMatchObject({
      code: 1,
      err: expect.stringContaining("does not exist"),
    });
    expect(await verify({ source: file, head: "12" })).toMatchObject({
      code: 1,
      err: expect.stringContaining("--head"),
    });
    expect(await verify({ source: file, key: "ssh-rsa AAAA" })).toMatchObject({
      code: 1,
      err: expect.stringContaining("--key"),
    });
    expect(await verify({ source: file, key: file })).toMatchObject({
      code: 1,
      err: expect.stringContaining("no ssh-ed25519 key"),
    });
    expect(await verify({ source: file, git: folder })).toMatchObject({
      code: 1,
      err: expect.stringContaining("no git repository"),
    });
  });
});

describe("a folder", () => {
  test("of rotated files is one log, in the order of the lines", async () => {
    const rotated = join(folder, String(++copies));
    mkdirSync(rotated);
    const lines = log.split("\n");
    writeFileSync(join(rotated, "audit.jsonl"), lines.slice(8).join("\n"));
    writeFileSync(join(rotated, "audit.jsonl.1"), `${lines.slice(4, 8).join("\n")}\n`);
    writeFileSync(join(rotated, "audit.jsonl.2"), `${lines.slice(0, 4).join("\n")}\n`);
    writeFileSync(join(rotated, "audit.jsonl.torn-17"), "half");
    expect(await verify({ source: rotated, head: head.hash })).toMatchObject({
      code: 0,
      out: expect.stringContaining("torn-17 was left out"),
    });
    rmSync(join(rotated, "audit.jsonl.1"));
    expect(await verify({ source: rotated })).toMatchObject({
      code: 1,
      err: expect.stringContaining("audit.jsonl:1: seq 9: "),
    });
    rmSync(join(rotated, "audit.jsonl.2"));
    expect(await verify({ source: rotated })).toMatchObject({
      code: 0,
      out: expect.stringContaining("before seq 9 are not here"),
    });
    writeFileSync(join(rotated, "audit.jsonl.3"), "garbage");
    expect(await verify({ source: rotated })).toMatchObject({
      code: 1,
      err: expect.stringContaining("audit.jsonl.3:1"),
    });
  });
});

describe("a repository", () => {
  test("that is whole passes, bare and cloned, by key line, key file and allowed_signers", async () => {
    const clone = `${repository}.clone`;
    git(folder, "clone", "-q", repository, clone);
    const signers = `${repository}.signers`;
    writeFileSync(signers, `# keys\naudit@writ.invalid namespaces="git" ${key}\n`);
    for (const source of [repository, clone]) {
      for (const given of [key, signers]) {
        const { code, out, err } = await verify({ source, key: given });
        expect([code, err]).toEqual([0, ""]);
        expect(out).toContain("12 lines, seq 1 to 12");
        expect(out).toContain("4 commits, each signed by the key given");
      }
    }
    expect((await verify({ source: repository })).out).toContain("signatures were not checked");
  });

  test("fails against another key", async () => {
    const other = publicLine(generateKeyPairSync("ed25519").publicKey);
    expect(await verify({ source: repository, key: other })).toMatchObject({
      code: 1,
      err: expect.stringContaining("not signed by the key"),
    });
  });

  test("fails where a month is missing at the end, against a head", async () => {
    git(repository, "update-ref", "-d", "refs/heads/audit/2026-11");
    expect((await verify({ source: repository, key })).code).toBe(0);
    expect(await verify({ source: repository, key, head: `12:${head.hash}` })).toMatchObject({
      code: 1,
      err: expect.stringContaining("ends at seq 9"),
    });
  });

  test("a month that was dropped at the start is retention, and is said", async () => {
    git(repository, "update-ref", "-d", "refs/heads/audit/2026-10");
    expect(await verify({ source: repository, key })).toMatchObject({
      code: 0,
      out: expect.stringContaining("lines before seq 10 are not here"),
    });
  });

  test("fails where somebody without the key added a commit, naming it", async () => {
    const id = intrude({ "requests/2026/11/01/00/000000000013.jsonl": "x\n" });
    expect(await verify({ source: repository, key })).toMatchObject({
      code: 1,
      err: expect.stringContaining(`${id} is not signed`),
    });
    // Without a key the lines themselves give it away.
    expect(await verify({ source: repository })).toMatchObject({
      code: 1,
      err: expect.stringContaining("000000000013.jsonl:1: "),
    });
  });

  test.each([
    ["rewrites a segment", { [firstFile]: "{}\n" }, "changes or removes"],
    ["removes a segment", { [firstFile]: null }, "changes or removes"],
    ["adds a file of another kind", { "README.md": "hello\n" }, "no file of an audit log"],
    [
      "adds a reconcile that is no line",
      { "reconciles/2026/11/01/000000000011-none.json": "{}" },
      "000000000011-none.json:1: seq 11",
    ],
  ])("fails where a commit %s, even a signed one", async (_name, files, text) => {
    intrude(files, { signed: true });
    expect(await verify({ source: repository, key })).toMatchObject({ code: 1, err: expect.stringContaining(text) });
  });

  test("fails where a signed commit names another head, or none", async () => {
    intrude({}, { signed: true, message: `audit\n\nWrit-Last-Seq: 12\nWrit-Head: ${"0".repeat(64)}\n` });
    expect(await verify({ source: repository, key })).toMatchObject({
      code: 1,
      err: expect.stringContaining("another hash"),
    });
    git(
      repository,
      "update-ref",
      "refs/heads/audit/2026-11",
      git(repository, "rev-parse", "refs/heads/audit/2026-11^"),
    );
    intrude({}, { signed: true, message: "hello\n" });
    expect(await verify({ source: repository, key })).toMatchObject({
      code: 1,
      err: expect.stringContaining("names no audit lines"),
    });
  });

  test("an empty repository is no log", async () => {
    const empty = join(folder, String(++copies));
    git(folder, "init", "-q", "--bare", empty);
    expect(await verify({ source: empty })).toMatchObject({
      code: 1,
      err: expect.stringContaining("no branch audit/"),
    });
  });
});
