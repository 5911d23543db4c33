// A whole API on a real socket in front of a door that a test writes, and a client that sends any bytes at all.

import { type AddressInfo, connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach } from "vitest";
import { createApp, type AppOptions } from "../../src/api/app.ts";
import { listen, type Listener, type ListenOptions } from "../../src/api/listener.ts";
import type { Limits } from "../../src/api/limits.ts";
import type { Door, Health, SealStatus } from "../../src/core/door.ts";
import { manualClock } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import type { Request, Response } from "../../src/sdk/request.ts";

export const sealStatus: SealStatus = {
  type: "shamir",
  initialized: true,
  sealed: true,
  t: 2,
  n: 3,
  progress: 1,
  nonce: "n",
  version: "2.0.0",
  build_date: "2026-01-01T00:00:00Z",
  migration: false,
  recovery_seal: false,
  storage_type: "sqlite",
};

export const active: Health = {
  initialized: true,
  sealed: false,
  standby: false,
  performance_standby: false,
  replication_performance_mode: "disabled",
  replication_dr_mode: "disabled",
  server_time_utc: 1_767_225_600,
  version: "2.0.0",
};

export interface Server {
  readonly door: Door;
  /** What came through the door, in order. */
  readonly seen: Request[];
  /** Lines of the log. */
  readonly logged: string[];
  readonly address: string;
  readonly port: number;
  readonly listener: Listener;
}

const open: Listener[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});

export interface StartOptions {
  readonly handle?: (request: Request) => Promise<Response>;
  readonly door?: Partial<Door>;
  readonly app?: Partial<AppOptions>;
  readonly limits?: Partial<Limits>;
  readonly listen?: Partial<ListenOptions>;
}

export async function start(options: StartOptions = {}): Promise<Server> {
  const seen: Request[] = [];
  const logged: string[] = [];
  const log = createLogger({ write: (line) => void logged.push(line) });
  const door: Door = {
    handle: async (request) => {
      seen.push(request);
      return (await options.handle?.(request)) ?? { data: { path: request.path, operation: request.operation } };
    },
    initialize: async () => ({ shares: [], recovery: false, rootToken: "" }),
    unseal: async () => sealStatus,
    sealStatus: () => sealStatus,
    health: () => active,
    leader: () => ({ ha_enabled: false }),
    manners: () => null,
    crowded: () => null,
    knows: async ({ token }) => token !== null,
    refuse: async (_request, error) => {
      throw error;
    },
    metrics: async () => [],
    ...options.door,
  };
  const limits = { lingerTimeout: 300, ...options.limits };
  const app = createApp({ door, log, clock: manualClock(), allowInit: "local", limits, ...options.app });
  const listener = await listen({ app, address: "127.0.0.1:0", purpose: "api", log, limits, ...options.listen });
  open.push(listener);
  const port = Number(listener.address.split(":").at(-1));
  return { door, seen, logged, address: listener.address, port, listener };
}

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A connection that sends what it is told to and reads answers one by one. */
export class Wire {
  readonly socket: Socket;
  #buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => {};

  constructor(target: number | string) {
    this.socket = typeof target === "number" ? connect(target, "127.0.0.1") : connect(target);
    this.socket.setNoDelay(true);
    sockets.push(this.socket);
    this.socket.on("data", (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    for (const event of ["end", "close", "error"]) {
      this.socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
    }
  }

  /** Resolves once the bytes are the kernel's: what follows goes out as a packet of its own. */
  send(text: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(text, () => setImmediate(() => setImmediate(resolve)));
    });
  }

  /** Sends in pieces, letting the server read each before the next. */
  async pieces(...parts: readonly string[]): Promise<void> {
    for (const part of parts) {
      await this.send(part);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    return true;
  }

  /** The next answer; null where the connection ended before one. */
  async answer(options: { readonly head?: boolean } = {}): Promise<Answered | null> {
    let end = this.#buffer.indexOf("\r\n\r\n");
    while (end < 0) {
      if (!(await this.#more())) return null;
      end = this.#buffer.indexOf("\r\n\r\n");
    }
    const [first = "", ...lines] = this.#buffer.toString("latin1", 0, end).split("\r\n");
    const headers: Record<string, string> = {};
    for (const line of lines)
      headers[line.slice(0, line.indexOf(":")).toLowerCase()] = line.slice(line.indexOf(":") + 1).trim();
    const length = options.head ? 0 : Number(headers["content-length"] ?? 0);
    while (this.#buffer.length < end + 4 + length) if (!(await this.#more())) return null;
    const body = this.#buffer.toString("utf8", end + 4, end + 4 + length);
    this.#buffer = this.#buffer.subarray(end + 4 + length);
    return { status: Number(first.split(" ")[1]), headers, body };
  }

  /** Resolves once the server has ended the connection; with what came until then and was not an answer taken. */
  async closed(): Promise<string> {
    while (await this.#more());
    return this.#buffer.toString("latin1");
  }
}

/** Until it is so; the test's own end is the limit. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(2);
}

export const requestText = (line: string, headers: readonly string[] = [], body = ""): string =>
  `${line} HTTP/1.1\r\n${["Host: writ", ...headers].join("\r\n")}\r\n\r\n${body}`;

/** One request on a connection of its own. */
export async function exchange(
  target: number | string,
  line: string,
  headers: readonly string[] = [],
  body = "",
): Promise<Answered> {
  const wire = new Wire(target);
  const length = body === "" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  await wire.send(requestText(line, [...headers, ...length], body));
  const answer = await wire.answer({ head: line.startsWith("HEAD ") });
  wire.socket.destroy();
  if (answer === null) throw new Error(`no answer to ${line}`);
  return answer;
}

export const errorsOf = (answer: Answered | null): unknown =>
  (JSON.parse(answer?.body ?? "{}") as { errors?: unknown }).errors;

export const addressPort = (address: AddressInfo | string | null): number =>
  typeof address === "object" && address !== null ? address.port : 0;
