// Which object of a name it is: entities and groups have ids, which others keep (tokens, members, clients' own records).
// Must hold: an id stays while the declaration changes, whoever declares it, also under another name where the API renames
// it; what comes anew under a name that was there before has a new id.

import { randomUUID } from "node:crypto";
import type { Declaration } from "../../sdk/kind.ts";
import { entityKind, groupKind } from "../kinds.ts";
import type { Table } from "../table.ts";

const kinds: readonly string[] = [entityKind.name, groupKind.name];

/** `put` with what each has, or gets now; `table` is what was there before. */
export const identified = (table: Table, put: readonly Declaration[], now: number): readonly Declaration[] =>
  put.map((declaration) => {
    const { kind, mount, name } = declaration;
    if (!kinds.includes(kind)) return declaration;
    const before = table.get(kind, mount, name);
    // One that is older than ids has the id that follows from its name, and keeps it.
    if (before !== null && before.made === undefined) return declaration;
    const known = before?.made ?? declaration.made ?? { id: randomUUID(), created: now, changes: 0 };
    return { ...declaration, made: { ...known, changed: now, changes: known.changes + 1 } };
  });
