// A forge: git over HTTP with pushes, as the stock `git http-backend` serves it, and a signed webhook for each. It can go away.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { signedDelivery } from "../../../src/quickstart/delivery.ts";
import { freePort, git } from "../server.ts";

const none = "0".repeat(40);

export class Forge {
  readonly folder: string;
  readonly port: number;
  /** What deliveries are signed with. */
  secret = "";
  /** Statuses that deliveries were answered with. */
  readonly answers: number[] = [];
  /** Where deliveries go. */
  hook: { readonly port: number; readonly ca: Buffer } | null = null;
  #server: Server | null = null;

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
  }

  static async open(folder: string, repositories: readonly string[]): Promise<Forge> {
    const forge = new Forge(folder, await freePort());
    for (const name of repositories) await forge.make(name);
    await forge.start();
    return forge;
  }

  async make(name: string): Promise<void> {
    const at = join(this.folder, `${name}.git`);
    mkdirSync(at, { recursive: true });
    await git(at, "init", "--bare", "--quiet", "--initial-branch=main");
    await git(at, "config", "http.receivepack", "true");
  }

  url(name: string): string {
    return `http://127.0.0.1:${this.port}/${name}.git`;
  }

  head(name: string): Promise<string> {
    return git(join(this.folder, `${name}.git`), "rev-parse", "--verify", "--quiet", "main").catch(() => none);
  }

  async start(): Promise<void> {
    const server = createServer((incoming, outgoing) => {
      this.#serve(incoming, outgoing).catch(() => outgoing.destroy());
    });
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
  }

  /** As if its power went. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(incoming.url ?? "", "http://forge");
    const name = pathname.split(".git/")[0]?.slice(1) ?? "";
    const before = await this.head(name);
    const child = spawn("git", ["http-backend"], {
      stdio: ["pipe", "pipe", "ignore"],
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: "/nonexistent",
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_PROJECT_ROOT: this.folder,
        GIT_HTTP_EXPORT_ALL: "1",
        GIT_PROTOCOL: String(incoming.headers["git-protocol"] ?? ""),
        PATH_INFO: pathname,
        QUERY_STRING: search.slice(1),
        REQUEST_METHOD: incoming.method ?? "",
        CONTENT_TYPE: incoming.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: incoming.headers["content-encoding"] ?? "",
        REMOTE_USER: "ada",
      },
    });
    child.stdin.on("error", () => {});
    incoming.pipe(child.stdin);
    const output = await buffer(child.stdout);
    const end = output.indexOf("\r\n\r\n");
    let status = 200;
    for (const line of output.toString("latin1", 0, end).split("\r\n")) {
      const [field = "", value = ""] = line.split(/: (.*)/s);
      if (field.toLowerCase() === "status") status = Number.parseInt(value, 10);
      else outgoing.setHeader(field, value);
    }
    outgoing.writeHead(status).end(output.subarray(end + 4));
    // A fetch that was under way meanwhile is no push.
    if (!pathname.endsWith("/git-receive-pack")) return;
    const after = await this.head(name);
    if (after !== before && this.hook !== null) this.answers.push(await this.deliver(this.secret, before, after));
  }

  /** The status that a delivery of this push is answered with. */
  deliver(secret: string, before = none, after = none.replaceAll("0", "1"), name = "acme/policies"): Promise<number> {
    const { headers, body } = signedDelivery({ before, after, ref: "refs/heads/main" }, name, secret);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const { port, ca } = this.hook ?? { port: 0, ca: Buffer.alloc(0) };
    const place = { host: "127.0.0.1", port, ca, path: "/v1/sys/gitops/webhook", method: "POST", headers };
    request(place, (incoming) => {
      incoming.resume();
      resolve(incoming.statusCode ?? 0);
    })
      .on("error", reject)
      .end(body);
    return promise;
  }
}
