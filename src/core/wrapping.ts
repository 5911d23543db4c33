// Wrapped answers: what a client asked for is kept in the cubbyhole of a token of its own, which is what he gets instead.
// Must hold: what is unwrapped is the very text that the client would have got; a wrapping token gives it once, to one
// caller, whatever comes at the same time; nothing that was wrapped stands in the audit but as HMACs.
// A login that was wrapped made a token that lives on when nobody unwraps it, until its own time ends, as in Vault.

import { rfc3339 } from "../lib/clock.ts";
import { hasBackslashName } from "../lib/json.ts";
import { VaultError } from "../sdk/errors.ts";
import { ofAddress } from "../sdk/origin.ts";
import type { Request, Response, WrapInfo } from "../sdk/request.ts";
import type { ViewOp } from "../sdk/view.ts";
import { wrappingName } from "../policy/compile.ts";
import { ofEntity, type Origins, originsOf } from "./blocks/origins.ts";
import type { Outcome } from "./broker/entry.ts";
import type { Core } from "./core.ts";
import type { Principal } from "./exchange.ts";
import { entryKey, readEntry } from "./cubbyhole.ts";
import { envelopeOf, isAbsent } from "./envelope.ts";
import { checkPath } from "./leases/keys.ts";
import type { NewToken, TokenEntry } from "./tokens/entry.ts";

/** Where the answer stands, as in Vault. */
const responsePath = "response";

export const invalidWrapping = (): VaultError =>
  new VaultError("invalid", "wrapping token is not valid or does not exist");

/** Lists are asked for with a slash at the end, which no key has. */
const placeOf = (request: Request): string => request.path.replace(/\/+$/, "");

/** Throws VaultError `invalid` where the answer could not be wrapped, before anything is done for it. */
export function checkWrap(request: Request): void {
  if (request.share !== undefined) {
    throw new VaultError("invalid", "answers about shares of a key cannot be wrapped: leave X-Vault-Wrap-TTL out");
  }
  checkPath(placeOf(request));
}

export interface Wrapping {
  /** The answer as a client would have got it. */
  readonly text: string;
  /** Where it was made. */
  readonly path: string;
  /** Seconds. */
  readonly ttl: number;
  readonly displayName: string;
  /** Of who asked for it. */
  readonly origins: Origins;
  /** Of what is inside. */
  readonly accessor?: string | undefined;
}

export async function keepWrapped(core: Core, wrapping: Wrapping): Promise<WrapInfo> {
  const { text, path, ttl, displayName, origins, accessor } = wrapping;
  const made: NewToken = {
    parent: null,
    policies: [wrappingName],
    mapping: null,
    alias: null,
    ...(origins.length > 0 && { origins }),
    display_name: displayName,
    meta: null,
    path,
    ttl,
    max_ttl: 0,
    explicit_max_ttl: ttl,
    period: 0,
    renewable: false,
    num_uses: 1,
    bound_cidrs: [],
    wrapping: true,
  };
  const content = (id: string): ViewOp[] => [
    { key: entryKey(id, responsePath), value: { response: text }, expect: "absent" },
  ];
  // Of no mount: it stands beside what the mount made.
  const { token, entry } = await core.quotas.leased(null, path, null, () => core.tokens.create(made, content));
  return {
    token,
    accessor: entry.accessor,
    ttl,
    creation_time: rfc3339(entry.created_at),
    creation_path: path,
    ...(accessor !== undefined && { wrapped_accessor: accessor }),
  };
}

/** The text behind a wrapping token; null where there is none. */
export async function readWrapped(core: Core, id: string): Promise<string | null> {
  const response = (await readEntry(core.root, entryKey(id, responsePath)))?.["response"];
  return typeof response === "string" ? response : null;
}

/** The entry of a wrapping token that has not been used; null where it is none. */
export async function wrappingOf(core: Core, token: string, at: number): Promise<TokenEntry | null> {
  const entry = (await core.tokens.get(core.tokens.idOf(token)))?.value;
  if (entry?.wrapping !== true || entry.num_uses <= 0 || at >= entry.expires_at) return null;
  return core.generation.blocks?.refusesMade(entry.created_at, originsOf(entry)) ? null : entry;
}

function accessorOf({ auth, data, mountType }: Response): string | undefined {
  if (auth !== undefined) return auth.accessor;
  const secretId = mountType === "approle" ? data?.["secret_id_accessor"] : undefined;
  return typeof secretId === "string" ? secretId : undefined;
}

/** What the client gets in place of `response`. Never throws: what `response` carries is ended where it cannot be kept. */
export async function wrap(
  core: Core,
  request: Request,
  response: Response,
  asker: Principal | null,
): Promise<Outcome> {
  if (request.wrapTtl === undefined || request.wrapTtl === 0 || response.wrapInfo !== undefined) return { response };
  try {
    if (response.stream !== undefined || response.text !== undefined)
      throw new VaultError("invalid", "this answer is no JSON and cannot be wrapped");
    const text = isAbsent(request.operation, response) ? null : envelopeOf(request.id, response);
    // Nothing to tell is nothing to wrap.
    if (text === null) return { response };
    // Names in answers may be what somebody asked about.
    if (hasBackslashName(text))
      throw new VaultError("invalid", "this answer has a name that is a backslash alone, and cannot be wrapped");
    const ttl = Math.min(request.wrapTtl, core.maxLeaseTtl);
    const displayName = asker?.displayName ?? "";
    // Of a login, who it made a token for.
    const { entity_id: id = "" } = response.auth ?? {};
    const whose = asker?.origins ?? (id === "" ? [] : [ofEntity(id)]);
    const origins = [...new Set([...whose, ...ofAddress(request.connection)])];
    const wrapping = { text, path: placeOf(request), ttl, displayName, origins, accessor: accessorOf(response) };
    return { response: { wrapInfo: await keepWrapped(core, wrapping) } };
  } catch (error) {
    await withdraw(core, response);
    return { error: core.vaultError(error, request.id) };
  }
}

/** Ends what an answer carries that nobody will get. Never throws. */
export async function withdraw(core: Core, { auth, wrapInfo, lease }: Response): Promise<void> {
  for (const token of [auth?.client_token, wrapInfo?.token]) {
    if (token) await core.tokens.revoke(core.tokens.idOf(token)).catch(() => {});
  }
  if (lease?.id) await core.leases.revokeFresh(lease.id);
}

/** The answer again, and beside it for the audit what is in it. */
export function unwrapped(text: string): Response {
  const inner = JSON.parse(text) as Record<string, unknown>;
  if (!Object.hasOwn(inner, "wrap_info")) return { raw: text, data: inner };
  const { data, auth } = inner as Pick<Response, "data" | "auth">;
  return { raw: text, data: data ?? null, ...(auth && { auth }) };
}
