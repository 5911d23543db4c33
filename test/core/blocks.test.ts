// Blocks: who or what is blocked gets nothing from the next request on, whatever he is called by then, and what he has got
// is revoked; restoring gives back what is declared and nothing that was revoked.

import { beforeEach, describe, expect, test } from "vitest";
import { declarationOf } from "../../src/core/blocks/block.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import type { AuthResult } from "../../src/sdk/request.ts";
import { accounts, hang, World as Outside } from "./accounts.ts";
import { commitOf, declare, mountOf, refusal, setOf, userOf } from "./harness.ts";
import { directoryLogin, idOf, login, tokenOf, user, world, type World } from "./people.ts";

const invalidToken = "unauthenticated: permission denied; invalid token";
const denied = "denied: permission denied";

let h: World;
let outside: Outside;

beforeEach(async () => {
  outside = new Outside();
  h = await world({ plugins: [accounts(outside)], leaseDeadline: 300, auditDeadline: 100_000 });
  await h.ask("update", "sys/mounts/accounts", { type: "accounts" });
  await h.ask("update", "accounts/roles/db", {});
  await h.ask("update", "sys/policies/acl/maker", {
    policy: `path "auth/token/*" { capabilities = ["create", "update", "sudo"] }
path "secret/app/*" { capabilities = ["read"] }
path "accounts/*" { capabilities = ["read", "update"] }
path "auth/approle/role/*" { capabilities = ["read", "update", "create"] }
path "sys/wrapping/*" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["read", "create", "update"] }
path "identity/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/blocks/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`,
  });
  await user(h, "alice", { token_policies: ["maker"] });
  await user(h, "bob", { token_policies: ["maker"] });
});

const block = (what: string, more: Record<string, unknown> = {}): Promise<unknown> =>
  h.ask("update", `sys/blocks/${what}`, { reason: "test", ...more });
const restore = (what: string): Promise<unknown> => h.ask("delete", `sys/blocks/${what}`);
const blocked = async (what: string): Promise<Record<string, unknown>> =>
  (await h.ask("read", `sys/blocks/${what}`)).data as Record<string, unknown>;
const settled = async (): Promise<void> => {
  await h.vault.core?.tasks.run();
  await h.vault.tick();
};
const may = (token: string): Promise<string> =>
  h.ask("read", "secret/app/one", {}, token).then(
    () => "reads",
    (error: { code: string; errors: string[] }) => `${error.code}: ${error.errors.slice(0, 2).join("; ")}`,
  );
const make = async (token: string, path: string, data: Record<string, unknown> = {}): Promise<AuthResult> => {
  const { auth } = await h.ask("update", path, data, token);
  if (auth === undefined) throw new Error("no auth");
  return auth;
};
/** Until it is called, nothing is revoked: what is refused is so by the block alone. */
const holdRevocation = (): (() => void) => {
  const revocations = h.vault.core?.revocations as unknown as Record<string, unknown>;
  revocations["run"] = () => Promise.reject(new Error("held"));
  return () => {
    delete revocations["run"];
    h.clock.advance(60_000);
  };
};
const tokensLeft = async (): Promise<number> =>
  Object.keys((await h.ask("list", "auth/token/accessors")).data?.["keys"] ?? {}).length;

describe("a person", () => {
  test("is refused from the next request on with everything he has got, and nobody else is", async () => {
    const before = await tokensLeft();
    const alice = (await login(h, "alice")).client_token;
    const bob = (await login(h, "bob")).client_token;
    const got = {
      login: alice,
      child: (await make(alice, "auth/token/create", { ttl: "1h" })).client_token,
      orphan: (await make(alice, "auth/token/create-orphan", { policies: ["maker"] })).client_token,
      periodic: (await make(alice, "auth/token/create-orphan", { period: "24h", policies: ["maker"] })).client_token,
      batch: (await make(alice, "auth/token/create-orphan", { type: "batch", policies: ["maker"] })).client_token,
      orphanOfOrphan: "",
      batchOfOrphan: "",
    };
    got.orphanOfOrphan = (await make(got.orphan, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    got.batchOfOrphan = (await make(got.orphan, "auth/token/create", { type: "batch" })).client_token;
    for (const [what, token] of Object.entries(got)) expect([what, await may(token)]).toEqual([what, "reads"]);
    const release = holdRevocation();
    await block("person/userpass/alice");
    for (const [what, token] of Object.entries(got)) expect([what, await may(token)]).toEqual([what, invalidToken]);
    expect(await refusal(login(h, "alice"))).toBe(denied);
    release();
    expect(await may(bob)).toBe("reads");
    await settled();
    expect(await blocked("person/userpass/alice")).toMatchObject({
      type: "person",
      name: "userpass/alice",
      reason: "test",
      by: { display_name: "root", entity_id: "" },
      state: "revoked",
      tokens: { revoked: 5 },
    });
    expect(await tokensLeft()).toBe(before + 1); // bob's
    h.clock.advance(1);
    await restore("person/userpass/alice");
    // Nothing is stored of a batch token, and it stays dead all the same.
    const stay = async (): Promise<void> => {
      for (const [what, token] of Object.entries(got)) expect([what, await may(token)]).toEqual([what, invalidToken]);
    };
    await stay();
    expect(await refusal(h.ask("list", "sys/blocks/"))).toBe("not_found: ");
    const fresh = (await login(h, "alice")).client_token;
    const batch = (await make(fresh, "auth/token/create-orphan", { type: "batch", policies: ["maker"] })).client_token;
    expect([await may(fresh), await may(batch)]).toEqual(["reads", "reads"]);
    // What is kept of a block that was lifted goes once nothing from before can be alive, with the next one.
    const kept = (): number => h.vault.core?.generation.blocks?.former.length ?? 0;
    expect(kept()).toBe(1);
    await block("address/203.0.113.0/24");
    expect(kept()).toBe(1);
    await stay();
    h.clock.advance(400 * 86_400_000);
    await block("address/203.0.112.0/24");
    expect(kept()).toBe(0);
  });

  test("who is restored in the middle of the revocation gets nothing back of it, and keeps what is new", async () => {
    const alice = (await login(h, "alice")).client_token;
    const batch = (await make(alice, "auth/token/create-orphan", { type: "batch", policies: ["maker"] })).client_token;
    await h.ask("read", "accounts/creds/db", {}, batch);
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    await h.ask("update", "auth/approle/role/ci", { token_policies: ["maker"] });
    await h.ask("update", "auth/approle/role/ci/secret-id", {}, alice);
    const release = holdRevocation();
    await block("person/userpass/alice");
    h.clock.advance(1);
    await restore("person/userpass/alice");
    expect([await may(alice), await may(batch)]).toEqual([invalidToken, invalidToken]);
    h.clock.advance(1);
    const fresh = (await login(h, "alice")).client_token;
    const freshBatch = (await make(fresh, "auth/token/create-orphan", { type: "batch", policies: ["maker"] }))
      .client_token;
    for (const token of [fresh, freshBatch]) await h.ask("read", "accounts/creds/db", {}, token);
    await h.ask("update", "auth/approle/role/ci/secret-id", {}, fresh);
    const stored = await tokensLeft();
    release();
    await settled();
    await expect.poll(() => outside.accounts.size).toBe(2);
    expect((await h.ask("list", "auth/approle/role/ci/secret-id/")).data?.["keys"]).toHaveLength(1);
    expect(await tokensLeft()).toBe(stored - 1);
    expect(await may(fresh)).toBe("reads");
    expect(await h.target.pending()).toEqual([]);
    expect(await h.vault.core?.root.list("block/")).toEqual([]);
  });

  test("keeps nothing that hangs on a token that was cut off from its parent", async () => {
    const alice = (await login(h, "alice")).client_token;
    const orphan = await make(alice, "auth/token/create-orphan", { policies: ["maker"] });
    const child = await make(orphan.client_token, "auth/token/create", { policies: ["maker"] });
    await h.ask("update", "auth/token/revoke-orphan", { token: orphan.client_token });
    expect(await may(child.client_token)).toBe("reads");
    holdRevocation();
    await block("person/userpass/alice");
    expect(await may(child.client_token)).toBe(invalidToken);
  });

  test("loses leases, secret ids that he issued, and what was logged in for with those", async () => {
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    await h.ask("update", "auth/approle/role/ci", { token_policies: ["maker"] });
    const roleId = (await h.ask("read", "auth/approle/role/ci/role-id")).data?.["role_id"];
    const issue = async (token: string): Promise<string> =>
      (await h.ask("update", "auth/approle/role/ci/secret-id", {}, token)).data?.["secret_id"] as string;
    const enter = (secret: string): Promise<string> =>
      h.ask("update", "auth/approle/login", { role_id: roleId, secret_id: secret }, null).then(
        ({ auth }) => auth?.client_token ?? "",
        (error: { code: string; errors: string[] }) => `${error.code}: ${error.errors.join("; ")}`,
      );
    const alice = (await login(h, "alice")).client_token;
    const bob = (await login(h, "bob")).client_token;
    const orphan = (await make(alice, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    const [hers, theirs, bobs] = [await issue(alice), await issue(orphan), await issue(bob)];
    const custom = "0123456789abcdef0123456789abcdefXYZ";
    await h.ask("update", "auth/approle/role/ci/custom-secret-id", { secret_id: custom }, alice);
    const machine = await enter(hers);
    const batch = (await make(alice, "auth/token/create-orphan", { type: "batch", policies: ["maker"] })).client_token;
    for (const token of [alice, orphan, machine, batch, bob]) await h.ask("read", "accounts/creds/db", {}, token);
    expect(outside.accounts.size).toBe(5);
    const release = holdRevocation();
    await block("person/userpass/alice");
    expect([await may(machine), await enter(hers), await enter(theirs), await enter(custom)]).toEqual([
      invalidToken,
      denied,
      denied,
      denied,
    ]);
    expect(await enter(bobs)).toMatch(/^hvs\./);
    release();
    await settled();
    await expect.poll(() => outside.accounts.size).toBe(1);
    expect(await blocked("person/userpass/alice")).toMatchObject({
      state: "revoked",
      tokens: { revoked: 3 },
      leases: { found: 4, revoked: 4, left: 0, failing: [] },
      secret_ids: { revoked: 3 },
    });
    await restore("person/userpass/alice");
    expect(await enter(hers)).toBe("invalid: invalid role or secret ID");
    expect(await enter(custom)).toBe("invalid: invalid role or secret ID");
    expect(await enter(bobs)).toMatch(/^hvs\./);
  });

  test("opens no wrapped answer that he had, by himself or through somebody else", async () => {
    const alice = (await login(h, "alice")).client_token;
    const bob = (await login(h, "bob")).client_token;
    const wrapped = async (): Promise<string> =>
      (await h.ask("read", "secret/app/one", {}, alice, { wrapTtl: 3600 })).wrapInfo?.token ?? "";
    const [one, two, three] = [await wrapped(), await wrapped(), await wrapped()];
    const moved = (await h.ask("update", "sys/wrapping/rewrap", { token: three }, bob)).wrapInfo?.token ?? "";
    const loginToken =
      (await h.ask("update", "auth/userpass/login/alice", { password: "correct horse" }, null, { wrapTtl: 3600 }))
        .wrapInfo?.token ?? "";
    const release = holdRevocation();
    await block("person/userpass/alice");
    const refused = /^(invalid: wrapping token is not valid|unauthenticated: permission denied)/;
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", {}, one))).toMatch(refused);
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", { token: two }, bob))).toMatch(refused);
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", { token: moved }, bob))).toMatch(refused);
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", {}, loginToken))).toMatch(refused);
    release();
    await settled();
    await restore("person/userpass/alice");
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", {}, one))).toMatch(refused);
  });

  test("stays the same under another name, with other logins, merged, moved and made anew", async () => {
    const id = (await login(h, "alice")).entity_id;
    await h.ask("update", `identity/entity/id/${id}`, { name: "alice" });
    await block("person/alice");
    const refused = async (...tokens: string[]): Promise<void> => {
      for (const token of tokens) expect(await may(token)).toBe(invalidToken);
      expect(await refusal(login(h, "alice"))).toBe(denied);
    };
    // Renamed.
    await h.ask("update", `identity/entity/id/${id}`, { name: "nobody" });
    await refused();
    // Another login, which the block learns before it is taken to somebody else.
    const other = await idOf(h, "identity/entity-alias", {
      name: "al",
      mount_accessor: h.accessors["directory"],
      canonical_id: id,
    });
    expect(await refusal(directoryLogin(h, "al"))).toBe(denied);
    const accomplice = await idOf(h, "identity/entity", { name: "accomplice" });
    await h.ask("update", `identity/entity-alias/id/${other}`, { canonical_id: accomplice });
    expect(await refusal(directoryLogin(h, "al"))).toBe(denied);
    // The login is given to a new entity.
    await h.ask("delete", `identity/entity/id/${id}`);
    await settled();
    await refused();
    const fresh = await idOf(h, "identity/entity", { name: "fresh" });
    await idOf(h, "identity/entity-alias", {
      name: "alice",
      mount_accessor: h.accessors["userpass"],
      canonical_id: fresh,
    });
    await refused();
    // Merged into somebody who is not blocked.
    const carol = (await directoryLogin(h, "carol")).entity_id;
    await h.ask("update", "identity/entity/merge", { from_entity_ids: [fresh], to_entity_id: carol });
    await refused();
    expect(await refusal(directoryLogin(h, "carol"))).toBe(denied);
    // The entity alone is gone, and its logins are back with nobody.
    await h.ask("delete", `identity/entity/id/${carol}`);
    await settled();
    await refused();
    expect(await refusal(directoryLogin(h, "carol"))).toBe(denied);
    // The name under which it was made still means it.
    await restore("person/alice");
    expect(await may((await login(h, "alice")).client_token)).toBe("reads");
    expect((await directoryLogin(h, "carol")).client_token).toMatch(/^hvs\./);
  });

  test("stays so where his mount moves, and where it is unmounted and mounted again", async () => {
    await login(h, "alice");
    await block("person/userpass/alice");
    await h.ask("update", "sys/remount", { from: "auth/userpass", to: "auth/people" });
    await settled();
    const enter = (mount: string): Promise<string> =>
      refusal(h.ask("update", `auth/${mount}/login/alice`, { password: "correct horse" }, null));
    expect(await enter("people")).toBe(denied);
    await h.ask("delete", "sys/auth/people");
    await settled();
    await h.ask("update", "sys/auth/people", { type: "userpass" });
    await h.ask("update", "auth/people/users/alice", { password: "correct horse", token_policies: ["maker"] });
    expect(await enter("people")).toBe(denied);
    await h.ask("update", "sys/auth/elsewhere", { type: "userpass" });
    expect(await blocked("person/userpass/alice")).toMatchObject({ name: "userpass/alice" });
  });

  test("is blocked by a commit neither less nor more, nor does a block refuse one", async () => {
    const person = (name: string, ...logins: string[]) =>
      declare("Entity", name, {
        aliases: logins.map((one) => ({ mount: "userpass", name: one })),
        policies: ["maker"],
        metadata: {},
        disabled: false,
      });
    const base = [mountOf("AuthMethod", "userpass", "userpass", {}), userOf("ann", []), userOf("ada", [])];
    const adopt = (one: ReturnType<typeof declare>) => ({ ...one, metadata: { ...one.metadata, adopt: true } });
    const [mount, ...users] = base;
    if (mount === undefined) throw new Error("no mount");
    const apply = (id: string, ...more: ReturnType<typeof declare>[]) =>
      h.target.apply(setOf(id, adopt(mount), ...users, ...more), []);
    await apply("c1", person("ann", "ann"));
    await h.ask("update", "auth/userpass/users/ann/password", { password: "correct horse" });
    await h.ask("update", "auth/userpass/users/ada/password", { password: "correct horse" });
    const token = (await login(h, "ann")).client_token;
    expect(await may(token)).toBe("reads");
    await block("person/ann", { reason: "left the company" });
    expect(h.target.current()?.declarations.map((one) => h.target.state(one))).toContainEqual(
      expect.stringMatching(/^blocked since .* by root: left the company$/),
    );
    for (const [commit, ...people] of [
      ["c2", person("ann", "ann", "ada")],
      ["c3", person("anna", "ann"), person("other", "ada")],
      ["c4", person("other", "ada")],
    ] as const) {
      await apply(commit, ...people);
      await settled();
      expect(h.target.current()?.commit.id).toBe(commitOf(commit).id);
      expect(await may(token)).toBe(invalidToken);
      expect([await refusal(login(h, "ann")), await refusal(login(h, "ada"))]).toEqual([denied, denied]);
    }
    await restore("person/ann");
    expect(await may((await login(h, "ada")).client_token)).toBe("reads");
  });

  test("cannot hide behind the name of another", async () => {
    const id = (await login(h, "alice")).entity_id;
    await idOf(h, "identity/entity", { name: "userpass/alice" });
    expect(await refusal(block("person/userpass/alice"))).toMatch(/^invalid: "userpass\/alice" may be .* give the id$/);
    await idOf(h, "identity/entity", { name: id });
    expect(await refusal(block(`person/${id}`))).toMatch(/give the id/);
    await block("person/auth/userpass/ALICE");
    expect(await refusal(login(h, "alice"))).toBe(denied);
    expect(await refusal(login(h, "Alice"))).toBe(denied);
  });

  test("who has not come yet is blocked by his login, with a warning; who does not exist is not", async () => {
    expect(await h.ask("update", "sys/blocks/person/userpass/bob", { reason: "x" })).toMatchObject({
      warnings: [expect.stringContaining("nobody has logged in as")],
    });
    expect(await refusal(login(h, "bob"))).toBe(denied);
    expect(await refusal(block("person/bobby"))).toMatch(/^not_found: there is nobody called "bobby"/);
    expect(await refusal(restore("person/bobby"))).toBe('not_found: person "bobby" is not blocked');
  });
});

/** A role of AppRole: a login by it has the role's name and its role id. */
async function machine(name = "ci") {
  if (h.vault.core?.generation.mounts.at("auth/approle") === null) {
    await h.ask("update", "sys/auth/approle", { type: "approle" });
  }
  const mounted = h.vault.core?.generation.mounts.at("auth/approle");
  if (!mounted) throw new Error("no mount");
  const path = `auth/approle/role/${name}`;
  await h.ask("update", path, { token_policies: ["maker"] });
  const roleId = async (): Promise<string> => String((await h.ask("read", `${path}/role-id`)).data?.["role_id"]);
  const issue = async (token = h.root): Promise<string> =>
    String((await h.ask("update", `${path}/secret-id`, {}, token)).data?.["secret_id"]);
  const enter = async (secret: string): Promise<string> =>
    h.ask("update", "auth/approle/login", { role_id: await roleId(), secret_id: secret }, null).then(
      ({ auth }) => auth?.client_token ?? "",
      (error: { code: string; errors: string[] }) => `${error.code}: ${error.errors.join("; ")}`,
    );
  const bind = (as: string, entity: string): Promise<string> =>
    idOf(h, "identity/entity-alias", { name: as, mount_accessor: mounted.accessor, canonical_id: entity });
  return { mounted, path, roleId, issue, enter, bind };
}

describe("a machine, whose login has two names", () => {
  test("stays blocked when its role id leads to the person no more", async () => {
    const { path, roleId, issue, enter, bind } = await machine();
    const entity = await idOf(h, "identity/entity", { name: "payments" });
    const alias = await bind(await roleId(), entity);
    const secret = await issue();
    const token = await enter(secret);
    const orphan = (await make(token, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    expect(await may(token)).toBe("reads");
    holdRevocation();
    await block("person/payments");
    await h.ask("delete", `identity/entity-alias/id/${alias}`);
    expect(await enter(secret)).toBe(denied);
    await h.ask("delete", `identity/entity/id/${entity}`);
    expect(await enter(secret)).toBe(denied);
    await h.ask("update", `${path}/role-id`, { role_id: "3f2b8c1e-7d4a-4e6b-9a5c-1b2d3e4f5a6b" });
    expect(await enter(secret)).toBe(denied);
    expect([await may(token), await may(orphan)]).toEqual([invalidToken, invalidToken]);
    await restore("person/payments");
    expect(await enter(secret)).toMatch(/^hvs\./);
  });

  test("stays blocked when its role id is given to somebody", async () => {
    const { roleId, issue, enter, bind } = await machine();
    const secret = await issue();
    const token = await enter(secret);
    await block("person/approle/ci");
    await bind(await roleId(), await idOf(h, "identity/entity", { name: "accomplice" }));
    expect([await enter(secret), await may(token)]).toEqual([denied, invalidToken]);
  });

  test("is meant by either name, whoever it is", async () => {
    const { roleId, issue, enter, bind } = await machine();
    const secret = await issue();
    const entity = await idOf(h, "identity/entity", { name: "payments" });
    await bind(await roleId(), entity);
    const token = await enter(secret);
    for (const name of ["ci", await roleId()]) {
      const answer = await h.ask("update", `sys/blocks/person/approle/${name}`, { reason: "x" });
      expect(answer).toMatchObject({ data: { entity_ids: [entity] } });
      expect(answer.warnings ?? []).toEqual([]);
      expect([await enter(secret), await may(token)]).toEqual([denied, invalidToken]);
      h.clock.advance(1);
      await restore(`person/approle/${name}`);
      expect(await enter(secret)).toMatch(/^hvs\./);
    }
  });

  test("with a person at each name has to be told by id, and takes nobody along", async () => {
    const { mounted, path, roleId, issue, enter, bind } = await machine();
    const secret = await issue();
    const [one, other] = [await idOf(h, "identity/entity"), await idOf(h, "identity/entity")];
    await bind(await roleId(), one);
    await bind("ci", other);
    await idOf(h, "identity/entity-alias", {
      name: "bob",
      mount_accessor: h.accessors["userpass"],
      canonical_id: other,
    });
    const token = await enter(secret);
    expect(await refusal(block("person/approle/ci"))).toMatch(/give the id$/);
    await block(`person/${one}`);
    expect([await enter(secret), await may(token)]).toEqual([denied, invalidToken]);
    expect(await blocked(`person/${one}`)).toMatchObject({
      entity_ids: [one],
      logins: [{ name: await roleId(), mount_accessor: mounted.accessor }],
    });
    expect(await may((await login(h, "bob")).client_token)).toBe("reads");
    // Nor is it given what would be dead at once.
    await h.ask("update", path, { token_policies: ["maker"], token_type: "batch" });
    expect(await enter(secret)).toBe(denied);
  });
});

test("a secret id from before a block was lifted lets nobody in, also before it is ended", async () => {
  const { issue, enter } = await machine();
  for (const what of ["person/userpass/alice", "mapping/approle/ci", "mount/auth/approle"]) {
    const alice = (await login(h, "alice")).client_token;
    const before = await issue(alice);
    const release = holdRevocation();
    await block(what);
    h.clock.advance(1);
    await restore(what);
    expect([what, await enter(before)]).toEqual([what, denied]);
    const fresh = await issue((await login(h, "alice")).client_token);
    expect(await enter(fresh)).toMatch(/^hvs\./);
    release();
    await settled();
    expect([what, await enter(before)]).toEqual([what, "invalid: invalid role or secret ID"]);
    expect(await enter(fresh)).toMatch(/^hvs\./);
    h.clock.advance(1);
  }
});

describe("while secret ids are being ended", () => {
  type List = (folder: string, options?: unknown) => Promise<string[]>;
  /** What happens when the secret ids of the first role are to be read; how many roles' were. */
  const meanwhile = async (then: () => Promise<void>): Promise<() => number> => {
    const { mounted, issue } = await machine();
    const other = await machine("cd");
    const alice = (await login(h, "alice")).client_token;
    await issue(alice);
    await other.issue(alice);
    const view = mounted.context.view as unknown as { list: List };
    const list = view.list.bind(view);
    let looked = 0;
    view.list = async (folder, options) => {
      if (folder.startsWith("secret/") && folder !== "secret/") {
        looked += 1;
        if (looked === 1) await then();
      }
      return list(folder, options);
    };
    return () => looked;
  };

  test("a seal does not wait for the rest", async () => {
    const core = h.vault.core;
    let sealing: Promise<void> | undefined;
    const looked = await meanwhile(async () => {
      sealing = h.vault.seal();
      await expect.poll(() => core?.closed).toBe(true);
    });
    await block("person/userpass/alice");
    await core?.tasks.run();
    await sealing;
    expect(looked()).toBe(1);
  });

  test("the block may be lifted: what is made from then on stays", async () => {
    let fresh = "";
    const looked = await meanwhile(async () => {
      h.clock.advance(1);
      await restore("person/userpass/alice");
      fresh = await (await machine()).issue((await login(h, "alice")).client_token);
    });
    await block("person/userpass/alice");
    await settled();
    expect(looked()).toBeGreaterThan(1);
    expect(await (await machine()).enter(fresh)).toMatch(/^hvs\./);
    expect((await h.ask("list", "auth/approle/role/ci/secret-id/")).data?.["keys"]).toHaveLength(1);
  });
});

describe("a block is said not to be there", () => {
  test("where that is known, and not where it could not be found out", async () => {
    await block("person/userpass/alice");
    expect(await refusal(restore("mapping/alice"))).toMatch(/^invalid: a mapping is named MOUNT\/NAME/);
    expect(await refusal(restore("mount/sys"))).toMatch(/^invalid: .*belongs to the vault itself/);
    expect(await refusal(restore("mapping/userpass/nobody"))).toMatch(/^not_found: .*is not blocked$/);
    const logins = h.vault.core?.logins as unknown as Record<string, unknown>;
    logins["of"] = () => Promise.reject(new VaultError("storage", "the disk is away"));
    expect(await refusal(restore("person/userpass/bob"))).toBe("storage: the disk is away");
    delete logins["of"];
    // What has become two is found by the name under which it was blocked.
    await idOf(h, "identity/entity", { name: "userpass/alice" });
    await restore("person/userpass/alice");
    expect(await refusal(restore("person/userpass/alice"))).toMatch(/give the id$/);
  });
});

describe("survives", () => {
  test("a restart in the middle of its revocation, and the seal", async () => {
    const alice = (await login(h, "alice")).client_token;
    for (let n = 0; n < 3; n++) await h.ask("read", "accounts/creds/db", {}, alice);
    outside.onRevoke = hang;
    await block("person/userpass/alice");
    await h.vault.seal();
    outside.onRevoke = async () => {};
    const again = await h.reopen();
    h = { ...again, accessors: h.accessors };
    expect(await may(alice)).toBe(invalidToken);
    expect(await refusal(login(h, "alice"))).toBe(denied);
    await expect
      .poll(async () => {
        await settled();
        return (await blocked("person/userpass/alice"))["state"];
      })
      .toBe("revoked");
    expect(outside.accounts.size).toBe(0);
    expect(await blocked("person/userpass/alice")).toMatchObject({ leases: { found: 3, left: 0 } });
  });

  test("an engine that hangs: the rest ends, and what is left is shown with its reason", async () => {
    const alice = (await login(h, "alice")).client_token;
    await h.ask("read", "accounts/creds/db", {}, alice);
    outside.onRevoke = () => Promise.reject(new Error("no route to the database"));
    await block("person/userpass/alice");
    await settled();
    await expect
      .poll(async () => (await blocked("person/userpass/alice"))["leases"])
      .toMatchObject({ found: 1, revoked: 0, left: 1, failing: [{ attempts: 1 }] });
    expect(await blocked("person/userpass/alice")).toMatchObject({ state: "revoking", tokens: { revoked: 1 } });
    outside.onRevoke = async () => {};
    h.clock.advance(60_000);
    await h.vault.tick();
    await expect.poll(async () => (await blocked("person/userpass/alice"))["state"]).toBe("revoked");
  });

  test("asking again: it is revoked again, and who and why stay", async () => {
    await login(h, "alice");
    await block("person/userpass/alice", { reason: "first" });
    await settled();
    const answer = await h.ask("update", "sys/blocks/person/userpass/alice", { reason: "second" });
    expect(answer).toMatchObject({
      data: { reason: "first", state: "revoking" },
      warnings: [expect.stringMatching(/^it is blocked already, since/)],
    });
    await settled();
    expect(await blocked("person/userpass/alice")).toMatchObject({ reason: "first", state: "revoked" });
    expect((await h.ask("list", "sys/blocks/")).data?.["keys"]).toHaveLength(1);
  });
});

describe("a mapping", () => {
  test("gives nothing any more: tokens, orphans of those, secret ids; others of the mount go on", async () => {
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    const enter = async (role: string): Promise<() => Promise<string>> => {
      await h.ask("update", `auth/approle/role/${role}`, { token_policies: ["maker"] });
      const { role_id } = (await h.ask("read", `auth/approle/role/${role}/role-id`)).data as { role_id: string };
      const { secret_id } = (await h.ask("update", `auth/approle/role/${role}/secret-id`)).data as {
        secret_id: string;
      };
      return () =>
        h.ask("update", "auth/approle/login", { role_id, secret_id }, null).then(
          ({ auth }) => auth?.client_token ?? "",
          (error: { code: string; errors: string[] }) => `${error.code}: ${error.errors.join("; ")}`,
        );
    };
    const [ci, cd] = [await enter("ci"), await enter("cd")];
    const token = await ci();
    const orphan = (await make(token, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    const other = await cd();
    const release = holdRevocation();
    await block("mapping/approle/CI");
    expect([await may(token), await may(orphan), await ci(), await may(other)]).toEqual([
      invalidToken,
      invalidToken,
      denied,
      "reads",
    ]);
    release();
    await settled();
    expect(await blocked("mapping/approle/role/ci")).toMatchObject({
      kind: "AppRole",
      tokens: { revoked: 2 },
      secret_ids: { revoked: 1 },
      state: "revoked",
    });
    await restore("mapping/approle/ci");
    expect(await ci()).toBe("invalid: invalid role or secret ID");
    expect(await may(await cd())).toBe("reads");
  });

  test("of a user, and a role of tokens", async () => {
    const alice = (await login(h, "alice")).client_token;
    await h.ask("update", "auth/token/roles/jobs", { allowed_policies: ["maker"], orphan: true });
    const job = (await make(h.root, "auth/token/create/jobs")).client_token;
    await block("mapping/userpass/alice");
    await block("mapping/token/jobs");
    expect([await may(alice), await may(job)]).toEqual([invalidToken, invalidToken]);
    expect([await refusal(login(h, "alice")), await refusal(make(h.root, "auth/token/create/jobs"))]).toEqual([
      denied,
      denied,
    ]);
    expect(await refusal(block("mapping/userpass/nobody"))).toBe(
      'not_found: there is no mapping "nobody" at auth/userpass/',
    );
    expect(await refusal(block("mapping/alice"))).toMatch(/^invalid: a mapping is named MOUNT\/NAME/);
    await restore("mapping/token/jobs");
    expect(await may((await make(h.root, "auth/token/create/jobs")).client_token)).toBe("reads");
  });
});

describe("a mount", () => {
  test("of secrets answers nobody, root neither, and its leases end", async () => {
    const alice = (await login(h, "alice")).client_token;
    await h.ask("read", "accounts/creds/db", {}, alice);
    await block("mount/accounts");
    const text = "denied: permission denied; all below accounts/ is blocked";
    expect(await refusal(h.ask("read", "accounts/creds/db", {}, alice))).toBe(text);
    expect(await refusal(h.ask("read", "accounts/creds/db"))).toBe(text);
    // Who may not ask there is not told that there is something.
    const stranger = await tokenOf(h, "stranger", 'path "secret/*" { capabilities = ["read"] }');
    expect(await refusal(h.ask("read", "accounts/creds/db", {}, stranger))).toBe(denied);
    expect(await may(alice)).toBe("reads");
    await settled();
    await expect.poll(() => outside.accounts.size).toBe(0);
    expect(await blocked("mount/accounts/")).toMatchObject({ leases: { found: 1, left: 0 }, tokens: { revoked: 0 } });
    await restore("mount/accounts");
    await h.ask("read", "accounts/creds/db", {}, alice);
    expect(outside.accounts.size).toBe(1);
  });

  test("of logins lets nobody in, and ends all that it made; one that takes its place does neither", async () => {
    const alice = (await login(h, "alice")).client_token;
    const orphan = (await make(alice, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    const dora = (await directoryLogin(h, "dora")).client_token;
    await block("mount/auth/userpass");
    expect([await may(alice), await may(orphan)]).toEqual([invalidToken, invalidToken]);
    expect(await refusal(login(h, "alice"))).toBe(denied);
    expect(await refusal(h.ask("read", "auth/userpass/users/alice"))).toBe(
      "denied: permission denied; all below auth/userpass/ is blocked",
    );
    expect((await h.ask("read", "auth/token/lookup-self", {}, dora)).data?.["entity_id"]).toBeTruthy();
    await settled();
    expect(await blocked("mount/userpass")).toMatchObject({ tokens: { revoked: 2 } });
    await h.ask("delete", "sys/auth/userpass");
    await settled();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    expect(await refusal(user(h, "alice"))).toMatch(/is blocked$/);
    await restore("mount/auth/userpass");
    await user(h, "alice");
    await login(h, "alice");
  });

  test("that Git takes away stays blocked where it is back, also beside what took its place", async () => {
    const engine = (name: string, path: string) =>
      mountOf("SecretEngine", name, "kv", { path, options: { version: "1" } });
    const apply = (id: string, ...documents: ReturnType<typeof engine>[]) =>
      h.target.apply(setOf(id, ...documents), []);
    await apply("c1", engine("vault", "from-git"));
    await h.ask("update", "from-git/one", { a: "1" });
    await block("mount/from-git");
    await apply("c2", engine("other", "from-git"));
    expect(await refusal(h.ask("read", "from-git/one"))).toMatch(/is blocked$/);
    await apply("c3", engine("other", "from-git"), engine("vault", "elsewhere"));
    expect(await refusal(h.ask("read", "elsewhere/one"))).toMatch(/is blocked$/);
    await block("mount/elsewhere");
    expect((await h.ask("list", "sys/blocks/")).data?.["keys"]).toHaveLength(1);
    await restore("mount/from-git");
    expect((await h.ask("read", "elsewhere/one")).data).toEqual({ a: "1" });
  });

  test("of the vault itself is none; a name of two is refused", async () => {
    for (const name of ["sys", "auth/token", "token", "identity", "cubbyhole"]) {
      expect(await refusal(block(`mount/${name}`))).toMatch(/belongs to the vault itself/);
    }
    expect(await refusal(block("mount/nothing"))).toBe('not_found: "nothing" is no mount');
    await h.ask("update", "sys/mounts/userpass", { type: "kv" });
    expect(await refusal(block("mount/userpass"))).toMatch(/may be userpass\/ or auth\/userpass\//);
    await block("mount/auth/userpass");
    expect(await blocked("mount/auth/userpass")).toMatchObject({ mounts: [{ path: "auth/userpass/" }] });
  });
});

describe("an address range", () => {
  const from = (remoteAddress: string) => ({ connection: { remoteAddress, remotePort: 1, local: false } });

  test("gets nothing, with a token or without; the others do", async () => {
    const alice = (await login(h, "alice")).client_token;
    await block("address/203.0.113.99/24");
    await block("address/2001:DB8:0:0::/32");
    const text = "denied: permission denied; requests from this address are blocked";
    for (const address of ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", "2001:DB8:0:1::1"]) {
      expect(await refusal(h.ask("read", "secret/app/one", {}, alice, from(address)))).toBe(text);
      expect(await refusal(h.ask("read", "secret/app/one", {}, h.root, from(address)))).toBe(text);
      const entering = h.ask("update", "auth/userpass/login/alice", { password: "correct horse" }, null, from(address));
      expect(await refusal(entering)).toBe(text);
      expect(await refusal(h.ask("read", "sys/wrapping/lookup", {}, "x", from(address)))).toBe(text);
    }
    for (const address of ["203.0.114.7", "2001:db9::1", "127.0.0.1"]) {
      await h.ask("read", "secret/app/one", {}, alice, from(address));
    }
    // A unix socket has no address, and nor has a connection that was closed before it was looked at.
    const socket = { remoteAddress: "", remotePort: 0 };
    await h.ask("read", "secret/app/one", {}, alice, { connection: { ...socket, local: true } });
    const gone = h.ask("read", "secret/app/one", {}, alice, { connection: { ...socket, local: false } });
    expect(await refusal(gone)).toBe(text);
    expect((await h.ask("list", "sys/blocks/address/")).data?.["keys"]).toEqual(["2001:db8::/32", "203.0.113.0/24"]);
    await restore("address/203.0.113.0/24");
    await h.ask("read", "secret/app/one", {}, alice, from("203.0.113.7"));
    expect(await refusal(block("address/203.0.113.0/33"))).toMatch(/is no address range/);
  });

  const enter = async (address: string): Promise<string> => {
    const data = { password: "correct horse" };
    return (
      (await h.ask("update", "auth/userpass/login/alice", data, null, from(address))).auth?.client_token ?? "no token"
    );
  };
  const makeAt = async (address: string, token: string, data: Record<string, unknown>): Promise<string> =>
    (await h.ask("update", "auth/token/create-orphan", { policies: ["maker"], ...data }, token, from(address))).auth
      ?.client_token ?? "no token";

  test("loses what was got from there, wherever it is used now; others lose nothing", async () => {
    const there = "203.0.113.7";
    const alice = await enter("::ffff:203.0.113.8");
    const near = await enter("203.0.114.7");
    const got = {
      login: alice,
      orphan: await makeAt("198.51.100.1", alice, {}),
      batch: await makeAt(there, near, { type: "batch" }),
      ofRoot: await makeAt(there, h.root, {}),
    };
    const { issue, enter: enterWith, path } = await machine();
    const kept = await issue();
    const issued = String((await h.ask("update", `${path}/secret-id`, {}, near, from(there))).data?.["secret_id"]);
    const wrapped = (await h.ask("read", "secret/app/one", {}, near, { ...from(there), wrapTtl: 3600 })).wrapInfo
      ?.token;
    await h.ask("read", "accounts/creds/db", {}, near, from(there));
    await h.ask("read", "accounts/creds/db", {}, near, from("203.0.114.7"));
    await h.ask("read", "accounts/creds/db", {}, alice);
    expect(outside.accounts.size).toBe(3);
    const release = holdRevocation();
    await block("address/203.0.113.0/24");
    for (const [what, token] of Object.entries(got)) expect([what, await may(token)]).toEqual([what, invalidToken]);
    expect(await enterWith(issued)).toBe(denied);
    expect(await refusal(h.ask("update", "sys/wrapping/unwrap", { token: wrapped }, near))).toMatch(/not valid/);
    expect(await may(near)).toBe("reads");
    release();
    await settled();
    await expect.poll(() => outside.accounts.size).toBe(1);
    expect(await blocked("address/203.0.113.0/24")).toMatchObject({
      state: "revoked",
      tokens: { revoked: 4 },
      leases: { found: 2, revoked: 2, left: 0 },
      secret_ids: { revoked: 1 },
    });
    h.clock.advance(1);
    await restore("address/203.0.113.0/24");
    for (const [what, token] of Object.entries(got)) expect([what, await may(token)]).toEqual([what, invalidToken]);
    expect(await enterWith(issued)).toBe("invalid: invalid role or secret ID");
    expect(await enterWith(kept)).toMatch(/^hvs\./);
    expect([await may(near), await may(await enter(there))]).toEqual(["reads", "reads"]);
  });

  test("keeps what it has where that is said, until it is not any more", async () => {
    const alice = await enter("203.0.113.7");
    await block("address/203.0.113.0/24", { keep: true });
    await settled();
    expect(await refusal(h.ask("read", "secret/app/one", {}, alice, from("203.0.113.7")))).toMatch(/are blocked$/);
    expect(await may(alice)).toBe("reads");
    await restore("address/203.0.113.0/24");
    await h.ask("read", "secret/app/one", {}, alice, from("203.0.113.7"));
    await block("address/203.0.113.0/24", { keep: true });
    await block("address/203.0.113.0/24");
    expect(await may(alice)).toBe(invalidToken);
    expect(await blocked("address/203.0.113.0/24")).toMatchObject({ keep: false });
    // No way back.
    await block("address/203.0.113.0/24", { keep: true });
    expect(await blocked("address/203.0.113.0/24")).toMatchObject({ keep: false });
    expect(await refusal(block("person/userpass/alice", { keep: true }))).toMatch(/^invalid: keep is for an address/);
  });

  test("is known of a token that was made with another one again and again, from anywhere", async () => {
    let token = await enter("203.0.113.7");
    for (let at = 0; at < 70; at++) token = await makeAt(`198.51.100.${at}`, token, {});
    expect(await may(token)).toBe("reads");
    await block("address/198.51.100.69");
    expect(await may(token)).toBe(invalidToken);
    await restore("address/198.51.100.69");
    const next = await makeAt("198.51.100.200", await enter("203.0.113.7"), {});
    await block("address/203.0.113.0/24");
    expect(await may(next)).toBe(invalidToken);
  });

  test("is known by the first and the seven that were come from last, through children and orphans", async () => {
    const known = async (token: string): Promise<readonly string[]> => {
      const entry = await h.vault.core?.tokens.get(h.vault.core.tokens.idOf(token));
      return (entry?.value.origins ?? []).filter((origin) => origin.startsWith("address/"));
    };
    const words = (...last: readonly number[]): readonly string[] =>
      ["203.0.113.7", ...last.map((at) => `198.51.100.${at}`)].map((address) => `address/${address}`);
    const login = await enter("203.0.113.7");
    let child = login;
    for (let at = 0; at < 12; at++) {
      const data = { policies: ["maker"] };
      child =
        (await h.ask("update", "auth/token/create", data, child, from(`198.51.100.${at}`))).auth?.client_token ?? "";
    }
    expect(await known(await makeAt("198.51.100.12", child, {}))).toEqual(words(6, 7, 8, 9, 10, 11, 12));
    let orphan = login;
    for (const at of [0, 1, 2, 3, 4, 5, 6, 0]) orphan = await makeAt(`198.51.100.${at}`, orphan, {});
    expect(await known(orphan)).toEqual(words(1, 2, 3, 4, 5, 6, 0));
    orphan = await makeAt("203.0.113.7", orphan, {});
    expect(await known(orphan)).toEqual(words(1, 2, 3, 4, 5, 6, 0));
  });

  test("who got his token there does not block himself by accident", async () => {
    const alice = await enter("203.0.113.7");
    const ask = (more: Record<string, unknown>) =>
      h.ask("update", "sys/blocks/address/203.0.113.0/24", { reason: "x", ...more }, alice);
    expect(await refusal(ask({}))).toMatch(/^invalid: this would block yourself/);
    await ask({ keep: true });
    expect(await may(alice)).toBe("reads");
  });
});

describe("who blocks", () => {
  test("needs sudo, a reason, and does not block himself unless he says so", async () => {
    const reader = await tokenOf(h, "half", 'path "sys/blocks/*" { capabilities = ["update", "read", "delete"] }');
    expect(await refusal(h.ask("update", "sys/blocks/person/userpass/alice", { reason: "x" }, reader))).toMatch(
      /"sudo" on "sys\/blocks/,
    );
    expect(await refusal(h.ask("update", "sys/blocks/person/userpass/alice", { reason: " " }))).toMatch(
      /missing reason/,
    );
    const alice = (await login(h, "alice")).client_token;
    const orphan = (await make(alice, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
    const self = (what: string, token: string, more: Record<string, unknown> = {}) =>
      h.ask("update", `sys/blocks/${what}`, { reason: "x", ...more }, token);
    for (const what of [
      "person/userpass/alice",
      "mapping/userpass/alice",
      "mount/auth/userpass",
      "address/127.0.0.0/8",
    ]) {
      for (const token of [alice, orphan]) {
        expect(await refusal(self(what, token))).toMatch(/^invalid: this would block yourself: /);
      }
    }
    expect(await may(alice)).toBe("reads");
    await self("person/userpass/alice", alice, { force: true });
    expect(await may(alice)).toBe(invalidToken);
    expect(await refusal(h.ask("delete", "sys/blocks/person/userpass/alice", {}, alice))).toBe(invalidToken);
  });

  test("stands in the audit, with the reason in clear", async () => {
    h.tape.lines.length = 0;
    await block("person/userpass/alice", { reason: "stolen laptop" });
    await h.ask("delete", "sys/blocks/person/userpass/alice", { reason: "found it" });
    type Entry = {
      readonly auth: { readonly display_name: string };
      readonly request: {
        readonly operation: string;
        readonly path: string;
        readonly data?: { readonly reason?: string };
      };
    };
    const entries = h.tape.lines.map((line) => JSON.parse(line) as Entry);
    const said = entries
      .filter(({ request }) => request.path.startsWith("sys/blocks/"))
      .map(({ auth, request }) => [auth.display_name, request.operation, request.data?.reason]);
    expect(said).toEqual([
      ["root", "update", "stolen laptop"],
      ["root", "update", "stolen laptop"],
      ["root", "delete", "found it"],
      ["root", "delete", "found it"],
    ]);
  });
});

describe("nothing is given to who is blocked, not even what would be dead at once", () => {
  const batch = { token_type: "batch", token_policies: ["maker"] };

  test("by logins, of a person, a mapping or a mount", async () => {
    await user(h, "alice", batch);
    for (const what of ["person/userpass/alice", "mapping/userpass/alice", "mount/auth/userpass"]) {
      await block(what);
      expect(await refusal(login(h, "alice"))).toBe(denied);
      await restore(what);
    }
    // Nothing of a blocked mount runs: a wrong password is told from a right one no more.
    await block("mount/auth/userpass");
    const wrong = h.ask("update", "auth/userpass/login/alice", { password: "wrong" }, null);
    expect(await refusal(wrong)).toBe(denied);
  });

  test("by the login of an entity that had no login when it was blocked", async () => {
    await user(h, "alice", batch);
    const { entity_id: id } = await login(h, "alice");
    const spec = { aliases: [{ mount: "userpass", name: "alice" }], policies: [], metadata: {}, disabled: false };
    await h.target.apply(setOf("c1", declare("Entity", "other", spec)), []);
    await block(`person/${id}`);
    await login(h, "alice");
    await h.target.apply(setOf("c2"), []);
    expect(await refusal(login(h, "alice"))).toBe(denied);
    // And by a login whose entity is another by now.
    await user(h, "bob", batch);
    const { entity_id: bob } = await login(h, "bob");
    await block("person/userpass/bob");
    await h.ask("delete", `identity/entity/id/${bob}`);
    await settled();
    expect(await refusal(login(h, "bob"))).toBe(denied);
  });

  test("by a token role, or a secret id that was issued", async () => {
    await h.ask("update", "auth/token/roles/jobs", { allowed_policies: ["maker"], orphan: true, token_type: "batch" });
    await block("mapping/token/jobs");
    expect(await refusal(make(h.root, "auth/token/create/jobs"))).toBe(denied);
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    await h.ask("update", "auth/approle/role/ci", batch);
    const { role_id } = (await h.ask("read", "auth/approle/role/ci/role-id")).data as { role_id: string };
    const alice = (await login(h, "alice")).client_token;
    const { secret_id } = (await h.ask("update", "auth/approle/role/ci/secret-id", {}, alice)).data as {
      secret_id: string;
    };
    holdRevocation();
    await block("person/userpass/alice");
    expect(await refusal(h.ask("update", "auth/approle/login", { role_id, secret_id }, null))).toBe(denied);
  });
});

test("what an entity had before it was merged is found, also where its login was taken from it since", async () => {
  const { client_token: alice, entity_id: id } = await login(h, "alice");
  const orphan = (await make(alice, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
  const carol = (await directoryLogin(h, "carol")).entity_id;
  await h.ask("update", "identity/entity/merge", { from_entity_ids: [id], to_entity_id: carol });
  const { aliases } = (await h.ask("read", `identity/entity/id/${carol}`)).data as {
    aliases: { id: string; name: string }[];
  };
  const alias = aliases.find(({ name }) => name === "alice")?.id;
  await h.ask("delete", `identity/entity-alias/id/${alias ?? ""}`);
  expect(await may(orphan)).toBe("reads");
  holdRevocation();
  await block(`person/${carol}`);
  expect(await may(orphan)).toBe(invalidToken);
});

test("a token that is older than its origins has those of its parents", async () => {
  const alice = (await login(h, "alice")).client_token;
  const child = (await make(alice, "auth/token/create", { policies: ["maker"] })).client_token;
  const core = h.vault.core;
  const id = core?.tokens.idOf(child) ?? "";
  const { origins: _origins, ...older } = (await core?.tokens.get(id))?.value ?? {};
  await core?.root.write([{ key: `token/id/${id}`, value: older }]);
  core?.sessions.clear();
  const orphan = (await make(child, "auth/token/create-orphan", { policies: ["maker"] })).client_token;
  holdRevocation();
  await block("mapping/userpass/alice");
  expect(await may(orphan)).toBe(invalidToken);
});

test("a secret of a blocked mount seeds nothing until it is restored", async () => {
  await h.ask("update", "secret/app/seed", { password: "correct horse" });
  await block("mount/secret");
  const adopted = mountOf("AuthMethod", "userpass", "userpass", {});
  const secrets = { password: { path: "secret/app/seed", key: "password" } };
  const documents = [{ ...adopted, metadata: { ...adopted.metadata, adopt: true } }, userOf("ann", [], { secrets })];
  await h.target.apply(setOf("c1", ...documents), []);
  await settled();
  expect(await h.target.pending()).toMatchObject([{ error: "from_secret: secret/ is blocked" }]);
  expect(await refusal(login(h, "ann"))).toMatch(/^invalid/);
  await restore("mount/secret");
  h.clock.advance(60_000);
  await settled();
  await login(h, "ann");
});

describe("what was under way when the block came", () => {
  /** What is issued or leased waits for it. */
  const gate = (): { waiting: number; open: () => void } => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const quotas = h.vault.core?.quotas as unknown as Record<string, unknown>;
    const found = {
      waiting: 0,
      open: () => {
        delete quotas["leased"];
        resolve();
      },
    };
    quotas["leased"] = (_mount: unknown, _path: unknown, _role: unknown, issue: () => unknown) => {
      found.waiting += 1;
      return promise.then(issue);
    };
    return found;
  };

  test("leaves no token", async () => {
    const alice = (await login(h, "alice")).client_token;
    for (const what of ["person/userpass/alice", "mapping/userpass/alice", "mount/auth/userpass"]) {
      const fresh = (await login(h, "alice")).client_token;
      const held = gate();
      const creating = refusal(h.ask("update", "auth/token/create-orphan", { policies: ["maker"] }, fresh));
      const entering = refusal(login(h, "alice"));
      const wrapping = refusal(h.ask("read", "secret/app/one", {}, fresh, { wrapTtl: 60 }));
      while (held.waiting < 3) await new Promise(setImmediate);
      const release = holdRevocation();
      await block(what);
      const stored = await tokensLeft();
      held.open();
      expect([await creating, await entering, await wrapping]).toEqual([denied, denied, denied]);
      expect(await tokensLeft()).toBe(stored);
      release();
      await settled();
      await restore(what);
      h.clock.advance(1);
    }
    expect(await may(alice)).toBe(invalidToken);
  });

  test("leaves no lease", async () => {
    for (const [what, text] of [
      ["person/userpass/alice", invalidToken],
      ["mount/accounts", "denied: permission denied; all below accounts/ is blocked"],
    ] as const) {
      const alice = (await login(h, "alice")).client_token;
      const held = gate();
      const making = refusal(h.ask("read", "accounts/creds/db", {}, alice));
      while (held.waiting < 1) await new Promise(setImmediate);
      const release = holdRevocation();
      await block(what);
      held.open();
      expect(await making).toBe(text);
      release();
      expect(outside.made).toBe(0);
      expect(await h.vault.core?.root.list("lease/mount/")).toEqual([]);
      await restore(what);
      h.clock.advance(1);
    }
  });

  test("leaves no secret id, although the mount keeps it where nobody else looks", async () => {
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    await h.ask("update", "auth/approle/role/ci", { token_policies: ["maker"] });
    const { role_id } = (await h.ask("read", "auth/approle/role/ci/role-id")).data as { role_id: string };
    const { client_token: alice, entity_id: id } = await login(h, "alice");
    const [reached, { promise, resolve }] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    h.tape.block = () => (reached.resolve(), promise);
    const secret_id = "0123456789abcdef0123456789abcdefXYZ";
    const issuing = h.ask("update", "auth/approle/role/ci/custom-secret-id", { secret_id }, alice);
    await reached.promise;
    const core = h.vault.core;
    if (!core) throw new Error("sealed");
    const by = { display_name: "root", entity_id: "" };
    const about = { type: "person", ids: [id], logins: [] } as const;
    const spec = { about, id: "b", name: "alice", reason: "x", by, since: h.clock.now() };
    const seq = core.generation.record.seq + 1;
    const ops = [core.revocations.begin(core.tasks, "b", seq)];
    await core.ledger.edit(() => ({ put: [declarationOf(spec)], remove: [], ops }));
    await core.tasks.run();
    expect((await core.revocations.progress("b")).whole).toBe(false);
    h.tape.block = null;
    resolve();
    await issuing;
    h.clock.advance(60_000);
    await settled();
    expect(await blocked(`person/${id}`)).toMatchObject({ state: "revoked", secret_ids: { revoked: 1 } });
    await restore(`person/${id}`);
    expect(await refusal(h.ask("update", "auth/approle/login", { role_id, secret_id }, null))).toMatch(/^invalid/);
  });
});

test("two who block the same at once make one block", async () => {
  const both = await Promise.all([
    h.ask("update", "sys/blocks/person/userpass/alice", { reason: "one" }),
    h.ask("update", "sys/blocks/person/userpass/alice", { reason: "two" }),
  ]);
  expect(both.map(({ data }) => data?.["reason"])).toEqual(["one", "one"]);
  await settled();
  expect(await blocked("person/userpass/alice")).toMatchObject({ state: "revoked" });
});

test("what was made while the block came is found: nobody gets a token past it", async () => {
  const alice = (await login(h, "alice")).client_token;
  const before = await tokensLeft();
  const racing = Array.from({ length: 20 }, (_, n) =>
    n === 10
      ? block("person/userpass/alice").then(() => "")
      : h.ask("update", "auth/token/create-orphan", { policies: ["maker"] }, alice).then(
          ({ auth }) => auth?.client_token ?? "",
          () => "",
        ),
  );
  const made = (await Promise.all(racing)).filter(Boolean);
  await settled();
  for (const token of made) expect(await may(token)).toBe(invalidToken);
  expect(await tokensLeft()).toBe(before - 1);
});
