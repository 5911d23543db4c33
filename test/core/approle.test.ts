import { describe, expect, it, vi } from "vitest";
import { SecretIds } from "../../src/auth/approle/secretIds.ts";
import { declare, type Harness, harness, mountOf, refusal, roleDefaults, setOf } from "./harness.ts";

const prepared = async (role: Record<string, unknown> = {}) => {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/app/one", { data: { password: "s3cret" } });
  await h.ask("update", "sys/policies/acl/reader", { policy: 'path "secret/data/app/*" { capabilities = ["read"] }' });
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  await h.ask("update", "auth/approle/role/app", { token_policies: "reader", ...role });
  return h;
};

const text = (value: unknown): string => (typeof value === "string" ? value : "");

const idsOf = async (h: Harness, data: Record<string, unknown> = {}, at = "auth/approle") => ({
  role_id: text((await h.ask("read", `${at}/role/app/role-id`)).data?.["role_id"]),
  secret_id: text((await h.ask("update", `${at}/role/app/secret-id`, data)).data?.["secret_id"]),
});

const enter = async (h: Harness, ids: Record<string, unknown>) => {
  const { auth } = await h.ask("update", "auth/approle/login", ids, null);
  if (!auth) throw new Error("no auth");
  return auth;
};

describe("AppRole in a vault", () => {
  it("gives tokens of the role, with metadata that the audit shows", async () => {
    const h = await prepared({ token_ttl: "20m", token_num_uses: 0 });
    const auth = await enter(h, await idsOf(h, { metadata: { team: "x" } }));
    expect(auth).toMatchObject({
      policies: ["default", "reader"],
      lease_duration: 1200,
      metadata: { team: "x", role_name: "app" },
      renewable: true,
      orphan: true,
    });
    await h.ask("read", "secret/data/app/one", {}, auth.client_token);
    const own = (await h.ask("read", "auth/token/lookup-self", {}, auth.client_token)).data;
    expect(own).toMatchObject({ display_name: "approle", path: "auth/approle/login" });
    expect(h.tape.lines.at(-1)).toContain('"metadata":{"team":"x","role_name":"app"}');
  });

  it("shows a role's older names, its parts and its secret ids as Vault does, the latter page by page", async () => {
    const h = await prepared();
    const at = async (path: string) => (await h.ask("read", `auth/approle/role/app${path}`)).data;
    expect(await at("")).not.toHaveProperty("period");
    await h.ask("update", "auth/approle/role/app", { period: "1h" });
    expect(await at("")).toMatchObject({ token_period: 3600, period: 3600 });
    expect(await at("/local-secret-ids")).toEqual({ local_secret_ids: false });
    for (let count = 0; count < 4; count++) await h.ask("update", "auth/approle/role/app/secret-id");
    const list = async (page: Record<string, unknown> = {}) =>
      (await h.ask("list", "auth/approle/role/app/secret-id/", page)).data?.["keys"] as readonly string[];
    const all = await list();
    expect(all).toHaveLength(4);
    expect(await list({ after: all[0], limit: 2 })).toEqual(all.slice(1, 3));
  });

  it("binds the token to the secret id's addresses, within the role's", async () => {
    const h = await prepared({ token_bound_cidrs: "127.0.0.0/8" });
    const { client_token } = await enter(h, await idsOf(h, { token_bound_cidrs: "127.0.0.0/24" }));
    const own = (await h.ask("read", "auth/token/lookup-self", {}, client_token)).data;
    expect(own).toMatchObject({ bound_cidrs: ["127.0.0.0/24"] });
    const elsewhere = await idsOf(h, { token_bound_cidrs: "127.9.0.0/16" });
    expect(await refusal(enter(h, elsewhere))).toMatch(/^denied/);
    await h.ask("update", "auth/approle/role/app", { token_bound_cidrs: "10.0.0.0/8" });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^unauthenticated/);
  });

  it("takes as many ranges as a list may have, wherever they are given, and no more", async () => {
    const ranges = (count: number, length: number): string[] =>
      Array.from({ length: count }, (_none, at) => `127.${at >> 8}.${at & 255}.0/${length}`);
    const [most, more] = [ranges(1_024, 24), ranges(1_025, 24)];
    const h = await prepared({ token_bound_cidrs: most, secret_id_bound_cidrs: most });
    const own = { token_bound_cidrs: ranges(1_024, 25), cidr_list: ranges(1_024, 25) };
    expect((await enter(h, await idsOf(h, own))).policies).toContain("reader");
    const outside = { ...own, cidr_list: [...own.cidr_list.slice(1), "127.4.0.0/25"] };
    expect(await refusal(idsOf(h, outside))).toContain("cidr_list should be a subset");
    const at = (path: string, data: Record<string, unknown>) => refusal(h.ask("update", path, data));
    const told = (name: string): string => `invalid: field "${name}" takes at most 1024, and has 1025`;
    const role = "auth/approle/role/app";
    expect(await at(role, { token_bound_cidrs: more })).toBe(told("token_bound_cidrs"));
    expect(await at(role, { secret_id_bound_cidrs: more.join(",") })).toBe(told("secret_id_bound_cidrs"));
    expect(await at(`${role}/bound-cidr-list`, { bound_cidr_list: more })).toContain(
      "takes at most 1024, and has 1025",
    );
    expect(await at(`${role}/secret-id`, { cidr_list: more })).toBe(told("cidr_list"));
    expect(await at(`${role}/secret-id`, { token_bound_cidrs: more })).toBe(told("token_bound_cidrs"));
    expect(await at("auth/token/create", { bound_cidrs: more })).toBe(told("bound_cidrs"));
    expect(await at("auth/token/roles/r", { token_bound_cidrs: more })).toBe(told("token_bound_cidrs"));
  });

  it("lets exactly ten of fifty in at once, and each gets a token of its own", async () => {
    const h = await prepared();
    const ids = await idsOf(h, { num_uses: 10 });
    const tries = await Promise.allSettled(Array.from({ length: 50 }, () => enter(h, ids)));
    const tokens = tries.flatMap((one) => (one.status === "fulfilled" ? [one.value.client_token] : []));
    expect(new Set(tokens).size).toBe(10);
    expect(tokens).toHaveLength(10);
  });

  it("takes nothing for an accessor that is none: they are names in storage", async () => {
    const h = await prepared();
    const { secret_id } = await idsOf(h);
    const own = (await h.ask("update", "auth/approle/role/app/secret-id/lookup", { secret_id })).data;
    const accessor = text(own?.["secret_id_accessor"]);
    for (const name of ["x", `./${accessor}`, `../x/${accessor}`, `${accessor}/`, `/${accessor}`, "a\0b", "..", "é"]) {
      for (const way of ["lookup", "destroy"]) {
        const asked = h.ask("update", `auth/approle/role/app/secret-id-accessor/${way}`, { secret_id_accessor: name });
        expect(await refusal(asked), `${way} ${name}`).toMatch(/^not_found/);
      }
    }
    await h.ask("update", "auth/approle/role/app/secret-id-accessor/lookup", { secret_id_accessor: accessor });
  });

  it("reads, sets and resets fields at paths of their own", async () => {
    const h = await prepared({ secret_id_ttl: 60 });
    const at = (part: string) => `auth/approle/role/APP/${part}`;
    expect((await h.ask("read", at("secret-id-ttl"))).data).toEqual({ secret_id_ttl: 60 });
    await h.ask("update", at("secret-id-ttl"), { secret_id_ttl: "2m" });
    await h.ask("update", at("policies"), { policies: "reader,other" });
    await h.ask("update", at("bound-cidr-list"), { bound_cidr_list: "10.0.0.0/8" });
    expect((await h.ask("read", "auth/approle/role/app")).data).toMatchObject({
      secret_id_ttl: 120,
      token_policies: ["reader", "other"],
      secret_id_bound_cidrs: ["10.0.0.0/8"],
    });
    expect((await h.ask("read", at("policies"))).data).toMatchObject({ token_policies: ["reader", "other"] });
    await h.ask("delete", at("secret-id-bound-cidrs"));
    expect((await h.ask("read", at("secret-id-bound-cidrs"))).data).toEqual({ secret_id_bound_cidrs: [] });
    expect(await refusal(h.ask("update", at("token-ttl"), {}))).toBe("invalid: missing token_ttl");
    expect(await refusal(h.ask("update", "auth/approle/role/no/token-ttl", { token_ttl: 1 }))).toMatch(/^not_found/);
    expect(await refusal(h.ask("update", at("policies"), { token_policies: "root" }))).toMatch(/by declaration/);
    expect(await refusal(h.ask("update", at("bind-secret-id"), { bind_secret_id: false }))).toMatch(/constraint/);
  });

  it("takes a role id with the role", async () => {
    const h = await prepared({ role_id: "the-role-id" });
    expect((await h.ask("read", "auth/approle/role/app/role-id")).data).toEqual({ role_id: "the-role-id" });
    expect((await h.ask("read", "auth/approle/role/app")).data).not.toHaveProperty("role_id");
  });

  it("begins anew where a role of the same name ended a moment ago", async () => {
    const h = await prepared();
    const ids = await idsOf(h);
    await enter(h, ids);
    const tasks = h.vault.core?.tasks;
    if (!tasks) throw new Error("sealed");
    // What the deletion leaves to be done is held up.
    const run = vi.spyOn(tasks, "run").mockResolvedValue();
    await h.ask("delete", "auth/approle/role/app");
    const again = { token_policies: "reader", role_id: ids.role_id };
    expect(await refusal(h.ask("update", "auth/approle/role/app", again))).toMatch(/^conflict: .*still being removed/);
    run.mockRestore();
    await h.ask("update", "auth/approle/role/app", again);
    expect(await refusal(enter(h, ids))).toBe("invalid: invalid role or secret ID");
    const fresh = await idsOf(h);
    await tasks.run();
    await enter(h, fresh);
  });

  it("lets nobody in with what was made for a role that ended meanwhile", async () => {
    const h = await prepared();
    await idsOf(h);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const held = vi.spyOn(SecretIds.prototype, "create").mockImplementationOnce(async function (
      this: SecretIds,
      ...args
    ) {
      await ended;
      return this.create(...args);
    });
    const late = h.ask("update", "auth/approle/role/app/secret-id");
    await h.ask("delete", "auth/approle/role/app");
    await h.vault.core?.tasks.run();
    await h.ask("update", "auth/approle/role/app", { token_policies: "reader" });
    end();
    const secret_id = text((await late).data?.["secret_id"]);
    held.mockRestore();
    const fresh = await idsOf(h);
    expect(secret_id).not.toBe("");
    expect(await refusal(enter(h, { ...fresh, secret_id }))).toBe("invalid: invalid role or secret ID");
    await enter(h, fresh);
  });

  it("keeps the ids of a role through a change of it, a move of its mount and a restart", async () => {
    const h = await prepared();
    const ids = await idsOf(h);
    await h.ask("update", "auth/approle/role/app", { token_ttl: "5m" });
    await enter(h, ids);
    await h.ask("update", "sys/remount", { from: "auth/approle", to: "auth/machines" });
    await h.vault.core?.tasks.run();
    await h.ask("update", "auth/machines/login", ids, null);
    await h.vault.seal();
    const again = await h.reopen();
    await again.ask("update", "auth/machines/login", ids, null);
  });

  it("keeps the ids and tokens of roles of one name whose mounts move in one commit", async () => {
    const h = await harness();
    const at = (id: string, ...paths: readonly string[]) =>
      setOf(
        id,
        ...paths.flatMap((path, n) => [
          mountOf("AuthMethod", `machines-${n}`, "approle", { path }),
          declare("AppRole", "app", roleDefaults, {
            mount: path,
            source: { file: `machines-${n}.yaml`, line: 9, column: 1 },
          }),
        ]),
      );
    // Each has been there since another generation.
    for (const paths of [["a"], ["a", "b"], ["a", "b", "c"]]) await h.target.apply(at(paths.join(""), ...paths), []);
    const had: { readonly ids: Record<string, string>; readonly token: string }[] = [];
    for (const path of ["a", "b", "c"]) {
      const ids = await idsOf(h, {}, `auth/${path}`);
      had.push({ ids, token: (await h.ask("update", `auth/${path}/login`, ids, null)).auth?.client_token ?? "" });
    }
    const moves = [
      ["d", "e", "f"],
      ["e", "f", "d"],
      ["e", "d", "f"],
    ];
    for (const paths of moves) {
      await h.target.apply(at(paths.join(""), ...paths), []);
      await h.vault.core?.tasks.run();
      for (const [n, { ids, token }] of had.entries()) {
        await h.ask("read", "auth/token/lookup-self", {}, token);
        await h.ask("update", `auth/${paths[n]}/login`, ids, null);
      }
    }
  });

  it("ends the ids of a role that is deleted and made again at the same time", async () => {
    const h = await prepared();
    const ids = await idsOf(h);
    const { client_token } = await enter(h, ids);
    const ledger = h.vault.core?.ledger;
    const declared = h.vault.core?.generation.table.get("AppRole", "approle", "app");
    if (!ledger || !declared) throw new Error("no role");
    // The first keeps the writer busy, so that the other two wait together.
    await Promise.all([
      ledger.edit(() => ({ put: [], remove: [] })),
      ledger.edit(() => ({ put: [], remove: [declared] })),
      ledger.edit(() => ({ put: [declared], remove: [] })),
    ]);
    await h.vault.core?.tasks.run();
    expect(await refusal(enter(h, ids))).toBe("invalid: invalid role or secret ID");
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^unauthenticated/);
    await enter(h, await idsOf(h));
  });

  it("makes secret ids of a role that Git manages, and keeps them through a change of it", async () => {
    const h = await prepared();
    const fields = { ...roleDefaults, token_policies: ["reader"] };
    const role = (spec: Record<string, unknown>) =>
      declare("AppRole", "app", { ...fields, ...spec }, { mount: "approle", metadata: { name: "app", adopt: true } });
    await h.target.apply(setOf("1", role({})), []);
    const ids = await idsOf(h);
    const { client_token } = await enter(h, ids);
    expect(await refusal(h.ask("update", "auth/approle/role/app/token-ttl", { token_ttl: 5 }))).toMatch(
      /^managed: .*policies\/all.yaml:3/,
    );
    await h.target.apply(setOf("2", role({ token_policies: [], token_ttl: 30 })), []);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^denied/);
    expect(await enter(h, ids)).toMatchObject({ policies: ["default"], lease_duration: 30 });
    await h.target.apply(setOf("3"), []);
    expect(await refusal(enter(h, ids))).toBe("invalid: invalid role or secret ID");
    await h.vault.core?.tasks.run();
    await h.target.apply(setOf("4", role({})), []);
    expect(await refusal(enter(h, ids))).toBe("invalid: invalid role or secret ID");
  });
});
