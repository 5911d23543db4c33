// sys/policies/acl and the older sys/policy. The API takes HCL or JSON and keeps the text as it came, compiled once.
// Must hold: writes of one policy take effect in the order in which they came, however long their texts take to read.

import { sliced } from "../../lib/slices.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { pageFields, partOf } from "../../sdk/page.ts";
import { compiling, defaultPolicyText, normalizeName, policyOf, printPolicy } from "../../policy/compile.ts";
import { written } from "../../policy/text.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { refuseManaged } from "../resources.ts";

const writeFields = {
  policy: field.string("The policy, as HCL or JSON, plain or in base64"),
  rules: field.string("The same, under its old name"),
} as const;

const nameOf = (call: CoreCall): string => normalizeName(call.params["name"] ?? "");

/** In order; below a folder, those whose names begin with it. */
function names(call: CoreCall<typeof pageFields>): readonly string[] {
  const folder = call.params["name"] === undefined ? "" : `${nameOf(call)}/`;
  const declared = [...call.generation.table.shelf("Policy", null).keys()];
  const all = [...new Set([...declared, "default", "root"])].filter((name) => name.startsWith(folder)).sort();
  const keys = partOf(all, call.data);
  if (keys.length === 0) throw new VaultError("not_found", []);
  return keys;
}

/** The text that the API shows: as it came, or made from Git's rules. */
function textOf(call: CoreCall, name: string): string {
  const declaration = call.generation.table.get("Policy", null, name);
  if (declaration === null) {
    if (name === "default") return defaultPolicyText;
    if (name === "root") return "";
    throw new VaultError("not_found", []);
  }
  const text = declaration.spec["text"];
  return typeof text === "string" ? text : printPolicy(policyOf(declaration));
}

/** What clients may send in base64. */
export function decoded(text: string): string {
  if (/[^A-Za-z0-9+/=\s]/.test(text)) return text;
  const compact = text.replace(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(compact) || compact.length % 4 !== 0) return text;
  return Buffer.from(compact, "base64").toString("utf8");
}

async function write(call: CoreCall<typeof writeFields>): Promise<null> {
  const name = nameOf(call);
  const given = call.data.policy || call.data.rules;
  if (!given) throw new VaultError("invalid", "'policy' parameter not supplied or empty");
  if (name === "root") throw new VaultError("invalid", 'cannot update "root" policy');
  if (!call.data.policy) call.warn("'rules' is deprecated, please use 'policy' instead");
  if (call.request.sent !== undefined) call.warn(`policy name was converted to ${name}`);
  const text = decoded(given);
  const { core } = call;
  await core.policyOrder.run(name, async () => {
    const declaration = written(name, await core.policyReader.read(text, name), text);
    await sliced(compiling(declaration)); // refused here, with the name of what is wrong, before anything is written
    await core.ledger.edit((table) => {
      refuseManaged(core.generation, table.get("Policy", null, name), `policy ${name}`);
      return { put: [declaration], remove: [] };
    });
  });
  return null;
}

async function remove(call: CoreCall): Promise<null> {
  const name = nameOf(call);
  if (name === "root") throw new VaultError("invalid", 'cannot delete "root" policy');
  if (name === "default") throw new VaultError("invalid", "cannot delete default policy");
  const { core } = call;
  await core.policyOrder.run(name, async () => {
    await core.ledger.edit((table) => {
      const before = table.get("Policy", null, name);
      refuseManaged(core.generation, before, `policy ${name}`);
      return { put: [], remove: before === null ? [] : [before] };
    });
  });
  return null;
}

interface Side {
  readonly folder: string;
  readonly list: (keys: readonly string[]) => Record<string, unknown>;
  readonly one: (name: string, text: string) => Record<string, unknown>;
}

function routesOf(side: Side): Route[] {
  const list = coreHandler({
    summary: "Names of all policies",
    fields: pageFields,
    run: async (call) => ({ data: side.list(names(call)), shape: "both" }),
  });
  return [
    { path: side.folder, on: { read: list, list } },
    {
      path: `${side.folder}/:name*`,
      spelling: { name: normalizeName },
      on: {
        list,
        read: coreHandler({
          summary: "One policy",
          run: async (call) => ({ data: side.one(nameOf(call), textOf(call, nameOf(call))), shape: "both" }),
        }),
        update: coreHandler({ summary: "Write a policy", fields: writeFields, run: write }),
        delete: coreHandler({ summary: "Delete a policy", run: remove }),
      },
    },
  ];
}

export const policyRoutes: readonly Route[] = [
  ...routesOf({ folder: "policies/acl", list: (keys) => ({ keys }), one: (name, policy) => ({ name, policy }) }),
  ...routesOf({
    folder: "policy",
    list: (keys) => ({ keys, policies: keys }),
    one: (name, rules) => ({ name, rules }),
  }),
];
