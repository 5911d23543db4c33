// A bad commit in production, on real parts: the good one is pinned in one command, and stays while the branch goes on, over a
// restart without the forge, and when the branch is rewritten; the audit says who and why.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { freePort, git, type Result, type Running, runWrit, startWrit, until } from "./server.ts";

const policy = (name: string, more = ""): string => `apiVersion: writ/v1
kind: Policy
metadata: { name: ${name}${more} }
spec: { rules: [{ path: secret/data/${name}, capabilities: [read] }] }
---
`;
const many = ["a", "b", "c"].map((name) => policy(`evil-${name}`)).join("");
const reason = "bad merge, see incident 4711";

let folder = "";
let work = "";
let running: Running;
let environment: Record<string, string> = {};
let share = "";
let good = "";
let bad = "";

const writ = (...args: readonly string[]): Promise<Result> => runWrit(args, { env: environment, cwd: work });
const sealed = (...args: readonly string[]): Promise<Result> =>
  runWrit(args, { env: environment, input: `${share}\n` });

async function push(file: string, content: string, ...options: readonly string[]): Promise<string> {
  await writeFile(join(work, file), content);
  await git(work, "add", "--all");
  await git(work, "commit", "--quiet", "-m", `Change ${file}`);
  await git(work, "push", "--quiet", ...options, "origin", "main");
  return git(work, "rev-parse", "HEAD");
}

async function start(): Promise<void> {
  running = startWrit(["server", "--config", join(folder, "writ.yaml")]);
  await running.says("server started");
}

/** `writ sync`, which waits half a minute, until the run is over. */
const sync = (...args: readonly string[]): Promise<Result> =>
  until("the run to be over", async () => {
    const result = await writ("sync", ...args);
    return !result.stderr.includes("the run is not over yet") && result;
  });

interface Live {
  readonly state: string;
  readonly applied_commit: { readonly commit: string } | null;
}
async function live(): Promise<Live> {
  const { stdout } = await writ("read", "-format=json", "sys/gitops/status");
  return (JSON.parse(stdout) as { readonly data: Live }).data;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-pin-"));
  work = join(folder, "work");
  const port = await freePort();
  await git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git");
  await git(folder, "clone", "--quiet", "remote.git", "work");
  await git(work, "checkout", "--quiet", "-B", "main");
  await push("first.yaml", policy("team", ", protect: true"), "-u");
  await mkdir(join(folder, "cache"));
  await writeFile(
    join(folder, "writ.yaml"),
    `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
gitops: { remote: ${folder}/remote.git, allow_file_remote: true, poll_interval: 1h, limits: { fetch_timeout: 1h }, max_deletions: 0 }
cache_path: cache
`,
  );
  environment = { VAULT_ADDR: `http://127.0.0.1:${port}` };
  await start();
  const { stdout } = await sealed("operator", "init", "--key-shares=1", "--key-threshold=1");
  share = /^Unseal Key 1: (.+)$/m.exec(stdout)?.[1] ?? "";
  environment["VAULT_TOKEN"] = /^Initial Root Token: (.+)$/m.exec(stdout)?.[1] ?? "";
  expect((await sealed("operator", "unseal")).stdout).toBe("Unsealed\n");
  expect((await sync()).code).toBe(0);
  good = await git(work, "rev-parse", "HEAD");
  bad = await push("evil.yaml", many);
  expect((await sync()).code).toBe(0);
});
afterAll(async () => {
  await running?.kill();
  await rm(folder, { recursive: true, force: true });
});

// The steps build on each other.
let broken = false;
beforeEach(({ onTestFailed }) => {
  if (broken) throw new Error("an earlier step failed");
  onTestFailed(() => {
    broken = true;
  });
});

test("one command makes the good commit live, and says what it deletes", async () => {
  const { code, stdout, stderr } = await writ("pin", good.slice(0, 9), "--reason", reason);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^State +pinned$/m);
  expect(stdout).toContain(`Pinned      ${good.slice(0, 12)} since `);
  expect(stdout).toContain(`by root: ${reason}; the branch has 1 commit more`);
  expect(stdout).toContain("writ unpin");
  for (const name of ["evil-a", "evil-b", "evil-c"]) expect(stdout).toContain(`Deletes     Policy ${name}\n`);
  expect((await writ("policy", "list")).stdout).not.toContain("evil");
  expect(await live()).toMatchObject({ state: "pinned", applied_commit: { commit: good } });
});

test("it stays whatever is pushed; status, sync, plan and measurements say so", async () => {
  await push("more.yaml", policy("more"));
  const synced = await sync();
  expect([synced.code, synced.stdout]).toEqual([1, expect.stringMatching(/^Pinned .*the branch has 2 commits more$/m)]);
  expect((await writ("status")).stdout).toMatch(/^Pinned .*4711/m);
  const plan = await writ("plan", good);
  expect(plan.stdout).toMatch(
    /4 to create.*\n\nhttp:\S+ is pinned to .*4711.* Nothing of this acts before writ unpin\.\n$/,
  );
  expect((await writ("plan", "--dir", "/")).stdout).not.toContain("pinned");
  const { VAULT_ADDR: _address, ...nowhere } = environment;
  expect((await runWrit(["plan", good], { env: nowhere, cwd: work })).stdout).not.toContain("pinned");
  const { stdout } = await writ("read", "-format=json", "sys/metrics");
  expect(stdout).toMatch(/"writ\.gitops\.pinned",[^}]*\}?[^}]*"Value": 1/);
  expect(await live()).toMatchObject({ applied_commit: { commit: good } });
});

test("it is moved at once while the forge takes calls and answers none", async () => {
  const head = join(folder, "remote.git/HEAD");
  await rename(head, `${head}.away`);
  // Whoever opens it waits for ever.
  await promisify(execFile)("mkfifo", [head]);
  expect((await writ("write", "sys/gitops/sync", "wait=0s")).code).toBe(0);
  // A fetch would have an hour.
  for (const commit of [bad, good]) expect((await writ("pin", commit, "--reason", reason)).code).toBe(0);
  expect(await live()).toMatchObject({ applied_commit: { commit: good } });
  await rename(`${head}.away`, head);
});

test("it stays over a restart without the forge", async () => {
  await running.stop();
  await rename(join(folder, "remote.git"), join(folder, "away.git"));
  await start();
  expect((await sealed("operator", "unseal")).code).toBe(0);
  const { code, stdout } = await sync();
  expect([code, stdout]).toEqual([1, expect.stringMatching(/^Pinned .*the branch has 2 commits more$/m)]);
  expect(stdout).toMatch(/^Error +the branch could not be read, the pinned commit stays/m);
  expect(await live()).toMatchObject({ state: "pinned", applied_commit: { commit: good } });
  // And is moved without it: to what was live before.
  expect((await writ("pin", bad, "--reason", "a mistake")).code).toBe(0);
  expect(await live()).toMatchObject({ applied_commit: { commit: bad } });
  expect((await writ("pin", good, "--reason", reason)).code).toBe(0);
});

test("it stays when the branch is rewritten, and unpin waits for a word then", async () => {
  await rename(join(folder, "away.git"), join(folder, "remote.git"));
  const root = await git(work, "commit-tree", "-m", "Another beginning", `${good}^{tree}`);
  await git(work, "reset", "--quiet", "--hard", root);
  const rewritten = await push("fresh.yaml", policy("fresh"), "--force");
  expect((await sync()).code).toBe(1);
  expect(await live()).toMatchObject({ applied_commit: { commit: good } });
  const { code, stdout } = await writ("unpin");
  expect([code, stdout]).toEqual([1, expect.stringContaining(`writ sync --allow-rewind ${rewritten}`)]);
  expect((await sync("--allow-rewind", rewritten)).code).toBe(0);
  const again = await writ("unpin");
  expect([again.code, again.stderr]).toEqual([0, "writ: nothing was pinned\n"]);
  // What was live before the branch was rewritten can still be had.
  expect((await writ("pin", bad)).code).toBe(0);
  expect((await writ("unpin")).code).toBe(1);
});

test("what cannot be pinned is refused with the reason, and changes nothing", async () => {
  await git(work, "reset", "--quiet", "--hard", good);
  await rm(join(work, "first.yaml"));
  const bare = await push("none.yaml", policy("none"), "--force");
  await push("first.yaml", policy("team", ", protect: true"));
  const before = await live();
  const refused = await writ("pin", bare);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/allow_protected.*team is protected/) });
  expect(await writ("pin", "1234567")).toMatchObject({ code: 2, stderr: expect.stringContaining("no commit 1234567") });
  expect(await writ("pin", "main")).toMatchObject({ code: 1, stderr: expect.stringContaining("commit id") });
  expect((await live()).applied_commit).toEqual(before.applied_commit);
  expect((await writ("read", "sys/gitops/pin")).code).toBe(2);
  expect((await writ("pin", bare, "--allow-protected")).code).toBe(0);
});

test("it asks for sudo; the audit says who and why, of those who may", async () => {
  const rules = 'path "sys/gitops/pin" { capabilities = ["read", "update", "delete"] }';
  await writeFile(join(folder, "weak.hcl"), rules);
  await writ("policy", "write", "weak", join(folder, "weak.hcl"));
  const made = await writ("token", "create", "--policy=weak", "--field=token");
  const weak = { ...environment, VAULT_TOKEN: made.stdout };
  for (const args of [["pin", good, "--reason", "not to be seen"], ["unpin"], ["read", "sys/gitops/pin"]]) {
    expect(await runWrit(args, { env: weak })).toMatchObject({ code: 2, stderr: expect.stringContaining("sudo") });
  }
  const log = (await readFile(join(folder, "audit.log"), "utf8")).trimEnd().split("\n");
  const entries = log.map((line) => JSON.parse(line) as Record<string, Record<string, Record<string, unknown>>>);
  const asked = entries.find(({ request }) => request?.["data"]?.["reason"] === reason);
  expect(asked?.["request"]).toMatchObject({ path: "sys/gitops/pin", data: { commit: good.slice(0, 9) } });
  const told = entries
    .map(({ reconcile }) => reconcile)
    .filter((entry) => /^"(un)?pinned"$/.test(JSON.stringify(entry?.["phase"]) ?? ""));
  expect(told[0]).toMatchObject({ phase: "pinned", commit: good, previous: bad, by: "root", reason });
  expect(told.map((entry) => entry?.["phase"])).toContain("unpinned");
  expect(log.join("")).not.toContain("not to be seen");
});
