// Node's HTTP parser reads the packets of all connections into one buffer of 64 KiB, which no program can reach: what a share
// came in stays there until a longer packet comes. So the server sends itself one.
// Known gap: a packet cut by the kernel leaves the rest of the buffer; where the server cannot connect to itself (too
// many connections, the listener is closing) the buffer is left as it is.

import type { IncomingMessage } from "node:http";
import { connect, type NetConnectOpts, type Server, type Socket } from "node:net";

const parserBuffer = 64 * 1024;
const timeoutMs = 1_000;

const head = (size: number): string =>
  `POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`;
/** As long as the buffer, and nothing but zeros behind its head. */
const packet = Buffer.alloc(parserBuffer);
packet.write(head(parserBuffer - head(parserBuffer).length), "latin1");

/** Where the request came in. */
function placeOf(socket: Socket): NetConnectOpts | null {
  const { localAddress, localPort } = socket;
  if (localAddress !== undefined && localPort !== undefined) return { host: localAddress, port: localPort };
  // Node sets it for a socket that a server accepted.
  const address = (socket as Socket & { readonly server?: Server }).server?.address();
  return typeof address === "string" ? { path: address } : null;
}

/** Overwrites what is left of the request in the parser. Never throws. */
export function scrub({ socket }: IncomingMessage): void {
  const place = placeOf(socket);
  if (place === null) return;
  const own = connect(place, () => own.write(packet));
  own.setTimeout(timeoutMs, () => own.destroy());
  own.on("error", () => own.destroy()).resume();
}
