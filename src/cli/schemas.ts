// `writ schemas [--check]`: the JSON Schemas for editors, from the same tables that documents and configuration are read by.

import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configSchema } from "../config.ts";
import { schemaFiles } from "../gitops/schemas.ts";
import { kinds } from "../registry.ts";
import type { Io } from "./io.ts";
import { tables } from "./tables.ts";

const ownFolder = fileURLToPath(new URL("../../schemas/", import.meta.url));

/** Every file of the folder and its content. */
function wanted(): ReadonlyMap<string, string> {
  return new Map([...schemaFiles(kinds), ["writ-config.json", `${JSON.stringify(configSchema(tables), null, 2)}\n`]]);
}

/** With `check` nothing is written, and the exit code is 1 where anything would be. */
export async function schemas(io: Io, options: { readonly check: boolean; readonly folder?: string }): Promise<number> {
  const folder = options.folder ?? ownFolder;
  const files = wanted();
  const there = await readdir(folder).catch(() => []);
  const changed: string[] = [];
  for (const [name, content] of files) {
    const before = await readFile(join(folder, name), "utf8").catch(() => null);
    if (before !== content) changed.push(name);
  }
  const left = there.filter((name) => name.endsWith(".json") && !files.has(name));
  if (options.check) {
    for (const name of changed) io.err(`schemas/${name} is out of date: run npm run schemas`);
    for (const name of left) io.err(`schemas/${name} belongs to nothing: run npm run schemas`);
    return changed.length + left.length > 0 ? 1 : 0;
  }
  await mkdir(folder, { recursive: true });
  for (const name of changed) await writeFile(join(folder, name), files.get(name) ?? "");
  for (const name of left) await rm(join(folder, name));
  io.out(`${files.size} schemas, ${changed.length} written, ${left.length} removed`);
  return 0;
}
