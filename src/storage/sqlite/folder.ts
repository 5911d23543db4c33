// The folder of a database: only its owner may look into it, whatever the umask.
// Must hold: a file of the database is never opened and closed here once it exists, since that would drop SQLite's lock on
// it if this process holds one (POSIX locks belong to the process, not to the descriptor).

import { chmodSync, closeSync, fchmodSync, fsyncSync, lstatSync, mkdirSync, openSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { VaultError } from "../../sdk/errors.ts";
import type { Opening } from "./wire.ts";

const refuse = (text: string): VaultError => new VaultError("storage", `storage: ${text}`);
const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined;

function sync(folder: string): void {
  const fd = openSync(folder, "r");
  fsyncSync(fd);
  closeSync(fd);
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

/** Existing files are held to 0600; SQLite gives its WAL the mode of the database. */
function checkFile(file: string): boolean {
  try {
    if (!lstatSync(file).isFile()) throw refuse(`${file} is no regular file`);
    chmodSync(file, 0o600);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

function createFile(file: string): void {
  try {
    const fd = openSync(file, "wx", 0o600);
    fchmodSync(fd, 0o600);
    fsyncSync(fd);
    closeSync(fd);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/** Makes folder and file where they are missing. Throws VaultError `storage` saying what to change. */
export function prepareFolder(path: string): Opening {
  const folder = resolve(path);
  const made = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (made !== undefined) chmodSync(folder, 0o700);
  checkFolder(folder);
  const file = join(folder, "writ.db");
  const pidFile = join(folder, "writ.pid");
  for (const each of [`${file}-wal`, `${file}-shm`, pidFile]) checkFile(each);
  if (!checkFile(file)) createFile(file);
  sync(folder);
  if (made !== undefined) sync(dirname(folder));
  return { file, pidFile };
}
