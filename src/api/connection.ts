// Who is at the other end of a connection: its peer, or the client that a configured proxy names.
// Must hold: X-Forwarded-For counts only where the peer itself is a configured proxy, and then only its part that configured
// proxies wrote; a proxy that names nobody, or nobody with an address, is refused; who comes through a proxy is never local.

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { foldAddress, isLoopbackAddress } from "../lib/address.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Connection } from "../sdk/request.ts";

/** Whether an address is a proxy's. */
export type IsProxy = (address: string) => boolean;

const connections = new WeakMap<Socket, Connection>();
const proxied = new WeakMap<Socket, IsProxy>();

/** The peer itself. */
export function peerOf(socket: Socket): Connection {
  let connection = connections.get(socket);
  if (connection === undefined) {
    const { remoteAddress } = socket;
    // A unix socket has neither. A TCP socket whose peer is gone has lost the remote address, and is not taken for local.
    const unix = remoteAddress === undefined && socket.localPort === undefined;
    connection = {
      remoteAddress: foldAddress(remoteAddress ?? "") ?? "",
      remotePort: socket.remotePort ?? 0,
      local: remoteAddress === undefined ? unix && !socket.destroyed : isLoopbackAddress(remoteAddress),
    };
    connections.set(socket, connection);
  }
  return connection;
}

/** To be told of each new connection where proxies are configured. */
export function noteProxy(socket: Socket, isProxy: IsProxy): void {
  if (isProxy(peerOf(socket).remoteAddress)) proxied.set(socket, isProxy);
}

/** "203.0.113.7", "203.0.113.7:1234", "2001:db8::1", "[2001:db8::1]:1234" (RFC 7239 section 6 has the last two forms). */
function addressIn(text: string): string | null {
  const [, six, four] = /^(?:\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+))(?::\d{1,5})?$/.exec(text) ?? [];
  return foldAddress(six ?? four ?? text);
}

/** Throws VaultError `invalid`. */
export function connectionOf(incoming: IncomingMessage): Connection {
  const { socket } = incoming;
  const peer = peerOf(socket);
  const isProxy = proxied.get(socket);
  if (isProxy === undefined) return peer;
  const header = incoming.headers["x-forwarded-for"];
  // Each proxy adds the address that it saw at the end; Node joins repeated headers in their order.
  const named = (Array.isArray(header) ? header.join() : (header ?? "")).split(",");
  for (let at = named.length - 1; at >= 0; at--) {
    const address = addressIn((named[at] ?? "").trim());
    if (address === null) break;
    if (isProxy(address) && at > 0) continue;
    return { remoteAddress: address, remotePort: 0, local: false };
  }
  throw new VaultError("invalid", "the proxy in front of this server does not say in X-Forwarded-For who asks");
}
