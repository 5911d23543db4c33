// `npm run bench`: the built production configuration (SQLite with real sync, a file audit device) beside a bare node:http
// server that answers the same bytes, both under the same load in turns; then memory and a cold start. About five minutes.
// The load client is no part of the repository: a folder with load.mjs and replay.lua, named by WRIT_BENCH or found at
// ../shared/bench. Without it nothing is measured, and the exit code is 77.
// Must hold: any wrong answer, or an audit that does not have two lines for each request, fails the run.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { environmentOf } from "../../.ci/tools.mjs";
import { freePort } from "../e2e/server.ts";

const root = resolve(import.meta.dirname, "../..");
/** Rates as shares of the bare server's, which is loaded with the same or, where it is named, another measure. */
const goals = {
  health: { share: 0.6 },
  "kv-read": { share: 0.4 },
  "kv-read-200-policies": { share: 0.36, bare: "kv-read" },
  "token-lookup-self": { share: 0.4 },
  "kv-write": { share: 0.12 },
  "approle-login": { share: 0.08, bare: "kv-write" },
  "kv-list-10000": { cpuMs: 8 },
};
const idleMib = 110;
const loadedMib = 250;
const startMs = 400;
const exactRequests = 4_000;
const connections = 32;
/** Seconds of load for a number of rounds of five, after a warm-up of one. */
const budgetOf = (rounds) => String(1 + 5 * rounds);
const limitMs = 14 * 60_000;

const children = [];

const options = (env) => ({ cwd: root, stdio: ["ignore", "pipe", "inherit"], env });

function started(child) {
  children.push(child);
  return child;
}

const start = (args, environment = {}) =>
  started(spawn(process.execPath, args, options({ ...process.env, ...environment })));

/** A client of one server: call(method, path, body) gives { status, text }. */
function client(port, token) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return (method, path, body) =>
    new Promise((done, fail) => {
      const data = body === undefined ? undefined : JSON.stringify(body);
      const headers = {
        ...(token && { "X-Vault-Token": token }),
        ...(data && { "Content-Length": Buffer.byteLength(data) }),
      };
      const outgoing = request({ host: "127.0.0.1", port, path: `/v1/${path}`, method, agent, headers }, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("end", () => done({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
      });
      outgoing.on("error", fail);
      outgoing.end(data);
    });
}

async function until(what, check, everyMs = 20) {
  for (let tries = 0; tries < 100_000 / everyMs; tries++) {
    if (await check().catch(() => false)) return;
    await new Promise((done) => setTimeout(done, everyMs));
  }
  throw new Error(`waited too long for ${what}`);
}

/** Starts, initialises and unseals the built server over its API; the address, a root token, the pid. */
async function startVault(folder) {
  const port = await freePort();
  const config = join(folder, "writ.yaml");
  await writeFile(
    config,
    `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
log: { level: warn }
`,
  );
  const child = serve(config);
  const anonymous = client(port);
  await until("the server", async () => (await anonymous("GET", "sys/health")).status === 501);
  const made = JSON.parse((await anonymous("PUT", "sys/init", { secret_shares: 3, secret_threshold: 2 })).text);
  const keys = made.keys.slice(0, 2);
  for (const key of keys) {
    const { status, text } = await anonymous("PUT", "sys/unseal", { key });
    if (status !== 200) throw new Error(`sys/unseal: ${status} ${text}`);
  }
  const call = client(port, made.root_token);
  const mounted = await call("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  if (mounted.status !== 204) throw new Error(`sys/mounts: ${mounted.status} ${mounted.text}`);
  return { port, token: made.root_token, pid: child.pid, call, child, config, keys, idle: memoryMib(child.pid) };
}

/** The command as it is installed, on the node that runs this. */
function serve(config) {
  const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
  const environment = { ...process.env, NODE_ENV: "production", PATH: path };
  return started(spawn(join(root, "dist/main.js"), ["server", "--config", config], options(environment)));
}

/** Answers reads and writes with what the vault answered, and the load client's set-up with what it needs. */
const bareServer = `
const http = require("node:http");
const { read, write } = JSON.parse(process.env.BODIES);
const token = JSON.stringify({ auth: { client_token: "bare" } });
http.createServer((request, response) => {
  const body = request.url === "/v1/auth/token/create" ? token : request.method === "GET" ? read : write;
  const answer = () => {
    response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  };
  if (request.method === "GET") return answer();
  request.resume().on("end", answer);
}).listen(Number(process.env.PORT), "127.0.0.1", () => console.log("up"));
`;

async function startBare(bodies) {
  const port = await freePort();
  const child = start(["-e", bareServer], { PORT: String(port), BODIES: JSON.stringify(bodies) });
  await once(child.stdout, "data");
  return { port, token: "bare", pid: child.pid };
}

/** Requests whose number is known: each body compared, the audit counted before and after. */
async function exactly(vault, auditLog) {
  const before = (await countLines(auditLog)).lines;
  const wrong = [];
  let next = 0;
  const one = async (n) => {
    const path = `secret/data/exact/${n >> 1}`;
    if (n % 2 === 0) {
      const { status } = await vault.call("POST", path, { data: { n: n >> 1 } });
      if (status !== 200) wrong.push(`${path}: ${status}`);
    }
    const { status, text } = await vault.call("GET", path);
    if (status !== 200 || JSON.parse(text).data.data.n !== n >> 1)
      wrong.push(`${path}: ${status} ${text.slice(0, 100)}`);
  };
  await Promise.all(
    Array.from({ length: connections }, async () => {
      // Pairs stay with one worker, so that the write comes first.
      while (next < exactRequests) {
        const n = next;
        next += 2;
        await one(n);
        await one(n + 1);
      }
    }),
  );
  const sent = (exactRequests / 2) * 3;
  const lines = (await countLines(auditLog)).lines - before;
  return { sent, lines, wrong };
}

/** Lines of the audit, and how many are requests and responses. */
async function countLines(file) {
  const found = { lines: 0, request: 0, response: 0 };
  if (!existsSync(file)) return found;
  let rest = "";
  for await (const chunk of createReadStream(file, { encoding: "latin1", highWaterMark: 1 << 20 })) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop();
    for (const line of parts) {
      found.lines += 1;
      if (line.includes('"type":"response"')) found.response += 1;
      else if (line.includes('"type":"request"')) found.request += 1;
    }
  }
  return found;
}

/** One measure of the load client: the median of its rounds, and the least and the most. */
function load(folder, { port, token, pid }, label, only, rounds) {
  const args = ["load.mjs", "--addr", `http://127.0.0.1:${port}`, "--token", token, "--pid", String(pid)];
  return new Promise((done, fail) => {
    execFile(
      process.execPath,
      [...args, "--label", label, "--only", only, "--budget", budgetOf(rounds)],
      { cwd: folder, timeout: 300_000, env: { ...process.env, ...wrk } },
      (error, stdout) => (error ? fail(error) : done(JSON.parse(stdout.trim().split("\n").at(-1)))),
    );
  });
}

async function bench(loadFolder, folder) {
  const auditLog = join(folder, "audit.log");
  const vault = await startVault(folder);
  const exact = await exactly(vault, auditLog);
  const bodies = {
    read: (await vault.call("GET", "secret/data/exact/1")).text,
    write: (await vault.call("POST", "secret/data/exact/1", { data: { n: 1 } })).text,
  };
  const bare = await startBare(bodies);
  const faults = exact.wrong.slice(0, 5);
  if (exact.lines !== 2 * exact.sent) faults.push(`${exact.lines} audit lines for ${exact.sent} requests`);
  console.log(`${exact.sent} requests, ${exact.wrong.length} wrong answers, ${exact.lines} audit lines`);
  console.log(memoryText("idle", vault.idle, idleMib));
  for (const [name, goal] of Object.entries(goals)) {
    const measureBare = async (rounds) => {
      const measured = await load(loadFolder, bare, "bare", goal.bare ?? name, rounds);
      console.log(JSON.stringify(measured));
      if (!(measured.value > 0) || measured.errors !== 0)
        faults.push(`${name}: the bare server had ${measured.errors} errors`);
      return measured;
    };
    // Three rounds each, ours in the middle: a machine that grows faster or slower meanwhile does so for both.
    const before = goal.share === undefined ? null : await measureBare(1);
    const ours = await load(loadFolder, vault, "writ", name, 3);
    console.log(JSON.stringify(ours));
    if (!(ours.value > 0)) faults.push(`${name}: not measured`);
    if (ours.errors !== 0) faults.push(`${name}: ${ours.errors} errors`);
    if (before === null) {
      console.log(
        `${name}: ${ours.cpu_us / 1000} ms of CPU a request (goal ${goal.cpuMs}: ${verdict(ours.cpu_us / 1000 <= goal.cpuMs)})`,
      );
      continue;
    }
    const after = await measureBare(2);
    const [, theirs] = [before.value, after.min, after.max].sort((a, b) => a - b);
    const share = ours.value / theirs;
    console.log(
      `${name}: ${ours.value} of ${theirs} requests/s, share ${share.toFixed(3)} (goal ${goal.share}: ` +
        `${verdict(share >= goal.share)}); CPU ${ours.cpu_us} us a request, bare ${before.cpu_us}`,
    );
  }
  console.log(memoryText("after load", memoryMib(vault.pid), loadedMib));
  const { lines, request: requests, response: responses } = await countLines(auditLog);
  console.log(`audit: ${lines} lines, ${requests} requests, ${responses} responses`);
  // The load client leaves requests in flight when its time is over: both lines are there all the same.
  if (requests !== responses) faults.push(`${requests} request lines but ${responses} response lines`);
  await stop(vault.child);
  const starts = [];
  for (let round = 0; round < 3; round++) starts.push(await coldStart(vault));
  const [, median] = starts.sort((a, b) => a - b);
  console.log(`cold start to serving: ${median} ms (goal ${startMs}: ${verdict(median <= startMs)})`);
  return faults;
}

const verdict = (reached) => (reached ? "reached" : "missed");
const memoryText = (when, mib, goal) => `memory ${when}: ${mib} MiB (goal ${goal}: ${verdict(mib <= goal)})`;
const memoryMib = (pid) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024);

async function stop(child) {
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** Milliseconds from the start of the process to the first 200 of sys/health, the shares given at once. */
async function coldStart({ config, port, keys }) {
  const began = performance.now();
  const child = serve(config);
  const anonymous = client(port);
  await until("the server", async () => (await anonymous("GET", "sys/health")).status === 503, 2);
  for (const key of keys) await anonymous("PUT", "sys/unseal", { key });
  await until("the vault", async () => (await anonymous("GET", "sys/health")).status === 200, 2);
  const took = Math.round(performance.now() - began);
  await stop(child);
  return took;
}

const loadFolder = [process.env.WRIT_BENCH, join(root, "../shared/bench")].find(
  (each) => each !== undefined && existsSync(join(each, "load.mjs")),
);
if (loadFolder === undefined) {
  console.error("BENCH SKIPPED: no load client; name a folder with load.mjs by WRIT_BENCH");
  process.exit(77);
}
// With the slower client that stands in for it, a bare server's rate is the client's.
const wrk = environmentOf("wrk");
console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}`);
const folder = await mkdtemp(join(tmpdir(), "writ-bench-"));
const late = setTimeout(() => {
  console.error(`the bench took longer than ${limitMs / 1000} s`);
  for (const child of children) child.kill("SIGKILL");
  process.exit(1);
}, limitMs);
try {
  const build = start([join(root, ".ci/build.mjs")]);
  const [code] = await once(build, "exit");
  if (code !== 0) throw new Error("the build failed");
  const faults = await bench(loadFolder, folder);
  for (const fault of faults) console.error(`WRONG: ${fault}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
} finally {
  clearTimeout(late);
  for (const child of children) child.kill("SIGTERM");
  await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
  await rm(folder, { recursive: true, force: true });
}
