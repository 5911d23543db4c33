// The calls that need no token, because there is nobody to ask yet: init, unseal, seal-status, health, leader.
// Must hold: no share ever is a string here (shares.ts); the core takes over the memory that one was decoded into.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Member } from "../lib/bytejson.ts";
import { zero } from "../lib/bytes.ts";
import type { Door, Health, InitOptions, SealStatus } from "../core/door.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Answer } from "./answer.ts";
import { connectionOf } from "./connection.ts";
import { takeFlag } from "./http.ts";
import { methodOf } from "./list.ts";
import { checkOrigin, type Members, sendBytes, shareMembers, shareOf, withMembers } from "./shares.ts";
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

/** Throws VaultError `unsupported`. */
export function onlyRead(incoming: IncomingMessage): void {
  const method = methodOf(incoming);
  if (method !== "GET" && method !== "HEAD") throw unsupported();
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
const absentNames = ["pgp_keys", "recovery_pgp_keys", "root_token_pgp_key"] as const;
// `stored_shares` is sent by clients of old habit, and means nothing.
const initNames = [
  "secret_shares",
  "secret_threshold",
  "recovery_shares",
  "recovery_threshold",
  ...absentNames,
] as const;

function initOptions(members: Members<(typeof initNames)[number]>): InitOptions {
  for (const name of absentNames) {
    if (!absent(members[name])) throw invalid(`'${name}' is not supported by this server: leave it out`);
  }
  if (absent(members.recovery_shares) && absent(members.recovery_threshold)) {
    return {
      shares: count(members.secret_shares, "secret_shares"),
      threshold: count(members.secret_threshold, "secret_threshold"),
    };
  }
  const shares = count(members.recovery_shares, "recovery_shares");
  return {
    shares: 0,
    threshold: 0,
    recovery: { shares, threshold: count(members.recovery_threshold, "recovery_threshold") },
  };
}

const init: Call = async ({ incoming, outgoing }, { door, allowInit }) => {
  if (!isWrite(methodOf(incoming))) {
    onlyRead(incoming);
    return json({ initialized: door.sealStatus().initialized });
  }
  if (allowInit !== "any" && !connectionOf(incoming).local) {
    throw new VaultError("denied", "this server is initialised from its own machine only");
  }
  checkOrigin(incoming);
  const options = await withMembers(incoming, initNames, initOptions);
  const { shares, rootToken, recovery } = await door.initialize(options);
  const keys = shareMembers(recovery ? "recovery_" : "", shares);
  zero(...shares);
  const none = recovery ? '{"keys":[],"keys_base64":[],' : "{";
  sendBytes(outgoing, [none, keys, `,"root_token":${JSON.stringify(rootToken)}}\n`]);
  return null;
};

const unseal: Call = async ({ incoming }, { door }) => {
  if (!isWrite(methodOf(incoming))) throw unsupported();
  checkOrigin(incoming);
  const asked = await withMembers(incoming, ["key", "reset", "migrate"], ({ key, reset, migrate }) => {
    if (flag(migrate, "migrate")) throw invalid("'migrate' is not supported by this server");
    if (flag(reset, "reset")) return { share: null, reset: true };
    return { share: shareOf(key), reset: false };
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
