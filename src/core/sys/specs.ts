// sys/internal/specs/openapi: all routes that the caller may reach, as an OpenAPI document.

import { sliced } from "../../lib/slices.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { documentText } from "../openapi/document.ts";
import { callerOf, reached } from "./internal.ts";

const fields = {
  generic_mount_paths: field.bool("Shows mount paths as parameters", { default: false }),
} as const;

const specs = coreHandler({
  summary: "An OpenAPI document of the routes that the caller may reach",
  mutates: false,
  fields,
  run: async (call: CoreCall<typeof fields>) => {
    const mounts = await sliced(reached(call.generation, await callerOf(call)));
    const body = await documentText(call.generation.mounts, mounts, call.data.generic_mount_paths);
    return { text: { type: "application/json", body } };
  },
});

export const specRoutes: readonly Route[] = [
  { path: "internal/specs/openapi", unauthenticated: true, on: { read: specs, update: specs } },
];
