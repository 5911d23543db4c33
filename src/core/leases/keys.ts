// Where leases stand below the barrier's root, and how they are named.
//  lease/id/<lease id>           the lease; for a token only its place, which holds nothing
//  lease/due/<time>/<name>       what to look at, and when: one index for tokens and leases
//  token/child/<token>/<name>    what ends with a token: child tokens, leases and its cubbyhole
//  lease/mount/<accessor>/<name> the leases of a mount, wherever it is mounted now
//  lease/stuck/<name>            leases that cannot be revoked
// A name is one segment: a token's id (hex), or a lease's id with its slashes escaped (every lease id has one), or what
// stands for the cubbyhole of a token.
// Must hold: what the due index says is a hint. Whether something ends is decided by what it names.

import { VaultError } from "../../sdk/errors.ts";

const dueDigits = 15;

/** Milliseconds since 1970 as a segment that sorts by time. */
export const timeSegment = (at: number): string => String(at).padStart(dueDigits, "0");

export const nameOf = (lease: string): string => lease.replaceAll("%", "%25").replaceAll("/", "%2F");
export const leaseOf = (name: string): string => name.replaceAll("%2F", "/").replaceAll("%25", "%");
export const isLease = (name: string): boolean => name.includes("%2F");

const cubbyholeHead = "cubbyhole-";
/** Stands for all that a token keeps for itself. */
export const cubbyholeName = (token: string): string => `${cubbyholeHead}${token}`;
const isCubbyhole = (name: string): boolean => name.startsWith(cubbyholeHead) && !isLease(name);
/** Whose cubbyhole it stands for; null for every other name. */
export const cubbyholeOf = (name: string): string | null =>
  isCubbyhole(name) ? name.slice(cubbyholeHead.length) : null;
export const isToken = (name: string): boolean => !isLease(name) && !isCubbyhole(name);

export const idKey = (lease: string): string => `lease/id/${lease}`;
export const dueKey = (at: number, name: string): string => `lease/due/${timeSegment(at)}/${name}`;
export const childKey = (token: string, name: string): string => `token/child/${token}/${name}`;
export const mountKey = (accessor: string, name: string): string => `lease/mount/${accessor}/${name}`;
export const stuckKey = (name: string): string => `lease/stuck/${name}`;

/** Names stand in keys, which have at most 1,024 bytes, next to a token's id or a mount's accessor. */
const longest = 900;

/** Throws VaultError `invalid` where a lease made at `path` could not be indexed. */
export function checkPath(path: string): void {
  if (Buffer.byteLength(nameOf(path)) > longest) {
    throw new VaultError("invalid", `a path that leases something may have at most ${longest} bytes`);
  }
}

const tokenLease = /^(.+)\/h([0-9a-f]{64})$/;

/** A token as a lease, as Vault names it: where it was made, and its id, which is an HMAC and opens nothing. */
export const leaseOfToken = (path: string, id: string): string => `${path}/h${id}`;

/** The token that a lease id names; null where it names no token. */
export function tokenOf(lease: string): { readonly path: string; readonly id: string } | null {
  const [, path, id] = tokenLease.exec(lease) ?? [];
  return path === undefined || id === undefined ? null : { path, id };
}
