// Commits and pushes against real repositories, in this thread, with time moved by hand.

import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Chainer } from "../../../test/conformance/audit.ts";
import { manualClock } from "../../lib/clock.ts";
import { createLogger } from "../../lib/log.ts";
import { Committer, spoolFolder, type CommitterOptions } from "./committer.ts";
import { Repository } from "./repository.ts";
import { portionOf } from "./segments.ts";
import { Spool } from "./spool.ts";

let folder = "";
let path = "";
let remote = "";
let logs: string[] = [];
let timers: { ms: number; run: () => void }[] = [];
const { privateKey: signing } = generateKeyPairSync("ed25519");
const clock = manualClock(Date.UTC(2026, 9, 31, 23, 59, 58));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "committer-"));
  path = join(folder, "audit.git");
  remote = join(folder, "remote.git");
  logs = [];
  timers = [];
  clock.set(Date.UTC(2026, 9, 31, 23, 59, 58));
  execFileSync("git", ["init", "-q", "--bare", remote]);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const timer = {
  after: (ms: number, run: () => void) => {
    const entry = { ms, run };
    timers.push(entry);
    return () => void (timers = timers.filter((one) => one !== entry));
  },
};

async function start(
  more: Partial<CommitterOptions> = {},
): Promise<{ committer: Committer; spool: Spool; chain: Chainer }> {
  const committer = new Committer({
    path,
    signing,
    interval: 5000,
    remote: null,
    log: createLogger({ write: (line) => void logs.push(line) }),
    clock,
    timer,
    random: () => 0.5,
    onStatus: () => {},
    ...more,
  });
  await committer.open();
  const spool = new Spool(spoolFolder(path), { mode: 0o600, sync: false });
  await spool.open();
  return { committer, spool, chain: new Chainer(() => clock.now()) };
}

const git = (at: string, ...args: string[]): string =>
  execFileSync("git", ["-C", at, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
const files = (at: string, branch: string): string[] => git(at, "ls-tree", "-r", "--name-only", branch).split("\n");
const branch = "audit/2026-10";
const withRemote = (): Partial<CommitterOptions> => ({ remote: { url: remote, allowFile: true } });

/** Somebody else's commit on the remote's branch. */
function intrude(message = "not the vault"): void {
  const tree = git(remote, "rev-parse", `${branch}^{tree}`);
  const env = {
    ...process.env,
    GIT_AUTHOR_NAME: "x",
    GIT_AUTHOR_EMAIL: "x@x",
    GIT_COMMITTER_NAME: "x",
    GIT_COMMITTER_EMAIL: "x@x",
  };
  const args = ["-C", remote, "commit-tree", tree, "-p", branch, "-m", message];
  const id = execFileSync("git", args, { encoding: "utf8", env }).trim();
  git(remote, "update-ref", `refs/heads/${branch}`, id);
}

test("hours are folders, months are branches of their own, the next naming the one before", async () => {
  const { committer, spool, chain } = await start();
  await spool.append(chain.batch(2));
  clock.advance(5_000);
  await spool.append(chain.batch(2));
  clock.advance(3_600_000);
  await spool.append(chain.batch(1));
  await committer.commit();
  expect(files(path, branch)).toEqual(["requests/2026/10/31/23/000000000001.jsonl"]);
  expect(files(path, "audit/2026-11")).toEqual([
    "requests/2026/11/01/00/000000000003.jsonl",
    "requests/2026/11/01/01/000000000005.jsonl",
  ]);
  expect(git(path, "log", "--format=%B", "audit/2026-11")).toContain(
    `Writ-Previous: ${branch} ${git(path, "rev-parse", branch)}`,
  );
  expect(git(path, "rev-list", "--count", "audit/2026-11")).toBe("1");
  expect(git(path, "symbolic-ref", "HEAD")).toBe("refs/heads/audit/2026-11");
  expect(committer.status.committed).toEqual(chain.head);
});

test("segments hold at most 8 MiB, and are written once", async () => {
  const { committer, spool, chain } = await start();
  const pad = "x".repeat(1_000_000);
  for (let line = 0; line < 20; line++) await spool.append(chain.batch(1, () => `"type":"request","pad":"${pad}"`));
  expect(readdirSync(spoolFolder(path))).toHaveLength(3);
  await committer.commit();
  await spool.append(chain.batch(1));
  await committer.commit();
  const rows = git(path, "ls-tree", "-r", "--long", branch).split("\n");
  const sizes = rows.map((row) => Number(row.split(/\s+/)[3]));
  expect(sizes.reduce((sum, size) => sum + size)).toBe(chain.lines.reduce((sum, line) => sum + line.length, 0));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(8 * 1024 * 1024);
  expect(git(path, "log", "--format=", "--name-status", branch)).not.toMatch(/^[^A\n]/m);
  expect(readdirSync(spoolFolder(path))).toHaveLength(1); // the one that is being written
  expect((await committer.read(7, 100)).length).toBeGreaterThan(0);
});

test("a reconcile entry also stands in a file of its own", async () => {
  const { committer, spool, chain } = await start();
  const commit = "0123456789abcdef0123456789abcdef01234567";
  await spool.append(chain.batch(1, () => `"type":"reconcile","reconcile":{"commit":"${commit}","result":"applied"}`));
  await spool.append(chain.batch(1, () => `"type":"reconcile","reconcile":{"commit":"../../x"}`));
  await committer.commit();
  const name = "reconciles/2026/10/31/000000000001-0123456789ab.json";
  expect(files(path, branch).slice(0, 2)).toEqual([name, "reconciles/2026/10/31/000000000002-none.json"]);
  const entry = JSON.parse(git(path, "show", `${branch}:${name}`)) as Record<string, unknown>;
  expect(JSON.stringify(entry)).toBe(chain.lines[0]?.toString().trimEnd());
});

test("note waits for the interval, once; what is pushed is what was committed", async () => {
  const { committer, spool, chain } = await start(withRemote());
  await spool.append(chain.batch(3));
  committer.note();
  committer.note();
  expect(timers.map(({ ms }) => ms)).toEqual([5000]);
  await committer.commit();
  expect(git(remote, "rev-parse", branch)).toBe(git(path, "rev-parse", branch));
  expect(committer.status).toEqual({ committed: chain.head, pushed: chain.head, alarm: null, error: null });
});

test("a remote that was away is caught up in order, after a pause that grows", async () => {
  const { committer, spool, chain } = await start(withRemote());
  renameSync(remote, `${remote}.away`);
  for (let round = 0; round < 3; round++) {
    await spool.append(chain.batch(2));
    if (round === 2) clock.advance(3_600_000);
    await committer.commit();
  }
  expect(committer.status).toMatchObject({
    pushed: null,
    committed: chain.head,
    error: expect.stringContaining("push failed"),
  });
  expect(timers.map(({ ms }) => ms)).toEqual([5000]);
  timers.pop()?.run();
  timers.pop();
  await committer.commit();
  expect(timers.map(({ ms }) => ms)).toEqual([10_000]);
  renameSync(`${remote}.away`, remote);
  timers.pop()?.run();
  timers.pop();
  await committer.commit();
  expect(git(remote, "rev-parse", branch)).toBe(git(path, "rev-parse", branch));
  expect(git(remote, "rev-list", "--count", branch)).toBe("3");
  expect(committer.status).toMatchObject({ pushed: chain.head, error: null, alarm: null });
});

test("after a restart it knows what it had pushed and goes on", async () => {
  const { committer, spool, chain } = await start(withRemote());
  await spool.append(chain.batch(2));
  await committer.close();
  const again = await start(withRemote());
  expect(again.committer.status).toMatchObject({ committed: chain.head, pushed: chain.head });
  await again.spool.append(chain.batch(1));
  await again.committer.commit();
  expect(git(remote, "rev-list", "--count", branch)).toBe("2");
  expect(again.committer.status).toMatchObject({ pushed: chain.head, alarm: null });
});

test("a clone of the remote, on a new machine, goes on there without an alarm; one that was foreign raises it still", async () => {
  const { committer, spool, chain } = await start(withRemote());
  await spool.append(chain.batch(2));
  await committer.close();
  rmSync(path, { recursive: true });
  git(folder, "clone", "-q", "--mirror", remote, path);
  const again = await start(withRemote());
  await again.spool.append(chain.batch(1));
  await again.committer.close();
  expect(git(remote, "rev-list", "--count", branch)).toBe("2");
  expect(again.committer.status).toMatchObject({ pushed: chain.head, alarm: null });

  rmSync(path, { recursive: true });
  git(folder, "clone", "-q", "--mirror", remote, path);
  intrude();
  const last = await start(withRemote());
  await last.spool.append(chain.batch(1));
  await last.committer.commit();
  expect(last.committer.status).toMatchObject({ pushed: chain.head, alarm: expect.stringContaining(branch) });
});

test("foreign commits on the remote raise an alarm, and only unpushed batches are committed again, signed, on top", async () => {
  const { committer, spool, chain } = await start(withRemote());
  await spool.append(chain.batch(2));
  await committer.commit();
  const pushed = git(remote, "rev-parse", branch);
  intrude();
  const foreign = git(remote, "rev-parse", branch);
  await spool.append(chain.batch(2));
  await committer.commit();
  await spool.append(chain.batch(1));
  await committer.commit();
  const history = git(remote, "log", "--reverse", "--format=%H %s", branch).split("\n");
  expect(history.slice(0, 2)).toEqual([`${pushed} audit 1-2`, `${foreign} not the vault`]);
  expect(history.slice(2).map((row) => row.slice(41))).toEqual(["audit 3-4", "audit 5-5"]);
  expect(git(path, "rev-parse", branch)).toBe(git(remote, "rev-parse", branch));
  expect(committer.status).toMatchObject({ pushed: chain.head, alarm: expect.stringContaining(branch), error: null });
  expect(logs.filter((line) => line.includes('"security":true'))).toHaveLength(1);
  expect(git(remote, "cat-file", "commit", branch)).toContain("gpgsig -----BEGIN SSH SIGNATURE-----");
  expect(files(remote, branch)).toHaveLength(3);
});

test.each(["rewound", "deleted"])(
  "a remote branch that was %s raises an alarm and gets everything back",
  async (how) => {
    const { committer, spool, chain } = await start(withRemote());
    for (let round = 0; round < 2; round++) {
      await spool.append(chain.batch(2));
      await committer.commit();
    }
    git(
      remote,
      "update-ref",
      ...(how === "deleted" ? ["-d", `refs/heads/${branch}`] : [`refs/heads/${branch}`, `${branch}^`]),
    );
    await spool.append(chain.batch(1));
    await committer.commit();
    expect(git(remote, "rev-list", "--count", branch)).toBe("3");
    expect(git(path, "rev-parse", branch)).toBe(git(remote, "rev-parse", branch));
    expect(committer.status).toMatchObject({ pushed: chain.head, alarm: expect.stringContaining(branch) });
  },
);

test("a local commit that this vault did not sign raises an alarm, and does not move the head", async () => {
  const { committer, spool, chain } = await start();
  await spool.append(chain.batch(2));
  await committer.close();
  remote = path;
  intrude(`audit 3-9\n\nWrit-Last-Seq: 9\nWrit-Head: ${"a".repeat(64)}`);
  const again = await start();
  expect(again.committer.status).toMatchObject({
    committed: chain.head,
    alarm: expect.stringContaining("did not sign"),
  });
});

test("locks that a killed process left are no obstacle", async () => {
  const { committer, spool, chain } = await start();
  await spool.append(chain.batch(2));
  await committer.commit();
  writeFileSync(join(path, "refs/heads/audit/2026-10.lock"), "");
  writeFileSync(join(path, "packed-refs.lock"), "");
  const again = await start();
  await again.spool.append(chain.batch(2));
  await again.committer.commit();
  expect(again.committer.status).toMatchObject({ committed: chain.head, error: null });
});

test("packing leaves everything as it was", async () => {
  const { committer, spool, chain } = await start();
  for (let round = 0; round < 3; round++) {
    await spool.append(chain.batch(2));
    await committer.commit();
  }
  await new Repository(path, signing).pack();
  expect(git(path, "count-objects")).toMatch(/^0 objects/);
  expect(git(path, "fsck", "--strict")).toBe("");
  await spool.append(chain.batch(1));
  await committer.commit();
  expect(git(path, "rev-list", "--count", branch)).toBe("4");
  expect(committer.status.error).toBeNull();
});

test("lines without a time do not stop the log", () => {
  const chain = new Chainer();
  const { lines } = chain.batch(2);
  const bare = Buffer.from('{"seq":3,"prev":"","type":"event"}\n');
  expect(portionOf([...lines, bare])).toMatchObject({ month: "2026-05", count: 3 });
  expect(portionOf([bare])).toMatchObject({ month: "1970-01", count: 1 });
});
