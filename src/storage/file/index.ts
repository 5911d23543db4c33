// Storage in plain files, one for each entry, in a folder of its own. A write is an append to a journal, with one sync for
// all who wait; the files follow.
// Must hold: one process at a time has the folder; what `write` resolved survives a kill and a power cut; a write is whole
// or not at all, since its record is.
// Known gap: the lock is a lock of the operating system; on a network file system that fakes locks it protects nothing.

import { extname, join } from "node:path";
import type { Logger } from "../../lib/log.ts";
import { examineFolder } from "../../sdk/examine.ts";
import { field, parse } from "../../sdk/fields.ts";
import { createFile, openFolder, ownFile, syncFolder } from "../../sdk/folder.ts";
import type { StorageBackend, StoragePlugin } from "../../sdk/storage.ts";
import { openThread } from "../../sdk/thread/backend.ts";

const fields = {
  path: field.string("Folder of the entries; made with mode 0700 where it is missing", { required: true }),
} as const;

export interface Opening {
  readonly folder: string;
  readonly lockFile: string;
  /** Where the holder of the lock writes its process id. */
  readonly pidFile: string;
}

/** Throws VaultError `storage` saying what to change. */
function prepareFolder(path: string): Opening {
  const folder = openFolder(path);
  const lockFile = join(folder, "writ.lock");
  const pidFile = join(folder, "writ.pid");
  for (const each of [`${lockFile}-journal`, pidFile]) ownFile(each);
  if (!ownFile(lockFile)) createFile(lockFile);
  syncFolder(folder);
  return { folder, lockFile, pidFile };
}

/** Throws VaultError `conflict` naming the process that has the folder, `storage` where it does not open. */
async function open(settings: Readonly<Record<string, unknown>>, log: Logger): Promise<StorageBackend> {
  const { values } = parse(fields, settings);
  // This file is index.ts in development and index.js as published; so is its neighbour.
  const url = new URL(`worker${extname(new URL(import.meta.url).pathname)}`, import.meta.url);
  return openThread("file", url, prepareFolder(values.path), log);
}

export const plugin: StoragePlugin = {
  type: "file",
  description: "One file an entry, behind a journal",
  fields,
  examine: (settings) => examineFolder(parse(fields, settings).values.path),
  open,
};
