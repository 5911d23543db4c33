// `node test/bench/gitops.mjs [count…]`: the built server and a bare repository of 1,000 and 10,000 documents: from a signed
// delivery to the moment at which a client sees the change, what the server's memory becomes, and what reads by another
// client feel of it. Needs dist/ (npm run build). WRIT_BENCH_PROFILE names a folder for CPU profiles of the server.
// Must hold: figures are printed, and only wrong results fail: a read that is refused, a commit that does not come.

import { fork, spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { freePort } from "../e2e/server.ts";
import { base, reader, repository } from "./documents.mjs";

const root = resolve(import.meta.dirname, "../..");
const hook = "the-secret-of-this-webhook";
const perSecond = 500;
const goals = { 1000: { live: 1_200, change: 150 }, 10000: { live: 5_000, change: 1_000, memory: 500, pause: 20 } };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const children = new Set();

function git(dir, args, input = "") {
  const { status, stdout, stderr } = spawnSync("git", ["-C", dir, ...args], {
    input,
    maxBuffer: 2 ** 28,
    env: { PATH: process.env.PATH, HOME: "/nonexistent", GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" },
  });
  if (status !== 0) throw new Error(`git ${args[0]}: ${stderr.toString()}`);
  return stdout.toString().trim();
}

let time = 1_760_000_000;
function commit(dir, files) {
  time += 60;
  const head = spawnSync("git", ["-C", dir, "rev-parse", "--verify", "-q", "refs/heads/main"]).stdout.toString().trim();
  const parts = [`commit refs/heads/main\ncommitter Ada <ada@example.org> ${time} +0000\ndata 6\nChange\n`];
  if (head !== "") parts.push(`from ${head}\n`);
  for (const [path, content] of Object.entries(files))
    parts.push(`M 100644 inline ${path}\ndata ${Buffer.byteLength(content)}\n${content}\n`);
  git(dir, ["fast-import", "--quiet", "--done"], `${parts.join("")}\ndone\n`);
  return git(dir, ["rev-parse", "refs/heads/main"]);
}

function client(port) {
  const agent = new Agent({ keepAlive: true });
  return (method, path, { token, body, headers } = {}) =>
    new Promise((done, fail) => {
      const data = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const all = {
        ...(token && { "X-Vault-Token": token }),
        ...(data && { "Content-Length": Buffer.byteLength(data) }),
      };
      const outgoing = request(
        { host: "127.0.0.1", port, path: `/v1/${path}`, method, agent, headers: { ...all, ...headers } },
        (answer) => {
          const chunks = [];
          answer.on("data", (chunk) => chunks.push(chunk));
          answer.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            done({ status: answer.statusCode, body: text === "" ? null : JSON.parse(text) });
          });
        },
      );
      outgoing.on("error", fail);
      outgoing.end(data);
    });
}

/** For what hangs. */
const patienceMs = 120_000;

async function until(what, check) {
  const end = performance.now() + patienceMs;
  while (performance.now() < end) {
    if (await check().catch(() => false)) return;
    await sleep(5);
  }
  throw new Error(`waited ${patienceMs} ms for ${what}`);
}

/** A server that serves what a client reads, and follows an empty repository. */
async function start(folder, args = []) {
  const upstream = join(folder, "policies.git");
  git("/", ["init", "--bare", "--quiet", "--initial-branch=main", upstream]);
  commit(upstream, { ...base(false), "seed.yaml": "# nothing" });
  const port = await freePort();
  await writeFile(join(folder, "hook.secret"), hook, { mode: 0o600 });
  await writeFile(
    join(folder, "writ.yaml"),
    `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
gitops:
  remote: ${upstream}
  allow_file_remote: true
  poll_interval: 1h
  webhook: { repository: acme/policies, secret_files: [hook.secret] }
  secrets: [{ paths: [secret/data/seed] }]
cache_path: cache
log: { level: error }
`,
  );
  // The command as it is installed, on the node that runs this.
  const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
  const child = spawn(join(root, "dist/main.js"), ["server", "--config", join(folder, "writ.yaml")], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, NODE_ENV: "production", NODE_OPTIONS: args.join(" "), PATH: path },
  });
  children.add(child);
  const call = client(port);
  await until("the server", async () => (await call("GET", "sys/health")).status === 501);
  const { keys, root_token: token } = (
    await call("PUT", "sys/init", { body: { secret_shares: 1, secret_threshold: 1 } })
  ).body;
  await call("PUT", "sys/unseal", { body: { key: keys[0] } });
  await until("the first commit", async () => (await call("GET", "sys/gitops/status", { token })).body.data.in_sync);
  const secrets = { bench: { a: "b" }, bench2: { a: "b" }, seed: { password: "correct-horse-battery" } };
  for (const [name, data] of Object.entries(secrets))
    await call("POST", `secret/data/${name}`, { token, body: { data } });
  await call("POST", "sys/policies/acl/always", {
    token,
    body: { policy: 'path "secret/data/bench2" { capabilities = ["read"] }' },
  });
  const make = async (policies) =>
    (await call("POST", "auth/token/create", { token, body: { policies } })).body.auth.client_token;
  const server = { upstream, port, child, call, token, reader: await make(["reader"]), always: await make(["always"]) };
  return server;
}

async function stop({ child }) {
  children.delete(child);
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** From the delivery to the first read that the new commit allows. */
async function live(server, head, path) {
  const body = JSON.stringify({ ref: "refs/heads/main", after: head, repository: { full_name: "acme/policies" } });
  const headers = {
    "content-type": "application/json",
    "x-github-event": "push",
    "x-hub-signature-256": `sha256=${createHmac("sha256", hook).update(body).digest("hex")}`,
  };
  const begun = performance.now();
  const { status } = await server.call("POST", "sys/gitops/webhook", { body, headers });
  if (status !== 202) throw new Error(`the delivery was answered with ${status}`);
  await until("the change", async () => (await server.call("GET", path, { token: server.reader })).status === 200);
  return performance.now() - begun;
}

const quantile = (values, share) => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
};
const mebibytes = async (pid, name) =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

/** One-document changes, each after the pause that lies between two fetches. */
async function changes(server, rounds) {
  const took = [];
  for (let round = 0; round < rounds; round += 1) {
    const path = round % 2 === 0 ? "secret/data/seed" : "secret/data/bench";
    await sleep(1_100);
    took.push(await live(server, commit(server.upstream, { "reader.yaml": reader(path) }), path));
  }
  return took.toSorted((a, b) => a - b);
}

async function startReader(server) {
  const child = fork(join(import.meta.dirname, "reader.mjs"));
  children.add(child);
  child.send({ go: { port: server.port, path: "/v1/secret/data/bench2", token: server.always, perSecond } });
  const cut = async () => {
    const answer = once(child, "message");
    child.send("cut");
    const [{ latencies, failures }] = await answer;
    if (failures.length > 0) throw new Error(`${failures.length} reads failed: ${failures[0]}`);
    return latencies;
  };
  return { cut, end: () => void child.send("end") };
}

async function round(count, { reads, files }) {
  const folder = await mkdtemp(join(tmpdir(), "writ-bench-"));
  const args = process.env.WRIT_BENCH_PROFILE ? ["--cpu-prof", `--cpu-prof-dir=${process.env.WRIT_BENCH_PROFILE}`] : [];
  const server = await start(folder, args);
  const head = commit(server.upstream, files);
  const result = {};
  await sleep(1_100);
  if (reads) {
    const other = await startReader(server);
    await sleep(1_500);
    await other.cut();
    await sleep(5_000);
    const before = await other.cut();
    result.live = await live(server, head, "secret/data/bench");
    const during = await other.cut();
    other.end();
    result.reads = [quantile(before, 0.999), quantile(during, 0.999), Math.max(...during), during.length];
  } else result.live = await live(server, head, "secret/data/bench");
  result.change = await changes(server, 5);
  result.peak = await mebibytes(server.child.pid, "VmHWM");
  const { document_count: documents, in_sync: synced } = (
    await server.call("GET", "sys/gitops/status?documents=false", { token: server.token })
  ).body.data;
  if (documents !== count || !synced) throw new Error(`${documents} documents of ${count} are live`);
  await stop(server);
  await rm(folder, { recursive: true });
  return result;
}

const verdict = (value, goal) =>
  goal === undefined ? "" : value <= goal ? ` (goal ${goal}: reached)` : ` (goal ${goal}: MISSED)`;

async function measure(count) {
  const files = repository(count, { users: Math.floor(count / 50) });
  const goal = goals[count] ?? {};
  console.log(`\n${count} documents in ${Object.keys(files).length} files`);
  const rounds = [];
  for (let at = 0; at < 3; at += 1) rounds.push(await round(count, { reads: count >= 10_000, files }));
  for (const { live: took, change, peak, reads } of rounds) {
    const median = change[Math.floor(change.length / 2)];
    console.log(
      `  webhook to live ${took.toFixed(0)} ms${verdict(took, goal.live)}; one document ${median.toFixed(0)} ms (${change.map((each) => each.toFixed(0)).join(" ")})${verdict(median, goal.change)}; peak ${peak.toFixed(0)} MiB${verdict(peak, goal.memory)}`,
    );
    if (reads === undefined) continue;
    const [before, during, worst, number] = reads;
    console.log(
      `  reads at ${perSecond}/s: p99.9 ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms during the apply (${number} reads, worst ${worst.toFixed(1)} ms)${verdict(during - before, goal.pause)}`,
    );
  }
}

if (!existsSync(join(root, "dist/main.js"))) throw new Error("there is no dist/: npm run build");
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
const counts = process.argv.slice(2).map(Number);
for (const count of counts.length > 0 ? counts : [1_000, 10_000]) await measure(count);
