// The calls that need no token, because there is nobody to ask yet: init, unseal, seal-status, health, leader.
// Must hold: no share ever is a string here. A body is read as bytes, decoded into fresh memory that the core takes over,
// and overwritten; the one answer with shares in it is built as bytes and overwritten once it has left, or failed to.
// Known gap: Node's parser reads each packet into one buffer of its own before it copies the body out; no program can
// reach that, and the next request of any client overwrites it.

import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeBase64, decodeHex, encodeBase64, encodeHex, type Member, scanObject } from "../lib/bytejson.ts";
import { zero } from "../lib/bytes.ts";
import type { Door, Health, SealStatus } from "../core/door.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Answer } from "./answer.ts";
import { readBody } from "./body.ts";
import { connectionOf, takeFlag } from "./http.ts";
import { keyBodyBytes } from "./limits.ts";
import { methodOf } from "./list.ts";
import { parseFields } from "./target.ts";

export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly query: string;
}

export interface LifecycleOptions {
  readonly door: Door;
  /** Who may initialise: only loopback and unix sockets, or anybody who can connect. */
  readonly allowInit: "local" | "any";
}

/** Null where the call has written its own answer. */
type Call = (exchange: Exchange, options: LifecycleOptions) => Promise<Answer | null>;

const json = (value: unknown, status = 200): Answer => ({ status, body: `${JSON.stringify(value)}\n` });
const invalid = (message: string): VaultError => new VaultError("invalid", message);
const unsupported = (): VaultError => new VaultError("unsupported", "unsupported operation");

function isWrite(method: string): boolean {
  return method === "POST" || method === "PUT";
}

function onlyRead(incoming: IncomingMessage): void {
  const method = methodOf(incoming);
  if (method !== "GET" && method !== "HEAD") throw unsupported();
}

/** A page that a browser shows elsewhere may post here without being asked, as these calls need no token. */
function checkOrigin(incoming: IncomingMessage): void {
  const { origin, host } = incoming.headers;
  if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)) return;
  throw new VaultError("denied", "this call is not taken from pages of another origin");
}

const emptyObject = new TextEncoder().encode("{}");

/** Runs `use` on the members of the body, and overwrites the body whatever happens. */
async function withMembers<N extends string, T>(
  incoming: IncomingMessage,
  names: readonly N[],
  use: (members: Readonly<Partial<Record<N, Member>>>) => T,
): Promise<T> {
  const body = await readBody(incoming, keyBodyBytes, true);
  try {
    const members: Readonly<Partial<Record<N, Member>>> | null = scanObject(
      body.length === 0 ? emptyObject : body,
      names,
    );
    if (members === null) throw invalid("error parsing JSON: the body must be an object");
    return use(members);
  } finally {
    zero(body);
  }
}

function flag(member: Member | undefined, name: string): boolean {
  if (member === undefined || member.type === "null") return false;
  if (member.type === "boolean") return member.value;
  throw invalid(`'${name}' must be true or false`);
}

function count(member: Member | undefined, name: string): number {
  if (member?.type === "number" && Number.isSafeInteger(member.value)) return member.value;
  throw invalid(`'${name}' must be a whole number`);
}

const absent = (member: Member | undefined): boolean =>
  member === undefined ||
  member.type === "null" ||
  (member.type === "number" && member.value === 0) ||
  (member.type === "string" && member.raw.length === 0) ||
  (member.type === "nested" && member.empty);

// Clients send these empty by habit; anything in them asks for what is not there.
const notYet = [
  "stored_shares",
  "pgp_keys",
  "recovery_shares",
  "recovery_threshold",
  "recovery_pgp_keys",
  "root_token_pgp_key",
] as const;

function initOptions(members: Readonly<Partial<Record<string, Member>>>): { shares: number; threshold: number } {
  for (const name of notYet) {
    if (!absent(members[name])) throw invalid(`'${name}' is not supported by this server: leave it out`);
  }
  return {
    shares: count(members["secret_shares"], "secret_shares"),
    threshold: count(members["secret_threshold"], "secret_threshold"),
  };
}

const init: Call = async ({ incoming, outgoing }, { door, allowInit }) => {
  if (!isWrite(methodOf(incoming))) {
    onlyRead(incoming);
    return json({ initialized: door.sealStatus().initialized });
  }
  if (allowInit !== "any" && !connectionOf(incoming.socket).local) {
    throw new VaultError("denied", "this server is initialised from its own machine only");
  }
  checkOrigin(incoming);
  const options = await withMembers(incoming, ["secret_shares", "secret_threshold", ...notYet], initOptions);
  const { shares, rootToken } = await door.initialize(options);
  const body = initBody(shares, rootToken);
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
  return null;
};

/** Overwrites the shares. */
function initBody(shares: readonly Uint8Array[], rootToken: string): Uint8Array {
  const encoder = new TextEncoder();
  const quote = encoder.encode('"');
  const comma = encoder.encode(",");
  const list = (encoded: readonly Uint8Array[]): Uint8Array[] =>
    encoded.flatMap((one, at) => (at === 0 ? [quote, one, quote] : [comma, quote, one, quote]));
  const hex = shares.map(encodeHex);
  const base64 = shares.map(encodeBase64);
  const parts = [
    encoder.encode('{"keys":['),
    ...list(hex),
    encoder.encode('],"keys_base64":['),
    ...list(base64),
    encoder.encode(`],"root_token":${JSON.stringify(rootToken)}}\n`),
  ];
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  zero(...shares, ...parts);
  return body;
}

const unseal: Call = async ({ incoming }, { door }) => {
  if (!isWrite(methodOf(incoming))) throw unsupported();
  checkOrigin(incoming);
  const asked = await withMembers(incoming, ["key", "reset", "migrate"], ({ key, reset, migrate }) => {
    if (flag(migrate, "migrate")) throw invalid("'migrate' is not supported by this server");
    if (flag(reset, "reset")) return { share: null, reset: true };
    if (key?.type !== "string" || key.raw.length === 0) {
      throw invalid("'key' must be specified in request body as JSON, or 'reset' set to true");
    }
    const share = decodeHex(key.raw) ?? decodeBase64(key.raw);
    if (share === null) throw invalid("'key' must be a valid hex or base64 string");
    return { share, reset: false };
  });
  const status: SealStatus = await door.unseal(asked.share, { reset: asked.reset });
  return json(status);
};

const sealStatus: Call = async ({ incoming }, { door }) => {
  onlyRead(incoming);
  return json(door.sealStatus());
};

const leader: Call = async ({ incoming }, { door }) => {
  onlyRead(incoming);
  return json(door.leader());
};

/** The state of the server as Vault ranks it, with the query's name for its code and the code without one. */
const states: readonly (readonly [holds: (health: Health) => boolean, name: string, code: number])[] = [
  [(health) => !health.initialized, "uninitcode", 501],
  [(health) => health.sealed, "sealedcode", 503],
  [(health) => health.replication_dr_mode === "secondary", "drsecondarycode", 472],
  [(health) => health.performance_standby, "performancestandbycode", 473],
  [(health) => health.standby, "standbycode", 429],
  [() => true, "activecode", 200],
];

/** A final status that a client can read: no 1xx, and not 304, which has no body of its own. */
function code(query: Readonly<Record<string, unknown>>, name: string): number | null {
  const text = query[name];
  if (text === undefined) return null;
  if (typeof text === "string" && /^[2-5]\d\d$/.test(text) && text !== "304") return Number(text);
  throw invalid(`the query's ${name} must be a status code from 200 to 599`);
}

const health: Call = async ({ incoming, query }, { door }) => {
  onlyRead(incoming);
  const fields = parseFields(query, "query");
  const codes = new Map(states.map(([, name, usual]) => [name, code(fields, name) ?? usual]));
  const active = codes.get("activecode") ?? 200;
  if (takeFlag(fields, "standbyok")) codes.set("standbycode", active);
  if (takeFlag(fields, "perfstandbyok")) codes.set("performancestandbycode", active);
  const state = door.health();
  const name = states.find(([holds]) => holds(state))?.[1] ?? "activecode";
  const status = codes.get(name) ?? 200;
  return status === 204 ? { status, body: null } : json(state, status);
};

/** By path. */
export const lifecycle: Readonly<Record<string, Call>> = {
  "/v1/sys/init": init,
  "/v1/sys/unseal": unseal,
  "/v1/sys/seal-status": sealStatus,
  "/v1/sys/leader": leader,
  "/v1/sys/health": health,
};
