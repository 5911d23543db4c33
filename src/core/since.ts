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

/** The name of the auth method at a path: it stays when the path changes. */
function methodAt(table: Table, mount: string | null): string | null {
  for (const { name, spec } of table.shelf(authMethodKind.name, null).values()) {
    if (mountPathOf(name, spec) === mount) return name;
  }
  return null;
}

/** `put` with the number each has, or gets in generation `seq`; `table` is what was there before. */
export function dated(
  table: Table,
  { put, remove }: { readonly put: readonly Declaration[]; readonly remove: readonly Declaration[] },
  seq: number,
): readonly Declaration[] {
  const left = new Map(remove.map((one) => [`${one.kind}\n${one.name}`, one]));
  let next: Table | null = null;
  const before = (declaration: Declaration): Declaration | null => {
    const { kind, mount, name } = declaration;
    const same = table.get(kind, mount, name);
    const other = left.get(`${kind}\n${name}`);
    if (same !== null || other === undefined || mount === null) return same;
    next ??= table.with(put, remove);
    const method = methodAt(table, other.mount);
    return method !== null && method === methodAt(next, mount) ? other : null;
  };
  return put.map((declaration) => {
    if (!isTraced(declaration)) return declaration;
    const known = before(declaration);
    return { ...declaration, since: known === null ? seq : (known.since ?? 0) };
  });
}
