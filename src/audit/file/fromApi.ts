// The settings of a file device that the API makes.
// Must hold: the file lies in a folder that the server config names, whatever links lead there; it is new, empty or holds audit
// lines, is nobody else's by another name, and cannot be executed. Nothing is changed here.
// Known gap: whoever may write to that folder (the server's user alone, if it is kept as it should be) may put something else
// there between this check and the opening, which follows no link and takes nothing but a regular file.

import { constants, type Stats } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, sep } from "node:path";
import { lastLine } from "../../lib/journal.ts";
import type { ApiBounds } from "../../sdk/audit.ts";
import { linkOf } from "../../sdk/chain.ts";
import { VaultError } from "../../sdk/errors.ts";

export interface ApiSettings {
  readonly path: string;
  readonly mode: string;
  readonly sync: string;
}

/** Options that Vault has, and the only value that they have here. */
const fixed: Readonly<Record<string, string>> = {
  format: "json",
  log_raw: "false",
  hmac_accessor: "true",
  elide_list_responses: "false",
  prefix: "",
};
const own = new Set(["file_path", "path", "mode", "sync"]);

const invalid = (message: string): VaultError => new VaultError("invalid", message);

function checkOptions(options: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (own.has(name)) continue;
    const only = fixed[name];
    if (only === undefined) throw invalid(`a file device has no option "${name}" here`);
    if (value.toLowerCase() !== only) throw invalid(`option "${name}" can only be "${only}" here`);
  }
  if (options["mode"] !== undefined && !/^0?[246][04][04]$/.test(options["mode"])) {
    throw invalid('option "mode" is octal, such as 0600, and lets nobody execute and nobody else write');
  }
  if (!["none", "batch"].includes(options["sync"] ?? "none")) throw invalid('option "sync" is none or batch');
}

/** Where a path leads, links resolved; null where its folder is not there. */
async function real(path: string): Promise<string | null> {
  const folder = await realpath(dirname(path)).catch(() => null);
  return folder === null ? null : join(folder, basename(path));
}

async function isWithin(path: string, folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    const found = await realpath(folder).catch(() => null);
    if (found !== null && path.startsWith(found.endsWith(sep) ? found : `${found}${sep}`)) return true;
  }
  return false;
}

/** What is there already; null for nothing. */
async function existing(path: string): Promise<Stats | null> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let file;
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw invalid("there is something at file_path that is no file to append to: choose another path");
  }
  try {
    const found = await file.stat();
    if (!found.isFile() || found.nlink !== 1 || (found.mode & 0o111) !== 0) {
      throw invalid("there is something at file_path that is no plain file of its own: choose another path");
    }
    if (found.size === 0) return found;
    const line = await lastLine(file.fd, found.size);
    if (line !== null && linkOf(line) !== null) return found;
    throw invalid("the file at file_path holds something other than audit lines: choose another path");
  } finally {
    await file.close();
  }
}

async function checkFree(path: string, found: Stats | null, taken: readonly string[]): Promise<void> {
  for (const other of taken) {
    const there = await stat(other).catch(() => null);
    const same = there !== null && found !== null && there.ino === found.ino && there.dev === found.dev;
    if (same || (await real(other)) === path) throw invalid("another audit device has that file: choose another path");
  }
}

export async function fromApi(
  options: Readonly<Record<string, string>>,
  bounds: ApiBounds,
): Promise<ApiSettings & Readonly<Record<string, unknown>>> {
  checkOptions(options);
  const given = options["file_path"] ?? options["path"];
  if (!given) throw invalid("file_path is required");
  if (!isAbsolute(given) || given.endsWith("/") || given.includes("\0")) {
    throw invalid("file_path is an absolute path of a file (stdout and discard are not to be had here)");
  }
  const path = await real(given);
  if (path === null || !(await isWithin(path, bounds.folders))) {
    throw invalid("file_path is in no folder that the server config names under audit_folders");
  }
  await checkFree(path, await existing(path), bounds.taken);
  return { path, mode: options["mode"] ?? "0600", sync: options["sync"] ?? "none" };
}
