// sys/rotate and sys/key-status: the keyring's terms.

import { durationText } from "../../lib/duration.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";
import { checkRotation } from "../keys.ts";

const configFields = {
  enabled: field.bool("Whether a new term comes by itself"),
  max_operations: field.int("How many entries are encrypted in one term"),
  interval: field.duration("How long a term is used; 0 for no limit"),
} as const;

const rotate: Handler = coreHandler({
  summary: "Make a new term, in which everything is encrypted from now on",
  run: async (call) => {
    await call.core.keys.rotate();
    return null;
  },
});

const config: Readonly<Record<"read" | "update", Handler>> = {
  read: coreHandler({
    summary: "When a new term comes by itself",
    run: async (call) => {
      const { interval, ...rest } = call.core.keys.config;
      // As Vault has it: a number for none, and text that Go reads as a duration.
      return { data: { ...rest, interval: interval === 0 ? 0 : durationText(interval) }, shape: "both" };
    },
  }),
  update: coreHandler({
    summary: "Set when a new term comes by itself",
    fields: configFields,
    run: async (call) => {
      const { keys } = call.core;
      const { enabled, max_operations, interval } = call.data;
      const config = {
        enabled: enabled ?? keys.config.enabled,
        max_operations: max_operations ?? keys.config.max_operations,
        interval: interval ?? keys.config.interval,
      };
      checkRotation(config);
      await keys.configure(config);
      return null;
    },
  }),
};

export const rotateRoutes: readonly Route[] = [
  { path: "rotate", sudo: true, on: { update: rotate } },
  { path: "rotate/keyring", sudo: true, on: { update: rotate } },
  { path: "rotate/config", sudo: true, on: config },
  { path: "rotate/keyring/config", sudo: true, on: config },
  {
    path: "key-status",
    on: {
      read: coreHandler({
        summary: "The active term",
        run: async (call) => ({ data: { ...call.core.keys.status() }, shape: "both" }),
      }),
    },
  },
];
