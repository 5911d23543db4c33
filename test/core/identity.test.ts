import { describe, expect, it } from "vitest";
import { declare, refusal, setOf, mountOf, userOf } from "./harness.ts";
import { directoryLogin, idOf, login, tokenOf, user, world, type World } from "./people.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const reads = (h: World, token: string) => h.ask("read", "secret/app/one", {}, token);

const textAt = async (h: World, path: string, field: string): Promise<string> =>
  (await h.ask("read", path)).data?.[field] as string;

/** Of its first alias. */
async function aliasIdOf(h: World, id: string): Promise<string> {
  const aliases = (await h.ask("read", `identity/entity/id/${id}`)).data?.["aliases"] as readonly { id: string }[];
  return aliases[0]?.id ?? "";
}

const bind = (h: World, name: string, owner: string, mount = "userpass", more: Record<string, unknown> = {}) =>
  idOf(h, "identity/entity-alias", { name, mount_accessor: h.accessors[mount], canonical_id: owner, ...more });

describe("entities", () => {
  it("are written, read, renamed and listed with Vault's answers", async () => {
    const h = await world();
    expect(await refusal(h.ask("list", "identity/entity/id/"))).toBe("not_found: ");
    const made = await h.ask("update", "identity/entity", {
      name: "Ada",
      policies: "Reader, other,reader",
      metadata: { team: "red" },
    });
    const id = String(made.data?.["id"]);
    expect(made.data).toEqual({ id: expect.stringMatching(uuid), name: "Ada", aliases: null });
    const whole = {
      id,
      name: "Ada",
      aliases: [],
      policies: ["other", "reader"],
      metadata: { team: "red" },
      disabled: false,
      merged_entity_ids: null,
      direct_group_ids: [],
      inherited_group_ids: [],
      group_ids: [],
      mfa_secrets: {},
      creation_time: expect.stringMatching(/Z$/),
      last_update_time: expect.stringMatching(/Z$/),
      namespace_id: "root",
    };
    expect((await h.ask("read", `identity/entity/id/${id}`)).data).toEqual(whole);
    expect((await h.ask("read", "identity/entity/name/aDA")).data).toEqual(whole);
    expect(await h.ask("update", "identity/entity", { name: "ADA", metadata: {} })).not.toHaveProperty("data");
    expect((await h.ask("read", "identity/entity/name/Ada")).data).toEqual({ ...whole, metadata: null });
    expect(
      await h.ask("update", `identity/entity/id/${id}`, { name: "ada/home", disabled: "true" }),
    ).not.toHaveProperty("data");
    expect((await h.ask("read", "identity/entity/name/ada/home")).data).toMatchObject({ id, disabled: true });
    expect(await refusal(h.ask("read", "identity/entity/name/ada"))).toBe("not_found: ");
    expect((await h.ask("list", "identity/entity/name/")).data).toEqual({
      keys: ["ada/home"],
      key_info: { [id]: { name: "ada/home" } },
    });
    expect((await h.ask("list", "identity/entity/id/")).data?.["keys"]).toEqual([id]);
    await h.ask("delete", "identity/entity/name/ADA/home");
    await h.ask("delete", `identity/entity/id/${id}`);
    expect(await refusal(h.ask("list", "identity/entity/name/"))).toBe("not_found: ");
    expect(await idOf(h, "identity/entity/name/Ada")).not.toBe(id);
  });

  it.each<[unknown, Record<string, string> | null | RegExp]>([
    ["a=b", { a: "b" }],
    ["a=b=c,d=", { a: "b=c", d: "" }],
    ['{"a":"b"}', { a: "b" }],
    // What a command line makes of metadata=a=b metadata=c=d,e
    [["a=b", "c=d,e"], { a: "b", c: "d,e" }],
    [[], null],
    [["a=b", "c"], /^invalid: .*"metadata": expected a map of strings/],
    [["=c"], /^invalid: .*"metadata": expected a map of strings/],
    [[{ a: "b" }], /^invalid: .*"metadata": expected a string/],
    ["a=b, \\ =c", /^invalid: .*"metadata": expected a map without a name that is a backslash alone/],
    [["\\=c"], /^invalid: .*"metadata": expected a map without a name that is a backslash alone/],
  ])("take metadata %j", async (metadata, kept) => {
    const h = await world();
    const asked = h.ask("update", "identity/entity", { name: "ada", metadata });
    if (kept instanceof RegExp) {
      expect(await refusal(asked)).toMatch(kept);
      return;
    }
    await asked;
    expect((await h.ask("read", "identity/entity/name/ada")).data?.["metadata"]).toEqual(kept);
  });

  it("refuse what makes no sense, and nothing has changed", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const bob = await idOf(h, "identity/entity/name/bob");
    const eve = await idOf(h, "identity/entity/name/eve");
    const mount_accessor = h.accessors["userpass"];
    const alias = (name: string, canonical_id: string) =>
      h.ask("update", "identity/entity-alias", { name, mount_accessor, canonical_id });
    const known = (await alias("bobby", bob)).data?.["id"];
    await alias("evie", eve);
    const before = h.vault.core?.generation.record.seq;
    const wrong: [string, Record<string, unknown>, RegExp][] = [
      ["entity", { id: "nobody" }, /^invalid: entity not found from id$/],
      [`entity/id/${ada}`, { name: "BOB" }, /^invalid: entity name is already in use$/],
      ["entity/name/x", { policies: [" Root "] }, /^invalid: policies cannot contain root$/],
      ["entity/name/x", { policies: "ROOT" }, /root/],
      ["entity/name/x", { metadata: { "": "x" } }, /^invalid: metadata/],
      ["entity/name/x", { metadata: { x: "y".repeat(513) } }, /^invalid: metadata/],
      ["entity", { name: "a\nb" }, /^invalid: "name"/],
      ["entity", { name: "/a" }, /^invalid: "name"/],
      ["entity/batch-delete", {}, /missing entity ids/],
      ["entity/merge", {}, /missing entity id to merge to/],
      ["entity/merge", { to_entity_id: ada }, /missing entity ids to merge from/],
      [
        "entity/merge",
        { to_entity_id: ada, from_entity_ids: [bob, eve], conflicting_alias_ids_to_keep: ["a", "b"] },
        /aliases conflicts cannot be resolved/,
      ],
      ["entity/merge", { to_entity_id: "x", from_entity_ids: ada }, /entity id to merge to is invalid/],
      ["entity/merge", { to_entity_id: ada, from_entity_ids: "x" }, /entity id to merge from is invalid/],
      ["entity/merge", { to_entity_id: ada, from_entity_ids: [bob, eve] }, /found in multiple fromEntities/],
      [
        "entity-alias",
        { id: "x", name: "x", mount_accessor, canonical_id: ada },
        /^invalid: invalid alias ID provided$/,
      ],
      ["entity-alias/id/x", { name: "x", mount_accessor, canonical_id: ada }, /^invalid: invalid alias ID provided$/],
      ["entity-alias", { id: known, canonical_id: "x" }, /^invalid: given 'canonical_id' is not associated/],
      ["entity-alias", { name: "x" }, /'id' or 'mount_accessor' and 'name' must be provided/],
      ["entity-alias", { name: "x", mount_accessor: "kv_1" }, /^invalid: invalid mount accessor$/],
      ["entity-alias", { name: "x", mount_accessor: h.accessors["userpass"], canonical_id: "x" }, /canonical ID/],
      ["group", { policies: "rOOt" }, /root/],
      ["group", { type: "other" }, /type/],
      ["group", { member_entity_ids: "x" }, /^invalid: invalid entity ID/],
      ["group", { type: "external", member_entity_ids: ada }, /can't be set manually/],
      ["group-alias", { name: "x" }, /missing mount_accessor/],
    ];
    for (const [path, data, error] of wrong)
      expect(await refusal(h.ask("update", `identity/${path}`, data))).toMatch(error);
    expect(h.vault.core?.generation.record.seq).toBe(before);
  });

  it("keep their ids over restarts, and give no id twice", async () => {
    const h = await world();
    await user(h, "ada");
    const first = (await login(h, "ada")).entity_id;
    const bob = await idOf(h, "identity/entity/name/bob");
    const again = { ...h, ...(await h.reopen()) };
    expect((await login(again, "ada")).entity_id).toBe(first);
    expect((await again.ask("list", "identity/entity/id/")).data?.["keys"]).toEqual([first, bob].sort());
    await again.ask("delete", `identity/entity/id/${first}`);
    await again.ask("delete", `identity/entity/id/${bob}`);
    const third = { ...h, ...(await again.reopen()) };
    const second = (await login(third, "ada")).entity_id;
    expect(second).not.toBe(first);
    expect((await third.ask("list", "identity/entity/id/")).data?.["keys"]).toEqual([second]);
    expect(await refusal(third.ask("read", `identity/entity/id/${first}`))).toBe("not_found: ");
  });

  it("are one, however many ask for one at once", async () => {
    const h = await world();
    await user(h, "ada");
    const many = async <T>(task: (at: number) => Promise<T>) => {
      // While this one is written the others gather, and become one step.
      const first = h.ask("update", "sys/policies/acl/first", { policy: 'path "a" { capabilities = ["read"] }' });
      const all = Promise.all(Array.from({ length: 20 }, (_, at) => task(at)));
      return new Set((await Promise.all([first, all]))[1].filter(Boolean));
    };
    expect((await many(async () => (await login(h, "ada")).entity_id)).size).toBe(1);
    const names = ["bob", "Bob", "BOB"];
    const ids = await many((at) => idOf(h, "identity/entity", { name: names[at % 3], metadata: { at } }));
    expect([...ids]).toEqual([await textAt(h, "identity/entity/name/bob", "id")]);
    const owners = [await idOf(h, "identity/entity/name/one"), await idOf(h, "identity/entity/name/two")];
    const bound = await many((at) => bind(h, "shared", owners[at % 2] ?? "").catch(() => ""));
    expect(bound.size).toBe(1);
    const groups = await many((at) => idOf(h, "identity/group", { name: ["ops", "OPS"][at % 2] }));
    expect(groups.size).toBe(1);
    expect((await h.ask("list", "identity/entity/id/")).data?.["keys"]).toHaveLength(4);
  });

  it("are listed page by page, and groups and aliases too, each with what is told of it", async () => {
    const h = await world();
    for (const name of ["ada", "bob", "eve"]) {
      await bind(h, name, await idOf(h, `identity/entity/name/${name}`));
      const group = await idOf(h, `identity/group/name/${name}`, { type: "external" });
      await idOf(h, "identity/group-alias", { name, mount_accessor: h.accessors["directory"], canonical_id: group });
    }
    const list = async (path: string, page: Record<string, unknown> = {}) =>
      (await h.ask("list", `identity/${path}/`, page)).data as { keys: string[]; key_info: Record<string, unknown> };
    const lists = ["entity/id", "entity/name", "entity-alias/id", "group/id", "group/name", "group-alias/id"];
    for (const path of lists) {
      const all = await list(path);
      expect(all.keys, path).toHaveLength(3);
      const [first, second] = all.keys;
      const page = await list(path, { after: first, limit: 1 });
      expect(page.keys, path).toEqual([second]);
      const told = Object.entries(page.key_info);
      expect(told, path).toHaveLength(1);
      expect(Object.entries(all.key_info), path).toEqual(expect.arrayContaining(told));
      expect(await refusal(list(path, { after: all.keys[2] })), path).toBe("not_found: ");
    }
  });

  it("that a login made are written like others, under the id they have", async () => {
    const h = await world();
    await user(h, "ada");
    const { entity_id: id, client_token: token } = await login(h, "ada");
    const read = (await h.ask("read", `identity/entity/id/${id}`)).data;
    const name = String(read?.["name"]);
    expect(read?.["aliases"]).toMatchObject([{ name: "ada", canonical_id: id, mount_path: "auth/userpass/" }]);
    expect((await h.ask("read", `identity/entity/name/${name}`)).data).toEqual(read);
    expect(await refusal(reads(h, token))).toMatch(/^denied/);
    expect(await h.ask("update", `identity/entity/name/${name}`, { policies: "reader" })).not.toHaveProperty("data");
    await reads(h, token);
    const line = JSON.parse(h.tape.lines.at(-1) ?? "") as { auth: object };
    expect(line.auth).toMatchObject({ entity_id: id, token_policies: ["default"], identity_policies: ["reader"] });
    expect((await h.ask("list", "identity/entity/id/")).data?.["keys"]).toEqual([id]);
    expect((await login(h, "ada")).entity_id).toBe(id);
    expect((await h.ask("read", `identity/entity/id/${id}`)).data?.["aliases"]).toEqual(read?.["aliases"]);
  });

  it("end with all their tokens, batch tokens and children too, and what hangs on them", async () => {
    const h = await world();
    const gone: string[] = [];
    for (const declared of [false, true]) {
      await user(h, "ada", { token_policies: "reader" });
      await user(h, "eve", { token_policies: "reader", token_type: "batch" });
      const service = await login(h, "ada");
      const batch = await login(h, "eve");
      await h.ask("update", "sys/policies/acl/maker", {
        policy: 'path "auth/token/create" { capabilities = ["update"] }',
      });
      if (declared) {
        for (const { entity_id } of [service, batch]) {
          await h.ask("update", `identity/entity/id/${entity_id}`, { policies: "maker" });
        }
      }
      const child = declared
        ? (await h.ask("update", "auth/token/create", {}, service.client_token)).auth?.client_token
        : undefined;
      const tokens = [service.client_token, batch.client_token, ...(child === undefined ? [] : [child])];
      for (const token of tokens) await reads(h, token);
      if (declared) {
        await h.ask("update", "identity/entity/batch-delete", { entity_ids: [service.entity_id, batch.entity_id] });
      } else {
        await h.ask("delete", `identity/entity/id/${service.entity_id}`);
        await h.ask("delete", `identity/entity/id/${batch.entity_id}`);
      }
      for (const token of tokens) expect(await refusal(reads(h, token))).toMatch(/^unauthenticated/);
      await h.vault.core?.tasks.run();
      expect(await refusal(h.ask("update", "auth/token/lookup", { token: service.client_token }))).toBe(
        "denied: bad token",
      );
      // The next login is somebody else, and works.
      const next = await login(h, "ada");
      gone.push(service.entity_id, batch.entity_id);
      expect(gone).not.toContain(next.entity_id);
      await reads(h, next.client_token);
      for (const token of tokens) expect(await refusal(reads(h, token))).toMatch(/^unauthenticated/);
    }
    const after = { ...h, ...(await h.reopen()) };
    await reads(after, (await login(after, "ada")).client_token);
    expect(gone).not.toContain((await login(after, "ada")).entity_id);
  });

  it("that are disabled have no request allowed, of whatever token, from the next one on", async () => {
    const h = await world();
    await user(h, "ada", { token_policies: "reader" });
    await user(h, "eve", { token_policies: "reader", token_type: "batch" });
    const tokens = [await login(h, "ada"), await login(h, "eve")];
    for (const { entity_id, client_token } of tokens) {
      await reads(h, client_token);
      await h.ask("update", `identity/entity/id/${entity_id}`, { disabled: true });
      expect(await refusal(reads(h, client_token))).toBe("unauthenticated: permission denied; invalid token");
    }
    expect(await refusal(login(h, "ada"))).toMatch(/^denied/);
    for (const { entity_id, client_token } of tokens) {
      await h.ask("update", `identity/entity/id/${entity_id}`, { disabled: false });
      await reads(h, client_token);
    }
  });
});

describe("entity aliases", () => {
  it("are bound, moved and taken away; tokens follow", async () => {
    const h = await world();
    await user(h, "bob");
    const before = await login(h, "bob");
    const ada = await idOf(h, "identity/entity/name/ada", { policies: "reader" });
    const made = await h.ask("update", "identity/entity-alias", {
      name: " BOB ",
      mount_accessor: h.accessors["userpass"],
      canonical_id: ada,
      custom_metadata: { desk: "7" },
    });
    const id = String(made.data?.["id"]);
    expect(made.data).toEqual({ id: expect.stringMatching(uuid), canonical_id: ada });
    expect((await h.ask("read", `identity/entity-alias/id/${id}`)).data).toMatchObject({
      id,
      canonical_id: ada,
      name: "bob",
      mount_accessor: h.accessors["userpass"],
      mount_path: "auth/userpass/",
      mount_type: "userpass",
      custom_metadata: { desk: "7" },
      local: false,
    });
    // The login's own entity is there still, without a name to log in by.
    expect((await h.ask("read", `identity/entity/id/${before.entity_id}`)).data?.["aliases"]).toEqual([]);
    await reads(h, before.client_token);
    expect((await login(h, "bob")).entity_id).toBe(ada);
    expect((await h.ask("list", "identity/entity-alias/id/")).data).toMatchObject({
      keys: [id],
      key_info: { [id]: { canonical_id: ada, name: "bob", custom_metadata: { desk: "7" } } },
    });
    const same = { name: "bob", mount_accessor: h.accessors["userpass"], canonical_id: ada };
    expect(await h.ask("update", "identity/entity-alias", same)).not.toHaveProperty("data");
    const eve = await idOf(h, "identity/entity/name/eve");
    expect((await h.ask("update", `identity/entity-alias/id/${id}`, { canonical_id: eve })).data).toEqual({
      id,
      canonical_id: eve,
    });
    expect(await refusal(reads(h, before.client_token))).toMatch(/^denied/);
    expect((await login(h, "bob")).entity_id).toBe(eve);
    const ofEve = await login(h, "bob");
    await h.ask("delete", `identity/entity-alias/id/${id}`);
    expect(await refusal(h.ask("read", `identity/entity-alias/id/${id}`))).toBe("not_found: ");
    expect(await refusal(reads(h, ofEve.client_token))).toMatch(/^unauthenticated/);
    const fresh = await login(h, "bob");
    expect([ada, eve, before.entity_id]).not.toContain(fresh.entity_id);
  });

  it("are one at a mount, of one entity", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const eve = await idOf(h, "identity/entity/name/eve");
    const one = await bind(h, "one", ada);
    expect(await refusal(bind(h, "two", ada))).toMatch(/Alias already exists for requested entity and mount accessor/);
    const two = await bind(h, "two", eve);
    expect(await refusal(h.ask("update", `identity/entity-alias/id/${two}`, { name: "ONE" }))).toMatch(
      /already exists/,
    );
    expect(await refusal(h.ask("update", `identity/entity-alias/id/${two}`, { canonical_id: ada }))).toMatch(
      /already has an alias/,
    );
    await h.ask("update", `identity/entity-alias/id/${one}`, { name: "first" });
    expect((await h.ask("read", `identity/entity-alias/id/${one}`)).data).toMatchObject({ name: "first" });
    // Without an entity one is made.
    const made = await h.ask("update", "identity/entity-alias", {
      name: "new",
      mount_accessor: h.accessors["userpass"],
    });
    const owner = String(made.data?.["canonical_id"]);
    expect((await h.ask("read", `identity/entity/id/${owner}`)).data?.["aliases"]).toMatchObject([{ name: "new" }]);
  });

  it("of AppRole are the role's name, or its id where that was drawn", async () => {
    const h = await world();
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    const auth = (await h.ask("read", "sys/auth")).data as Record<string, { accessor: string }>;
    const mount_accessor = auth["approle/"]?.accessor;
    const entered = async (role: string) => {
      const role_id = await textAt(h, `auth/approle/role/${role}/role-id`, "role_id");
      const secret_id = (await h.ask("update", `auth/approle/role/${role}/secret-id`)).data?.["secret_id"];
      const { auth: made } = await h.ask("update", "auth/approle/login", { role_id, secret_id }, null);
      return { role_id, id: made?.entity_id, token: made?.client_token ?? "" };
    };
    for (const role of ["app", "thief"]) await h.ask("update", `auth/approle/role/${role}`, {});
    const { role_id, id } = await entered("app");
    const ada = await idOf(h, "identity/entity/name/ada", { policies: "reader" });
    await h.ask("update", "identity/entity-alias", { name: role_id, mount_accessor, canonical_id: ada });
    const byId = await entered("app");
    expect([id, byId.id]).toEqual([expect.stringMatching(uuid), ada]);
    await reads(h, byId.token);
    const eve = await idOf(h, "identity/entity/name/eve", { policies: "reader" });
    await h.ask("update", "identity/entity-alias", { name: "app", mount_accessor, canonical_id: eve });
    expect((await entered("app")).id).toBe(eve);
    // Nobody becomes another by calling himself so.
    await h.ask("update", "auth/approle/role/thief/role-id", { role_id: "app" });
    expect([ada, eve]).not.toContain((await entered("thief")).id);
  });

  it("mean nothing at another mount of the same path", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada", { policies: "reader" });
    await bind(h, "bob", ada);
    await h.ask("delete", "sys/auth/userpass");
    await h.vault.core?.tasks.run();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await user(h, "bob");
    const { entity_id, client_token } = await login(h, "bob");
    expect(entity_id).not.toBe(ada);
    expect(await refusal(reads(h, client_token))).toMatch(/^denied/);
  });
});

describe("merging entities", () => {
  it("gives one their names to log in by, their memberships and their tokens, not their policies", async () => {
    const h = await world();
    await user(h, "bob");
    const bob = await login(h, "bob");
    const group = await idOf(h, "identity/group/name/readers", {
      policies: "reader",
      member_entity_ids: [bob.entity_id],
    });
    await reads(h, bob.client_token);
    const robot = await directoryLogin(h, "robot");
    await h.ask("update", `identity/entity/id/${bob.entity_id}`, { policies: "other" });
    const to = robot.entity_id;
    expect(
      await h.ask("update", "identity/entity/merge", { from_entity_ids: bob.entity_id, to_entity_id: to }),
    ).not.toHaveProperty("data");
    expect((await h.ask("read", `identity/entity/id/${to}`)).data).toMatchObject({
      merged_entity_ids: [bob.entity_id],
      policies: [],
      group_ids: [group],
      aliases: [{ name: "robot" }, { name: "bob", merged_from_canonical_ids: [bob.entity_id] }],
    });
    expect(await refusal(h.ask("read", `identity/entity/id/${bob.entity_id}`))).toBe("not_found: ");
    await reads(h, bob.client_token);
    await reads(h, robot.client_token);
    expect((await h.ask("update", "auth/token/lookup", { token: bob.client_token })).data?.["entity_id"]).toBe(to);
    expect((await login(h, "bob")).entity_id).toBe(to);
    const again = { ...h, ...(await h.reopen()) };
    await reads(again, bob.client_token);
    await again.ask("delete", `identity/entity/id/${to}`);
    for (const { client_token } of [bob, robot]) expect(await refusal(reads(again, client_token))).toMatch(/^unauth/);
    expect([to, bob.entity_id]).not.toContain((await login(again, "bob")).entity_id);
    expect((await again.ask("read", `identity/group/id/${group}`)).data?.["member_entity_ids"]).toEqual([]);
  });

  it("asks which alias stays where both have one at a mount", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const eve = await idOf(h, "identity/entity/name/eve");
    const bob = await idOf(h, "identity/entity/name/bob");
    const one = await bind(h, "one", ada);
    const two = await bind(h, "two", eve);
    await bind(h, "three", bob);
    const merge = (data: Record<string, unknown>) =>
      h.ask("update", "identity/entity/merge", { to_entity_id: ada, ...data });
    expect(await refusal(merge({ from_entity_ids: [eve] }))).toMatch(/same mount accessor/);
    expect(await refusal(merge({ from_entity_ids: [eve, bob] }))).toMatch(/^invalid: .*clashes|multiple fromEntities/);
    expect(await refusal(merge({ from_entity_ids: [ada] }))).toMatch(/should not be present/);
    expect(await refusal(merge({ from_entity_ids: ["x"] }))).toMatch(/merge from is invalid/);
    expect(await refusal(merge({ from_entity_ids: [eve], conflicting_alias_ids_to_keep: ["x"] }))).toMatch(
      /neither were/,
    );
    await merge({ from_entity_ids: [eve], conflicting_alias_ids_to_keep: [two] });
    expect((await h.ask("read", `identity/entity/id/${ada}`)).data?.["aliases"]).toMatchObject([
      { id: two, name: "two" },
    ]);
    expect(await refusal(h.ask("read", `identity/entity-alias/id/${one}`))).toBe("not_found: ");
    await merge({ from_entity_ids: [bob], conflicting_alias_ids_to_keep: [two] });
    expect((await h.ask("read", `identity/entity/id/${ada}`)).data).toMatchObject({
      aliases: [{ id: two }],
      merged_entity_ids: [eve, bob],
    });
  });
});

describe("groups", () => {
  it("are written, read, renamed and listed with Vault's answers", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const made = await h.ask("update", "identity/group", { name: "Inner", member_entity_ids: ada, metadata: "a=1" });
    const inner = String(made.data?.["id"]);
    expect(made.data).toEqual({ id: inner, name: "Inner" });
    const outer = await idOf(h, "identity/group/name/outer", { member_group_ids: [inner], policies: ["Reader"] });
    expect((await h.ask("read", `identity/group/id/${inner}`)).data).toEqual({
      id: inner,
      name: "Inner",
      type: "internal",
      policies: [],
      metadata: { a: "1" },
      member_entity_ids: [ada],
      member_group_ids: [],
      parent_group_ids: [outer],
      alias: {},
      modify_index: 1,
      creation_time: expect.stringMatching(/Z$/),
      last_update_time: expect.stringMatching(/Z$/),
      namespace_id: "root",
    });
    expect((await h.ask("read", "identity/group/name/OUTER")).data).toMatchObject({
      id: outer,
      policies: ["reader"],
      member_group_ids: [inner],
    });
    expect((await h.ask("read", `identity/entity/id/${ada}`)).data).toMatchObject({
      direct_group_ids: [inner],
      inherited_group_ids: [outer],
      group_ids: [inner, outer],
    });
    expect((await h.ask("list", "identity/group/id/")).data).toEqual({
      keys: [inner, outer].sort(),
      key_info: {
        [inner]: { name: "Inner", num_member_entities: 1, num_parent_groups: 1 },
        [outer]: { name: "outer", num_member_entities: 0, num_parent_groups: 0 },
      },
    });
    expect(await h.ask("update", "identity/group", { id: inner, name: "core" })).not.toHaveProperty("data");
    expect((await h.ask("list", "identity/group/name/")).data?.["keys"]).toEqual(["core", "outer"]);
    expect((await h.ask("read", "identity/group/name/core")).data).toMatchObject({
      id: inner,
      parent_group_ids: [outer],
    });
    expect(await refusal(h.ask("update", `identity/group/id/${inner}`, { type: "external" }))).toMatch(
      /cannot be changed/,
    );
    expect(await refusal(h.ask("update", `identity/group/id/${inner}`, { name: "Outer" }))).toMatch(/already in use/);
    await h.ask("delete", `identity/entity/id/${ada}`);
    expect((await h.ask("read", "identity/group/name/core")).data).toMatchObject({
      member_entity_ids: [],
      modify_index: 3,
    });
    await h.ask("delete", "identity/group/name/CORE");
    expect((await h.ask("read", "identity/group/name/outer")).data?.["member_group_ids"]).toEqual([]);
    await h.ask("delete", `identity/group/id/${outer}`);
    expect(await refusal(h.ask("list", "identity/group/id/"))).toBe("not_found: ");
    expect(await idOf(h, "identity/group/name/outer")).not.toBe(outer);
  });

  it("are never members of themselves", async () => {
    const h = await world();
    const [a, b, c] = [
      await idOf(h, "identity/group/name/a"),
      await idOf(h, "identity/group/name/b"),
      await idOf(h, "identity/group/name/c"),
    ];
    const put = (id: string, ...members: string[]) =>
      h.ask("update", `identity/group/id/${id}`, { member_group_ids: members });
    await put(a, b);
    await put(b, c);
    expect(await refusal(put(c, a))).toMatch(/^invalid: cyclic relationship detected/);
    expect(await refusal(put(b, a))).toMatch(/^invalid: cyclic relationship detected/);
    expect(await refusal(put(a, a))).toMatch(/same as the ID of the group/);
    await put(a);
    await put(c, a);
  });

  it("that are external have the members that logins say", async () => {
    const h = await world();
    const group = await idOf(h, "identity/group", { name: "ops", type: "external", policies: "reader" });
    const outer = await idOf(h, "identity/group", { name: "all", member_group_ids: group });
    const before = await directoryLogin(h, "ada", "Ops-Team");
    const alias = { name: "Ops-Team", mount_accessor: h.accessors["directory"], canonical_id: group };
    const made = await h.ask("update", "identity/group-alias", alias);
    const id = String(made.data?.["id"]);
    expect(made.data).toEqual({ id: expect.stringMatching(uuid), canonical_id: group });
    expect(await h.ask("update", `identity/group-alias/id/${id}`, alias)).not.toHaveProperty("data");
    expect((await h.ask("read", `identity/group-alias/id/${id}`)).data).toMatchObject({
      ...alias,
      id,
      mount_type: "directory",
    });
    expect((await h.ask("read", `identity/group/id/${group}`)).data).toMatchObject({ type: "external", alias: { id } });
    expect((await h.ask("list", "identity/group-alias/id/")).data?.["keys"]).toEqual([id]);
    // What a login said before there was such a group is not kept.
    expect(await refusal(reads(h, before.client_token))).toMatch(/^denied/);
    const member = await directoryLogin(h, "ada", "other", "Ops-Team");
    expect(member.identity_policies).toEqual(["reader"]);
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    await h.ask("update", `identity/group/id/${outer}`, { policies: "maker" });
    const child = (await h.ask("update", "auth/token/create", {}, member.client_token)).auth?.client_token ?? "";
    await reads(h, child);
    const told = await h.ask("update", "auth/token/lookup", { token: child });
    expect(told.data?.["identity_policies"]).toEqual(["maker", "reader"]);
    const stranger = await directoryLogin(h, "ada", "ops-team");
    expect(await refusal(reads(h, stranger.client_token))).toMatch(/^denied/);
    await user(h, "ada");
    expect(await refusal(reads(h, (await login(h, "ada")).client_token))).toMatch(/^denied/);
    expect(await refusal(h.ask("update", `identity/group/id/${group}`, { member_group_ids: [outer] }))).toMatch(
      /can't be set/,
    );
    expect(await refusal(h.ask("update", "identity/group-alias", { ...alias, canonical_id: outer }))).toMatch(
      /internal group/,
    );
    expect(await refusal(h.ask("update", "identity/group-alias", { ...alias, canonical_id: "" }))).toMatch(
      /already in use/,
    );
    const again = { ...h, ...(await h.reopen()) };
    await reads(again, member.client_token);
    await again.ask("delete", `identity/group-alias/id/${id}`);
    for (const token of [member.client_token, child]) expect(await refusal(reads(again, token))).toMatch(/^denied/);
    // Without a group one is made.
    const alone = await again.ask("update", "identity/group-alias", { ...alias, canonical_id: "" });
    expect((await again.ask("read", `identity/group/id/${String(alone.data?.["canonical_id"])}`)).data).toMatchObject({
      type: "external",
      alias: { name: "Ops-Team" },
    });
  });
});

describe("lookups", () => {
  it("find by id, name and alias, and answer nothing where there is nothing", async () => {
    const h = await world();
    await user(h, "bob");
    const { entity_id: bob } = await login(h, "bob");
    const ada = await idOf(h, "identity/entity/name/ada");
    const alias = await bind(h, "Ada", ada);
    const group = await idOf(h, "identity/group", { name: "ops", type: "external" });
    const accessor = h.accessors["userpass"];
    const groupAlias = await idOf(h, "identity/group-alias", {
      name: "ops",
      mount_accessor: accessor,
      canonical_id: group,
    });
    const asked = async (kind: string, query: Record<string, unknown>) =>
      (await h.ask("update", `identity/lookup/${kind}`, query)).data?.["id"];
    const bobAlias = await aliasIdOf(h, bob);
    expect(await asked("entity", { id: ada })).toBe(ada);
    expect(await asked("entity", { name: "ADA" })).toBe(ada);
    expect(await asked("entity", { alias_id: alias })).toBe(ada);
    expect(await asked("entity", { alias_name: " ADA", alias_mount_accessor: accessor })).toBe(ada);
    expect(await asked("entity", { alias_name: "BOB", alias_mount_accessor: accessor })).toBe(bob);
    expect(await asked("entity", { alias_id: bobAlias })).toBe(bob);
    expect(await asked("entity", { name: "nobody" })).toBeUndefined();
    expect(await asked("entity", { alias_name: "x", alias_mount_accessor: "y" })).toBeUndefined();
    expect(await asked("group", { id: group })).toBe(group);
    expect(await asked("group", { name: "OPS" })).toBe(group);
    expect(await asked("group", { alias_id: groupAlias })).toBe(group);
    expect(await asked("group", { alias_name: "ops", alias_mount_accessor: accessor })).toBe(group);
    expect(await asked("group", { id: ada })).toBeUndefined();
    for (const kind of ["entity", "group"]) {
      expect(await refusal(asked(kind, {}))).toMatch(/query parameter not supplied/);
      expect(await refusal(asked(kind, { alias_name: "x" }))).toMatch(/both 'alias_name' and/);
      expect(await refusal(asked(kind, { id: "x", name: "y" }))).toMatch(/query parameter conflict/);
    }
  });
});

describe("rights", () => {
  const admin = 'path "identity/entity-alias*" { capabilities = ["create", "update", "delete"] } ';
  const rule = (path: string, ...capabilities: string[]) =>
    `path "${path}" { capabilities = ${JSON.stringify(capabilities)} } `;

  it("on aliases are not enough to move them from or to somebody", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const eve = await idOf(h, "identity/entity/name/eve");
    const alias = await bind(h, "one", ada);
    const tries = async (token: string) => {
      const data = { name: "two", mount_accessor: h.accessors["directory"], canonical_id: eve };
      const allowed: boolean[] = [];
      for (const [operation, path, more] of [
        ["update", "entity-alias", data],
        ["update", `entity-alias/id/${alias}`, { canonical_id: eve }],
        ["delete", `entity-alias/id/${alias}`, {}],
      ] as const) {
        const outcome = h.ask(operation, `identity/${path}`, more, token);
        allowed.push(
          await outcome.then(
            () => true,
            () => false,
          ),
        );
      }
      return allowed;
    };
    expect(await tries(await tokenOf(h, "none", admin))).toEqual([false, false, false]);
    expect(await tries(await tokenOf(h, "wrong", admin + rule(`identity/entity/id/${ada}`, "read")))).toEqual([
      false,
      false,
      false,
    ]);
    const to = await tokenOf(h, "to", admin + rule("identity/entity/name/eve", "update"));
    expect(await tries(to)).toEqual([true, false, false]);
    const both = rule("identity/entity/name/eve", "update") + rule(`identity/entity/id/${ada}`, "update");
    expect(await tries(await tokenOf(h, "both", admin + both))).toEqual([true, true, true]);
  });

  it("on merging need more: to write who stays, and to delete who goes", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const eve = await idOf(h, "identity/entity/name/eve");
    const merge = rule("identity/entity/merge", "update");
    const tries = async (name: string, more: string) =>
      refusal(
        h.ask(
          "update",
          "identity/entity/merge",
          { from_entity_ids: eve, to_entity_id: ada },
          await tokenOf(h, name, merge + more),
        ),
      ).catch(() => "allowed");
    expect(await tries("a", "")).toMatch(/^denied: permission denied/);
    expect(await tries("b", rule(`identity/entity/id/${ada}`, "update"))).toMatch(/^denied.*delete/);
    expect(await tries("c", rule(`identity/entity/id/${eve}`, "delete"))).toMatch(/^denied.*update/);
    expect(
      await tries("d", rule(`identity/entity/id/${ada}`, "update") + rule(`identity/entity/id/${eve}`, "delete")),
    ).toBe("allowed");
  });

  it("are those of the object, whatever path or spelling leads to it", async () => {
    const h = await world();
    const ada = await idOf(h, "identity/entity/name/ada");
    const ops = await idOf(h, "identity/group/name/ops", { type: "external" });
    const token = await tokenOf(
      h,
      "most",
      rule("identity/*", "create", "read", "update", "delete") +
        ["entity/name/ada", `entity/id/${ada}`, "group/name/ops", `group/id/${ops}`]
          .map((path) => rule(`identity/${path}`, "deny"))
          .join(""),
    );
    const denied: [Parameters<World["ask"]>[0], string, Record<string, unknown>][] = [
      ["read", "entity/name/ADA", {}],
      ["update", "entity/name/Ada", { policies: "reader" }],
      ["delete", "entity/name/aDa", {}],
      ["update", "entity", { name: "ada", policies: "reader" }],
      ["update", "entity", { id: ada, policies: "reader" }],
      ["update", "entity/name/other", { id: ada }],
      ["update", "entity/batch-delete", { entity_ids: [ada] }],
      ["update", "lookup/entity", { id: ada }],
      ["read", "group/name/OPS", {}],
      ["update", "group", { name: "Ops", policies: "reader" }],
      ["update", "group", { id: ops }],
      ["delete", "group/name/OPS", {}],
      ["update", "lookup/group", { name: "ops" }],
      ["update", "group-alias", { name: "x", mount_accessor: h.accessors["userpass"], canonical_id: ops }],
    ];
    for (const [operation, path, data] of denied) {
      expect(await refusal(h.ask(operation, `identity/${path}`, data, token)), path).toMatch(/^denied/);
    }
    await h.ask("update", "identity/entity", { name: "eve", policies: "reader" }, token);
    await h.ask("read", "identity/entity/name/EVE", {}, token);
  });
});

describe("what Git declares", () => {
  const alice = declare("Entity", "alice", {
    aliases: [{ mount: "userpass", name: "alice" }],
    policies: [],
    metadata: {},
    disabled: false,
  });
  const group = declare("Group", "team", {
    policies: ["reader"],
    member_entities: ["alice"],
    member_groups: [],
    metadata: {},
  });
  const mount = mountOf("AuthMethod", "gitpass", "userpass");
  const person = declare("Entity", "alice", { ...alice.spec, aliases: [{ mount: "gitpass", name: "Alice" }] });
  const login_ = userOf("alice", [], { mount: "gitpass" });

  it("is refused to every route that would write it", async () => {
    const h = await world();
    await h.target.apply(setOf("1", mount, person, group), []);
    const id = await textAt(h, "identity/entity/name/alice", "id");
    const team = await textAt(h, "identity/group/name/team", "id");
    const other = await idOf(h, "identity/entity/name/other");
    const alias = await aliasIdOf(h, id);
    const writes: [Parameters<World["ask"]>[0], string, Record<string, unknown>][] = [
      ["update", "entity/name/ALICE", { policies: "x" }],
      ["update", `entity/id/${id}`, { name: "x" }],
      ["update", "entity", { id, disabled: true }],
      ["delete", `entity/id/${id}`, {}],
      ["update", "entity/batch-delete", { entity_ids: [other, id] }],
      ["update", "entity/merge", { from_entity_ids: [id], to_entity_id: other }],
      ["update", "entity/merge", { from_entity_ids: [other], to_entity_id: id }],
      ["update", "entity-alias", { name: "x", mount_accessor: h.accessors["directory"], canonical_id: id }],
      ["update", `entity-alias/id/${alias}`, { canonical_id: other }],
      ["delete", `entity-alias/id/${alias}`, {}],
      ["update", "group", { name: "mine", member_entity_ids: [id] }],
      ["update", "group", { name: "mine", member_group_ids: [team] }],
      ["update", "group/name/Team", { member_entity_ids: [other] }],
      ["delete", `group/id/${team}`, {}],
    ];
    for (const [operation, path, data] of writes) {
      expect(await refusal(h.ask(operation, `identity/${path}`, data)), path).toMatch(
        /^managed: .* policies\/all\.yaml:3/,
      );
    }
    await h.ask("read", `identity/entity/id/${other}`);
  });

  it("has its members by name: they are not merged away", async () => {
    const h = await world();
    const bob = await idOf(h, "identity/entity/name/bob");
    const eve = await idOf(h, "identity/entity/name/eve");
    await h.target.apply(setOf("1", declare("Group", "team", { ...group.spec, member_entities: ["bob"] })), []);
    const merge = (from: string, to: string) =>
      h.ask("update", "identity/entity/merge", { from_entity_ids: [from], to_entity_id: to });
    expect(await refusal(merge(bob, eve))).toMatch(/^managed: Group team/);
    await merge(eve, bob);
  });

  it("keeps its id while it changes; what comes back is somebody else, and the tokens of the first are dead", async () => {
    const h = await world();
    await h.target.apply(setOf("1", mount, login_, person, group), []);
    const idNow = async () => (await h.ask("read", "identity/entity/name/alice")).data?.["id"];
    const first = await idNow();
    await h.target.apply(
      setOf("2", mount, login_, { ...person, spec: { ...person.spec, metadata: { a: "b" } } }, group),
      [],
    );
    expect(await idNow()).toBe(first);
    const again = { ...h, ...(await h.reopen()) };
    expect((await again.ask("read", "identity/entity/name/alice")).data?.["id"]).toBe(first);
    await again.target.apply(setOf("3", mount, login_, group), []);
    await again.target.apply(setOf("4", mount, login_, person, group), []);
    expect((await again.ask("read", "identity/entity/name/alice")).data?.["id"]).not.toBe(first);
  });

  it("goes before what the API bound, and leaves it in place", async () => {
    const h = await world();
    await user(h, "alice");
    const before = await login(h, "alice");
    const mine = await idOf(h, "identity/entity/name/mine", { policies: "reader" });
    await bind(h, "alice", mine);
    await reads(h, before.client_token);
    await h.target.apply(setOf("1", alice), []);
    expect((await login(h, "alice")).entity_id).not.toBe(mine);
    expect((await h.ask("read", `identity/entity/id/${mine}`)).data?.["aliases"]).toEqual([]);
    expect(await refusal(reads(h, before.client_token))).toMatch(/^denied/);
    const ofGit = await login(h, "alice");
    await h.target.apply(setOf("2"), []);
    expect(await refusal(reads(h, ofGit.client_token))).toMatch(/^unauthenticated/);
    expect((await login(h, "alice")).entity_id).toBe(mine);
    await reads(h, before.client_token);
  });
});

describe("an alias that Git claims", () => {
  it("may be one of several at a mount: templates name the one that was used", async () => {
    const h = await world();
    for (const name of ["ada", "admin-ada"]) await user(h, name, { token_policies: "own" });
    const hole = `identity.entity.aliases.${h.accessors["userpass"]}.name`;
    await h.ask("update", "sys/policies/acl/own", { policy: `path "sys/own/{{${hole}}}" { capabilities = ["read"] }` });
    const aliases = ["ada", "admin-ada"].map((name) => ({ mount: "userpass", name }));
    await h.target.apply(
      setOf("1", declare("Entity", "ada", { aliases, policies: [], metadata: {}, disabled: false })),
      [],
    );
    for (const name of ["ada", "admin-ada"]) {
      const { client_token: token } = await login(h, name);
      const paths = ["sys/own/ada", "sys/own/admin-ada"];
      const { data } = await h.ask("update", "sys/capabilities", { token, paths });
      expect(paths.filter((path) => String(data?.[path]) === "read")).toEqual([`sys/own/${name}`]);
    }
  });

  it("is Git's in whatever order the declarations are read", async () => {
    const h = await world();
    const names = ["a", "b", "c", "d", "e", "f"];
    const mine = await Promise.all(names.map((name) => idOf(h, `identity/entity/name/api-${name}`)));
    for (const [at, name] of names.entries()) await bind(h, name, mine[at] ?? "");
    const spec = { policies: [], metadata: {}, disabled: false };
    const documents = names.map((name) =>
      declare("Entity", `git-${name}`, { ...spec, aliases: [{ mount: "userpass", name }] }),
    );
    await h.target.apply(setOf("1", ...documents), []);
    for (const each of [h, { ...h, ...(await h.reopen()) }]) {
      for (const name of names) {
        const query = { alias_name: name, alias_mount_accessor: h.accessors["userpass"] };
        expect((await each.ask("update", "identity/lookup/entity", query)).data?.["name"]).toBe(`git-${name}`);
        expect((await each.ask("read", `identity/entity/name/api-${name}`)).data?.["aliases"]).toEqual([]);
      }
    }
  });
});

describe("templated policies", () => {
  it("are filled from entity, aliases and groups, and never reach further than one name", async () => {
    const h = await world();
    const accessor = h.accessors["directory"];
    const { entity_id: id, client_token: token } = await directoryLogin(h, "robot");
    const group = await idOf(h, "identity/group/name/ops", { metadata: { area: "north" }, member_entity_ids: [id] });
    const alias = await aliasIdOf(h, id);
    const set = (metadata: Record<string, unknown>) => h.ask("update", `identity/entity/id/${id}`, { metadata });
    await set({ team: "red" });
    await h.ask("update", `identity/entity-alias/id/${alias}`, { custom_metadata: { desk: "7" } });
    const name = await textAt(h, `identity/entity/id/${id}`, "name");
    const holes: [string, string][] = [
      ["identity.entity.id", id],
      ["identity.entity.name", name],
      ["identity.entity.metadata.team", "red"],
      [`identity.entity.aliases.${accessor}.id`, alias],
      [`identity.entity.aliases.${accessor}.name`, "robot"],
      [`identity.entity.aliases.${accessor}.metadata.site`, "zurich"],
      [`identity.entity.aliases.${accessor}.custom_metadata.desk`, "7"],
      [`identity.groups.ids.${group}.name`, "ops"],
      ["identity.groups.names.ops.id", group],
      ["identity.groups.names.ops.metadata.area", "north"],
    ];
    const rules = holes.map(([hole], at) => `path "sys/t${at}/{{ ${hole} }}/x" { capabilities = ["read"] }`);
    await h.ask("update", "sys/policies/acl/holes", { policy: rules.join("\n") });
    await h.ask("update", `identity/entity/id/${id}`, { policies: "holes" });
    const may = async (path: string) =>
      (await h.ask("update", "sys/capabilities", { token, paths: [path] })).data?.["capabilities"];
    for (const [at, [hole, value]] of holes.entries()) {
      expect(await may(`sys/t${at}/${value}/x`), hole).toEqual(["read"]);
      expect(await may(`sys/t${at}/other/x`), hole).toEqual(["deny"]);
    }
    for (const value of ["red/x", "*", "+", "r*", "a/b", ""]) {
      await set({ team: value });
      for (const path of ["sys/t2/red/x", `sys/t2/${value}/x`, "sys/t2/red/x/x", "sys/t2/any/x"]) {
        expect(await may(path), `${value} at ${path}`).toEqual(["deny"]);
      }
    }
  });
});
