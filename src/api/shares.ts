// Shares of keys on the wire: read as bytes, decoded into fresh memory, written as bytes.
// Must hold: no share ever is a string here. A body is overwritten once it is decoded; an answer with shares in it is
// overwritten once it has left, or failed to.
// Known gap: what Node's parser keeps of a packet is overwritten as scrub.ts says, and not otherwise.

import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeBase64, decodeHex, encodeBase64, encodeHex, type Member, scanObject } from "../lib/bytejson.ts";
import { copyKey, keyBytes, zero } from "../lib/bytes.ts";
import { VaultError } from "../sdk/errors.ts";
import { readBody } from "./body.ts";
import { keyBodiesBytes, keyBodyBytes } from "./limits.ts";
import { Pot } from "./pot.ts";
import { scrub } from "./scrub.ts";

export type Members<N extends string = string> = Readonly<Partial<Record<N, Member>>>;

const invalid = (message: string): VaultError => new VaultError("invalid", message);
const emptyObject = new TextEncoder().encode("{}");

/** A page that a browser shows elsewhere may post here without being asked, where a call needs no token. */
export function checkOrigin(incoming: IncomingMessage): void {
  const { origin, host } = incoming.headers;
  if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)) return;
  throw new VaultError("denied", "this call is not taken from pages of another origin");
}

/** Of the process: nobody's other bodies keep a share out. */
const pot = new Pot(keyBodiesBytes);

/** Runs `use` on the members of the body, and overwrites the body whatever happens. */
export async function withMembers<N extends string, T>(
  incoming: IncomingMessage,
  names: readonly N[],
  use: (members: Members<N>) => T,
): Promise<T> {
  const body = await readBody(incoming, keyBodyBytes, { wipe: true, pot });
  try {
    const members: Members<N> | null = scanObject(body.length === 0 ? emptyObject : body, names);
    if (members === null) throw invalid("error parsing JSON: the body must be an object");
    return use(members);
  } finally {
    zero(body);
    scrub(incoming);
  }
}

/** In memory of its own. Throws VaultError `invalid`. */
export function shareOf(key: Member | undefined): Uint8Array {
  if (key?.type !== "string" || key.raw.length === 0) {
    throw invalid("'key' must be specified in request body as JSON, or 'reset' set to true");
  }
  const share = decodeHex(key.raw) ?? decodeBase64(key.raw);
  if (share === null) throw invalid("'key' must be a valid hex or base64 string");
  return share;
}

const bases = ["rekey", "rekey-recovery-key", "rotate/root", "rotate/recovery"];
const roots = ["generate-root", "generate-root-token"];
/** Below /v1/: requests that carry a share, and those that open an attempt to give some. */
const taking = new Set([
  ...bases.flatMap((base) => [`sys/${base}/update`, `sys/${base}/verify`]),
  ...roots.map((base) => `sys/${base}/update`),
]);
const opening = new Set([...bases.map((base) => `sys/${base}/init`), ...roots.map((base) => `sys/${base}/attempt`)]);

export type Care = "share" | "origin" | null;

/** What must be minded of a request that writes to `path`. */
export function careOf(path: string): Care {
  if (!path.startsWith("sys/")) return null;
  return taking.has(path) ? "share" : opening.has(path) ? "origin" : null;
}

/** The fields of a body with a share, and the share beside them. */
export function readShare(
  incoming: IncomingMessage,
): Promise<{ readonly data: Readonly<Record<string, unknown>>; readonly share: Uint8Array }> {
  return withMembers(incoming, ["key", "nonce"], ({ key, nonce }) => {
    const data = Object.create(null) as Record<string, unknown>;
    if (nonce !== undefined && nonce.type !== "null") {
      if (nonce.type !== "string") throw invalid("'nonce' must be a string");
      data["nonce"] = Buffer.from(nonce.raw).toString("latin1");
    }
    return { data, share: shareOf(key) };
  });
}

const encoder = new TextEncoder();
const quote = encoder.encode('"');
const comma = encoder.encode(",");

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = keyBytes(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** `"<prefix>keys":[hex…],"<prefix>keys_base64":[base64…]`, as bytes that the caller overwrites. */
export function shareMembers(prefix: string, shares: readonly Uint8Array[]): Uint8Array {
  const list = (encoded: readonly Uint8Array[]): Uint8Array[] =>
    encoded.flatMap((one, at) => (at === 0 ? [quote, one, quote] : [comma, quote, one, quote]));
  const [hex, base64] = [shares.map(encodeHex), shares.map(encodeBase64)];
  try {
    return join([
      encoder.encode(`"${prefix}keys":[`),
      ...list(hex),
      encoder.encode(`],"${prefix}keys_base64":[`),
      ...list(base64),
      encoder.encode("]"),
    ]);
  } finally {
    zero(...hex, ...base64);
  }
}

/** Sends texts and bytes as one body, and overwrites all bytes. */
export function sendBytes(outgoing: ServerResponse, parts: readonly (string | Uint8Array)[]): void {
  const body = join(parts.map((part) => (typeof part === "string" ? encoder.encode(part) : part)));
  for (const part of parts) if (typeof part !== "string") zero(part);
  const wipe = (): void => zero(body);
  if (outgoing.destroyed) wipe();
  // `finish` comes once the bytes are the kernel's, `close` in any case.
  outgoing.once("finish", wipe).once("close", wipe);
  outgoing.writeHead(200, [
    "Cache-Control",
    "no-store",
    "Content-Type",
    "application/json",
    "Content-Length",
    String(body.length),
  ]);
  outgoing.end(body);
}

/** The answer of a rekey: bare as Vault has it, and below `data` as OpenBao has it. Overwrites the shares. */
export function sendHandout(
  outgoing: ServerResponse,
  data: Readonly<Record<string, unknown>>,
  shares: readonly Uint8Array[],
): void {
  const rest = JSON.stringify(data).slice(1, -1);
  const keys = shareMembers("", shares);
  zero(...shares);
  sendBytes(outgoing, ["{", keys, `,${rest},"data":{`, copyKey(keys), `,${rest}}}\n`]);
}
