// The folder of an embedded store: only its owner may look into it, whatever the umask.
// Must hold: a file is never opened and closed here once it exists, since that would drop SQLite's lock on it if this
// process holds one (POSIX locks belong to the process, not to the descriptor).

import { chmodSync, closeSync, fchmodSync, fsyncSync, lstatSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { VaultError } from "./errors.ts";

const refuse = (text: string): VaultError => new VaultError("storage", `storage: ${text}`);

export const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined;

/** Makes the names in a folder durable. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function checkFolder(folder: string): void {
  const stat = lstatSync(folder);
  if (!stat.isDirectory()) throw refuse(`${folder} is no folder`);
  const me = process.geteuid?.();
  if (me !== undefined && stat.uid !== me) {
    throw refuse(`${folder} belongs to user ${stat.uid}, this is user ${me}: change its owner or run as that user`);
  }
  if ((stat.mode & 0o077) !== 0) throw refuse(`${folder} is open to other users: chmod 700 it`);
}

/** Holds a file to 0600 if it exists, and refuses what is no regular file. Whether it exists. */
export function ownFile(file: string): boolean {
  try {
    if (!lstatSync(file).isFile()) throw refuse(`${file} is no regular file`);
    chmodSync(file, 0o600);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** An empty file for the owner alone; one that exists is left as it is. */
export function createFile(file: string): void {
  try {
    const fd = openSync(file, "wx", 0o600);
    fchmodSync(fd, 0o600);
    fsyncSync(fd);
    closeSync(fd);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/** Makes the folder where it is missing, and its absolute path. Throws VaultError `storage` saying what to change. */
export function openFolder(path: string): string {
  const folder = resolve(path);
  const made = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (made !== undefined) {
    chmodSync(folder, 0o700);
    syncFolder(dirname(folder));
  }
  checkFolder(folder);
  return folder;
}
