// What the vault does to storage, one thing at a time, each seen from outside: what can be told before it and after it.

import { commitOf, declare, type Harness, mountOf, refusal, userOf } from "../core/harness.ts";
import type { Declaration } from "../../src/sdk/kind.ts";

export interface Scenario {
  readonly name: string;
  /** Done once, and whole. */
  readonly before?: (h: Harness, world: World) => Promise<void>;
  /** What is interrupted. Run again it must do what it was to do. */
  readonly run: (h: Harness, world: World) => Promise<unknown>;
  /** What a client can tell of it; the same before, or after, however it was interrupted. */
  readonly observe: (h: Harness, world: World) => Promise<unknown>;
  /** Once all is done. */
  readonly after?: (h: Harness, world: World) => Promise<void>;
}

/** Tokens that exist before everything else. */
export interface World {
  readonly parent: string;
  readonly child: string;
  readonly few: string;
}

const policyText = (path: string): string => `path "${path}" { capabilities = ["read"] }`;

/** A vault with something of everything in it. */
export async function makeWorld(h: Harness): Promise<World> {
  for (const path of ["secret", "keep"]) {
    await h.ask("update", `sys/mounts/${path}`, { type: "kv", options: { version: "2" } });
  }
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  await h.ask("update", "auth/userpass/users/ann", { password: "ann-password", token_policies: ["p"] });
  await h.ask("update", "sys/policies/acl/p", { policy: policyText("keep/data/*") });
  await h.ask("update", "keep/data/x", { data: { kept: "yes" } });
  await h.ask("update", "secret/config", { max_versions: 3 });
  for (const n of [1, 2, 3]) await h.ask("update", "secret/data/a/b", { data: { n } });
  const tokenOf = async (data: Record<string, unknown>, maker = h.root): Promise<string> =>
    (await h.ask("update", "auth/token/create", data, maker)).auth?.client_token ?? "";
  await h.ask("update", "sys/policies/acl/maker", {
    policy: `${policyText("keep/data/*")} path "auth/token/create" { capabilities = ["update"] }`,
  });
  const parent = await tokenOf({ policies: ["maker"], ttl: "10h" });
  const child = await tokenOf({ policies: ["maker"], ttl: "10h" }, parent);
  const few = await tokenOf({ policies: ["p"], ttl: "10h", num_uses: 3 });
  return { parent, child, few };
}

const may = async (h: Harness, token: string): Promise<boolean> =>
  h.ask("read", "keep/data/x", {}, token).then(
    () => true,
    (error: { code?: string }) => {
      if (error.code === "unauthenticated" || error.code === "denied") return false;
      throw error;
    },
  );

const read = async (h: Harness, path: string, data: Record<string, unknown> = {}): Promise<unknown> =>
  h.ask("read", path, data).then(
    ({ data: found }) => found ?? null,
    (error: { code?: string; data?: unknown }) => {
      if (error.code === "not_found") return error.data ?? null;
      throw error;
    },
  );

/** All tokens by accessor, each of which can be looked up. */
async function tokens(h: Harness): Promise<number> {
  const { data } = await h.ask("list", "auth/token/accessors");
  const keys = (data?.["keys"] ?? []) as string[];
  for (const accessor of keys) await h.ask("update", "auth/token/lookup-accessor", { accessor });
  return keys.length;
}

const secret = async (h: Harness): Promise<unknown> => ({
  metadata: await read(h, "secret/metadata/a/b"),
  versions: await Promise.all([1, 2, 3, 4].map((version) => read(h, "secret/data/a/b", { version }))),
  list: await h.ask("list", "secret/metadata/").then(
    ({ data }) => data,
    () => null,
  ),
});

const mountNames = async (h: Harness): Promise<string[]> =>
  Object.keys((await h.ask("read", "sys/mounts")).data ?? {})
    .concat(Object.keys((await h.ask("read", "sys/auth")).data ?? {}))
    .sort();

const kvScenario = (name: string, ...args: Parameters<Harness["ask"]>): Scenario => ({
  name: `kv ${name}`,
  run: (h) => h.ask(...args),
  observe: secret,
});

const kv: readonly Scenario[] = [
  kvScenario("write", "update", "secret/data/a/b", { data: { n: 4 } }),
  kvScenario("first write", "update", "secret/data/new", { data: { n: 4 } }),
  kvScenario("patch", "patch", "secret/data/a/b", { data: { more: true } }),
  kvScenario("delete", "delete", "secret/data/a/b"),
  kvScenario("destroy", "update", "secret/destroy/a/b", { versions: [1, 2] }),
  kvScenario("metadata", "update", "secret/metadata/a/b", { custom_metadata: { owner: "ann" } }),
  {
    name: "kv metadata delete",
    run: (h) => h.ask("delete", "secret/metadata/a/b"),
    observe: secret,
    after: async (h) => {
      // Who got no answer asks again.
      await h.ask("delete", "secret/metadata/a/b");
      const found = [...(h.storage as unknown as { entries: Map<string, unknown> }).entries.keys()];
      const left = found.filter((key) => key.includes("/version/a/b/"));
      if (left.length > 0) throw new Error(`data is left: ${left.join(", ")}`);
    },
  },
  {
    name: "kv undelete",
    before: async (h) => void (await h.ask("update", "secret/delete/a/b", { versions: [2, 3] })),
    run: (h) => h.ask("update", "secret/undelete/a/b", { versions: [2, 3] }),
    observe: secret,
  },
];

const tokenLife: readonly Scenario[] = [
  {
    name: "token create",
    run: (h, { parent }) => h.ask("update", "auth/token/create", { policies: ["maker"], ttl: "2h" }, parent),
    observe: tokens,
  },
  {
    name: "token renew",
    before: async (h) => h.clock.advance(600_000),
    run: (h, { parent }) => h.ask("update", "auth/token/renew", { token: parent, increment: "1h" }),
    observe: async (h, { parent, child }) => [
      (await h.ask("update", "auth/token/lookup", { token: parent })).data?.["last_renewal_time"],
      await may(h, parent),
      await may(h, child),
    ],
  },
  {
    name: "token revoke",
    run: async (h, { parent }) => {
      await h.ask("update", "auth/token/revoke", { token: parent });
      await h.vault.core?.tasks.run();
    },
    observe: async (h, { parent, child }) => [await may(h, parent), await may(h, child)],
  },
  {
    name: "token revoke-orphan",
    run: (h, { parent }) => h.ask("update", "auth/token/revoke-orphan", { token: parent }),
    observe: async (h, { parent, child }) => [await may(h, parent), await may(h, child)],
  },
  {
    name: "token use",
    run: (h, { few }) => h.ask("read", "keep/data/x", {}, few),
    observe: async (h, { few }) => (await h.ask("update", "auth/token/lookup", { token: few })).data?.["num_uses"],
  },
  {
    name: "expiry",
    run: async (h) => {
      h.clock.advance(11 * 3600 * 1000);
      await h.vault.tick();
    },
    observe: async (h, { parent, child }) => [await may(h, parent), await may(h, child)],
    after: async (h) => {
      const due = await h.vault.core?.root.list("lease/due/");
      if (due?.length !== 0) throw new Error(`still due: ${due?.join(", ")}`);
    },
  },
];

let wrapping = "";
const small = async (h: Harness, token: string): Promise<unknown> =>
  h.ask("read", "cubbyhole/a/b", {}, token).then(
    ({ data }) => data,
    (error: { code?: string }) => error.code,
  );
const noCubbyhole = async (h: Harness): Promise<void> => {
  const names = (await h.vault.core?.root.list("cubbyhole/")) ?? [];
  if (names.length > 0) throw new Error(`left: ${names.join(", ")}`);
};

const cubbyholes: readonly Scenario[] = [
  {
    name: "cubbyhole write",
    run: (h, { parent }) => h.ask("update", "cubbyhole/a/b", { n: 1 }, parent),
    observe: (h, { parent }) => small(h, parent),
    after: async (h, { parent }) => {
      await h.ask("update", "auth/token/revoke", { token: parent });
      await h.vault.tick();
      await noCubbyhole(h);
    },
  },
  {
    name: "revoke of a token with a cubbyhole",
    before: async (h, { parent }) => {
      for (const n of [1, 2, 3]) await h.ask("update", `cubbyhole/${n}/b`, { n }, parent);
      await h.ask("update", "cubbyhole/a/b", { n: 1 }, parent);
    },
    run: async (h, { parent }) => {
      await h.ask("update", "auth/token/revoke", { token: parent });
      await h.vault.tick();
    },
    observe: (h, { parent }) => small(h, parent),
    after: noCubbyhole,
  },
  {
    name: "wrap",
    run: async (h) => {
      const { wrapInfo } = await h.ask("read", "keep/data/x", {}, h.root, { wrapTtl: 3600 });
      if (wrapInfo === undefined) throw new Error("not wrapped");
    },
    observe: tokens,
    after: async (h) => {
      h.clock.advance(3_600_000);
      for (let round = 0; round < 2; round++) await h.vault.tick();
      await noCubbyhole(h);
    },
  },
  {
    name: "unwrap",
    before: async (h) => {
      wrapping = (await h.ask("read", "keep/data/x", {}, h.root, { wrapTtl: 7200 })).wrapInfo?.token ?? "";
    },
    run: (h) => h.ask("update", "sys/wrapping/unwrap", { token: wrapping }),
    observe: (h) =>
      h.ask("update", "sys/wrapping/lookup", { token: wrapping }, null).then(
        () => "there",
        (error: { code?: string }) => error.code,
      ),
    after: async (h) => {
      await h.vault.tick();
      await noCubbyhole(h);
    },
  },
];

const login = (h: Harness, name: string, password: string): Promise<string> =>
  h.ask("update", `auth/userpass/login/${name}`, { password }, null).then(
    () => "in",
    (error: { code?: string }) => {
      if (error.code === "invalid") return "refused";
      throw error;
    },
  );

const people: readonly Scenario[] = [
  {
    name: "user create",
    run: (h) => h.ask("update", "auth/userpass/users/bob", { password: "bob-password", token_policies: ["p"] }),
    observe: async (h) => [await read(h, "auth/userpass/users/bob"), await login(h, "bob", "bob-password")],
  },
  {
    name: "user delete",
    run: async (h) => {
      await h.ask("delete", "auth/userpass/users/ann");
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => [await read(h, "auth/userpass/users/ann"), await login(h, "ann", "ann-password")],
    after: async (h) => {
      // Who gets the name anew does not get the password of old.
      await h.target.apply({ commit: commitOf("c1"), declarations: [userOf("ann", ["p"])], externals: [] }, []);
      if ((await login(h, "ann", "ann-password")) !== "refused") throw new Error("the password outlived its user");
    },
  },
  {
    name: "login",
    run: (h) => h.ask("update", "auth/userpass/login/ann", { password: "ann-password" }, null),
    observe: tokens,
  },
];

/** Ann as she logged in before, and the group that she is in. */
const ann = { token: "", id: "", group: "" };

async function annLogin(h: Harness): Promise<{ readonly token: string; readonly id: string }> {
  const { auth } = await h.ask("update", "auth/userpass/login/ann", { password: "ann-password" }, null);
  return { token: auth?.client_token ?? "", id: auth?.entity_id ?? "" };
}

const annGroup = async (h: Harness): Promise<void> => {
  Object.assign(ann, await annLogin(h));
  const made = await h.ask("update", "identity/group/name/ops", { member_entity_ids: [ann.id], policies: ["maker"] });
  ann.group = String(made.data?.["id"]);
};

const annDeclared = async (h: Harness): Promise<void> => {
  await annGroup(h);
  await h.ask("update", `identity/entity/id/${ann.id}`, { name: "ann" });
};

/** What can be told of her: her token, who she is when she logs in again, and who is in her group. */
async function annNow(h: Harness): Promise<unknown> {
  const group = (await read(h, `identity/group/id/${ann.group}`)) as { member_entity_ids: unknown } | null;
  const again = await annLogin(h);
  const entity = (await read(h, `identity/entity/id/${again.id}`)) as { policies: unknown } | null;
  return [await may(h, ann.token), again.id, entity?.policies, group?.member_entity_ids];
}

const annDelete = async (h: Harness): Promise<void> => {
  await h.ask("delete", `identity/entity/id/${ann.id}`);
  await h.vault.core?.tasks.run();
};

const entities: readonly Scenario[] = [
  {
    name: "write of a login's entity",
    before: annGroup,
    run: (h) => h.ask("update", `identity/entity/id/${ann.id}`, { policies: ["p"] }),
    observe: annNow,
  },
  { name: "delete of a login's entity", before: annGroup, run: annDelete, observe: annNow },
  { name: "delete of an entity", before: annDeclared, run: annDelete, observe: annNow },
  {
    name: "merge",
    before: async (h) => {
      await annDeclared(h);
      await h.ask("update", "identity/entity/name/staff");
    },
    run: async (h) => {
      const to = (await read(h, "identity/entity/name/staff")) as { id: string };
      if ((await read(h, `identity/entity/id/${ann.id}`)) === null) return;
      await h.ask("update", "identity/entity/merge", { to_entity_id: to.id, from_entity_ids: [ann.id] });
    },
    observe: annNow,
  },
];

const machines: readonly Scenario[] = [
  {
    name: "role create",
    run: (h) => h.ask("update", "auth/approle/role/app", { token_policies: ["p"] }),
    observe: (h) => read(h, "auth/approle/role/app"),
    after: async (h) => {
      const { role_id } = (await read(h, "auth/approle/role/app/role-id")) as { role_id: string };
      const made = await h.ask("update", "auth/approle/role/app/secret-id");
      await h.ask("update", "auth/approle/login", { role_id, secret_id: made.data?.["secret_id"] }, null);
    },
  },
  {
    name: "secret id",
    before: makeRole,
    run: (h) => h.ask("update", "auth/approle/role/job/custom-secret-id", { secret_id: jobSecret, num_uses: 2 }),
    observe: (h) => jobLogin(h, "look"),
  },
  {
    name: "secret id destroy",
    before: async (h) => {
      await makeRole(h);
      await h.ask("update", "auth/approle/role/job/custom-secret-id", { secret_id: jobSecret });
    },
    run: (h) => h.ask("update", "auth/approle/role/job/secret-id/destroy", { secret_id: jobSecret }),
    observe: (h) => jobLogin(h, "login"),
  },
  {
    name: "login with a secret id of few uses",
    before: async (h) => {
      await makeRole(h);
      await h.ask("update", "auth/approle/role/job/custom-secret-id", { secret_id: jobSecret, num_uses: 3 });
    },
    run: async (h) => {
      // Whoever got no answer must not find that it was the last use.
      await jobLogin(h, "login", true);
    },
    observe: (h) => jobLogin(h, "look"),
  },
  {
    name: "role delete",
    before: async (h) => {
      await makeRole(h);
      await h.ask("update", "auth/approle/role/job/custom-secret-id", { secret_id: jobSecret });
    },
    run: async (h) => {
      await h.ask("delete", "auth/approle/role/job");
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => [await read(h, "auth/approle/role/job"), await jobLogin(h, "login")],
    after: async (h) => {
      await makeRole(h);
      if ((await jobLogin(h, "login")) !== "refused") throw new Error("the secret id outlived its role");
    },
  },
];

const jobSecret = "8e1f3c5a-0000-4000-8000-00000000cafe";

async function makeRole(h: Harness): Promise<void> {
  await h.ask("update", "auth/approle/role/job", { token_policies: ["p"] });
  await h.ask("update", "auth/approle/role/job/role-id", { role_id: "the-job" });
}

/** Logs in, or looks at the secret id without using it. With `strict` a refusal is an error. */
async function jobLogin(h: Harness, how: "login" | "look", strict = false): Promise<unknown> {
  const asked =
    how === "login"
      ? h.ask("update", "auth/approle/login", { role_id: "the-job", secret_id: jobSecret }, null)
      : h.ask("update", "auth/approle/role/job/secret-id/lookup", { secret_id: jobSecret });
  return asked.then(
    (answer) => (how === "login" ? "in" : (answer.data?.["secret_id_num_uses"] ?? "unknown")),
    (error: { code?: string }) => {
      if (strict || (error.code !== "invalid" && error.code !== "not_found")) throw error;
      return "refused";
    },
  );
}

const annMade = { child: "", orphan: "" };

/** Ann, in a group, with a token below hers and one that she made beside it. */
const annWithTokens = async (h: Harness): Promise<void> => {
  await annGroup(h);
  const rule = 'path "auth/token/create*" { capabilities = ["update", "sudo"] }';
  await h.ask("update", "sys/policies/acl/maker", { policy: `${policyText("keep/data/*")} ${rule}` });
  const make = async (path: string): Promise<string> =>
    (await h.ask("update", path, { policies: ["p"], ttl: "10h" }, ann.token)).auth?.client_token ?? "";
  annMade.child = await make("auth/token/create");
  annMade.orphan = await make("auth/token/create-orphan");
};

const stateOf = async (h: Harness, what: string): Promise<unknown> =>
  ((await read(h, `sys/blocks/${what}`)) as { state?: string } | null)?.state ?? "not blocked";

const blockAnn = async (h: Harness): Promise<void> => {
  await h.ask("update", "sys/blocks/person/userpass/ann", { reason: "test" });
  await h.vault.core?.tasks.run();
};

const letIn = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => "in",
    ({ code }: { code?: string }) => String(code),
  );

const annBlocked = async (h: Harness): Promise<unknown> => [
  await stateOf(h, "person/userpass/ann"),
  await letIn(annLogin(h)),
  ...(await Promise.all([ann.token, annMade.child, annMade.orphan].map((token) => may(h, token)))),
];

const nothingLeft = async (h: Harness): Promise<void> => {
  const left = (await h.vault.core?.root.list("block/")) ?? [];
  if (left.length > 0) throw new Error(`left of a block: ${left.join(", ")}`);
};

const blocks: readonly Scenario[] = [
  { name: "block of a person", before: annWithTokens, run: blockAnn, observe: annBlocked },
  {
    name: "end of a block of a person",
    before: async (h) => {
      await annWithTokens(h);
      await blockAnn(h);
      h.clock.advance(1);
    },
    run: async (h) => {
      await h.ask("delete", "sys/blocks/person/userpass/ann");
      await h.vault.core?.tasks.run();
    },
    observe: annBlocked,
    after: nothingLeft,
  },
  {
    name: "block of a mapping",
    before: async (h) => {
      await makeRole(h);
      await h.ask("update", "auth/approle/role/job/custom-secret-id", { secret_id: jobSecret });
    },
    run: async (h) => {
      await h.ask("update", "sys/blocks/mapping/approle/job", { reason: "test" });
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => [
      await stateOf(h, "mapping/approle/job"),
      (await letIn(h.ask("update", "auth/approle/login", { role_id: "the-job", secret_id: jobSecret }, null))) === "in",
    ],
    after: async (h) => {
      await h.ask("delete", "sys/blocks/mapping/approle/job");
      await h.vault.core?.tasks.run();
      if ((await jobLogin(h, "login")) !== "refused") throw new Error("the secret id outlived the block of its role");
      await nothingLeft(h);
    },
  },
];

const system: readonly Scenario[] = [
  {
    name: "seal and unseal",
    run: async (h) => {
      await h.vault.seal();
      await h.unseal();
    },
    observe: secret,
  },
  {
    name: "quota write",
    run: (h) => h.ask("update", "sys/quotas/lease-count/q", { max_leases: 1000, path: "secret" }),
    observe: (h) => read(h, "sys/quotas/lease-count/q"),
  },
  {
    name: "policy write",
    run: (h) => h.ask("update", "sys/policies/acl/q", { policy: policyText("a/b") }),
    observe: (h) => read(h, "sys/policies/acl/q"),
  },
  {
    name: "policy delete",
    run: (h) => h.ask("delete", "sys/policies/acl/p"),
    observe: (h) => read(h, "sys/policies/acl/p"),
  },
  {
    name: "mount",
    run: (h) => h.ask("update", "sys/mounts/more", { type: "kv", options: { version: "2" } }),
    observe: mountNames,
    after: async (h) => {
      await h.ask("update", "more/data/x", { data: { n: 1 } });
      await h.ask("read", "more/data/x");
    },
  },
  {
    name: "unmount",
    run: async (h) => {
      await h.ask("delete", "sys/mounts/secret");
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => ((await mountNames(h)).includes("secret/") ? secret(h) : "gone"),
    after: async (h) => {
      await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
      if ((await read(h, "secret/metadata/a/b")) !== null) throw new Error("the data outlived its mount");
      await h.ask("update", "secret/data/a/b", { data: { n: 1 } });
      await h.vault.core?.tasks.run();
      await h.ask("read", "secret/data/a/b");
    },
  },
  {
    name: "unmount of logins",
    run: async (h) => {
      await h.ask("delete", "sys/auth/userpass");
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => ((await mountNames(h)).includes("userpass/") ? login(h, "ann", "ann-password") : "gone"),
  },
  {
    name: "key rotation",
    run: (h) => h.ask("update", "sys/rotate"),
    observe: async (h) => [((await read(h, "sys/key-status")) as { term: number }).term, await secret(h)],
  },
];

const engine = (name: string, more: Record<string, unknown> = {}): Declaration =>
  mountOf("SecretEngine", name, "kv", { options: { version: "2" }, ...more });
const policy = (name: string): Declaration =>
  declare("Policy", name, { rules: [{ path: `${name}/*`, capabilities: ["read"] }] });
const many = Array.from({ length: 40 }, (_, n) => policy(`many-${n}`));

const state = async (h: Harness): Promise<unknown> => ({
  commit: h.target.current()?.commit.id,
  policies: (await h.ask("list", "sys/policies/acl/")).data,
  mounts: await mountNames(h),
});

const git: readonly Scenario[] = [
  {
    name: "a commit of many documents",
    run: (h) =>
      h.target.apply(
        {
          commit: commitOf("c1"),
          declarations: [engine("from-git"), mountOf("AuthMethod", "logins", "userpass"), policy("g"), ...many],
          externals: [],
        },
        [],
      ),
    observe: state,
    after: async (h) => void (await h.ask("update", "from-git/data/x", { data: { n: 1 } })),
  },
  {
    name: "a commit that removes, moves and changes",
    before: async (h) => {
      const declarations = [
        engine("retained"),
        engine("dropped", { on_remove: "delete" }),
        engine("moved"),
        policy("g"),
        policy("gone"),
        userOf("gil", ["g"], { mount: "userpass" }),
      ];
      await h.target.apply({ commit: commitOf("c1"), declarations, externals: [] }, []);
      for (const name of ["retained", "dropped", "moved"]) {
        await h.ask("update", `${name}/data/x`, { data: { in: name } });
      }
      await h.ask("update", "auth/userpass/users/gil/password", { password: "gil-password" });
    },
    run: async (h) => {
      const declarations = [engine("moved", { path: "elsewhere" }), policy("g"), policy("fresh")];
      await h.target.apply({ commit: commitOf("c2"), declarations, externals: [] }, []);
      await h.vault.core?.tasks.run();
    },
    observe: async (h) => {
      const mounts = await mountNames(h);
      const names = ["retained", "dropped", "moved", "elsewhere"].filter((name) => mounts.includes(`${name}/`));
      const data = await Promise.all(names.map((name) => read(h, `${name}/data/x`)));
      return [await state(h), data, await login(h, "gil", "gil-password")];
    },
    after: async (h) => {
      const declarations = [engine("retained"), engine("dropped"), engine("moved"), policy("g")];
      await h.target.apply({ commit: commitOf("c3"), declarations, externals: [] }, []);
      await h.vault.core?.tasks.run();
      if ((await read(h, "retained/data/x")) === null) throw new Error("retained data is gone");
      if ((await read(h, "moved/data/x")) === null) throw new Error("moved data is gone");
      if ((await read(h, "dropped/data/x")) !== null) throw new Error("dropped data is back");
    },
  },
];

export const scenarios: readonly Scenario[] = [
  ...kv,
  ...tokenLife,
  ...cubbyholes,
  ...people,
  ...entities,
  ...machines,
  ...blocks,
  ...system,
  ...git,
];

/** What was answered before anything was interrupted is there. */
export async function checkKept(h: Harness): Promise<void> {
  const found = (await h.ask("read", "keep/data/x")).data?.["data"] as { kept?: string } | undefined;
  if (found?.kept !== "yes") throw new Error("what was kept is gone");
  const refused = await refusal(h.ask("read", "keep/data/x", {}, "hvs.nobody"));
  if (!refused.startsWith("unauthenticated")) throw new Error("a token that is none");
}
