// sys/policies/password: password policies, declared by the API beside Git's, and passwords by them.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields, partOf } from "../../sdk/page.ts";
import type { Json } from "../../sdk/view.ts";
import { parsePasswordPolicy, passwordPolicyKind, printPasswordPolicy } from "../../policy/password.ts";
import { drawPassword, type PasswordRules } from "../../policy/sample.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { refuseManaged } from "../resources.ts";
import { decoded } from "./policies.ts";

const kind = passwordPolicyKind.name;
const writeFields = { policy: field.string("The policy, as HCL or JSON, plain or in base64") } as const;

function found(call: CoreCall): Declaration {
  const declaration = call.generation.table.get(kind, null, call.params["name"] ?? "");
  if (declaration === null) throw new VaultError("not_found", "policy does not exist");
  return declaration;
}

const rulesOf = ({ spec }: Declaration): PasswordRules => spec as unknown as PasswordRules;

/** As it came, or made from Git's fields. */
function textOf(declaration: Declaration): string {
  const text = declaration.spec["text"];
  return typeof text === "string" ? text : printPasswordPolicy(rulesOf(declaration));
}

async function write(call: CoreCall<typeof writeFields>): Promise<null> {
  const name = call.params["name"] ?? "";
  if (!call.data.policy) throw new VaultError("invalid", "missing policy");
  const text = decoded(call.data.policy);
  const spec = { ...parsePasswordPolicy(text), text } as unknown as Record<string, Json>;
  const declaration: Declaration = { kind, mount: null, name, metadata: { name }, spec, secrets: {}, source: null };
  await call.core.ledger.edit((table) => {
    refuseManaged(call.core.generation, table.get(kind, null, name), `password policy ${name}`);
    return { put: [declaration], remove: [] };
  });
  return null;
}

async function remove(call: CoreCall): Promise<null> {
  const name = call.params["name"] ?? "";
  if (call.generation.table.get(kind, null, name) === null) return null;
  await call.core.ledger.edit((table) => {
    const before = table.get(kind, null, name);
    refuseManaged(call.core.generation, before, `password policy ${name}`);
    return { put: [], remove: before === null ? [] : [before] };
  });
  return null;
}

export const passwordRoutes: readonly Route[] = [
  {
    path: "policies/password",
    on: {
      list: coreHandler({
        summary: "Names of all password policies",
        fields: pageFields,
        run: async (call) => {
          const keys = partOf([...call.generation.table.shelf(kind, null).keys()].sort(), call.data);
          if (keys.length === 0) throw new VaultError("not_found", []);
          return { data: { keys }, shape: "both" };
        },
      }),
    },
  },
  {
    path: "policies/password/:name",
    on: {
      read: coreHandler({
        summary: "One password policy",
        run: async (call) => ({ data: { policy: textOf(found(call)) }, shape: "both" }),
      }),
      update: coreHandler({ summary: "Write a password policy", fields: writeFields, run: write }),
      delete: coreHandler({ summary: "Delete a password policy", run: remove }),
    },
  },
  {
    path: "policies/password/:name/generate",
    on: {
      read: coreHandler({
        summary: "A password by the policy",
        run: async (call) => {
          const password = drawPassword(rulesOf(found(call)));
          if (password === null)
            throw new VaultError("invalid", "no password fits the policy: are the rules impossible?");
          return { data: { password }, shape: "both" };
        },
      }),
    },
  },
];
