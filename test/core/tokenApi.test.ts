import { describe, expect, it } from "vitest";
import { type Harness, harness, refusal } from "./harness.ts";

const reader = 'path "secret/data/app/*" { capabilities = ["read"] }';
const maker = `${reader} path "auth/token/create" { capabilities = ["update"] }`;

async function prepared(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/app/one", { data: { password: "s3cret" } });
  await h.ask("update", "sys/policies/acl/reader", { policy: reader });
  await h.ask("update", "sys/policies/acl/maker", { policy: maker });
  return h;
}

const asked = (h: Harness, data: Record<string, unknown>, token = h.root, path = "create") =>
  h.ask("update", `auth/token/${path}`, data, token);

const made = async (h: Harness, data: Record<string, unknown>, token = h.root, path = "create") => {
  const { auth } = await asked(h, data, token, path);
  if (!auth) throw new Error("no auth");
  return auth;
};

const reads = (h: Harness, token: string): Promise<boolean> =>
  h.ask("read", "secret/data/app/one", {}, token).then(
    () => true,
    () => false,
  );

describe("auth/token", () => {
  it("revokes a token alone, and lets its children go on without a parent", async () => {
    const h = await prepared();
    const parent = await made(h, { policies: ["maker"] });
    const children = await Promise.all(Array.from({ length: 70 }, () => made(h, {}, parent.client_token)));
    const grandchild = await made(h, {}, children[0]?.client_token);
    const batch = await made(h, { type: "batch" }, parent.client_token);
    for (const child of children) expect(await reads(h, child.client_token)).toBe(true);
    expect(await refusal(asked(h, { token: parent.client_token }, parent.client_token, "revoke-orphan"))).toMatch(
      /^denied/,
    );
    await asked(h, { token: parent.client_token }, h.root, "revoke-orphan");
    await h.vault.tick();
    await h.vault.tick();
    expect(await reads(h, parent.client_token)).toBe(false);
    expect(await reads(h, batch.client_token)).toBe(false);
    for (const child of [...children, grandchild]) expect(await reads(h, child.client_token)).toBe(true);
    const found = await h.ask("read", "auth/token/lookup-self", {}, children[3]?.client_token);
    expect(found.data).toMatchObject({ orphan: true, policies: ["maker", "default"].sort() });
    expect(await h.vault.core?.root.list("token/child/")).toHaveLength(1);
    expect(await refusal(asked(h, { token: parent.client_token }, h.root, "revoke-orphan"))).toBe(
      "invalid: token to revoke not found",
    );
    expect(await refusal(asked(h, {}, h.root, "revoke-orphan"))).toBe("invalid: missing token ID");
    expect(await refusal(asked(h, { token: batch.client_token }, h.root, "revoke-orphan"))).toMatch(/batch tokens/);
  });

  it("tells what it does not find as Vault does", async () => {
    const h = await prepared();
    expect(await refusal(asked(h, { token: "hvs.x" }, h.root, "lookup"))).toBe("denied: bad token");
    expect(await refusal(h.ask("read", "auth/token/lookup", { token: "hvs.x" }))).toBe("denied: bad token");
    const other = await made(h, { policies: ["maker"] });
    const shown = async (data: Record<string, unknown>) => (await h.ask("read", "auth/token/lookup", data)).data;
    expect(await shown({ token: other.client_token })).toMatchObject({
      accessor: other.accessor,
      path: "auth/token/create",
    });
    expect(await shown({})).toMatchObject({ path: "auth/token/root" });
    expect(await refusal(asked(h, { token: "hvs.x" }, h.root, "renew"))).toBe("invalid: token not found");
    expect(await refusal(asked(h, {}, h.root, "renew"))).toBe("invalid: missing token ID");
    expect((await asked(h, { token: "hvs.x" }, h.root, "revoke")).warnings).toBeUndefined();
    expect(await refusal(asked(h, {}, h.root, "revoke"))).toBe("invalid: missing token ID");
    for (const path of ["lookup-accessor", "renew-accessor"]) {
      expect(await refusal(asked(h, { accessor: "x" }, h.root, path))).toBe("invalid: invalid accessor");
    }
    for (const path of ["lookup-accessor", "renew-accessor", "revoke-accessor"]) {
      expect(await refusal(asked(h, {}, h.root, path))).toBe("invalid: missing accessor");
    }
    expect((await asked(h, { accessor: "x" }, h.root, "revoke-accessor")).warnings).toEqual([
      "No token found with this accessor",
    ]);
  });

  it("works by accessor without telling the token", async () => {
    const h = await prepared();
    const auth = await made(h, { policies: ["reader"], ttl: "1h" });
    const keys = (await h.ask("list", "auth/token/accessors/")).data?.["keys"] as string[];
    expect(keys).toContain(auth.accessor);
    expect(keys).toHaveLength(2);
    const renewed = await asked(h, { accessor: auth.accessor, increment: "2h" }, h.root, "renew-accessor");
    expect(renewed.auth).toMatchObject({ client_token: "", accessor: auth.accessor, lease_duration: 7200 });
    await asked(h, { accessor: auth.accessor }, h.root, "revoke-accessor");
    expect(await reads(h, auth.client_token)).toBe(false);
    for (const [operation, path] of [
      ["list", "accessors/"],
      ["update", "lookup-accessor"],
      ["update", "renew-accessor"],
      ["update", "revoke-accessor"],
    ] as const) {
      const other = await made(h, { policies: ["reader"] });
      const given = { accessor: other.accessor };
      expect(await refusal(h.ask(operation, `auth/token/${path}`, given, other.client_token))).toMatch(/^denied/);
    }
  });

  it("warns of policies that do not exist, and names tokens as Vault does", async () => {
    const h = await prepared();
    expect((await asked(h, { policies: ["reader", "typo"] })).warnings).toEqual(['Policy "typo" does not exist']);
    for (const [display_name, shown] of [
      [undefined, "token"],
      ["token", "token-token"],
      ["a b/c!", "token-a-b-c"],
    ] as const) {
      const { client_token } = await made(h, { policies: ["reader"], ...(display_name && { display_name }) });
      expect((await h.ask("read", "auth/token/lookup-self", {}, client_token)).data).toMatchObject({
        display_name: shown,
      });
    }
  });

  it("keeps what only root or sudo may from others", async () => {
    const h = await prepared();
    const { client_token: token } = await made(h, { policies: ["maker"] });
    for (const [data, message] of [
      [{ no_parent: true }, "root or sudo privileges required to create orphan token"],
      [{ period: "1h" }, "root or sudo privileges required to create periodic token"],
      [{ id: "chosen-by-a-person-x" }, "root or sudo privileges required to specify token id"],
      [{ policies: ["root"] }, "root tokens may not be created without parent token being root"],
      [{ policies: ["reader"], type: "fancy" }, "invalid 'token_type' value"],
    ] as const) {
      expect(await refusal(asked(h, data, token))).toBe(`invalid: ${message}`);
    }
    const brief = await made(h, { policies: ["root"], ttl: "1h" });
    expect(brief).toMatchObject({ lease_duration: 3600, renewable: true });
    expect(await refusal(asked(h, { policies: ["root"] }, brief.client_token))).toBe(
      "invalid: expiring root tokens cannot create non-expiring root tokens",
    );
    expect(await refusal(asked(h, { policies: ["root"], type: "batch" }))).toMatch(
      /batch tokens cannot be root tokens/,
    );
  });

  it("takes an id that is chosen if it is one, and nobody's; none makes a token without a policy or with a built-in one", async () => {
    const h = await prepared();
    const id = "chosen-by-a-person-1";
    const first = await made(h, { policies: ["reader"], id });
    expect(first.client_token).toBe(id);
    const length = "invalid: token id must have 16 to 256 characters, without dots or spaces";
    for (const wrong of ["too-short", "with a space in it", "hvs.looks-like-ours-but-is-not", "x".repeat(257)]) {
      expect(await refusal(asked(h, { policies: ["reader"], id: wrong }))).toBe(length);
    }
    expect(await refusal(asked(h, { policies: ["maker"], id }))).toMatch(/^(invalid|conflict)/);
    expect((await h.ask("read", "auth/token/lookup-self", {}, id)).data).toMatchObject({
      accessor: first.accessor,
      policies: ["default", "reader"],
    });
    for (const name of ["response-wrapping", " Response-Wrapping"]) {
      expect(await refusal(asked(h, { policies: ["reader", name] }))).toBe(
        'invalid: cannot assign policy "response-wrapping"',
      );
    }
    await h.ask("update", "sys/policies/acl/bare", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    const maker = await made(h, { policies: ["bare"], no_default_policy: true });
    expect(maker.policies).toEqual(["bare"]);
    expect(await refusal(asked(h, { policies: ["default"] }, maker.client_token))).toBe(
      "invalid: token must have at least one policy",
    );
  });

  it("makes no children of a token with a limited number of uses", async () => {
    const h = await prepared();
    const limited = await made(h, { policies: ["maker"], num_uses: 3 });
    expect(await refusal(asked(h, { policies: ["maker"] }, limited.client_token))).toBe(
      "invalid: restricted use token cannot generate child tokens",
    );
  });

  it("makes orphans for whoever may at create-orphan, with no more than he has", async () => {
    const h = await prepared();
    const path = 'path "auth/token/create-orphan" { capabilities = ["update"] }';
    await h.ask("update", "sys/policies/acl/orphans", { policy: `${reader} ${path}` });
    const maker = await made(h, { policies: ["orphans"] });
    const orphan = await made(h, { policies: ["orphans"] }, maker.client_token, "create-orphan");
    expect(orphan.orphan).toBe(true);
    for (const data of [{ policies: ["maker"] }, { policies: ["root"] }, { period: "1h" }]) {
      expect(await refusal(asked(h, data, maker.client_token, "create-orphan"))).toMatch(/^invalid/);
    }
    await asked(h, { token: maker.client_token }, h.root, "revoke");
    expect(await reads(h, orphan.client_token)).toBe(true);
    const plain = await made(h, { policies: ["maker"] });
    expect(await refusal(asked(h, {}, plain.client_token, "create-orphan"))).toMatch(/^denied/);
  });

  it("gives the type, period and maximum that a role and a mount are tuned to", async () => {
    const h = await prepared();
    await h.ask("update", "auth/token/roles/r", { allowed_policies: "reader", token_type: "batch" });
    expect(await made(h, { type: "service" }, h.root, "create/r")).toMatchObject({ token_type: "batch" });
    await h.ask("update", "auth/token/roles/p", { allowed_policies: "reader", token_period: 600 });
    expect(await made(h, { ttl: "5h" }, h.root, "create/p")).toMatchObject({ lease_duration: 600 });
    await h.ask("update", "auth/token/roles/o", { allowed_policies: "reader", token_explicit_max_ttl: 300 });
    const { auth, warnings } = await asked(h, { ttl: "5h", no_parent: true }, h.root, "create/o");
    expect(auth).toMatchObject({ lease_duration: 300, orphan: false });
    expect(warnings?.join()).toMatch(/exceeded the effective max_ttl/);
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await h.ask("update", "auth/userpass/users/ann", { password: "ann-password", token_policies: ["reader"] });
    for (const [token_type, type] of [
      ["batch", "batch"],
      ["default-batch", "batch"],
      ["default-service", "service"],
      ["service", "service"],
    ] as const) {
      await h.ask("update", "sys/auth/userpass/tune", { token_type });
      const login = await h.ask("update", "auth/userpass/login/ann", { password: "ann-password" }, null);
      expect(login.auth?.token_type, token_type).toBe(type);
    }
  });
});

describe("tidying", () => {
  it("drops what leads nowhere, ends what should have ended, and leaves the rest", async () => {
    const h = await prepared();
    const core = h.vault.core;
    if (!core) throw new Error("sealed");
    const parent = await made(h, { policies: ["maker", "default"], ttl: "10h" });
    const child = await made(h, { ttl: "10h" }, parent.client_token);
    await h.ask("update", "cubbyhole/a", { n: 1 }, child.client_token);
    const lost = await made(h, { policies: ["reader"], ttl: "10h", no_parent: true });
    const lostId = core.tokens.idOf(lost.client_token);
    const gone = "0".repeat(64);
    const put = (key: string) => ({ key, value: {} });
    const stale = [
      `token/child/${gone}/${"1".repeat(64)}`,
      `token/child/${core.tokens.idOf(parent.client_token)}/${"2".repeat(64)}`,
      `token/by/auth_x_1/aa/${gone}`,
      `cubbyhole/${gone}/a/b`,
      `lease/id/auth/token/create/h${gone}`,
      `lease/mount/kv_1/secret%2Fx`,
      `lease/stuck/secret%2Fx`,
    ];
    await core.root.write(stale.map(put));
    // As after a store lost these.
    const due = await core.root.list(`lease/due/`);
    for (const time of due) await core.root.write([{ key: `lease/due/${time}${lostId}`, value: null }]);
    const before = await h.ask("update", "auth/token/tidy");
    expect(before).toMatchObject({ outcome: "accepted" });
    expect(before.warnings?.[0]).toMatch(/^Tidy operation successfully started/);
    expect((await h.ask("update", "auth/token/tidy")).warnings).toEqual(["Tidy operation already in progress."]);
    await h.ask("update", "sys/leases/tidy");
    await core.tidy.idle();
    for (const key of stale) expect(await core.root.get(key), key).toBeNull();
    for (const { client_token } of [parent, child, lost]) expect(await reads(h, client_token)).toBe(true);
    expect((await h.ask("read", "cubbyhole/a", {}, child.client_token)).data).toEqual({ n: 1 });
    h.clock.advance(11 * 3_600_000);
    await h.vault.tick();
    expect(await core.tokens.get(lostId)).not.toBeNull();
    await h.ask("update", "auth/token/tidy");
    await core.tidy.idle();
    expect(await core.root.list("token/id/")).toHaveLength(1);
  });
});
