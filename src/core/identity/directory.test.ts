// A directory that followed from others, change by change, answers as one made anew; and those before it answer as they did.

import { createSecretKey } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { whole } from "../../lib/slices.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { MountTable } from "../mounts.ts";
import { keyOf, Table } from "../table.ts";
import { Directory } from "./directory.ts";
import type { Bound, Entity, Group, Person } from "./entity.ts";

const key = createSecretKey(Buffer.alloc(32, 7));
const accessors = ["auth/a", "auth/b"];
const mounts = {
  at: (path: string) => (accessors.includes(path) ? { accessor: path, plugin: null } : null),
} as unknown as MountTable;

const names = ["ada", "Ada", "ADA", "bob", "Bob", ""];
const logins = ["x", "y", "z"];
const ids = Array.from({ length: 5 }, (_, n) => `id-${n}`);
const aliasIds = ids.map((id) => `alias-${id}`);

const source = fc.constantFrom(null, { file: "a.yaml", line: 1, column: 1 });
const some = (list: readonly string[]) => fc.uniqueArray(fc.constantFrom(...list), { maxLength: 3 });
/** In one place alone at a time, as ids are. */
const made = fc.option(fc.constant({ created: 1, changed: 1, changes: 0 }), { nil: undefined });

const bound = (at: number): fc.Arbitrary<Bound> =>
  fc.record({
    id: fc.constant(aliasIds[at] ?? ""),
    accessor: fc.constantFrom(...accessors),
    name: fc.constantFrom(...logins),
    created: fc.constant(1),
    changed: fc.constant(1),
  });

/** What stands under the name at `at` has an id of its own, or the one that follows from the name. */
const declaring = (kind: string, own: (at: number) => Readonly<Record<string, fc.Arbitrary<unknown>>>) =>
  fc
    .nat(names.length - 2)
    .chain((at) =>
      fc
        .record({ source, made, spec: fc.record({ policies: some(["p", "q"]), ...own(at) }) })
        .map((rest) => declare(kind, at, rest)),
    );

const entity = declaring("Entity", (at) => ({
  metadata: fc.constant({}),
  disabled: fc.boolean(),
  aliases: fc.array(fc.record({ mount: fc.constantFrom("a", "b", "gone"), name: fc.constantFrom(...logins) }), {
    maxLength: 2,
  }),
  bound: fc.array(bound(at), { maxLength: 1 }),
  merged: fc.constantFrom([], [`was-${at}`]),
}));

const group = declaring("Group", (at) => ({
  metadata: fc.constant({}),
  type: fc.constantFrom("internal", "external"),
  member_entities: some(names),
  member_groups: some(names),
  member_entity_ids: some([...ids, "was-1"]),
  member_group_ids: some(ids),
  alias: fc.option(bound(at)),
}));

function declare(
  kind: string,
  at: number,
  { source: from, made: known, spec }: { source: Declaration["source"]; made: object | undefined; spec: object },
): Declaration {
  const name = names[at] ?? "";
  return {
    kind,
    mount: null,
    name,
    metadata: { name },
    spec: spec as Declaration["spec"],
    secrets: {},
    source: from,
    ...(known && { made: { id: ids[at] ?? "", created: 1, changed: 1, changes: 0 } }),
  };
}

const suffix = "-renamed";
/** Under another name with the same id, as the API renames. */
const renamed = (one: Declaration): Declaration => ({ ...one, name: `${one.name}${suffix}` });
const first = (one: Declaration): Declaration => ({ ...one, name: one.name.slice(0, -suffix.length) });

const nameOf = (one: Person | Group | null) => one && [one.name, one.id, one.declaration];
const entityOf = (one: Entity | null) => one && { ...one, groups: one.groups.map(nameOf) };

/** Everything that can be asked. */
function answers(directory: Directory, table: Table): unknown {
  const people = [...directory.people].sort((a, b) => (a.id < b.id ? -1 : 1));
  const groups = [...directory.groups].sort((a, b) => (a.id < b.id ? -1 : 1));
  const allIds = [
    ...ids,
    ...ids.map((_, n) => `was-${n}`),
    ...people.map(({ id }) => id),
    ...groups.map(({ id }) => id),
    "nobody",
  ];
  const aliases = accessors.flatMap((accessor) => logins.map((name) => ({ accessor, name })));
  const allNames = [...names, ...[...table].flatMap(({ name }) => [name, name.toUpperCase()])];
  return [
    people.map((one) => [nameOf(one), one.aliases, directory.aliasesOf(one), entityOf(directory.entity(one))]),
    groups.map((one) => [
      nameOf(one),
      one.spec,
      directory.members(one),
      directory.parentsOf(one),
      directory.above(one),
    ]),
    allIds.map((id) => [
      nameOf(directory.person(id)),
      nameOf(directory.group(id)),
      nameOf(directory.holderOf(id)),
      directory.knows(id),
      directory.directOf(id),
      entityOf(
        directory.ofLogin({ id, name: "login", alias: { accessor: "auth/a", name: "x" }, number: 0, created: 0 }),
      ),
    ]),
    allNames.map((name) => [nameOf(directory.personNamed(name)), nameOf(directory.groupNamed(name))]),
    aliases.map((alias) => [
      nameOf(directory.personAt(alias)),
      nameOf(directory.groupAt(alias)),
      entityOf(directory.byAlias(alias)),
    ]),
    [...aliasIds, ...people.flatMap((one) => one.aliases.map(({ id }) => id))].map((id) => {
      const owned = directory.personOfAlias(id);
      return [owned && [nameOf(owned.person), owned.alias], nameOf(directory.groupOfAlias(id))];
    }),
    people.map((one) => entityOf(directory.joined(directory.entity(one), "auth/a", logins))),
  ];
}

const step = fc.record({
  put: fc.array(fc.oneof(entity, group), { maxLength: 4 }),
  /** Which of those that are there go, and which come again under another name. */
  remove: fc.array(fc.nat(30), { maxLength: 2 }),
  rename: fc.array(fc.nat(30), { maxLength: 1 }),
  /** From which of the directories so far the next is made. */
  from: fc.nat(3),
});

it("answers as one that was made anew, whatever changes led to it", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      let table = new Table();
      const all = [{ table, directory: whole(Directory.of(table, mounts, key)), was: undefined as unknown }];
      for (const { put, remove, rename, from } of steps) {
        const there = [...table];
        const pick = (at: number): Declaration[] => there.slice(at % Math.max(there.length, 1)).slice(0, 1);
        // An id is that of one object at a time: who is put under the first name of another takes its place.
        const taken = new Set(put.map(keyOf));
        const moved = there.filter((one) => one.name.endsWith(suffix) && taken.has(keyOf(first(one))));
        const leaving = rename.flatMap(pick).filter((one) => one.made !== undefined && !one.name.endsWith(suffix));
        const comes = leaving.filter((one) => !taken.has(keyOf(one))).map(renamed);
        const gone = [...remove.flatMap(pick), ...leaving, ...moved];
        table = table.with([...put, ...comes], gone);
        const base = all[Math.max(0, all.length - 1 - from)]?.directory;
        const directory = base === undefined ? undefined : whole(base.over(table));
        if (directory === undefined) throw new Error("no base");
        const anew = whole(Directory.of(Table.of([...table].reverse()), mounts, key));
        const was = answers(directory, table);
        expect(was).toEqual(answers(anew, table));
        all.push({ table, directory, was });
      }
      for (const { table: then, directory, was } of all.slice(1)) expect(answers(directory, then)).toEqual(was);
      expect(new Set([...table].map(keyOf)).size).toBe([...table].length);
    }),
    { numRuns: 100 },
  );
});
