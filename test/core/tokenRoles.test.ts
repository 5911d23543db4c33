import { describe, expect, it } from "vitest";
import { declare, type Harness, harness, refusal, setOf } from "./harness.ts";

const policy = (name: string) => `path "secret/data/${name}/*" { capabilities = ["read"] }`;
const maker = 'path "auth/token/create/*" { capabilities = ["update"] }';

async function prepared(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  for (const name of ["a", "b", "team-x"]) {
    await h.ask("update", `secret/data/${name}/one`, { data: { v: name } });
    await h.ask("update", `sys/policies/acl/${name}`, { policy: policy(name) });
  }
  await h.ask("update", "sys/policies/acl/maker", { policy: maker });
  return h;
}

const made = async (h: Harness, path: string, data: Record<string, unknown> = {}, token = h.root) => {
  const { auth } = await h.ask("update", `auth/token/${path}`, data, token);
  if (!auth) throw new Error("no auth");
  return auth;
};
const put = (h: Harness, data: Record<string, unknown>) => h.ask("update", "auth/token/roles/app", data);
const may = async (h: Harness, token: string, name: string): Promise<boolean> =>
  h.ask("read", `secret/data/${name}/one`, {}, token).then(
    () => true,
    () => false,
  );
const shown = async (h: Harness, token: string) => (await h.ask("read", "auth/token/lookup-self", {}, token)).data;

/** A token that may make others through roles, and nothing else. */
const makerToken = async (h: Harness, more: Record<string, unknown> = {}) =>
  (await made(h, "create", { policies: ["maker", "b"], ttl: "10h", ...more })).client_token;

describe("token roles", () => {
  it("are written, read, listed and deleted as Vault does", async () => {
    const h = await prepared();
    expect(await refusal(h.ask("read", "auth/token/roles/app"))).toBe("not_found: ");
    await put(h, { allowed_policies: "a,b", period: "1h", orphan: true, path_suffix: "x-1" });
    expect((await h.ask("read", "auth/token/roles/app")).data).toMatchObject({
      name: "app",
      allowed_policies: ["a", "b"],
      allowed_policies_glob: [],
      disallowed_policies: [],
      disallowed_policies_glob: [],
      allowed_entity_aliases: [],
      orphan: true,
      renewable: true,
      path_suffix: "x-1",
      period: 3600,
      token_period: 3600,
      explicit_max_ttl: 0,
      token_explicit_max_ttl: 0,
      token_num_uses: 0,
      token_bound_cidrs: [],
      token_no_default_policy: false,
      token_type: "default-service",
    });
    expect((await h.ask("list", "auth/token/roles/")).data).toEqual({ keys: ["app"] });
    await h.ask("delete", "auth/token/roles/app");
    expect(await refusal(h.ask("list", "auth/token/roles/"))).toBe("not_found: ");
    expect(await refusal(h.ask("update", "auth/token/create/app"))).toMatch(/unknown role app/);
  });

  it("grant policies that the maker does not have, and no others", async () => {
    const h = await prepared();
    await put(h, { allowed_policies: "a", allowed_policies_glob: "team-*", disallowed_policies: "team-y" });
    const token = await makerToken(h);
    const auth = await made(h, "create/app", {}, token);
    expect(auth).toMatchObject({ policies: ["a", "default"], orphan: false, token_type: "service" });
    expect(await may(h, auth.client_token, "a")).toBe(true);
    const other = await made(h, "create/app", { policies: ["team-x"], no_default_policy: true }, token);
    expect(other.policies).toEqual(["team-x"]);
    const asked = (policies: string[]) => refusal(made(h, "create/app", { policies }, token));
    expect(await asked(["b"])).toMatch(/must be subset of the role's allowed policies \(\["a"\]\) or glob policies/);
    expect(await asked(["team-y"])).toMatch(/token policy "team-y" is disallowed by this role/);
    expect(await refusal(made(h, "create/app", { policies: ["root"] }))).toMatch(/"root" is disallowed/);
    expect(await shown(h, auth.client_token)).toMatchObject({ role: "app", path: "auth/token/create/app" });
  });

  it("mean a policy however its name is spelled", async () => {
    const h = await prepared();
    await put(h, { allowed_policies: ["A"], allowed_policies_glob: ["Team-*"], disallowed_policies: [" TEAM-X "] });
    expect((await made(h, "create/app")).policies).toEqual(["a", "default"]);
    expect((await made(h, "create/app", { policies: ["Team-z", "a"] })).policies).toEqual(["a", "default", "team-z"]);
    expect(await refusal(made(h, "create/app", { policies: ["team-x"] }))).toMatch(/disallowed/);
    expect(await refusal(made(h, "create/app", { policies: ["Team-X"] }))).toMatch(/disallowed/);
    await put(h, { allowed_policies: ["Root"] }).catch(() => {});
    expect(await refusal(made(h, "create/app", { policies: ["ROOT"] }))).toMatch(/disallowed/);
  });

  it("never give root, whatever a glob says", async () => {
    const h = await prepared();
    expect(await refusal(put(h, { allowed_policies: ["root"] }))).toMatch(/cannot be given by declaration/);
    await put(h, { allowed_policies_glob: ["*"] });
    expect(await refusal(made(h, "create/app", { policies: ["root"] }))).toMatch(/"root" is disallowed/);
    await put(h, { allowed_policies_glob: [] });
    expect(await refusal(made(h, "create/app"))).toMatch(/"root" is disallowed/);
  });

  it("without allowed policies give what the maker has", async () => {
    const h = await prepared();
    await put(h, { disallowed_policies: "a", disallowed_policies_glob: "defau*" });
    const token = await makerToken(h);
    expect(await refusal(made(h, "create/app", {}, token))).toMatch(/"default" is disallowed/);
    const auth = await made(h, "create/app", { policies: ["b"] }, token);
    expect(auth.policies).toEqual(["b"]);
    expect(await refusal(made(h, "create/app", { policies: ["team-x"] }, token))).toMatch(/subset of parent/);
    expect(await refusal(made(h, "create/app", { policies: ["a"] }, token))).toMatch(/disallowed/);
    expect(await may(h, auth.client_token, "b")).toBe(true);
    await h.ask("update", "auth/token/revoke", { token });
    expect(await may(h, auth.client_token, "b")).toBe(false);
  });

  it("leave children with what the maker has now, in policies and addresses", async () => {
    const h = await prepared();
    await put(h, {});
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    const user = (data: Record<string, unknown>) => h.ask("update", "auth/userpass/users/eve", data);
    await user({ password: "correct horse", token_policies: "maker,b" });
    const login = await h.ask("update", "auth/userpass/login/eve", { password: "correct horse" }, null);
    const children = [
      await made(h, "create/app", { policies: ["b"] }, login.auth?.client_token),
      await made(h, "create/app", { policies: ["b"], type: "batch" }, login.auth?.client_token),
    ];
    const all = () => Promise.all(children.map(({ client_token }) => may(h, client_token, "b")));
    expect(await all()).toEqual([true, true]);
    await user({ token_policies: "maker" });
    expect(await all()).toEqual([false, false]);
    await user({ token_policies: "maker,b", token_bound_cidrs: "10.0.0.0/8" });
    expect(await all()).toEqual([false, false]);
    await user({ token_bound_cidrs: "127.0.0.0/8" });
    expect(await all()).toEqual([true, true]);
  });

  it("from Git act on the next request of tokens that exist already", async () => {
    const h = await prepared();
    const role = (spec: Record<string, unknown>) =>
      declare("TokenRole", "app", {
        allowed_policies: ["a", "b"],
        allowed_policies_glob: [],
        disallowed_policies: [],
        disallowed_policies_glob: [],
        orphan: true,
        renewable: true,
        path_suffix: "",
        allowed_entity_aliases: [],
        token_period: 0,
        token_explicit_max_ttl: 0,
        token_num_uses: 0,
        token_bound_cidrs: [],
        token_no_default_policy: false,
        token_type: "default-service",
        ...spec,
      });
    await h.target.apply(setOf("1", role({})), []);
    expect(await refusal(put(h, { orphan: false }))).toMatch(/^managed: .*policies\/all.yaml:3/);
    const service = (await made(h, "create/app")).client_token;
    const batch = (await made(h, "create/app", { type: "batch" })).client_token;
    const both = async (name: string) => [await may(h, service, name), await may(h, batch, name)];
    expect(await both("a")).toEqual([true, true]);
    await h.target.apply(setOf("2", role({ allowed_policies: ["b"] })), []);
    expect(await both("a")).toEqual([false, false]);
    expect(await both("b")).toEqual([true, true]);
    expect(await shown(h, service)).toMatchObject({ policies: ["b", "default"] });
    await h.target.apply(setOf("3", role({ disallowed_policies: ["b"] })), []);
    expect(await both("b")).toEqual([false, false]);
    await h.target.apply(setOf("4", role({ token_bound_cidrs: ["10.0.0.0/8"] })), []);
    expect(await both("b")).toEqual([false, false]);
    await h.target.apply(setOf("5", role({})), []);
    expect(await both("a")).toEqual([true, true]);
    await h.target.apply(setOf("6"), []);
    expect(await both("a")).toEqual([false, false]);
    await h.vault.core?.tasks.run();
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(1);
    await h.target.apply(setOf("7", role({})), []);
    expect(await both("a")).toEqual([false, false]);
  });

  it("decide type, life, uses, addresses and renewal", async () => {
    const h = await prepared();
    const rules = { allowed_policies: "a", token_num_uses: 2, token_explicit_max_ttl: 600, renewable: false };
    await put(h, { ...rules, token_bound_cidrs: "127.0.0.0/8", path_suffix: "nightly" });
    const auth = await made(h, "create/app", { ttl: "1h", num_uses: 9, bound_cidrs: "127.0.0.0/16" });
    expect(auth).toMatchObject({ lease_duration: 600, num_uses: 2, renewable: false });
    const { data } = await h.ask("update", "auth/token/lookup", { token: auth.client_token });
    expect(data).toMatchObject({ bound_cidrs: ["127.0.0.0/16"], path: "auth/token/create/app/nightly" });
    expect(await refusal(made(h, "create/app", { bound_cidrs: "10.0.0.0/8" }))).toMatch(/no address/);
    await h.ask("delete", "auth/token/roles/app");
    await put(h, { allowed_policies: "a", token_type: "batch" });
    expect((await made(h, "create/app", {})).token_type).toBe("batch");
    expect((await made(h, "create/app", { type: "service" })).token_type).toBe("batch");
    await put(h, { token_type: "default-batch" });
    expect((await made(h, "create/app", { type: "service" })).token_type).toBe("service");
    expect(await refusal(put(h, { token_period: 60, token_type: "batch" }))).toMatch(/periodic/);
  });

  it("make periodic tokens without sudo, which live as long as they are renewed", async () => {
    const h = await prepared();
    await put(h, { allowed_policies: "a", token_period: "1h", orphan: true });
    const token = await makerToken(h);
    expect(await refusal(made(h, "create/app", { period: "2h" }, token))).toMatch(/root or sudo/);
    const auth = await made(h, "create/app", { ttl: "5m" }, token);
    expect(auth.lease_duration).toBe(3600);
    // Far beyond the server's maximum.
    for (let hours = 0; hours < 40; hours++) {
      h.clock.advance(3_000_000);
      const renewed = await h.ask("update", "auth/token/renew-self", { increment: "10h" }, auth.client_token);
      expect(renewed.auth?.lease_duration).toBe(3600);
    }
    await put(h, { token_period: 0 });
    expect(await refusal(h.ask("update", "auth/token/renew-self", {}, auth.client_token))).toMatch(/maximum TTL/);
  });

  it("let a token be somebody, where they allow the name", async () => {
    const h = await prepared();
    const mount = (await h.ask("read", "sys/auth")).data?.["token/"] as { accessor: string } | undefined;
    await put(h, { allowed_policies: "a", allowed_entity_aliases: "worker-*" });
    expect(await refusal(made(h, "create", { entity_alias: "worker-1" }))).toMatch(/in combination with token role/);
    expect(await refusal(made(h, "create/app", { entity_alias: "boss" }))).toMatch(/invalid 'entity_alias'/);
    const auth = await made(h, "create/app", { entity_alias: "Worker-1" });
    expect(auth.entity_id).toMatch(/^[0-9a-f-]{36}$/);
    expect((await made(h, "create/app", { entity_alias: "worker-1", type: "batch" })).entity_id).toBe(auth.entity_id);
    const { data } = await h.ask("read", `identity/entity/id/${auth.entity_id}`);
    expect(JSON.stringify(data)).toContain(mount?.accessor);
    expect(await shown(h, auth.client_token)).toMatchObject({ entity_id: auth.entity_id });
  });
});
