// `writ token|policy|lease`: who may what, and until when.
// Must hold: a token is typed, piped in or the caller's own, and never an argument.

import { apiPath, type Client, CommandError, dataIn, remote } from "./client.ts";
import { hiddenWord, mapOf, refuseShown, textOf } from "./input.ts";
import type { Io } from "./io.ts";
import { contentOf, showAnswer } from "./paths.ts";
import { isTable, json, show, showKeys, type ShowOptions, table } from "./show.ts";

export interface CreateOptions extends ShowOptions {
  readonly policy?: readonly string[];
  readonly ttl?: string;
  readonly explicitMaxTtl?: string;
  readonly period?: string;
  readonly useLimit?: number;
  readonly displayName?: string;
  readonly metadata?: readonly string[];
  readonly orphan?: boolean;
  readonly role?: string;
  readonly type?: string;
  readonly defaultPolicy: boolean;
  readonly wrapTtl?: string;
}

export async function createToken(client: Client, io: Io, options: CreateOptions): Promise<number> {
  const path = options.role === undefined ? "create" : `create/${apiPath(options.role)}`;
  const body = {
    ...(options.policy && { policies: options.policy }),
    ...(options.ttl && { ttl: options.ttl }),
    ...(options.explicitMaxTtl && { explicit_max_ttl: options.explicitMaxTtl }),
    ...(options.period && { period: options.period }),
    ...(options.useLimit !== undefined && { num_uses: options.useLimit }),
    ...(options.displayName && { display_name: options.displayName }),
    ...(options.metadata && { meta: mapOf(options.metadata) }),
    ...(options.type && { type: options.type }),
    ...(!options.defaultPolicy && { no_default_policy: true }),
  };
  const where = options.orphan === true && options.role === undefined ? "create-orphan" : path;
  const wrap = options.wrapTtl === undefined ? {} : { "X-Vault-Wrap-TTL": options.wrapTtl };
  const answer = await client.call("POST", `auth/token/${where}`, body, [], wrap);
  const content = contentOf(answer.body ?? {});
  const { client_token: token, ...rest } = content;
  show(io, answer.body, token === undefined ? content : { token, ...rest }, options);
  return 0;
}

export interface TokenOptions extends ShowOptions {
  readonly accessor?: string;
  readonly hash?: readonly string[];
  readonly self?: boolean;
  /** "-" for one that is typed or piped in. */
  readonly source?: string | undefined;
  readonly increment?: string;
  readonly mode?: string;
}

const atOnce = 16;

/** Accessors by their hashes, of tokens that there are. Asks for the hash of each one: the log tells no accessor. */
async function accessorsOf(client: Client, hashes: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const [{ body: listed }, { body: devices }] = await Promise.all([
    client.call("GET", "auth/token/accessors?list=true", undefined, [404]),
    client.call("GET", "sys/audit"),
  ]);
  const accessors = (dataIn(listed)["keys"] ?? []) as readonly string[];
  // All devices have the same hashes.
  const [device = ""] = Object.keys(dataIn(devices));
  const path = `sys/audit-hash/${apiPath(device)}`;
  const found = new Map<string, string>();
  for (let at = 0; at < accessors.length && found.size < hashes.length; at += atOnce) {
    const some = accessors.slice(at, at + atOnce);
    const answers = await Promise.all(some.map((input) => client.call("POST", path, { input })));
    for (const [each, { body }] of answers.entries()) {
      const hash = String(dataIn(body)["hash"]);
      if (hashes.includes(hash)) found.set(hash, some[each] ?? "");
    }
  }
  return found;
}

const unknownHash = "no token that there is has an accessor of this hash: it ended, or it is a batch token";

async function accessorIn(client: Client, { hash: hashes, accessor }: TokenOptions): Promise<string | undefined> {
  if (hashes === undefined) return accessor;
  const [hash = "", ...more] = hashes;
  if (more.length > 0) throw new CommandError("give one --hash: only revoke takes several");
  const found = (await accessorsOf(client, [hash])).get(hash);
  if (found === undefined) throw new CommandError(unknownHash, remote);
  return found;
}

/** Where to ask, and with what: by accessor, about the caller's own token, or about one that is typed. */
async function meant(client: Client, io: Io, what: "lookup" | "renew" | "revoke", options: TokenOptions) {
  refuseShown(options.source, "a token");
  const accessor = await accessorIn(client, options);
  if (accessor !== undefined) return { path: `${what}-accessor`, body: { accessor } };
  const own = options.source === undefined && what !== "revoke";
  if (options.self === true || own) return { path: `${what}-self`, body: {} };
  return { path: what, body: { token: await hiddenWord(io, "Token") } };
}

export async function lookupToken(client: Client, io: Io, options: TokenOptions): Promise<number> {
  const { path, body } = await meant(client, io, "lookup", options);
  const { body: found } = await client.call(
    path === "lookup-self" ? "GET" : "POST",
    `auth/token/${path}`,
    path === "lookup-self" ? undefined : body,
  );
  const { id: _id, ...rest } = dataIn(found);
  show(io, found, options.field === undefined ? rest : dataIn(found), options);
  return 0;
}

export async function renewToken(client: Client, io: Io, options: TokenOptions): Promise<number> {
  const { path, body } = await meant(client, io, "renew", options);
  const increment = options.increment === undefined ? {} : { increment: options.increment };
  const answer = await client.call("POST", `auth/token/${path}`, { ...body, ...increment });
  const { client_token: _token, ...rest } = contentOf(answer.body ?? {});
  show(io, answer.body, rest, options);
  return 0;
}

export async function revokeToken(client: Client, io: Io, options: TokenOptions): Promise<number> {
  if (options.hash !== undefined) return revokeHashed(client, io, options.hash);
  const { path, body } = await meant(client, io, "revoke", options);
  if (options.mode !== undefined && (options.mode !== "orphan" || path !== "revoke")) {
    throw new CommandError("--mode is orphan, for a token that is typed: its children stay");
  }
  await client.call("POST", `auth/token/${options.mode === "orphan" ? "revoke-orphan" : path}`, body);
  io.out("The token is revoked, if it was there");
  return 0;
}

/** Exit code 2 where one is not there: it may be a batch token, which lives on. */
async function revokeHashed(client: Client, io: Io, hashes: readonly string[]): Promise<number> {
  const found = await accessorsOf(client, hashes);
  for (const hash of new Set(hashes)) {
    const accessor = found.get(hash);
    if (accessor !== undefined) await client.call("POST", "auth/token/revoke-accessor", { accessor });
    io.out(`${hash}: ${accessor === undefined ? unknownHash : "revoked"}`);
  }
  return hashes.every((hash) => found.has(hash)) ? 0 : remote;
}

export async function capabilities(client: Client, io: Io, paths: readonly string[], options: TokenOptions) {
  // Vault's command takes a token in front of the paths.
  if (/^hv[sb]\./.test(paths[0] ?? "")) refuseShown(paths[0], "a token");
  const own = options.accessor === undefined;
  const body = own ? { paths } : { paths, accessor: options.accessor };
  const { body: answer } = await client.call("POST", own ? "sys/capabilities-self" : "sys/capabilities-accessor", body);
  const found = Object.fromEntries(paths.map((path) => [path, dataIn(answer)[path]]));
  if (!isTable(io, options)) json(io, found);
  else table(io, ["Path", "Capabilities"], Object.entries(found));
  return 0;
}

const policyPath = (name: string): string => `sys/policies/acl/${encodeURIComponent(name)}`;

export async function listPolicies(client: Client, io: Io, options: ShowOptions): Promise<number> {
  const { body } = await client.call("GET", "sys/policies/acl?list=true");
  showKeys(io, dataIn(body)["keys"] as readonly string[], options);
  return 0;
}

export async function readPolicy(client: Client, io: Io, name: string, options: ShowOptions): Promise<number> {
  const { body, status } = await client.call("GET", policyPath(name), undefined, [404]);
  if (status === 404) throw new CommandError(`there is no policy ${name}`, remote);
  if (options.field !== undefined || !isTable(io, options)) show(io, body, dataIn(body), options);
  else io.out(String(dataIn(body)["policy"]).trimEnd());
  return 0;
}

export async function writePolicy(client: Client, io: Io, name: string, source: string): Promise<number> {
  await client.call("POST", policyPath(name), { policy: await textOf(source, io) });
  io.out(`Written: policy ${name}`);
  return 0;
}

export async function deletePolicy(client: Client, io: Io, name: string): Promise<number> {
  await client.call("DELETE", policyPath(name));
  io.out(`Deleted: policy ${name}`);
  return 0;
}

export interface LeaseOptions extends ShowOptions {
  readonly increment?: string;
  readonly prefix?: boolean;
  readonly force?: boolean;
  readonly full?: boolean;
}

export async function listLeases(client: Client, io: Io, prefix: string, options: LeaseOptions): Promise<number> {
  const { body, status } = await client.call("GET", `sys/leases/lookup/${apiPath(prefix)}?list=true`, undefined, [404]);
  if (status === 404) throw new CommandError(`there are no leases below ${prefix}`, remote);
  const keys = dataIn(body)["keys"] as readonly string[];
  if (options.full === true) for (const key of keys) io.out(`${prefix.replace(/\/+$/, "")}/${key}`);
  else showKeys(io, keys, options);
  return 0;
}

export async function lookupLease(client: Client, io: Io, id: string, options: ShowOptions): Promise<number> {
  const answer = await client.call("POST", "sys/leases/lookup", { lease_id: id });
  showAnswer(io, answer, options);
  return 0;
}

export async function renewLease(client: Client, io: Io, id: string, options: LeaseOptions): Promise<number> {
  const increment = options.increment === undefined ? {} : { increment: options.increment };
  const { body } = await client.call("POST", "sys/leases/renew", { lease_id: id, ...increment });
  const { lease_id, lease_duration, renewable } = body ?? {};
  show(io, body, { lease_id, lease_duration, renewable }, options);
  return 0;
}

export async function revokeLease(client: Client, io: Io, id: string, options: LeaseOptions): Promise<number> {
  if (options.force === true && options.prefix !== true) throw new CommandError("--force goes with --prefix");
  const where = options.force === true ? "revoke-force" : "revoke-prefix";
  if (options.prefix === true) await client.call("POST", `sys/leases/${where}/${apiPath(id)}`);
  else await client.call("POST", "sys/leases/revoke", { lease_id: id });
  io.out(options.prefix === true ? `Everything below ${id} is revoked` : "The lease is revoked");
  return 0;
}
