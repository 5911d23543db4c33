// The capabilities of Vault's policy language as bits, and what each operation asks for.
// Must hold: deny is never shown or granted together with another capability.

import type { Operation } from "../sdk/request.ts";

/** In the order in which Vault lists them: alphabetical. */
export const capabilities = ["create", "delete", "deny", "list", "patch", "read", "scan", "sudo", "update"] as const;

export type Capability = (typeof capabilities)[number];

const bits = new Map<string, number>(capabilities.map((name, at) => [name, 1 << at]));

export const isCapability = (name: string): name is Capability => bits.has(name);

export const bit = (capability: Capability): number => bits.get(capability) ?? 0;

export const deny = bit("deny");
export const sudo = bit("sudo");

/** As bits. Deny beside others is deny alone. */
export function maskOf(names: readonly Capability[]): number {
  let mask = 0;
  for (const name of names) mask |= bit(name);
  return (mask & deny) === 0 ? mask : deny;
}

/** What to ask of a rule for each operation. Help asks nothing: Vault answers it to every valid token. */
export const needs: Readonly<Record<Operation, number>> = {
  create: bit("create"),
  read: bit("read"),
  update: bit("update"),
  patch: bit("patch"),
  delete: bit("delete"),
  list: bit("list"),
  scan: bit("scan"),
  help: 0,
};

const lists = new Map<number, readonly Capability[]>();
const none: readonly Capability[] = Object.freeze(["deny" as const]);

/** Sorted; ["deny"] where nothing is granted. Frozen, one list for each mask. */
export function namesOf(mask: number): readonly Capability[] {
  if (mask === 0 || (mask & deny) !== 0) return none;
  let list = lists.get(mask);
  if (list === undefined) {
    list = Object.freeze(capabilities.filter((name) => (mask & bit(name)) !== 0));
    lists.set(mask, list);
  }
  return list;
}
