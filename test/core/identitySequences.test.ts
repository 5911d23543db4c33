// Random sequences of everything that writes identity. Whatever happened, each entity and group is the same one by id, by
// name and by alias, in both directions, also after a restart; no id comes back; a token lives as long as its entity.

import fc from "fast-check";
import { expect, it } from "vitest";
import type { VaultError } from "../../src/sdk/errors.ts";
import { declare, setOf } from "./harness.ts";
import { directoryLogin, login, user, world, type World } from "./people.ts";

type Data = Readonly<Record<string, unknown>>;

interface Step {
  readonly op: keyof typeof steps;
  readonly a: number;
  readonly b: number;
  readonly name: string;
}

interface Token {
  readonly token: string;
  readonly entity: string;
}

interface Run {
  h: World;
  readonly tokens: Token[];
  /** By id: what it was merged into, "" where it was deleted. */
  readonly ended: Map<string, string>;
  commits: number;
}

const people = ["ada", "bob", "eve"];

/** Null for what is refused as it should be: nothing else may go wrong. */
async function tried<T>(task: Promise<T>): Promise<T | null> {
  try {
    return await task;
  } catch (error) {
    const { code } = error as VaultError;
    if (code === "invalid" || code === "not_found" || code === "denied" || code === "managed") return null;
    throw error;
  }
}

const keys = async (h: World, path: string): Promise<readonly string[]> =>
  ((await tried(h.ask("list", `identity/${path}`)))?.data?.["keys"] ?? []) as readonly string[];
const read = async (h: World, path: string): Promise<Data | null> =>
  (await tried(h.ask("read", `identity/${path}`)))?.data ?? null;
const lookup = async (h: World, kind: string, query: Data): Promise<unknown> =>
  (await h.ask("update", `identity/lookup/${kind}`, { ...query })).data?.["id"];
const strings = (value: unknown): readonly string[] => (value ?? []) as readonly string[];
const maps = (value: unknown): readonly Data[] => (value ?? []) as readonly Data[];

const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(list.length, 1)];
const write = (h: World, path: string, data: Data) => tried(h.ask("update", `identity/${path}`, { ...data }));

const steps = {
  create: ({ h }: Run, { name }: Step) => write(h, "entity", { name, policies: "reader" }),
  rename: async ({ h }: Run, { a, name }: Step) =>
    write(h, `entity/id/${pick(await keys(h, "entity/id"), a)}`, { name, metadata: { name } }),
  delete: async (run: Run, { a }: Step) => {
    const id = pick(await keys(run.h, "entity/id"), a);
    if (id !== undefined && (await tried(run.h.ask("delete", `identity/entity/id/${id}`)))) run.ended.set(id, "");
  },
  bind: async ({ h }: Run, { a, b }: Step) =>
    write(h, "entity-alias", {
      name: pick(people, b),
      mount_accessor: h.accessors[a % 2 === 0 ? "userpass" : "directory"],
      canonical_id: pick(await keys(h, "entity/id"), a),
    }),
  move: async ({ h }: Run, { a, b }: Step) =>
    write(h, `entity-alias/id/${pick(await keys(h, "entity-alias/id"), b)}`, {
      canonical_id: pick(await keys(h, "entity/id"), a),
    }),
  unbind: async ({ h }: Run, { a }: Step) =>
    tried(h.ask("delete", `identity/entity-alias/id/${pick(await keys(h, "entity-alias/id"), a)}`)),
  merge: async (run: Run, { a, b }: Step) => {
    const ids = await keys(run.h, "entity/id");
    const [to, from] = [pick(ids, a) ?? "", pick(ids, b) ?? ""];
    const aliases = maps((await read(run.h, `entity/id/${from}`))?.["aliases"]).map(({ id }) => id);
    const keep = b % 3 === 0 ? aliases.slice(0, 1) : [];
    const data = { to_entity_id: to, from_entity_ids: [from], conflicting_alias_ids_to_keep: keep };
    if (await write(run.h, "entity/merge", data)) run.ended.set(from, to);
  },
  login: async (run: Run, { a, b }: Step) => {
    const name = pick(people, a) ?? "";
    const auth = await tried(b % 2 === 0 ? login(run.h, ` ${name.toUpperCase()}`) : directoryLogin(run.h, name, "ops"));
    if (auth !== null) run.tokens.push({ token: auth.client_token, entity: auth.entity_id });
  },
  group: async ({ h }: Run, { a, b, name }: Step) => {
    const [entities, groups] = [await keys(h, "entity/id"), await keys(h, "group/id")];
    const members = { member_entity_ids: entities.slice(a % 4, b % 5), member_group_ids: groups.slice(b % 3, a % 4) };
    return write(h, a % 2 === 0 ? "group" : `group/id/${pick(groups, b)}`, { name, policies: "reader", ...members });
  },
  external: async ({ h }: Run, { a }: Step) => {
    const made = await write(h, "group", { type: "external" });
    return write(h, "group-alias", {
      name: a % 2 === 0 ? "ops" : "dev",
      mount_accessor: h.accessors["directory"],
      canonical_id: made?.data?.["id"],
    });
  },
  ungroup: async ({ h }: Run, { a }: Step) =>
    tried(h.ask("delete", `identity/group/id/${pick(await keys(h, "group/id"), a)}`)),
  disable: async ({ h }: Run, { a, b }: Step) =>
    write(h, `entity/id/${pick(await keys(h, "entity/id"), a)}`, { disabled: b % 2 === 0 }),
  commit: async (run: Run, { a, b }: Step) => {
    const before = await read(run.h, "entity/name/git");
    const spec = {
      aliases: [{ mount: "userpass", name: pick(people, b) }],
      policies: [],
      metadata: {},
      disabled: false,
    };
    const documents = a % 3 === 0 ? [] : [declare("Entity", "git", spec)];
    await run.h.target.apply(setOf(String((run.commits += 1)), ...documents), []);
    if (documents.length === 0 && before !== null) run.ended.set(before["id"] as string, "");
  },
  reopen: async (run: Run) => {
    const before = await state(run.h);
    await run.h.vault.core?.tasks.run();
    run.h = { ...run.h, ...(await run.h.reopen()) };
    expect(await state(run.h)).toEqual(before);
  },
};

async function state(h: World): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for (const kind of ["entity", "group"]) {
    for (const id of await keys(h, `${kind}/id`)) found.push(await read(h, `${kind}/id/${id}`));
  }
  return found;
}

async function checkEntities(run: Run): Promise<void> {
  const { h } = run;
  const ids = await keys(h, "entity/id");
  const names: string[] = [];
  const aliasIds: string[] = [];
  for (const id of ids) {
    const entity = await read(h, `entity/id/${id}`);
    const name = entity?.["name"] as string;
    names.push(name);
    expect(entity).toMatchObject({ id });
    expect(await read(h, `entity/name/${name.toUpperCase()}`)).toEqual(entity);
    expect(await lookup(h, "entity", { id })).toBe(id);
    for (const alias of maps(entity?.["aliases"])) {
      aliasIds.push(alias["id"] as string);
      expect(await read(h, `entity-alias/id/${String(alias["id"])}`)).toMatchObject({
        canonical_id: id,
        name: alias["name"],
      });
      const query = { alias_name: alias["name"], alias_mount_accessor: alias["mount_accessor"] };
      expect(await lookup(h, "entity", query)).toBe(id);
      expect(await lookup(h, "entity", { alias_id: alias["id"] })).toBe(id);
    }
    for (const group of strings(entity?.["direct_group_ids"])) {
      expect((await read(h, `group/id/${group}`))?.["member_entity_ids"]).toContain(id);
    }
    for (const merged of strings(entity?.["merged_entity_ids"])) expect(ids).not.toContain(merged);
  }
  expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(names.length);
  expect(await keys(h, "entity/name")).toEqual(names.sort());
  expect(await keys(h, "entity-alias/id")).toEqual(aliasIds.sort());
  for (const id of run.ended.keys()) expect(ids).not.toContain(id);
}

async function checkGroups({ h }: Run): Promise<void> {
  const ids = await keys(h, "group/id");
  const entities = await keys(h, "entity/id");
  for (const id of ids) {
    const group = await read(h, `group/id/${id}`);
    const name = group?.["name"] as string;
    expect(await read(h, `group/name/${name.toUpperCase()}`)).toEqual(group);
    for (const member of strings(group?.["member_entity_ids"])) {
      expect(entities).toContain(member);
      expect((await read(h, `entity/id/${member}`))?.["direct_group_ids"]).toContain(id);
    }
    for (const member of strings(group?.["member_group_ids"])) {
      expect((await read(h, `group/id/${member}`))?.["parent_group_ids"]).toContain(id);
    }
    for (const parent of strings(group?.["parent_group_ids"])) {
      expect((await read(h, `group/id/${parent}`))?.["member_group_ids"]).toContain(id);
    }
    const alias = group?.["alias"] as Data;
    if (alias["id"] === undefined) continue;
    const query = { alias_name: alias["name"], alias_mount_accessor: alias["mount_accessor"] };
    expect(await lookup(h, "group", query)).toBe(id);
  }
  const inside = async (id: string, path: readonly string[]): Promise<void> => {
    expect(path).not.toContain(id);
    for (const member of strings((await read(h, `group/id/${id}`))?.["member_group_ids"]))
      await inside(member, [...path, id]);
  };
  for (const id of ids) await inside(id, []);
}

async function checkTokens({ h, tokens, ended }: Run): Promise<void> {
  for (const { token, entity } of tokens) {
    let now = entity;
    while (ended.has(now)) now = ended.get(now) ?? "";
    const self = await tried(h.ask("read", "auth/token/lookup-self", {}, token).catch(() => null));
    if (now === "") expect(self).toBeNull();
    else if (self !== null) {
      // By the alias that it was made with, it may be somebody else by now, who is there and not disabled.
      expect(await read(h, `entity/id/${String(self.data?.["entity_id"])}`)).toMatchObject({ disabled: false });
    }
  }
}

const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom(...(Object.keys(steps) as (keyof typeof steps)[])),
  a: fc.nat(20),
  b: fc.nat(20),
  name: fc.constantFrom("Ada", "ada", "Bob", "x/y", "Ops", "ops"),
});

it("leaves entities, aliases and groups the same whichever way one comes to them", async () => {
  const sequences = fc.array(step, { minLength: 10, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(sequences, async (sequence) => {
      const run: Run = { h: await world(), tokens: [], ended: new Map(), commits: 0 };
      for (const name of people) await user(run.h, name);
      for (const each of [...sequence, { op: "reopen", a: 0, b: 0, name: "" } as const]) {
        await steps[each.op](run, each);
        await checkTokens(run);
      }
      await checkEntities(run);
      await checkGroups(run);
    }),
    { numRuns: 25 },
  );
});
