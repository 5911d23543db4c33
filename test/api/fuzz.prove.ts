// The vault's own OpenAPI document makes requests of every kind, right and wrong, by schemathesis: whatever comes, the server
// answers, with no status of 500 and above, no value of the request in an error, no stack and no path of a file.
// The seed is always the same, so that no run finds by chance what the one before has not; WRIT_FUZZ_SEED is another one.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pythonOf } from "../../.ci/tools.mjs";
import { build, Server } from "../crash/server.ts";
import { root } from "../e2e/server.ts";
import { type Asked, joint, Watch, type WatchOptions } from "./watch.ts";

const python = pythonOf("schemathesis");
const first = Number(process.env["WRIT_FUZZ_SEED"] ?? 20_261_125);
/** Seconds: of what touches only itself, of each round more, and of what others feel. */
const [most, more, last] = [180, 60, 15];
const [wanted, rounds] = [20_000, 15];
const cores = Math.min(availableParallelism(), 4);

/** Left out, as it would end the run: after a seal every answer is 503. */
const ends = ["/sys/seal"];
/** Asked last, as what it leaves behind stands in the way of the others: limits to how much may be asked. */
const hinders = /^\/sys\/quotas\//;

/** Names that are there, so that requests find something: by the mount's path and the parameter. */
const names: Readonly<Record<string, readonly string[]>> = {
  name: ["alice", "bob", "default", "reader", "payments"],
  path: ["a", "b", "spare", "file"],
  role: ["reader"],
};

/** What stands for the rest of a path, in which slashes may be. */
const rests = ["a/b", "deep/er/than/that", "x/../y", "file/", "a//b", "b/tune"].map((path) =>
  path.replaceAll("/", joint),
);

interface Parameter {
  readonly name: string;
  readonly description?: string;
  readonly in: string;
  schema: object;
}
interface Document {
  paths: Record<string, { parameters?: Parameter[] }>;
}

let server: Server;
let watch: Watch;
let document: Document;
let operations: readonly string[];

async function furnish(): Promise<void> {
  await server.must("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await server.must("POST", "sys/mounts/plain", { type: "kv", options: { version: "1" } });
  await server.must("POST", "sys/mounts/spare", { type: "kv", options: { version: "1" } });
  for (const type of ["userpass", "approle"]) await server.must("POST", `sys/auth/${type}`, { type });
  const policy = 'path "secret/*" { capabilities = ["read"] }';
  for (const name of ["reader", "payments"]) await server.must("POST", `sys/policies/acl/${name}`, { policy });
  for (const name of ["alice", "bob"]) {
    await server.must("POST", `auth/userpass/users/${name}`, { password: "correct horse", token_policies: ["reader"] });
    await server.must("POST", `identity/entity/name/${name}`, { policies: ["reader"] });
    await server.must("POST", `identity/group/name/${name}`, { policies: ["reader"] });
  }
  for (const name of ["reader", "payments"]) {
    await server.must("POST", `auth/approle/role/${name}`, { token_policies: ["reader"] });
    await server.must("POST", `auth/token/roles/${name}`, { allowed_policies: ["reader"] });
  }
  for (const path of ["a", "b"]) {
    await server.must("POST", `secret/data/${path}`, { data: { value: "stored" } });
    await server.must("POST", `plain/${path}`, { value: "stored" });
  }
}

/** Half of the values of a parameter name something that is there, or are rests of paths with slashes. */
function withNames(from: Document): Document {
  for (const item of Object.values(from.paths)) {
    for (const parameter of item.parameters ?? []) {
      const rest = parameter.description?.startsWith("The rest of the path") === true;
      const known = [...(names[parameter.name] ?? []), ...(rest ? rests : [])];
      if (parameter.in === "path" && known.length > 0)
        parameter.schema = { anyOf: [{ enum: known }, parameter.schema] };
    }
  }
  return from;
}

const verbs = ["get", "post", "patch", "delete"] as const;

const documentedOf = ({ paths }: Document): WatchOptions["documented"] =>
  Object.entries(paths)
    .sort(([one], [other]) => one.split("{").length - other.split("{").length)
    .map(([path, item]) => ({
      path,
      pattern: new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}/?$`, "u"),
      methods: verbs.filter((verb) => verb in item).map((verb) => verb.toUpperCase()),
    }));

/** The one token of the run may not end itself: what would do it gets a child. */
async function tokenFor({ url }: Asked): Promise<string | null> {
  if (!url.startsWith("/v1/auth/token/revoke-self") && !url.startsWith("/v1/auth/token/renew-self")) return null;
  const made = await server.must("POST", "auth/token/create", { policies: ["default"], ttl: "10m" });
  return (made as { auth: { client_token: string } }).auth.client_token;
}

beforeAll(async () => {
  if (python === null) return;
  build();
  server = await Server.make("{ type: sqlite, path: storage }");
  await server.start();
  await server.initialize();
  await furnish();
  const made = await server.must("GET", "sys/internal/specs/openapi");
  document = withNames(made as Document);
  const documented = documentedOf(document);
  operations = documented.flatMap(({ path, methods }) => methods.map((method) => `${method} ${path}`));
  watch = await Watch.open({
    port: server.port,
    folders: [server.folder, root],
    vocabulary: JSON.stringify(document),
    documented,
    token: tokenFor,
  });
});

afterAll(async () => {
  await watch?.close();
  await server?.remove();
});

/** Its own view of the answers is not asked for: the watch has all of them. */
async function fuzz(file: string, seconds: number, seed: number): Promise<void> {
  const args = [
    ["-m", "schemathesis.cli", "run", join(server.folder, file)],
    ["--url", `http://127.0.0.1:${watch.port}/v1`, "--header", `X-Vault-Token: ${server.token}`],
    ["--phases", "coverage,fuzzing", "--max-time", String(seconds), "--max-examples", "1000"],
    ["--seed", String(seed), "--workers", "2", "--checks", "not_a_server_error", "--no-shrink"],
    ["--continue-on-failure", "--generation-database", "none", "--no-color", "--warnings", "off"],
    ["--suppress-health-check", "all", "--request-timeout", "20", "--max-redirects", "1"],
  ].flat();
  const child = spawn("python3", args, { env: python?.env, cwd: server.folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), (seconds + 600) * 1000);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  // 1 where it found something, which the watch then has too.
  if (code !== 0 && code !== 1) throw new Error(`schemathesis ended with ${code}:\n${said.slice(-4000)}`);
}

/** The operations that `chosen` says, dealt to as many processes as there are cores here. */
async function run(seconds: number, chosen: (path: string) => boolean, seed: number): Promise<void> {
  const paths = Object.entries(document.paths).filter(([path]) => chosen(path));
  if (paths.length === 0) return;
  const hands = Array.from({ length: Math.min(cores, paths.length) }, (_, hand) =>
    Object.fromEntries(paths.filter((_one, at) => at % cores === hand)),
  );
  const dealt = hands.map(async (hand, at) => {
    await writeFile(join(server.folder, `openapi-${at}.json`), JSON.stringify({ ...document, paths: hand }));
    await fuzz(`openapi-${at}.json`, seconds, seed);
  });
  await Promise.all(dealt);
}

function report(): string[] {
  const statuses = [...watch.statuses].sort(([one], [other]) => one - other);
  const counts = statuses.map(([status, count]) => `${status}: ${count}`).join(", ");
  const reached = `${watch.operations.size} of ${operations.length} operations`;
  console.log(
    `  ${watch.count} requests (${watch.deep} to paths with slashes in a parameter) to ${reached}; ${counts}`,
  );
  if (watch.skipped > 0) console.log(`  ${watch.skipped} requests did not come to an answer`);
  return watch.faults.map(({ fault, asked, answered }) => {
    const { method, url, body } = asked;
    return `${fault}: ${method} ${url.slice(0, 200)} ${body.slice(0, 300)}\n    ${answered.status} ${answered.body.slice(0, 300)}`;
  });
}

test.skipIf(python === null)(
  "the document drives a fuzzer: every answer is one that a client can read, and tells nothing",
  async () => {
    console.log(`  seed ${first}`);
    const others = (path: string): boolean => !hinders.test(path);
    await run(most, (path) => others(path) && !ends.includes(path), first);
    // A slow machine takes longer.
    for (let round = 1; watch.count < wanted && round <= rounds; round++) {
      await run(more, (path) => others(path) && !ends.includes(path), first + round);
    }
    await run(last, (path) => !others(path), first);
    const missed = (): string[] =>
      operations.filter((one) => !watch.operations.has(one) && !ends.some((path) => one.endsWith(` ${path}`)));
    // What chance or a deadline left out is asked for by itself.
    for (let round = 1; missed().length > 0 && round <= rounds; round++) {
      const paths = new Set(missed().map((one) => one.slice(one.indexOf(" ") + 1)));
      await run(last, (path) => paths.has(path), first + rounds + round);
    }
    const found = report();
    expect(found.slice(0, 20)).toEqual([]);
    expect(server.running.child.exitCode).toBeNull();
    expect((await server.ask("GET", "sys/seal-status")).body).toMatchObject({ sealed: false });
    const complaints = server.running
      .output()
      .split("\n")
      .filter((line) => /"level":"error"|nhandled|Warning:/.test(line) && !line.includes('"security":true'));
    expect(complaints).toEqual([]);
    expect(watch.count).toBeGreaterThanOrEqual(wanted);
    expect(watch.deep).toBeGreaterThan(wanted / 200);
    expect(missed()).toEqual([]);
  },
  2_400_000,
);
