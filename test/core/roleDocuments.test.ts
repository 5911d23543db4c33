// Documents of the kinds AppRole and TokenRole, from YAML to a token.

import { describe, expect, it } from "vitest";
import { compile } from "../../src/gitops/compile.ts";
import { kinds } from "../../src/registry.ts";
import { commitOf, harness, refusal } from "./harness.ts";

const yaml = `
apiVersion: writ/v1
kind: AuthMethod
metadata: { name: machines }
spec: { type: approle, config: { token_type: default-batch } }
---
apiVersion: writ/v1
kind: Policy
metadata: { name: reader }
spec: { rules: [{ path: secret/data/app/*, capabilities: [read] }] }
---
apiVersion: writ/v1
kind: AppRole
metadata: { name: App }
spec: { mount: machines, token_policies: [reader], token_ttl: 20m, secret_id_ttl: 1d, secret_id_num_uses: 2 }
---
apiVersion: writ/v1
kind: TokenRole
metadata: { name: nightly }
spec: { allowed_policies: [reader], orphan: true, token_period: 1h }
`;

const compiled = (text: string) => compile([{ path: "all.yaml", bytes: Buffer.from(text) }], kinds);
const problems = (from: string, to: string) => compiled(yaml.replace(from, to)).problems.map(({ message }) => message);

describe("documents of roles", () => {
  it("become logins and tokens", async () => {
    const { declarations, externals, problems: none } = compiled(yaml);
    expect(none).toEqual([]);
    const h = await harness();
    await h.target.apply({ commit: commitOf("1"), declarations, externals }, []);
    const at = "auth/machines/role/app";
    const { data: role } = await h.ask("read", `${at}/role-id`);
    const { data: made } = await h.ask("update", `${at}/secret-id`);
    expect(made).toMatchObject({ secret_id_ttl: 86_400, secret_id_num_uses: 2 });
    const ids = { role_id: role?.["role_id"], secret_id: made?.["secret_id"] };
    const { auth } = await h.ask("update", "auth/machines/login", ids, null);
    expect(auth).toMatchObject({ policies: ["default", "reader"], lease_duration: 1200, token_type: "batch" });
    const { auth: token } = await h.ask("update", "auth/token/create/nightly");
    expect(token).toMatchObject({ policies: ["default", "reader"], lease_duration: 3600, orphan: true });
    expect(await refusal(h.ask("delete", "auth/token/roles/nightly"))).toMatch(/^managed: .*all.yaml:17/);
  });

  it("are refused where they refer to nothing, ask for root or contradict themselves", () => {
    expect(problems("allowed_policies: [reader]", "allowed_policies: [writer]").join()).toMatch(/no Policy/);
    expect(problems("allowed_policies: [reader]", "allowed_policies: [Root]").join()).toMatch(/by declaration/);
    expect(problems("mount: machines", "mount: elsewhere").join()).toMatch(/elsewhere/);
    expect(problems("secret_id_ttl: 1d", "token_bound_cidrs: [10.0.0.0/40]").join()).toMatch(/no address range/);
    expect(problems("secret_id_ttl: 1d", "bind_secret_id: false").join()).toMatch(/at least one constraint/);
    expect(problems("orphan: true", "token_type: batch").join()).toMatch(/periodic tokens/);
    expect(problems("secret_id_ttl: 1d", "role_id: 1234567890").join()).toMatch(/from_secret/);
  });
});
