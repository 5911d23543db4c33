// sys/audit: the audit devices, and more of them where the server config allows it. Those that it names cannot be changed here:
// the audit is not the API's to turn off.

import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { VaultError } from "../../sdk/errors.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { trimmed } from "./sides.ts";

/** Options are texts, as clients expect them. */
const texts = (facts: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );

const nameOf = (call: Pick<CoreCall, "params">): string => trimmed(call.params["path"] ?? "");

function listed({ core }: CoreCall): Record<string, unknown> {
  const shown = (name: string, type: string, description: string, options: object): [string, unknown] => [
    `${name}/`,
    { type, description, local: false, path: `${name}/`, options: texts(options) },
  ];
  const { records } = core.options.auditDevices;
  const running = core.broker.status().map(({ name, type, facts, ...rest }) => {
    const made = records.get(name);
    return shown(name, type, made?.description ?? "", { ...made?.options, ...facts, ...rest });
  });
  const known = new Set(core.broker.status().map(({ name }) => name));
  const out = [...records]
    .filter(([name]) => !known.has(name))
    .map(([name, { type, description, options }]) => shown(name, type, description, { ...options, state: "left out" }));
  return Object.fromEntries([...running, ...out]);
}

const enableFields = {
  type: field.string("The type of device: file"),
  description: field.string("What it is for", { default: "" }),
  options: field.map("Options of the device: file_path, and mode", { default: {} }),
  local: field.bool("Accepted and without meaning: there is no replication", { default: false }),
} as const;

async function enable(call: CoreCall<typeof enableFields>): Promise<null> {
  const { type, description, options } = call.data;
  if (!type) throw new VaultError("invalid", "backend type must be specified as a string");
  await call.core.options.auditDevices.enable(nameOf(call), { type, description, options });
  return null;
}

export const auditRoutes: readonly Route[] = [
  {
    path: "audit",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "The audit devices",
        run: async (call) => ({ data: listed(call), shape: "both" }),
      }),
    },
  },
  {
    path: "audit/:path*",
    sudo: true,
    on: {
      update: coreHandler({ summary: "Make an audit device", fields: enableFields, run: enable }),
      delete: coreHandler({
        summary: "Let go of an audit device that was made here; its file stays",
        run: async (call) => {
          await call.core.options.auditDevices.disable(nameOf(call));
          return null;
        },
      }),
    },
  },
  {
    path: "audit-hash/:path*",
    on: {
      update: coreHandler({
        summary: "The form in which a text stands in the audit",
        mutates: false,
        fields: { input: field.string("The text", { required: true, secret: true }) },
        run: async (call) => {
          const known = call.core.broker.status().some((device) => device.name === nameOf(call));
          if (!known) throw new VaultError("invalid", `unknown audit backend "${nameOf(call)}/"`);
          return { data: { hash: call.core.broker.hash(call.data.input) }, shape: "both" };
        },
      }),
    },
  },
];
