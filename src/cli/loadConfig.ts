// Reads the server configuration that a command names.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigError, readConfig } from "../config.ts";
import type { Config } from "../server.ts";
import { CommandError } from "./client.ts";
import { validate } from "./configCheck.ts";
import { tables } from "./tables.ts";

/** Throws CommandError with every fault of the file. */
export async function loadConfig(file: string): Promise<Config> {
  const path = resolve(file);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read (${error.code ?? error.message}): give the file with --config`);
  });
  try {
    return readConfig(text, path, tables, validate);
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandError(error.message);
    throw error;
  }
}
