// The built server as a process of its own on a folder that outlives it: started, initialised, unsealed, asked, killed.

import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, root, type Running, startProcess, until } from "../e2e/server.ts";

/** Starts in half the time of the sources. */
export function build(): void {
  execFileSync(process.execPath, [join(root, ".ci/build.mjs")], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface StartOptions {
  /** In front of `node`: a tracer, a shell with limits. */
  readonly command?: readonly string[];
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class Server {
  readonly folder: string;
  readonly port: number;
  token = "";
  /** Any one of these unseals. */
  shares: string[] = [];
  #running: Running | null = null;
  #agent = new Agent({ keepAlive: true });

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
  }

  /** `storage` and `more` are lines of the config. A `path` in them counts from the server's folder. */
  static async make(storage: string, more = ""): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "writ-rounds-"));
    const port = await freePort();
    const config = `storage: ${storage}
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
log: { level: warn }
${more}`;
    await writeFile(join(folder, "writ.yaml"), config);
    return new Server(folder, port);
  }

  get running(): Running {
    if (this.#running === null) throw new Error("the server does not run");
    return this.#running;
  }

  /** Resolves once it answers. */
  async start({ command = [], flags = [], env = {} }: StartOptions = {}): Promise<void> {
    const args = [...flags, join(root, "dist/main.js"), "server", "--config", join(this.folder, "writ.yaml")];
    const [first = process.execPath, ...rest] = [...command, process.execPath, ...args];
    const running = startProcess(first, rest, {
      env: { NODE_ENV: "production", NODE_COMPILE_CACHE: join(this.folder, "compiled"), ...env },
    });
    this.#running = running;
    this.#agent = new Agent({ keepAlive: true });
    const answers = until(
      "the server to answer",
      async () => (await this.ask("GET", "sys/seal-status")).status === 200,
    );
    const ended = running.ended().then(() => Promise.reject(new Ended(running.output())));
    ended.catch(() => {});
    answers.catch(() => {});
    await Promise.race([answers, ended]);
  }

  /** A new vault whose one share unseals it. */
  async initialize(): Promise<void> {
    const { body } = await this.ask("PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 });
    const made = body as { keys: string[]; root_token: string };
    this.shares = made.keys.slice(0, 1);
    this.token = made.root_token;
    await this.unseal();
  }

  /** With whichever share opens it; that share. Throws where none does. */
  async unseal(): Promise<string> {
    for (const key of this.shares) {
      const { status, body } = await this.ask("PUT", "sys/unseal", { key });
      if (status === 200 && !(body as { sealed: boolean }).sealed) return key;
    }
    throw new Error(`none of ${this.shares.length} shares unseals it:\n${this.running.output()}`);
  }

  /** Rejects where no whole answer comes. */
  ask(method: string, path: string, data?: object, token = this.token): Promise<Answer> {
    const text = data === undefined ? "" : JSON.stringify(data);
    return new Promise((resolve, reject) => {
      const headers = {
        ...(token !== "" && { "X-Vault-Token": token }),
        ...(text !== "" && { "Content-Length": Buffer.byteLength(text) }),
      };
      const options = { host: "127.0.0.1", port: this.port, path: `/v1/${path}`, method, headers, agent: this.#agent };
      const outgoing = request(options, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          if (!incoming.complete) return reject(new Error("half an answer"));
          const body = Buffer.concat(chunks).toString();
          resolve({ status: incoming.statusCode ?? 0, body: body === "" ? null : (JSON.parse(body) as unknown) });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(text);
    });
  }

  /** Asks, and throws where the answer is not one of these. */
  async must(method: string, path: string, data?: object, statuses: readonly number[] = [200, 204]): Promise<unknown> {
    const { status, body } = await this.ask(method, path, data);
    if (!statuses.includes(status)) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** What the server had sent is still received: a client that goes away with it is another thing. */
  async kill(): Promise<void> {
    await this.#running?.kill();
    this.#running = null;
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.#agent.destroy();
  }

  /** SIGTERM; the exit code. */
  async stop(): Promise<number | null> {
    this.#agent.destroy();
    const code = (await this.#running?.stop()) ?? null;
    this.#running = null;
    return code;
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The server ended by itself. */
export class Ended extends Error {
  override readonly name = "Ended";
}
