// The tables of settings that the server configuration is read by, from the list of plugins.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigError, readConfig, type Tables } from "../config.ts";
import { gitopsFields } from "../gitops/settings.ts";
import { audits, seals, storages } from "../registry.ts";
import type { Fields } from "../sdk/fields.ts";
import type { Config } from "../server.ts";
import { CommandError } from "./client.ts";

const byType = (
  plugins: readonly { readonly type: string; readonly fields: Fields }[],
): Readonly<Record<string, Fields>> => Object.fromEntries(plugins.map(({ type, fields }) => [type, fields]));

export const tables: Tables<typeof gitopsFields> = {
  storage: byType(storages),
  seal: byType(seals),
  audit: byType(audits),
  gitops: gitopsFields,
};

/** Throws CommandError with every fault of the file. */
export async function loadConfig(file: string): Promise<Config> {
  const path = resolve(file);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read (${error.code ?? error.message}): give the file with --config`);
  });
  try {
    return readConfig(text, path, tables);
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandError(error.message);
    throw error;
  }
}
