// Since when an object is there without a break: the number of the generation in which it came. A token knows the
// generation that it was made in, so what was made before its mapping, or the mount of it, went away stays dead when
// the declaration comes back, also while the revocation of stored tokens is still under way, and also a batch token, of
// which nothing is stored.
// Must hold: a change of an object, and a move of its mount, leave the number as it is; what comes anew gets a new one.

import type { Declaration } from "../sdk/kind.ts";
import { authMethodKind, mountPathOf } from "./kinds.ts";
import type { Table } from "./table.ts";
import { tokenRoles } from "./tokens/roles.ts";

/** Kinds that tokens are traced to. */
const isTraced = ({ kind, mount }: Declaration): boolean =>
  mount !== null || kind === authMethodKind.name || kind === tokenRoles.kind;

/** Where the auth methods that move come from, by where they move to. */
function movesOf(table: Table, put: readonly Declaration[]): ReadonlyMap<string, string> {
  const moves = new Map<string, string>();
  for (const { kind, name, spec } of put) {
    const was = kind === authMethodKind.name ? table.get(kind, null, name) : null;
    if (was !== null) moves.set(mountPathOf(name, spec), mountPathOf(name, was.spec));
  }
  return moves;
}

/** `put` with the number each has, or gets in generation `seq`; `table` is what was there before. */
export function dated(table: Table, put: readonly Declaration[], seq: number): readonly Declaration[] {
  const moves = movesOf(table, put);
  return put.map((declaration) => {
    if (!isTraced(declaration)) return declaration;
    const { kind, mount, name } = declaration;
    const known = table.get(kind, mount === null ? null : (moves.get(mount) ?? mount), name);
    return { ...declaration, since: known === null ? seq : (known.since ?? 0) };
  });
}
