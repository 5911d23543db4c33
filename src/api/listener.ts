// One listening address: TCP with or without TLS, or a unix socket, for the whole API or for the webhook alone.
// Must hold: a unix socket is open to its owner only from its first moment; a listener for the webhook serves nothing
// else; handshakes, headers, requests, idle connections and their number are all bounded; new certificates end no connection.

import { connect, type AddressInfo, type Socket } from "node:net";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { lstat, unlink } from "node:fs/promises";
import { Server as TlsServer } from "node:tls";
import { parsePlace, type Place } from "../lib/address.ts";
import { createServer, createTlsServer } from "../lib/http.ts";
import type { Logger } from "../lib/log.ts";
import { type App, webhookPath } from "./app.ts";
import { send } from "./answer.ts";
import { announced, hasBody } from "./body.ts";
import { type IsProxy, noteProxy } from "./connection.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { Incoming, Outgoing, recoverMethods } from "./list.ts";
import type { TlsOptions } from "../lib/tls.ts";

export interface ListenOptions {
  readonly app: App;
  /** "127.0.0.1:8200", "[::1]:8200" or the path of a unix socket ("/…" or "unix:/…"). Port 0 takes a free one. */
  readonly address: string;
  readonly purpose: "api" | "webhook";
  readonly log: Logger;
  /** As `readTls` gives it. Null or left out: in clear. */
  readonly tls?: TlsOptions | null;
  /** Whose X-Forwarded-For names the client. */
  readonly isProxy?: IsProxy | null;
  readonly limits?: Partial<Limits>;
}

export interface Listener {
  /** As asked for, with the port that was taken. */
  readonly address: string;
  /** Connections from now on are made with these. */
  renew(tls: TlsOptions): void;
  /** Takes no new connections, lets requests end for that long, and then cuts them off. */
  close(graceMs: number): Promise<void>;
}

/** Requests of one connection that may be unanswered where another comes with a body. */
const mostAhead = 16;

// RFC 3986 section 3.2: a name or an address, and a port.
const host = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/** The path of the target, as sent: only the plain form of the webhook's path is taken. */
const isWebhook = (incoming: IncomingMessage): boolean => (incoming.url ?? "").split("?", 1)[0] === webhookPath;

/** Rejects where the address is malformed or taken. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { app, purpose, log, tls = null, isProxy = null } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const place = parsePlace(options.address);
  const refuse = (incoming: IncomingMessage, outgoing: ServerResponse, status: number, message: string): void =>
    send(incoming, outgoing, { status, body: `${JSON.stringify({ errors: [message] })}\n` }, limits);
  const http = {
    IncomingMessage: Incoming,
    ServerResponse: Outgoing,
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeout,
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: limits.keepAliveTimeout,
    connectionsCheckingInterval: Math.max(20, Math.min(5_000, limits.headersTimeout / 2, limits.requestTimeout / 2)),
    requireHostHeader: true,
    insecureHTTPParser: false,
    // Bodies follow their headers (RFC 9112 section 6.3); without one there is no stream to run to its end.
    optimizeEmptyRequests: true,
  };
  const server: Server =
    tls === null ? createServer(http) : createTlsServer({ ...http, ...tls, handshakeTimeout: limits.headersTimeout });
  server.maxConnections = limits.connections;
  server.maxHeadersCount = 0; // Node would leave out those beyond a number; here they are refused
  const recovery = recoverMethods(server, limits);
  const serve = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    if (!hasHost(incoming)) refuse(incoming, outgoing, 400, "the request has no valid Host header");
    else if (incoming.rawHeaders.length > 2 * limits.headers)
      refuse(incoming, outgoing, 431, `the request has more than ${limits.headers} headers`);
    else if (purpose === "webhook" && !isWebhook(incoming))
      refuse(incoming, outgoing, 404, "this address takes webhook deliveries only");
    else app(incoming, outgoing);
  };
  const begin = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const before = recovery.began(incoming, outgoing);
    // What has a body must go on to be read: what stands behind it cannot come otherwise.
    if (before === null) serve(incoming, outgoing);
    else if (hasBody(incoming)) {
      if (recovery.ahead(outgoing) < mostAhead) serve(incoming, outgoing);
      else {
        outgoing.shouldKeepAlive = false;
        refuse(incoming, outgoing, 429, "too many requests of this connection wait for their answers");
      }
    } else before.once("close", () => void (incoming.socket.destroyed || serve(incoming, outgoing)));
  };
  if (isProxy !== null) {
    server.prependListener(tls === null ? "connection" : "secureConnection", (socket: Socket) =>
      noteProxy(socket, isProxy),
    );
  }
  server.on("request", begin);
  server.on("checkContinue", (incoming, outgoing) => {
    // What is announced as too large is refused before it is sent (RFC 9110 section 10.1.1).
    if (announced(incoming) <= limits.bodyBytes) outgoing.writeContinue();
    begin(incoming, outgoing);
  });
  server.on("checkExpectation", (incoming, outgoing) => {
    recovery.began(incoming, outgoing);
    outgoing.writeHead(417, ["Connection", "close", "Content-Length", "0"]).end();
  });
  await bind(server, place);
  server.on("error", (error) => log.error("a listener failed", { address: options.address, error }));
  server.on("drop", counted(log, options.address));
  const address = addressOf(server, place);
  return {
    address,
    renew: (fresh) => {
      if (server instanceof TlsServer) server.setSecureContext(fresh);
    },
    close: (graceMs) => close(server, () => recovery.destroy(), graceMs),
  };
}

/** One, and no second (RFC 9112 section 3.2): Node shows the first of several. */
function hasHost({ headers, rawHeaders }: IncomingMessage): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  return count === 1 && host.test(headers.host ?? "");
}

const quietMs = 10_000;

/** Says that connections were dropped, and how many: at once, and then every ten seconds. */
function counted(log: Logger, address: string): () => void {
  let dropped = 0;
  let quiet = false;
  const tell = (): void => {
    quiet = dropped > 0;
    if (!quiet) return;
    log.warn("connections were dropped: there are too many", { address, dropped });
    dropped = 0;
    setTimeout(tell, quietMs).unref();
  };
  return () => {
    dropped += 1;
    if (!quiet) tell();
  };
}

function addressOf(server: Server, place: Place): string {
  if ("path" in place) return place.path;
  const { address, port, family } = server.address() as AddressInfo;
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

async function bind(server: Server, place: Place): Promise<void> {
  if ("path" in place) await removeStale(place.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const bound = (): void => {
      server.off("error", reject);
      resolve();
    };
    if ("path" in place) bindPrivate(server, place.path, bound);
    else server.listen({ ...place, exclusive: true }, bound);
  });
}

/** Node binds a path before `listen` returns, so the mask holds for this socket and for nothing else. */
function bindPrivate(server: Server, path: string, bound: () => void): void {
  const mask = process.umask(0o177);
  try {
    server.listen({ path }, bound);
  } finally {
    process.umask(mask);
  }
}

/** A socket file that a killed process left behind. One that somebody still answers on stays. */
async function removeStale(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => null);
  if (stat === null || !stat.isSocket()) return;
  const stale = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    const tell = (answer: boolean) => (): void => {
      probe.destroy();
      resolve(answer);
    };
    probe
      .once("connect", tell(false))
      .once("error", (error: NodeJS.ErrnoException) => tell(error.code === "ECONNREFUSED")());
  });
  if (stale) await unlink(path);
}

async function close(server: Server, destroyRest: () => void, graceMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    // Connections become idle one by one as their requests end.
    const idle = setInterval(() => server.closeIdleConnections(), 20);
    const cut = setTimeout(() => {
      server.closeAllConnections();
      destroyRest();
    }, graceMs);
    server.close(() => {
      clearInterval(idle);
      clearTimeout(cut);
      resolve();
    });
  });
}
