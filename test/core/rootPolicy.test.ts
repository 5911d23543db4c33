// The policy `root` is given to tokens by root tokens alone, and by no declaration, however it is spelled.

import { describe, expect, test } from "vitest";
import { plugin as approle } from "../../src/auth/approle/index.ts";
import { plugin as userpass } from "../../src/auth/userpass/index.ts";
import { coreKinds } from "../../src/core/kinds.ts";
import { policyKind } from "../../src/policy/compile.ts";
import { kindOf } from "../../src/sdk/resourceKind.ts";
import { declare, type Harness, harness, refusal } from "./harness.ts";

const spellings = {
  plain: "root",
  "upper case": "ROOT",
  "mixed case": "rOOt",
  "spaces around": "  root ",
  "a tab and a line end": "\troot\n",
  "a hard space": "\u00a0root",
  "a byte order mark": "\ufeffroot",
  "full width": "\uff52\uff4f\uff4f\uff54",
  "mathematical letters": "\u{1d42b}\u{1d428}\u{1d428}\u{1d42d}",
  "a zero-width space": "ro\u200bot",
  "a soft hyphen": "ro\u00adot",
  "a joiner": "roo\u200dt",
};

async function vault(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  await h.ask("update", "auth/userpass/users/known", { password: "s3cret", token_policies: ["fine"] });
  await h.ask("update", "auth/approle/role/known", { token_policies: ["fine"] });
  await h.ask("update", "identity/entity", { name: "known", policies: ["fine"] });
  await h.ask("update", "identity/group", { name: "known", policies: ["fine"] });
  await h.ask("update", "auth/token/roles/known", { allowed_policies: ["fine"] });
  return h;
}

/** Where policies are given: path and field. */
const places = [
  ["auth/userpass/users/new", "token_policies"],
  ["auth/userpass/users/known", "token_policies"],
  ["auth/userpass/users/known", "policies"],
  ["auth/userpass/users/known/policies", "token_policies"],
  ["auth/userpass/users/known/policies", "policies"],
  ["auth/approle/role/new", "token_policies"],
  ["auth/approle/role/known", "policies"],
  ["auth/approle/role/known/policies", "token_policies"],
  ["identity/entity", "policies"],
  ["identity/entity/name/known", "policies"],
  ["identity/group", "policies"],
  ["identity/group/name/known", "policies"],
  ["auth/token/roles/new", "allowed_policies"],
  ["auth/token/roles/known", "allowed_policies"],
  ["auth/token/roles/known", "allowed_policies_glob"],
] as const;

describe("by the API", () => {
  test.each(Object.entries(spellings))(
    "%s is refused wherever policies are given, and changes nothing",
    async (_what, name) => {
      const h = await vault();
      const before = h.vault.core?.generation.id;
      for (const [path, field] of places) {
        for (const value of [[name], ["fine", name], `fine,${name}`]) {
          const what = `${path} ${field} ${JSON.stringify(value)}`;
          expect(await refusal(h.ask("update", path, { name: "other", [field]: value })), what).toMatch(
            /^invalid: .*root/,
          );
        }
      }
      expect(h.vault.core?.generation.id).toBe(before);
    },
  );

  test.each(Object.entries(spellings))(
    "no token that is not root makes one with %s, whatever else it may",
    async (_what, name) => {
      const h = await vault();
      await h.ask("update", "sys/policies/acl/maker", {
        policy: 'path "*" { capabilities = ["create", "update", "sudo"] }',
      });
      const { auth } = await h.ask("update", "auth/token/create", { policies: ["maker"] });
      for (const path of ["auth/token/create", "auth/token/create-orphan", "auth/token/create/known"]) {
        const made = h.ask("update", path, { policies: [name] }, auth?.client_token);
        const policies = await made.then(
          (response) => response.auth?.token_policies ?? [],
          () => [],
        );
        expect(policies, path).not.toContain("root");
      }
    },
  );

  test("names that only begin or end like it are no matter", async () => {
    const h = await vault();
    for (const [path, field] of places.filter(([path]) => path.includes("known"))) {
      await h.ask("update", path, { [field]: ["rooted", "my-root", "r00t"] });
    }
  });
});

describe("in Git", () => {
  const kinds = [
    ...coreKinds([userpass, approle]),
    ...[userpass, approle].flatMap((plugin) => plugin.resources.map((resource) => kindOf(plugin, resource))),
  ];
  const fields = [
    ["Entity", "policies"],
    ["Group", "policies"],
    ["UserpassUser", "token_policies"],
    ["AppRole", "token_policies"],
    ["TokenRole", "allowed_policies"],
    ["TokenRole", "allowed_policies_glob"],
  ] as const;

  test.each(Object.entries(spellings))("%s is a fault in every kind that gives policies", (_what, name) => {
    for (const [kind, field] of fields) {
      const found = kinds.find((one) => one.name === kind);
      const spec = { aliases: [], bind_secret_id: true, [field]: ["fine", name] };
      const faults = found?.check?.(declare(kind, "x", spec)) ?? [];
      expect(faults, kind).toMatchObject([{ path: [field, 1] }]);
    }
  });

  test.each(Object.entries(spellings))("no policy is called %s", (_what, name) => {
    expect(policyKind.check?.(declare("Policy", name, { rules: [] }))).toHaveLength(1);
  });

  test("every kind that gives policies is among these", () => {
    const giving = kinds.flatMap((kind) =>
      Object.entries(kind.fields).flatMap(([name, field]) => (field.ref === "Policy" ? [`${kind.name} ${name}`] : [])),
    );
    expect(giving.filter((one) => !fields.some(([kind, field]) => one === `${kind} ${field}`))).toEqual([]);
  });
});

test("a declaration that gives it all the same, however it came to be there, gives nothing by it", async () => {
  const h = await vault();
  await h.ask("update", "auth/userpass/users/al", { password: "s3cret" });
  const aliases = [{ mount: "userpass", name: "al" }];
  const entity = declare("Entity", "al", { aliases, policies: ["root"], metadata: {}, disabled: false });
  const user = h.vault.core?.generation.table.get("UserpassUser", "userpass", "al");
  const mapping = { ...user, spec: { ...user?.spec, token_policies: ["root"] } } as typeof entity;
  const login = async (): Promise<string> =>
    (await h.ask("update", "auth/userpass/login/al", { password: "s3cret" }, null)).auth?.client_token ?? "";
  await h.vault.core?.ledger.edit(() => ({ put: [{ ...entity, source: null }], remove: [] }));
  const token = await login();
  expect(await refusal(h.ask("read", "sys/mounts", {}, token))).toMatch(/^denied/);
  await h.vault.core?.ledger.edit(() => ({ put: [mapping], remove: [] }));
  expect(await refusal(h.ask("read", "sys/mounts", {}, token))).toMatch(/^denied/);
  expect(await refusal(login().then((made) => h.ask("read", "sys/mounts", {}, made)))).toMatch(/^(denied|invalid)/);
});
