import { describe, expect, it } from "vitest";
import { declare, type Harness, harness, refusal, roleDefaults, setOf } from "./harness.ts";

const reader = 'path "secret/data/app/*" { capabilities = ["read"] }';
const maker = 'path "auth/token/create" { capabilities = ["update"] }';

async function prepared(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/app/one", { data: { password: "s3cret" } });
  await h.ask("update", "sys/policies/acl/reader", { policy: reader });
  await h.ask("update", "sys/policies/acl/maker", { policy: maker });
  return h;
}

const made = async (h: Harness, data: Record<string, unknown>, token = h.root, path = "auth/token/create") => {
  const { auth } = await h.ask("update", path, data, token);
  if (!auth) throw new Error("no auth");
  return auth;
};

const read = (h: Harness, token: string) => h.ask("read", "secret/data/app/one", {}, token);
const dead = /^unauthenticated: permission denied/;

/** A role of approle in Git, and a login through it. */
const roleFields = {
  ...roleDefaults,
  bind_secret_id: false,
  secret_id_bound_cidrs: ["127.0.0.0/8"],
  token_policies: ["reader"],
  token_type: "batch",
};
const mount = declare("AuthMethod", "approle", {
  type: "approle",
  description: "",
  options: {},
  config: { default_lease_ttl: 0, max_lease_ttl: 0, listing_visibility: "" },
  on_remove: "retain",
});
const role = (more: Record<string, unknown> = {}) =>
  declare("AppRole", "app", { ...roleFields, ...more }, { mount: "approle" });

async function enter(h: Harness) {
  const { data } = await h.ask("read", "auth/approle/role/app/role-id");
  const { auth } = await h.ask("update", "auth/approle/login", { role_id: data?.["role_id"] }, null);
  if (!auth) throw new Error("no auth");
  return auth;
}

describe("batch tokens in a vault", () => {
  it("work like others, and nothing of them is stored", async () => {
    const h = await prepared();
    const view = h.vault.core?.root;
    const before = await view?.list("token/id/");
    const auth = await made(h, { type: "batch", policies: ["reader"], ttl: "1h", meta: { team: "x" } });
    expect(auth).toMatchObject({
      token_type: "batch",
      accessor: "",
      renewable: false,
      lease_duration: 3600,
      orphan: false,
      policies: ["default", "reader"],
    });
    expect(auth.client_token).toMatch(/^hvb\./);
    expect((await read(h, auth.client_token)).data).toMatchObject({ data: { password: "s3cret" } });
    expect(await refusal(h.ask("read", "secret/data/other", {}, auth.client_token))).toMatch(/^denied/);
    expect(await view?.list("token/id/")).toEqual(before);
    const own = (await h.ask("read", "auth/token/lookup-self", {}, auth.client_token)).data;
    expect(own).toMatchObject({ type: "batch", id: auth.client_token, ttl: 3600, meta: { team: "x" }, num_uses: 0 });
    const other = (await h.ask("update", "auth/token/lookup", { token: auth.client_token })).data;
    expect(other).toEqual(own);
    const line = h.tape.lines.find((each) => each.includes('"path":"secret/data/app/one"') && each.includes("batch"));
    expect(line).toContain('"token_type":"batch"');
    expect(line).not.toContain(auth.client_token);
  });

  it("cannot be renewed, revoked, counted, periodic, root, or parents", async () => {
    const h = await prepared();
    const { client_token: token } = await made(h, { type: "batch", policies: ["reader", "maker"], ttl: "1h" });
    expect(await refusal(h.ask("update", "auth/token/renew", { token }))).toMatch(/batch tokens cannot be renewed/);
    expect(await refusal(h.ask("update", "auth/token/renew-self", {}, token))).toMatch(
      /batch tokens cannot be renewed/,
    );
    expect(await refusal(h.ask("update", "auth/token/revoke", { token }))).toMatch(/batch tokens cannot be revoked/);
    expect(await refusal(h.ask("update", "auth/token/revoke-self", {}, token))).toMatch(/cannot be revoked/);
    expect(await refusal(h.ask("update", "auth/token/create", {}, token))).toMatch(/cannot create more tokens/);
    const batch = { type: "batch", policies: ["reader"] };
    for (const more of [{ num_uses: 3 }, { period: "1h" }, { explicit_max_ttl: "1h" }, { policies: ["root"] }]) {
      expect(await refusal(h.ask("update", "auth/token/create", { ...batch, ...more }))).toMatch(
        /^invalid: batch tokens/,
      );
    }
    expect(await refusal(h.ask("update", "auth/token/create", { type: "other" }))).toMatch(/^invalid/);
    await read(h, token);
  });

  it("end at their time", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { type: "batch", policies: ["reader"], ttl: "60s" });
    h.clock.advance(59_999);
    await read(h, client_token);
    h.clock.advance(1);
    expect(await refusal(read(h, client_token))).toMatch(dead);
    expect(await refusal(h.ask("update", "auth/token/lookup", { token: client_token }))).toBe("denied: bad token");
  });

  it("end with their parent, and have no more than it has", async () => {
    const h = await prepared();
    const parent = await made(h, { policies: ["reader", "maker"], ttl: "1h", bound_cidrs: ["127.0.0.0/8"] });
    const child = await made(h, { type: "batch", policies: ["reader"], ttl: "10h" }, parent.client_token);
    const orphan = await made(h, { type: "batch", policies: ["reader"], ttl: "10h", no_parent: true });
    expect(await refusal(made(h, { type: "batch", policies: ["other"] }, parent.client_token))).toMatch(/subset/);
    await read(h, child.client_token);
    await h.ask("update", "auth/token/revoke", { token: parent.client_token });
    expect(await refusal(read(h, child.client_token))).toMatch(dead);
    expect(await refusal(h.ask("update", "auth/token/lookup", { token: child.client_token }))).toBe(
      "denied: bad token",
    );
    await read(h, orphan.client_token);
    const brief = await made(h, { policies: ["reader", "maker"], ttl: "60s" });
    const late = await made(h, { type: "batch", ttl: "10h" }, brief.client_token);
    h.clock.advance(60_000);
    expect(await refusal(read(h, late.client_token))).toMatch(dead);
  });

  it("outlive a change of keys and a restart", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { type: "batch", policies: ["reader"], ttl: "10h", no_parent: true });
    await h.ask("update", "sys/rotate");
    await read(h, client_token);
    await h.vault.seal();
    const again = await h.reopen();
    await read(again, client_token);
  });

  it("of a mapping follow it, and stay dead when it comes back", async () => {
    const h = await prepared();
    await h.target.apply(setOf("1", mount, role()), []);
    const { client_token: first, ...auth } = await enter(h);
    expect(auth).toMatchObject({ token_type: "batch", renewable: false, orphan: true, metadata: { role_name: "app" } });
    await read(h, first);
    await h.target.apply(setOf("2", mount, role({ token_policies: [] })), []);
    expect(await refusal(read(h, first))).toMatch(/^denied/);
    await h.target.apply(setOf("3", mount, role({ token_bound_cidrs: ["10.0.0.0/8"] })), []);
    expect(await refusal(read(h, first))).toMatch(dead);
    await h.target.apply(setOf("4", mount, role()), []);
    await read(h, first);
    await h.target.apply(setOf("5", mount), []);
    expect(await refusal(read(h, first))).toMatch(dead);
    await h.target.apply(setOf("6", mount, role()), []);
    expect(await refusal(read(h, first))).toMatch(dead);
    const { client_token: second } = await enter(h);
    await read(h, second);
    // The whole mount goes and comes back, with its data.
    await h.target.apply(setOf("7"), []);
    expect(await refusal(read(h, second))).toMatch(dead);
    await h.target.apply(setOf("8", mount, role()), []);
    expect(await refusal(read(h, second))).toMatch(dead);
    await read(h, (await enter(h)).client_token);
    await h.vault.seal();
    const again = await h.reopen();
    for (const token of [first, second]) expect(await refusal(read(again, token))).toMatch(dead);
  });

  it("of a mapping live on where its mount moves", async () => {
    const h = await prepared();
    await h.target.apply(setOf("1", mount, role()), []);
    const { client_token } = await enter(h);
    const moved = declare("AuthMethod", "approle", { ...mount.spec, path: "machines" });
    await h.target.apply(setOf("2", moved, { ...role(), mount: "machines" }), []);
    await read(h, client_token);
    await h.target.apply(setOf("3", mount, role({ token_ttl: 60 })), []);
    await read(h, client_token);
  });

  it("a stored token, too, stays dead when its mapping comes back before it is revoked", async () => {
    const h = await prepared();
    await h.target.apply(setOf("1", mount, role({ token_type: "service" })), []);
    const { client_token } = await enter(h);
    await read(h, client_token);
    const tasks = h.vault.core?.tasks;
    if (!tasks) throw new Error("sealed");
    tasks.run = async () => {};
    await h.target.apply(setOf("2", mount), []);
    await h.target.apply(setOf("3", mount, role({ token_type: "service" })), []);
    expect(await refusal(read(h, client_token))).toMatch(dead);
  });

  it("are what the mount is tuned to, where the mapping leaves the choice", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    const add = (more: Record<string, unknown>) => h.ask("update", "auth/approle/role/app", { ...roleFields, ...more });
    const tune = (token_type: string) => h.ask("update", "sys/auth/approle/tune", { token_type });
    const type = async () => (await enter(h)).token_type;
    await add({ token_type: "default" });
    expect(await type()).toBe("service");
    await tune("default-batch");
    expect((await h.ask("read", "sys/auth/approle/tune")).data).toMatchObject({ token_type: "default-batch" });
    expect(await type()).toBe("batch");
    await add({ token_type: "service" });
    expect(await type()).toBe("service");
    await tune("batch");
    expect(await type()).toBe("batch");
    await add({ token_type: "default", token_num_uses: 5 });
    expect(await refusal(type())).toMatch(/batch tokens cannot have "num_uses" set/);
    await tune("service");
    expect(await type()).toBe("service");
    await add({ token_type: "default", token_num_uses: 0 });
    await tune("default-service");
    expect(await type()).toBe("service");
    expect(await refusal(add({ token_type: "batch", token_period: 60 }))).toMatch(/periodic tokens/);
    expect(await refusal(add({ token_type: "batch", token_num_uses: 1 }))).toMatch(/limited use count/);
    expect(await refusal(h.ask("update", "sys/mounts/secret/tune", { token_type: "batch" }))).toMatch(/auth mounts/);
  });
});
