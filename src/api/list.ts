// The methods LIST and SCAN, which Node's HTTP parser refuses before any handler runs.
// The refusal (`clientError`, HPE_INVALID_METHOD) hands over the bytes that the parser stopped in. They are given to a new
// parser with GET in the method's place, and the one message that comes out of it first carries the true method. The mark
// never is on the wire, so no client can send it; requests with other methods keep Node's fast path.
// Must hold: answers leave in the order of their requests (a LIST behind unanswered requests waits for them); no byte is
// lost or read twice; every wait ends with the socket, a limit of bytes or a timeout; every other parse error is answered
// once, never into the middle of another answer.
// Known gap: of a method cut across packets Node shows only the second part, so "RE" + "ST /" counts as LIST.

import type { IncomingMessage as Message, Server, ServerResponse as Answer } from "node:http";
import type { Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { IncomingMessage, ServerResponse, statusTexts } from "../lib/http.ts";
import type { Limits } from "./limits.ts";

type Extra = "LIST" | "SCAN";
const marked = new WeakMap<Socket, Extra>();

/** Takes the mark of its socket the moment it is made, so that no other message can. */
export class Incoming extends IncomingMessage {
  readonly extra: Extra | null;

  constructor(socket: Socket) {
    super(socket);
    this.extra = marked.get(socket) ?? null;
    if (this.extra !== null) marked.delete(socket);
  }
}

/** Requests of one connection that are worked on at a time. */
const atOnce = 2;

/** Answers of each connection that are not taken yet: the last one. What was taken is let go of, with its request: a
 *  connection that is idle for long keeps nothing but itself. */
const last = new WeakMap<Socket, Answer>();

export class Outgoing<Request extends Message = Message> extends ServerResponse<Request> {
  /** Of its connection, since that was idle last; and how many before it were taken whole, as the last one is told. */
  number = 0;
  taken = 0;

  // Node calls it when the answer has gone out whole.
  override detachSocket(socket: Socket): void {
    super.detachSocket(socket);
    const newest = last.get(socket);
    if (newest === this) last.delete(socket);
    else if (newest instanceof Outgoing) newest.taken = this.number + 1;
  }
}

const aheadOf = (outgoing: Answer): number => (outgoing instanceof Outgoing ? outgoing.number - outgoing.taken : 0);

export const methodOf = (incoming: Message): string =>
  (incoming instanceof Incoming ? incoming.extra : null) ?? incoming.method ?? "";

// llhttp stops where no method it knows goes on: after "LI" (LINK), and after "S" (SEARCH …).
const stops: readonly { readonly method: Extra; readonly head: string; readonly tail: string }[] = [
  { method: "LIST", head: "LI", tail: "ST " },
  { method: "SCAN", head: "S", tail: "CAN " },
];

type Found = { readonly method: Extra; readonly rest: Buffer } | "more" | "none";

/** What stands at `at`, where the parser stopped. `rest` begins with the space behind the method. */
function find(bytes: Buffer, at: number): Found {
  for (const { method, head, tail } of stops) {
    const before = bytes.toString("latin1", Math.max(0, at - head.length), at);
    const behind = bytes.toString("latin1", at, at + tail.length);
    if (!head.endsWith(before)) continue;
    if (behind === tail) return { method, rest: bytes.subarray(at + tail.length - 1) };
    if (tail.startsWith(behind)) return "more";
  }
  return "none";
}

type Status = 400 | 405 | 408 | 413 | 431;
const statuses: Readonly<Record<string, Status>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};
const texts: Readonly<Record<Status, string>> = {
  400: "the request is not valid HTTP",
  405: "unsupported method",
  408: "the request did not arrive in time",
  413: "the request's chunk extensions are too large",
  431: "the request line and headers are too large",
};

function rawAnswer(status: Status): string {
  const body = `{"errors":[${JSON.stringify(texts[status])}]}\n`;
  const head = [
    "Connection: close",
    "Cache-Control: no-store",
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
  ];
  return `HTTP/1.1 ${status} ${statusTexts[status] ?? ""}\r\n${head.join("\r\n")}\r\n\r\n${body}`;
}

const watched = ["data", "end", "close", "drain", "error", "timeout", "pause", "resume"] as const;
// A function as the emitter gives it back.
type Listener = (...args: unknown[]) => void;
const listenersOf = (socket: Socket, event: string): Listener[] => socket.listeners(event) as Listener[];

interface ParseError extends Error {
  readonly code?: string;
  readonly bytesParsed?: number;
  readonly rawPacket?: Buffer;
}

export interface Recovery {
  /** Told of each request as it begins, so that a later one knows what to wait for. Gives the answer that this one should
   *  wait for itself, null for none: a packet may hold a thousand requests, and a few at once are enough for one client. */
  began(incoming: Message, outgoing: Answer): Answer | null;
  /** How many of its connection are not answered yet that came before it. */
  ahead(outgoing: Answer): number;
  /** Destroys the sockets that are between two parsers, which the server does not know of. */
  destroy(): void;
}

/** Answers every `clientError` of the server. Its messages must be made with `Incoming`. */
export function recoverMethods(server: Server, limits: Limits): Recovery {
  const base = new WeakMap<Socket, ReadonlyMap<string, readonly Listener[]>>();
  const between = new Map<Socket, Handover>();
  const event = server instanceof TlsServer ? "secureConnection" : "connection";
  const context: Context = { server, event, limits, base, between };
  // Before Node's own listener: what a socket has then is not the HTTP layer's.
  server.prependListener(event, (socket: Socket) => {
    if (!base.has(socket)) base.set(socket, new Map(watched.map((name) => [name, listenersOf(socket, name)])));
  });
  server.on("clientError", (error: ParseError, socket: Socket) => {
    // The dead parser of a socket that waits here still counts as one that waits for headers.
    if (between.has(socket) && error.code === "ERR_HTTP_REQUEST_TIMEOUT") return;
    // What comes before HTTP, such as a handshake that fails, has no answer in it.
    const ofHttp = error.rawPacket !== undefined || statuses[error.code ?? ""] !== undefined;
    if (!ofHttp || !socket.writable || between.has(socket)) {
      socket.destroy();
      return;
    }
    const at = error.bytesParsed ?? 0;
    const raw = error.rawPacket ?? Buffer.alloc(0);
    const found = error.code === "HPE_INVALID_METHOD" ? find(raw, at) : "none";
    const status = statuses[error.code ?? ""] ?? 400;
    const pending = last.get(socket);
    if (pending !== undefined && !pending.destroyed && !pending.req.complete) {
      // The error is in a request that already is with its handler.
      if (pending.headersSent) socket.destroy();
      else new Handover(context, socket, raw, at).refuse(status, false);
      return;
    }
    const handover = new Handover(context, socket, raw, at);
    const go = (): void => {
      // Outside of the parser's own call, which still is on the stack.
      setImmediate(() => (found === "none" ? handover.refuse(status) : handover.proceed()));
    };
    if (pending === undefined || pending.destroyed) go();
    else pending.once("close", go);
  });
  // Without a listener Node closes the connection without a word. Its parser has let go of the socket already.
  server.on("connect", (_incoming: Message, socket: Socket) => {
    const pending = last.get(socket);
    socket.once("error", () => socket.destroy());
    if (pending !== undefined && !pending.destroyed) socket.destroy();
    else new Handover(context, socket, Buffer.alloc(0), 0).refuse(405, false);
  });
  return {
    began: ({ socket }, outgoing) => {
      const before = last.get(socket);
      last.set(socket, outgoing);
      if (before === undefined || before.destroyed) return null;
      if (outgoing instanceof Outgoing && before instanceof Outgoing) {
        outgoing.number = before.number + 1;
        outgoing.taken = before.taken;
      }
      return aheadOf(outgoing) >= atOnce ? before : null;
    },
    ahead: aheadOf,
    destroy: () => {
      for (const socket of between.keys()) socket.destroy();
    },
  };
}

interface Context {
  readonly server: Server;
  readonly event: string;
  readonly limits: Limits;
  readonly base: WeakMap<Socket, ReadonlyMap<string, readonly Listener[]>>;
  readonly between: Map<Socket, Handover>;
}

/** A socket on its way from a dead parser to a new one, or to its end. */
class Handover {
  readonly #context: Context;
  readonly #socket: Socket;
  /** From the first byte that the parser may have stopped in; `#at` is where it did. */
  #held: Buffer;
  #at: number;
  #ended = false;
  #proceeding = false;
  #timer: NodeJS.Timeout | null = null;
  readonly #own: Readonly<Record<"data" | "end" | "close" | "error", Listener>> = {
    data: (chunk) => this.#collect(chunk as Buffer),
    end: () => {
      this.#ended = true;
      if (this.#proceeding) this.proceed();
    },
    close: () => this.#forget(),
    error: () => this.#socket.destroy(),
  };

  constructor(context: Context, socket: Socket, raw: Buffer, at: number) {
    this.#context = context;
    this.#socket = socket;
    const start = Math.max(0, at - 2);
    this.#held = Buffer.concat([raw.subarray(start)]);
    raw.fill(0); // there may be a key in what follows; bodies before it have been copied out
    this.#at = at - start;
    context.between.set(socket, this);
    // Node gives a socket's bytes back to JavaScript as soon as somebody listens for them. Nobody but this object does.
    for (const [name, listener] of Object.entries(this.#own)) socket.on(name, listener);
    this.#detach(["data", "end"]);
    socket.pause();
  }

  #collect(chunk: Buffer): void {
    const joined = Buffer.concat([this.#held, chunk]);
    this.#held.fill(0);
    chunk.fill(0);
    this.#held = joined;
    if (this.#held.length > this.#context.limits.headerBytes + 2 * 65_536) this.#socket.destroy();
    else if (this.#proceeding) this.proceed();
    else this.#socket.pause();
  }

  #forget(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#context.between.delete(this.#socket);
  }

  /** Removes what the HTTP layer listens with, and gives it back. */
  #detach(names: readonly string[]): Listener[] {
    const base = this.#context.base.get(this.#socket);
    const own: readonly Listener[] = Object.values(this.#own);
    const removed: Listener[] = [];
    for (const name of names) {
      for (const listener of listenersOf(this.#socket, name)) {
        if (own.includes(listener) || base?.get(name)?.includes(listener)) continue;
        this.#socket.removeListener(name, listener);
        if (name === "close") removed.push(listener);
      }
    }
    return removed;
  }

  /** Ends the HTTP layer's part: its listeners for the end of the socket free the parser and all that hangs on it. */
  #release(): void {
    for (const listener of this.#detach(watched)) listener.call(this.#socket);
    this.#socket.setTimeout(0);
  }

  /** Goes on to the new parser once the whole method is there. */
  proceed(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (!socket.writable) {
      socket.destroy(); // the answer before this request was the connection's last
      return;
    }
    if (!this.#proceeding) this.#release();
    this.#proceeding = true;
    const found = find(this.#held, this.#at);
    if (found === "none" || (found === "more" && this.#ended)) {
      this.refuse(400);
    } else if (found === "more") {
      this.#timer ??= setTimeout(() => this.refuse(408), this.#context.limits.headersTimeout);
      socket.resume();
    } else {
      this.#reissue(found.method, found.rest);
    }
  }

  #reissue(method: Extra, rest: Buffer): void {
    const socket = this.#socket;
    this.#leave();
    marked.set(socket, method);
    this.#context.server.emit(this.#context.event, socket);
    // From here on bytes come as chunks that nobody else wipes, and there may be a key in them: the parser, which
    // listens first, has copied what it needs.
    socket.on("data", wipe);
    socket.resume();
    socket.emit("data", Buffer.concat([Buffer.from("GET"), rest]));
    if (this.#ended) socket.emit("end");
    this.#held.fill(0);
  }

  #leave(): void {
    this.#forget();
    for (const [name, listener] of Object.entries(this.#own)) this.#socket.removeListener(name, listener);
    this.#socket.removeListener("data", wipe);
  }

  /** Answers, and closes once the sender has had a moment to read it. A handler that still waits for its body learns of
   *  the end from Node, once the socket is closed: to release it earlier would close the socket at once. */
  refuse(status: Status, release = true): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    if (release) this.#release();
    this.#held.fill(0);
    socket.removeListener("data", this.#own.data);
    socket.removeListener("end", this.#own.end);
    let left = this.#context.limits.lingerBytes;
    socket.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) socket.destroy();
    });
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => socket.destroy(), this.#context.limits.lingerTimeout);
    socket.once("end", () => socket.destroySoon());
    socket.end(rawAnswer(status));
    socket.resume();
  }
}

const wipe = (chunk: Buffer): void => void chunk.fill(0);
