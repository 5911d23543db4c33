// Storage in one SQLite database in a folder of its own (node:sqlite, nothing to compile): the embedded default.
// Must hold: one process at a time has the database; what `write` resolved survives a kill and a power cut.
// Known gap: the lock is a lock of the operating system; on a network file system that fakes locks it protects nothing.

import { extname, join } from "node:path";
import type { Logger } from "../../lib/log.ts";
import { examineFolder } from "../../sdk/examine.ts";
import { field, parse } from "../../sdk/fields.ts";
import { createFile, openFolder, ownFile, syncFolder } from "../../sdk/folder.ts";
import type { StorageBackend, StoragePlugin } from "../../sdk/storage.ts";
import { openThread } from "../../sdk/thread/backend.ts";

const fields = {
  path: field.string("Folder of the database; made with mode 0700 where it is missing", { required: true }),
} as const;

export interface Opening {
  /** The database file. */
  readonly file: string;
  /** Where the holder of the lock writes its process id. */
  readonly pidFile: string;
}

/** Throws VaultError `storage` saying what to change. */
function prepareFolder(path: string): Opening {
  const folder = openFolder(path);
  const file = join(folder, "writ.db");
  const pidFile = join(folder, "writ.pid");
  // SQLite gives its WAL the mode of the database.
  for (const each of [`${file}-wal`, `${file}-shm`, pidFile]) ownFile(each);
  if (!ownFile(file)) createFile(file);
  syncFolder(folder);
  return { file, pidFile };
}

/** Throws VaultError `conflict` naming the process that has the database, `storage` where it does not open. */
async function open(settings: Readonly<Record<string, unknown>>, log: Logger): Promise<StorageBackend> {
  const { values } = parse(fields, settings);
  // This file is index.ts in development and index.js as published; so is its neighbour.
  const url = new URL(`worker${extname(new URL(import.meta.url).pathname)}`, import.meta.url);
  return openThread("sqlite", url, prepareFolder(values.path), log);
}

export const plugin: StoragePlugin = {
  type: "sqlite",
  description: "One SQLite database in a folder of its own",
  fields,
  examine: (settings) => examineFolder(parse(fields, settings).values.path),
  open,
};
