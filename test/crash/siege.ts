// One vault that is killed over and over: what was asked of it beside the writes (rotations, new shares, commits), and what
// must be true of it after each start.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { git } from "../e2e/server.ts";
import { Model } from "./model.ts";
import { Server } from "./server.ts";

/** What is under way beside the writes in a round. */
export const works = ["nothing", "mount", "unmount", "rotate", "commit", "rekey", "rekey with verification"] as const;
export type Work = (typeof works)[number];
/** Milliseconds that each takes, more or less: the kill comes at any one of them, or later. */
const lasts: Readonly<Record<Work, number>> = {
  nothing: 200,
  mount: 100,
  unmount: 150,
  rotate: 150,
  commit: 800,
  rekey: 100,
  "rekey with verification": 150,
};

const writers = 8;

const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: writ/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

const check = (holds: boolean, text: string): void => {
  if (!holds) throw new Error(text);
};

export class Siege {
  readonly server: Server;
  readonly model: Model;
  rotations = 0;
  rekeys = 0;
  /** Number of the commit that was answered as applied, or seen. */
  commit = 0;
  /** Numbers of commits, each of which the server may apply by itself at any time after its push. */
  readonly #pushed: number[] = [];
  #term = 1;

  private constructor(server: Server) {
    this.server = server;
    this.model = new Model(server, writers);
  }

  static async begin(storage: string): Promise<Siege> {
    const server = await Server.make(`{ type: ${storage}, path: storage }`);
    const gitops = `gitops: { remote: "${server.folder}/remote.git", allow_file_remote: true, poll_interval: 1h }\n`;
    await writeFile(join(server.folder, "writ.yaml"), `cache_path: cache\n${gitops}`, { flag: "a" });
    const siege = new Siege(server);
    await git(server.folder, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git");
    await git(server.folder, "clone", "--quiet", "remote.git", "work");
    await mkdir(join(server.folder, "cache"), { recursive: true });
    await siege.#push(0);
    await server.start();
    await server.initialize();
    // What the kills end is started often: a stop keeps what was compiled.
    await server.stop();
    await server.start();
    await server.unseal();
    await siege.model.prepare();
    await server.must("POST", "sys/gitops/sync");
    await siege.#check();
    return siege;
  }

  /** Writes, and does `work`, until a kill; then starts again and looks. */
  async round(round: number, work: Work): Promise<void> {
    if (work === "commit") await this.#push(round + 1);
    const writing = this.model.write();
    await Promise.race([this.model.answer(), pause(3_000)]);
    // Whatever fails, fails because of the kill: what is there is looked at after it.
    const working = this.#work(work, round).catch(() => {});
    await pause(Math.random() ** 2 * 4 * lasts[work]);
    await this.server.kill();
    await Promise.all([writing, working]);
    await this.server.start();
    try {
      await this.#check();
      await this.model.check();
    } catch (error) {
      const what = `round ${round} (${work}): ${String(error)}`;
      throw new Error(`${what}\n${this.server.running.output()}`, { cause: error });
    }
  }

  async #work(work: Work, round: number): Promise<void> {
    const { server, model } = this;
    if (work === "mount" || work === "unmount") await model.mounting(round, work === "unmount");
    else if (work === "rotate") {
      await server.must("PUT", "sys/rotate");
      this.#term += 1;
      this.rotations += 1;
    } else if (work === "commit") {
      await server.must("POST", "sys/gitops/sync");
      this.commit = this.#pushed.at(-1) ?? 0;
    } else if (work !== "nothing") await this.#rekey(work !== "rekey");
  }

  /** The new share is known before it may count, where it is verified, and otherwise with the answer. */
  async #rekey(verify: boolean): Promise<void> {
    const { server } = this;
    const [key = ""] = server.shares;
    const init = { secret_shares: 1, secret_threshold: 1, require_verification: verify };
    const { nonce } = (await server.must("PUT", "sys/rekey/init", init)) as { nonce: string };
    const made = (await server.must("PUT", "sys/rekey/update", { key, nonce })) as {
      keys: string[];
      verification_nonce?: string;
    };
    server.shares.push(made.keys[0] ?? "");
    if (verify) await server.must("PUT", "sys/rekey/verify", { key: made.keys[0], nonce: made.verification_nonce });
    this.rekeys += 1;
  }

  async #check(): Promise<void> {
    const { server } = this;
    server.shares = [await server.unseal()];
    const { term } = (await server.must("GET", "sys/key-status")) as { term: number };
    check(term >= this.#term, `term ${term} after ${this.#term}`);
    this.#term = term;
    const number = await this.#applied();
    const may = this.#pushed.filter((one) => one >= this.commit);
    check(may.includes(number), `commit ${number}, not one of ${may.join(", ")}`);
    this.commit = number;
  }

  /** Which number the policies from Git say; all the same one, unless a commit came between the questions. */
  async #applied(tries = 3): Promise<number> {
    const ask = async (name: string): Promise<number> => {
      const { status, body } = await this.server.ask("GET", `sys/policies/acl/git-${name}`);
      if (status === 404) return -1;
      return Number(/round\/(\d+)/.exec((body as { data: { policy: string } }).data.policy)?.[1]);
    };
    const found = await Promise.all(["one", "two", "three"].map(ask));
    if (new Set(found).size > 1 && tries > 1) return this.#applied(tries - 1);
    check(new Set(found).size === 1, `policies of one commit: ${found.join(", ")}`);
    return found[0] ?? -1;
  }

  /** A commit whose documents all say `number`. */
  async #push(number: number): Promise<void> {
    const work = join(this.server.folder, "work");
    const rules = `{ rules: [{ path: "round/${number}", capabilities: [read] }] }`;
    const documents = ["one", "two", "three"].map((name) => document("Policy", `git-${name}`, rules));
    await writeFile(join(work, "all.yaml"), documents.join("---\n"));
    await git(work, "add", ".");
    await git(work, "commit", "--quiet", "-m", `Round ${number}`);
    await git(work, "push", "--quiet", "origin", "HEAD:main");
    this.#pushed.push(number);
  }
}
