// sys/audit: the devices that server config names. They cannot be changed here: the audit is not the API's to turn off.

import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { VaultError } from "../../sdk/errors.ts";
import { coreHandler } from "../call.ts";

/** Options are texts, as clients expect them. */
const texts = (facts: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );

export const auditRoutes: readonly Route[] = [
  {
    path: "audit",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "The audit devices",
        run: async (call) => {
          const devices = call.core.broker
            .status()
            .map(({ name, type, facts, ...rest }) => [
              `${name}/`,
              { type, description: "", local: false, path: `${name}/`, options: texts({ ...facts, ...rest }) },
            ]);
          return { data: Object.fromEntries(devices) as Record<string, unknown>, shape: "both" };
        },
      }),
    },
  },
  {
    path: "audit-hash/:path",
    on: {
      update: coreHandler({
        summary: "The form in which a text stands in the audit",
        mutates: false,
        fields: { input: field.string("The text", { required: true, secret: true }) },
        run: async (call) => {
          const known = call.core.options.audit.some((device) => device.name === call.params["path"]);
          if (!known) throw new VaultError("invalid", "unknown audit backend");
          return { data: { hash: call.core.broker.hash(call.data.input) }, shape: "both" };
        },
      }),
    },
  },
];
