// sys/loggers: how much the server's own log says, until the process ends. There is one logger; what it says of attacks is
// printed at every level.

import { type Level } from "../../lib/log.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";

const name = "writ";
/** Vault's names, and what each is here. */
const levels: ReadonlyMap<string, Level> = new Map([
  ["trace", "debug"],
  ["debug", "debug"],
  ["notice", "info"],
  ["info", "info"],
  ["warn", "warn"],
  ["warning", "warn"],
  ["err", "error"],
  ["error", "error"],
]);

function check(call: CoreCall): void {
  const given = call.params["name"] ?? name;
  if (given !== name) throw new VaultError("invalid", `logger ${JSON.stringify(given)} not found; there is "${name}"`);
}

function setLevel(call: CoreCall, level: Level | null): void {
  const { log } = call.core;
  // Printed whatever the level is and becomes.
  log.setLevel("warn");
  log.warn("the level of the log is set", { to: level ?? "as configured", request_id: call.request.id });
  log.setLevel(level);
}

const handlers: Readonly<Record<"read" | "update" | "delete", Handler>> = {
  read: coreHandler({
    summary: "The level of the log",
    run: async (call) => {
      check(call);
      return { data: { [name]: call.core.log.level }, shape: "both" };
    },
  }),
  update: coreHandler({
    summary: "Set the level of the log, until the server ends",
    sudo: true,
    fields: { level: field.string(`One of ${[...levels.keys()].join(", ")}`) },
    run: async (call) => {
      check(call);
      if (!call.data.level) throw new VaultError("invalid", "level is required");
      const level = levels.get(call.data.level.toLowerCase());
      if (level === undefined) {
        throw new VaultError("invalid", `invalid level provided: use one of ${[...levels.keys()].join(", ")}`);
      }
      setLevel(call, level);
      return null;
    },
  }),
  delete: coreHandler({
    summary: "Put the level of the log back to what is configured",
    sudo: true,
    run: async (call) => {
      check(call);
      setLevel(call, null);
      return null;
    },
  }),
};

export const loggerRoutes: readonly Route[] = [
  { path: "loggers", on: handlers },
  { path: "loggers/:name", on: handlers },
];
