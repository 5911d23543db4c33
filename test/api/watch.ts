// Stands between a client that tries everything and the server, and looks at every answer: no status of 500 and above, no
// value of the request in an error, no path of a file and no stack.

import { Agent, createServer, type IncomingMessage, request, type Server as HttpServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface Asked {
  readonly method: string;
  /** As sent. */
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: string;
}

export interface Answered {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface WatchOptions {
  readonly port: number;
  /** Where the server's files are: no answer names it. */
  readonly folders: readonly string[];
  /** Texts that errors may hold, whether or not the request did: the server's own words. */
  readonly vocabulary: string;
  /** Of the document, those without parameters first; methods in upper case. */
  readonly documented: readonly {
    readonly path: string;
    readonly pattern: RegExp;
    readonly methods: readonly string[];
  }[];
  /** In place of the request's token. */
  readonly token?: (asked: Asked) => Promise<string | null>;
}

/** What is shorter is in a text by chance. */
const shortest = 5;
const stack = /\n? {4}at .+:\d+|\bnode:[a-z_]+\/|file:\/\/|\.[cm]?[jt]s:\d+/;

/** Every text and long number of a value, names of members left out. */
function* texts(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (typeof value === "number") yield String(value);
  else if (typeof value === "object" && value !== null) for (const each of Object.values(value)) yield* texts(each);
}

function sent({ url, headers, body }: Asked): string[] {
  const found: string[] = [];
  const mark = url.indexOf("?");
  const fields = [mark < 0 ? "" : url.slice(mark + 1), ...(/^[^{[]*=/.test(body) ? [body] : [])];
  for (const text of fields) for (const [, value] of new URLSearchParams(text)) found.push(value);
  try {
    found.push(...texts(JSON.parse(body)));
  } catch {
    found.push(body);
  }
  for (let at = 1; at < headers.length; at += 2) found.push(headers[at] ?? "");
  return found;
}

/** Vault's texts keep the path of the request. */
function pathOf(url: string): string {
  try {
    return decodeURIComponent(url.split("?")[0] ?? "");
  } catch {
    return url;
  }
}

/** What is wrong with an answer; null where nothing is. */
export function faultOf(asked: Asked, answered: Answered, { folders, vocabulary }: WatchOptions): string | null {
  const { status, body } = answered;
  // A server that is not active says so in its status where the client asked for that number.
  const chosen = asked.url.startsWith("/v1/sys/health");
  if (status >= 500 && !chosen) return `a status of ${status}`;
  if (status < 400 || body === "" || chosen) return null;
  if (stack.test(body)) return "a stack, or a place in the code";
  if (folders.some((folder) => body.includes(folder))) return "a path of the server's files";
  let errors: unknown;
  try {
    ({ errors } = JSON.parse(body) as { errors?: unknown });
  } catch {
    return "an error that is no JSON";
  }
  if (!Array.isArray(errors) && status !== 404) return "an error without `errors`";
  const text = ((errors ?? []) as unknown[]).join("\n");
  const path = pathOf(asked.url);
  const echo = sent(asked).find((value) => {
    const plain = value.trim();
    if (plain.length < shortest || vocabulary.includes(plain) || path.includes(plain)) return false;
    return text.includes(plain) || text.includes(JSON.stringify(plain).slice(1, -1));
  });
  return echo === undefined ? null : `a value of the request, ${JSON.stringify(echo.slice(0, 100))}`;
}

/** What the watch makes a slash of: OpenAPI has no parameter with slashes in it. */
export const joint = "~~";

export interface Fault {
  readonly fault: string;
  readonly asked: Asked;
  readonly answered: Answered;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });
  readonly #server: HttpServer;
  readonly faults: Fault[] = [];
  /** Answers by status. */
  readonly statuses = new Map<number, number>();
  /** Of the document, those that were asked for. */
  readonly operations = new Set<string>();
  /** Requests whose path came with a joint. */
  deep = 0;
  /** What no client of Node can send on. */
  skipped = 0;
  count = 0;

  private constructor(options: WatchOptions) {
    this.#options = options;
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (incoming, outgoing) => {
      this.#pass(incoming).then(
        ({ status, type, body }) => outgoing.writeHead(status, { "content-type": type }).end(body),
        () => outgoing.destroy(),
      );
    });
  }

  static async open(options: WatchOptions): Promise<Watch> {
    const watch = new Watch(options);
    watch.#server.listen(0, "127.0.0.1");
    await once(watch.#server, "listening");
    return watch;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async #pass(incoming: IncomingMessage): Promise<Answered> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = "", url: given = "", rawHeaders: headers } = incoming;
    const whole = Buffer.concat(chunks);
    const url = given.replaceAll(joint, "/");
    if (url !== given) this.deep += 1;
    const asked: Asked = { method, url, headers, body: whole.toString() };
    const token = (await this.#options.token?.(asked)) ?? null;
    const answered = await this.#ask(asked, whole, token);
    this.count += 1;
    this.statuses.set(answered.status, (this.statuses.get(answered.status) ?? 0) + 1);
    const path = pathOf(given).slice("/v1".length);
    const known = this.#options.documented.find(({ pattern }) => pattern.test(path));
    if (known?.methods.includes(method)) this.operations.add(`${method} ${known.path}`);
    const fault = faultOf(asked, answered, this.#options);
    if (fault !== null) this.faults.push({ fault, asked, answered });
    return answered;
  }

  #ask({ method, url, headers }: Asked, body: Buffer, token: string | null): Promise<Answered> {
    const sentOn: string[] = [];
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at] ?? "";
      if (/^(connection|keep-alive|accept-encoding)$/i.test(name)) continue;
      if (token !== null && /^x-vault-token$/i.test(name)) sentOn.push(name, token);
      else sentOn.push(name, headers[at + 1] ?? "");
    }
    return new Promise((resolve, reject) => {
      const { port } = this.#options;
      const outgoing = request({ host: "127.0.0.1", port, method, path: url, headers: sentOn, agent: this.#agent });
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const type = incoming.headers["content-type"] ?? "application/json";
          resolve({ status: incoming.statusCode ?? 0, type, body: Buffer.concat(chunks).toString() });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    }).catch((error: unknown) => {
      this.skipped += 1;
      throw error;
    }) as Promise<Answered>;
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
