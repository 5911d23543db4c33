// The tables of settings that the server configuration is read by, from the list of plugins.

import type { Tables } from "../config.ts";
import { gitopsFields } from "../gitops/settings.ts";
import { audits, seals, storages } from "../registry.ts";
import type { Fields } from "../sdk/fields.ts";

const byType = (
  plugins: readonly { readonly type: string; readonly fields: Fields }[],
): Readonly<Record<string, Fields>> => Object.fromEntries(plugins.map(({ type, fields }) => [type, fields]));

export const tables: Tables<typeof gitopsFields> = {
  storage: byType(storages),
  seal: byType(seals),
  audit: byType(audits),
  gitops: gitopsFields,
};
