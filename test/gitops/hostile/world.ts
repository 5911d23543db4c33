// A whole server under attack: the real `writ server` with a real vault, run from a copy of the source in which a defence
// can be taken out by changing its text. Nothing in the program itself can switch one off.
// Must hold: an edit whose text does not stand in the source exactly once is an error, not a pass.

import { createHmac } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { freePort, type Running, startProcess, until } from "../../e2e/server.ts";
import { git, scratch, Upstream } from "../kit.ts";
import type { WebRemote } from "./remotes.ts";
import { type Memory, resident, Surroundings, watch } from "./surroundings.ts";

/** A change of one line of the source. */
export interface Edit {
  /** Below src/. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export const secret = "the-secret-of-this-webhook";
const root = join(import.meta.dirname, "../../..");

/** The same program, but quick and small: what it waits for takes milliseconds, what it bounds is soon too much. */
const pace: readonly Edit[] = [
  { file: "gitops/reconciler.ts", from: "spacing = 1_000 }", to: "spacing = 1 }" },
  {
    file: "gitops/source.ts",
    from: "const maxMemory = 1024 * 1024 * 1024;",
    to: "const maxMemory = 256 * 1024 * 1024;",
  },
  { file: "api/limits.ts", from: "headersTimeout: 10_000", to: "headersTimeout: 2_000" },
  { file: "api/limits.ts", from: "requestTimeout: 90_000", to: "requestTimeout: 4_000" },
];

export function copyProgram(folder: string, edits: readonly Edit[]): string {
  mkdirSync(folder);
  cpSync(join(root, "src"), join(folder, "src"), { recursive: true });
  for (const name of ["node_modules", "package.json"]) symlinkSync(join(root, name), join(folder, name));
  for (const { file, from, to } of edits) {
    const path = join(folder, "src", file);
    const parts = readFileSync(path, "utf8").split(from);
    if (parts.length !== 2) throw new Error(`${file} has ${JSON.stringify(from)} ${parts.length - 1} times`);
    writeFileSync(path, parts.join(to));
  }
  return join(folder, "src/main.ts");
}

const document = (kind: string, name: string, spec: string, metadata = ""): string =>
  `apiVersion: writ/v1\nkind: ${kind}\nmetadata: { name: ${name}${metadata} }\nspec: ${spec}\n`;
export const policy = (name: string, path = "secret/data/x", metadata = ""): string =>
  document("Policy", name, `{ rules: [{ path: "${path}", capabilities: [read] }] }`, metadata);
/** What no attack may bring to life. */
export const evil = policy("evil", "secret/*");

/** The last good commit. */
export const goodFiles = {
  "mounts.yaml": `${document("SecretEngine", "secret", "{ type: kv }")}---\n${document("AuthMethod", "userpass", "{ type: userpass }")}`,
  "policies.yaml": ["p1", "p2", "p3", "p4", "p5", "p6"].map((name) => policy(name)).join("---\n"),
  "kept.yaml": policy("kept", "secret/data/kept", ", protect: true"),
  "people.yaml": document("Entity", "alice", "{ policies: [p1] }"),
};

export interface Status {
  readonly state: string;
  readonly in_sync: boolean;
  readonly running: boolean;
  readonly applied_commit: { readonly commit: string } | null;
  readonly last_error: unknown;
  readonly held: unknown;
}

export interface WorldOptions {
  readonly edits?: readonly Edit[];
  /** As fast as the program is meant to be. */
  readonly unhurried?: boolean;
  /** Instead of the path of the upstream. */
  readonly remote?: WebRemote;
  /** Seconds that a fetch may take. */
  readonly patience?: number;
}

/** Beyond what an idle server has. Git's processes are held to a limit by the kernel. */
const mostServer = 128;
const mostStarted = 320;
/** Lines in the log of one server: a run takes a minute at most. */
const mostRefusals = 10;

export class World {
  readonly around: Surroundings;
  readonly upstream: Upstream;
  readonly clone: string;
  /** The commit that is live when nothing attacks. */
  readonly good: string;
  readonly port: number;
  readonly running: Running;
  /** Commits that were live: these the clone keeps. */
  readonly #lives: Set<string>;
  #token = "";
  #listing = "";
  #resident = 0;

  private constructor(around: Surroundings, upstream: Upstream, good: string, port: number, running: Running) {
    this.around = around;
    this.upstream = upstream;
    this.good = good;
    this.port = port;
    this.running = running;
    this.#lives = new Set([good]);
    this.clone = join(around.folder, "writ/cache/gitops/clone.git");
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const around = new Surroundings(scratch());
    const { folder } = around;
    const main = copyProgram(join(folder, "program"), [...(options.unhurried ? [] : pace), ...(options.edits ?? [])]);
    const upstream = new Upstream([], join(folder, "upstream.git"));
    const good = upstream.commit(goodFiles, { subject: "Good" });
    publish(upstream.dir);
    // What stands in for the remote's own machine is to stay small, too.
    git(upstream.dir, ["config", "core.bigFileThreshold", "1m"]);
    cpSync(upstream.dir, join(folder, "pristine.git"), { recursive: true });
    if (options.remote !== undefined) options.remote.folder = upstream.dir;
    const port = await freePort();
    mkdirSync(join(folder, "writ"));
    writeFileSync(join(folder, "writ/hook.secret"), `${secret}\n`, { mode: 0o600 });
    writeFileSync(
      join(folder, "writ/writ.yaml"),
      config(port, options.remote?.url ?? upstream.dir, options.patience ?? 30),
    );
    const running = startProcess(process.execPath, [main, "server", "--config", join(folder, "writ/writ.yaml")], {
      cwd: join(folder, "cwd"),
      env: around.environment(),
    });
    await running.says("server started");
    const world = new World(around, upstream, good, port, running);
    const { keys_base64: keys, root_token: token } = (await world.call("PUT", "sys/init", {
      secret_shares: 1,
      secret_threshold: 1,
    })) as { keys_base64: string[]; root_token: string };
    world.#token = token;
    await world.call("PUT", "sys/unseal", { key: keys[0] });
    await until("the good commit", async () => (await world.status()).in_sync);
    world.#listing = around.listing();
    world.#resident = resident(running.child.pid ?? 0);
    // Without a defence the way here may have sprung a trap already.
    around.forget();
    return world;
  }

  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const outgoing = request(
      { host: "127.0.0.1", port: this.port, method, path: `/v1/${path}`, headers: { "x-vault-token": this.#token } },
      (incoming) => void text(incoming).then((said) => resolve(said === "" ? null : JSON.parse(said)), reject),
    );
    outgoing.on("error", reject).end(sent);
    return promise;
  }

  async status(): Promise<Status> {
    return ((await this.call("GET", "sys/gitops/status")) as { readonly data: Status }).data;
  }

  async sync(allow: Readonly<Record<string, string>> = {}): Promise<Status> {
    return ((await this.call("POST", "sys/gitops/sync", { wait: "60s", ...allow })) as { readonly data: Status }).data;
  }

  watch(): ReturnType<typeof watch> {
    return watch(this.running.child.pid ?? 0, this.#resident);
  }

  /** Makes what was committed visible to who reads the upstream's files. */
  publish(): void {
    publish(this.upstream.dir);
  }

  /** Whether the remote was asked once more, within so many milliseconds. */
  woken(fetches: number, ms: number): Promise<boolean> {
    return until("a fetch", async () => this.around.fetches() > fetches, ms).then(
      () => true,
      () => false,
    );
  }

  /** What an attack achieved, in words: nothing, where every defence holds. `live` is the commit to be live. */
  async harm(live: string, memory: Memory): Promise<readonly string[]> {
    const status = await this.status();
    const found: string[] = [];
    const say = (text_: string): void => void found.push(text_);
    if (status.applied_commit?.commit !== live) say(`live is ${String(status.applied_commit?.commit)}`);
    const policies = JSON.stringify(await this.call("LIST", "sys/policies/acl"));
    if (policies.includes('"evil"')) say("the evil policy is live");
    if (textsOf(status).some((each) => unprintable.test(each))) say("status has control characters");
    for (const line of this.around.sprung()) say(`ran ${line}`);
    if (this.around.listing() !== this.#listing) say("something was written outside the clone");
    const refs = git(this.clone, ["for-each-ref", "--format=%(refname)"]);
    this.#lives.add(live);
    const kept = [...this.#lives].map((id) => `refs/writ/kept/${id}`);
    if (refs.split("\n").some((ref) => !/^(?:|refs\/writ\/head|refs\/replace\/.*)$/.test(ref) && !kept.includes(ref)))
      say(`the clone has refs ${refs.replaceAll("\n", " ")}`);
    if (memory.server > mostServer) say(`the server took ${memory.server.toFixed(0)} MiB more`);
    if (memory.started > mostStarted) say(`git took ${memory.started.toFixed(0)} MiB`);
    const log = this.running.output();
    if (log.includes(secret)) say("the log has the secret");
    const refusals = log.split("webhook delivery refused").length - 1;
    if (refusals > mostRefusals) say(`the log tells ${refusals} times of refused deliveries`);
    return found;
  }

  /** The good commit again, in the upstream and live; in a clone made anew where somebody wrote to it. */
  async reset(options: { readonly clone: boolean } = { clone: false }): Promise<void> {
    this.around.forget();
    if (options.clone) rmSync(this.clone, { recursive: true, force: true });
    for (const name of readdirSync(this.upstream.dir)) rmSync(join(this.upstream.dir, name), { recursive: true });
    cpSync(join(this.around.folder, "pristine.git"), this.upstream.dir, { recursive: true });
    if ((await this.status()).applied_commit?.commit === this.good && !options.clone) return;
    // A clone that is gone is missed by one run and made by the next.
    for (let tries = 0; tries < 2; tries += 1) {
      const { in_sync: synced } = await this.sync({ allow_rewind: this.good }).catch(() => this.sync());
      if (synced) return;
      if ((await this.sync({ allow_deletions: this.good })).in_sync) return;
    }
    throw new Error(`the good commit is not live again: ${JSON.stringify(await this.status())}`);
  }

  async close(): Promise<void> {
    await this.running.kill();
    rmSync(this.around.folder, { recursive: true, force: true });
  }
}

const publish = (dir: string): string => git(dir, ["update-server-info"]);

const unprintable = /[\p{Cc}\p{Cf}]/u;
const textsOf = (value: unknown): readonly string[] =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
      ? Object.values(value).flatMap(textsOf)
      : [];

const config = (port: number, remote: string, patience: number): string => `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
gitops:
  remote: ${remote}
  allow_file_remote: true
  allow_loopback_http: true
  poll_interval: 1h
  webhook: { repository: acme/policies, secret_files: [hook.secret] }
  limits: { files: 400, file_bytes: 65536, total_bytes: 1048576, fetch_bytes: 4194304, fetch_timeout: ${patience}s }
  max_deletions: 3
  secrets: [{ directory: team-a, paths: ["secret/data/team-a/*"] }]
cache_path: cache
log: { level: info }
`;

export const sign = (body: string | Uint8Array, key = secret, digest = "sha256"): string =>
  `${digest}=${createHmac(digest, key).update(body).digest("hex")}`;
