// The main job on real parts: a bare Git remote, real pushes, deliveries signed as GitHub signs them, a client that knows
// nothing of Writ and whose token is never root, the server as a process of its own that is killed in the middle, and
// the audit repository read back with the git command.

import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import vaultClient from "node-vault";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { freePort, git, type Running, runToEnd, runWrit, startWrit, until } from "./server.ts";

type Client = ReturnType<typeof vaultClient>;

const mountDocument = `apiVersion: writ/v1
kind: SecretEngine
metadata: { name: secret }
spec: { type: kv, options: { version: "2" } }
`;
const policyDocument = `apiVersion: writ/v1
kind: Policy
metadata: { name: e2e }
spec:
  rules:
    - path: secret/data/e2e/*
      capabilities: [read]
`;

const roleDocument = `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: approle }
spec: { type: approle }
---
apiVersion: writ/v1
kind: Policy
metadata: { name: e2e }
spec: { rules: [{ path: secret/data/worker/*, capabilities: [read] }] }
---
apiVersion: writ/v1
kind: AppRole
metadata: { name: worker }
spec: { mount: approle, token_policies: [e2e], secret_id_ttl: 1h }
`;

let folder = "";
let work = "";
let auditRepository = "";
let port = 0;
let running: Running;
let rootToken = "";
let shares: readonly string[] = [];
let root: Client;
/** The client with the token that is never root. */
let app: Client;
let appToken = "";
const hookSecret = randomBytes(24).toString("hex");
/** Paths asked for, each once, with whether an answer came. */
const asked = new Map<string, boolean>();
let probes = 0;

const address = (): string => `http://127.0.0.1:${port}`;
const clientWith = (token?: string): Client =>
  vaultClient({ apiVersion: "v1", endpoint: address(), ...(token !== undefined && { token }) });

const config = (): string => `cluster_name: e2e
storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit:
  - { type: file, path: audit.log }
  - { type: git, path: audit.git, interval: 1s }
gitops:
  remote: ${folder}/remote.git
  allow_file_remote: true
  poll_interval: 1h
  webhook: { repository: acme/policies, secret_files: [hook.secret] }
cache_path: cache
log: { level: info }
`;

async function start(): Promise<void> {
  running = startWrit(["server", "--config", join(folder, "writ.yaml")]);
  await running.says("server started");
}

/** As GitHub does: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries */
async function deliver(ref: string, before: string, after: string): Promise<number> {
  const body = JSON.stringify({
    ref,
    before,
    after,
    repository: { id: 1, name: "policies", full_name: "acme/policies" },
    pusher: { name: "ada" },
    commits: [],
  });
  const answer = await fetch(`${address()}/v1/sys/gitops/webhook`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-github-event": "push",
      "x-github-delivery": randomUUID(),
      "x-hub-signature-256": `sha256=${createHmac("sha256", hookSecret).update(body).digest("hex")}`,
    },
  });
  await answer.text();
  return answer.status;
}

/** Pushes what is committed and tells of it; the commit. */
async function push(): Promise<string> {
  const before = await git(work, "rev-parse", "origin/main");
  await git(work, "push", "--quiet", "origin", "main");
  const after = await git(work, "rev-parse", "HEAD");
  expect(await deliver("refs/heads/main", before, after)).toBe(202);
  return after;
}

async function commitFile(name: string, content: string, subject: string): Promise<void> {
  await writeFile(join(work, name), content);
  await git(work, "add", name);
  await git(work, "commit", "--quiet", "-m", subject);
}

interface Probe {
  readonly status: number;
  readonly data: unknown;
}

/** Reads one path with the app's token; the status, 0 where no answer came. */
async function probe(path: string): Promise<Probe> {
  asked.set(path, false);
  try {
    const { data } = (await app.read(path)) as { data: { data: unknown } };
    asked.set(path, true);
    return { status: 200, data: data.data };
  } catch (error) {
    const status = (error as { response?: { statusCode: number } }).response?.statusCode ?? 0;
    if (status !== 0) asked.set(path, true);
    return { status, data: null };
  }
}

/** A path of its own each time, so that each request can be found in the audit. Nothing is there: 404 where it may read. */
const nextPath = (): string => `secret/data/e2e/probe-${(probes += 1)}`;

const allowed = (wanted: boolean): Promise<Probe> =>
  until(wanted ? "the token to be allowed" : "the token to be denied", async () => {
    const found = await probe(nextPath());
    return found.status === (wanted ? 404 : 403) ? found : null;
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-e2e-"));
  work = join(folder, "work");
  auditRepository = join(folder, "audit.git");
  port = await freePort();
  await git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git");
  await git(folder, "clone", "--quiet", "remote.git", "work");
  await git(work, "checkout", "--quiet", "-B", "main");
  await commitFile("mounts.yaml", mountDocument, "A mount");
  await git(work, "push", "--quiet", "-u", "origin", "main");
  await writeFile(join(folder, "hook.secret"), `${hookSecret}\n`, { mode: 0o600 });
  await writeFile(join(folder, "writ.yaml"), config());
  await mkdir(join(folder, "cache"), { recursive: true });
  await start();
});

// The steps build on each other.
let broken = false;
beforeEach(({ onTestFailed }) => {
  if (broken) throw new Error("an earlier step failed");
  onTestFailed(() => {
    broken = true;
  });
});

afterAll(async () => {
  await running?.kill();
  await rm(folder, { recursive: true, force: true });
});

test("a production server waits to be initialised and unsealed, and takes the mount from Git", async () => {
  const client = clientWith();
  expect(await client.initialized()).toMatchObject({ initialized: false });
  const sealed = await runWrit(["status"], { env: { VAULT_ADDR: address() } });
  expect(sealed).toMatchObject({ code: 2, stdout: expect.stringContaining("not initialised") });
  const made = (await client.init({ secret_shares: 3, secret_threshold: 2 })) as { keys: string[]; root_token: string };
  rootToken = made.root_token;
  shares = made.keys;
  expect(await client.unseal({ key: shares[2] })).toMatchObject({ sealed: true, progress: 1, t: 2, n: 3 });
  expect(await client.unseal({ key: shares[0] })).toMatchObject({ sealed: false });
  root = clientWith(rootToken);
  await until("the mount from Git", async () => ((await root.mounts()) as Record<string, unknown>)["secret/"]);
  await root.write("secret/data/e2e/db", { data: { password: "e2e-planted-value" } });
  appToken = ((await root.tokenCreate({ policies: ["e2e"], ttl: "1h" })) as { auth: { client_token: string } }).auth
    .client_token;
  app = clientWith(appToken);
});

test("denied before the push, allowed after, denied after the revert, with the same token", async () => {
  expect((await probe("secret/data/e2e/db")).status).toBe(403);
  expect((await probe(nextPath())).status).toBe(403);

  await commitFile("e2e.yaml", policyDocument, "Let the application read its secrets");
  const granted = await push();
  await allowed(true);
  expect(await probe("secret/data/e2e/db")).toEqual({ status: 200, data: { password: "e2e-planted-value" } });
  const status = await runWrit(["status", "--json"], { env: { VAULT_ADDR: address(), VAULT_TOKEN: rootToken } });
  expect(JSON.parse(status.stdout)).toMatchObject({
    sealed: false,
    gitops: { in_sync: true, applied_commit: { commit: granted, author: expect.stringContaining("Ada") } },
  });

  await git(work, "revert", "--no-edit", "HEAD");
  await push();
  await allowed(false);
  expect((await probe("secret/data/e2e/db")).status).toBe(403);
});

test("an invalid commit changes nothing, and status says where", async () => {
  await commitFile("e2e.yaml", policyDocument.replace("[read]", "[raed]"), "A slip");
  await push();
  const env = { VAULT_ADDR: address(), VAULT_TOKEN: rootToken };
  const told = await until("the fault in status", async () => {
    const { stdout } = await runWrit(["status"], { env });
    return stdout.includes("e2e.yaml:7:") ? stdout : null;
  });
  expect(told).toContain("State       invalid");
  expect(told).toMatch(/^Audit +git \(git\): ok, \d+ lines, \d+ not committed yet\n {2}signs as ssh-ed25519 AAAA/m);
  expect((await probe(nextPath())).status).toBe(403);
  await git(work, "revert", "--no-edit", "HEAD");
  await push();
});

test("a role from Git lets a machine in, with ids that the API made", async () => {
  await commitFile("approle.yaml", roleDocument, "Let the worker in");
  await push();
  // The client takes over each token that it makes.
  const admin = clientWith(rootToken);
  await until("the role", async () => admin.getApproleRole({ role_name: "worker" }).catch(() => null));
  interface Answer {
    readonly data: Readonly<Record<string, string>>;
  }
  const { role_id } = ((await admin.getApproleRoleId({ role_name: "worker" })) as Answer).data;
  const made = (await admin.getApproleRoleSecret({ role_name: "worker", metadata: '{"host":"w1"}' })) as Answer;
  const { secret_id, secret_id_accessor } = made.data;
  const { auth } = (await clientWith().approleLogin({ role_id, secret_id })) as { auth: { client_token: string } };
  expect(auth).toMatchObject({ policies: ["default", "e2e"], metadata: { role_name: "worker", host: "w1" } });
  const own = (await clientWith(auth.client_token).tokenLookupSelf()) as { data: unknown };
  expect(own.data).toMatchObject({ display_name: "approle", orphan: true });
  expect(await admin.approleSecretAccessors({ role_name: "worker" })).toMatchObject({
    data: { keys: [secret_id_accessor] },
  });
  const looked = (await admin.approleSecretLookup({ role_name: "worker", secret_id })) as Answer;
  expect(looked.data).toMatchObject({ secret_id_accessor, metadata: { host: "w1" } });
  await expect(admin.addApproleRole({ role_name: "worker", token_ttl: 60 })).rejects.toThrow(/managed by Git/);
  await admin.approleSecretAccessorDestroy({ role_name: "worker", secret_id_accessor });
  await expect(clientWith().approleLogin({ role_id, secret_id })).rejects.toThrow("invalid role or secret ID");
  await git(work, "revert", "--no-edit", "HEAD");
  await push();
  await until("the token to be refused", async () =>
    clientWith(auth.client_token)
      .tokenLookupSelf()
      .then(
        () => null,
        () => true,
      ),
  );
});

test("killed in the middle of requests and of a push, it comes back with the newest commit and the same token", async () => {
  await commitFile("e2e.yaml", policyDocument, "Once more");
  const flow = { on: true };
  const stream = Array.from({ length: 8 }, async () => {
    while (flow.on) await probe(nextPath());
  });
  const before = probes;
  let pushed: Promise<unknown> = Promise.resolve();
  try {
    await until("requests to flow", async () => probes > before + 100);
    pushed = push().catch(() => null);
    await until("more requests", async () => probes > before + 200);
    await running.kill();
  } finally {
    flow.on = false;
  }
  await Promise.all(stream);
  await pushed;

  await start();
  expect((await fetch(`${address()}/v1/secret/data/e2e/db`, { headers: { "x-vault-token": appToken } })).status).toBe(
    503,
  );
  const unseal = (share: string | undefined) =>
    runWrit(["operator", "unseal"], { env: { VAULT_ADDR: address() }, input: `${share ?? ""}\n` });
  expect(await unseal(shares[0])).toMatchObject({ code: 0, stdout: "Sealed: 1 of 2 shares given\n" });
  expect(await unseal(shares[1])).toMatchObject({ code: 0, stdout: "Unsealed\n" });
  await allowed(true);
  expect(await probe("secret/data/e2e/db")).toEqual({ status: 200, data: { password: "e2e-planted-value" } });
});

interface Line {
  readonly type: string;
  readonly seq: number;
  readonly request?: { readonly path: string; readonly id: string };
}

test("after a stop, every answered request stands in the audit repository, whose chain is whole", async () => {
  const head = await git(work, "rev-parse", "HEAD");
  expect(await running.stop()).toBe(0);
  const files = await committed();
  const lines: Line[] = [];
  for (const file of files.filter((name) => /:requests\/\d{4}\/\d\d\/\d\d\/\d\d\/\d+\.jsonl$/.test(name))) {
    const text = await git(auditRepository, "cat-file", "blob", file);
    for (const line of text.split("\n")) lines.push(JSON.parse(line) as Line);
  }
  expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_, at) => at + 1));
  const answered = new Set(lines.flatMap(({ type, request }) => (type === "response" ? [request?.path] : [])));
  const lost = [...asked].filter(([path, came]) => came && !answered.has(path));
  expect(lost).toEqual([]);
  expect([...asked.values()].filter(Boolean).length).toBeGreaterThan(150);
  expect(files.some((name) => name.includes(":reconciles/") && name.includes(head.slice(0, 12)))).toBe(true);

  const inLog = await readFile(join(folder, "audit.log"), "utf8");
  expect(
    inLog
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as Line).seq),
  ).toEqual(lines.map(({ seq }) => seq));
  const verified = await runWrit(["audit", "verify", auditRepository]);
  expect(verified.stderr + verified.stdout).toContain(String(lines.length));
  expect(verified.code).toBe(0);
});

/** Every file of every month's branch, in their order, as `git cat-file` takes it. */
async function committed(): Promise<string[]> {
  const branches = (await git(auditRepository, "for-each-ref", "--format=%(refname)", "refs/heads/audit/")).split("\n");
  const lists = branches.map(async (branch) => {
    const names = await git(auditRepository, "ls-tree", "-r", "--name-only", branch);
    return names.split("\n").map((name) => `${branch}:${name}`);
  });
  return (await Promise.all(lists)).flat();
}

test("no token, share or secret is in what the server wrote in clear", async () => {
  const planted = [rootToken, appToken, ...shares, "e2e-planted-value", hookSecret];
  for (const value of planted) {
    const { code, stdout } = await runToEnd("grep", ["-rlF", "--exclude=hook.secret", "-e", value, folder]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  }
  for (const value of planted) expect(running.output()).not.toContain(value);
});
