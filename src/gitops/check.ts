// A folder as document files, and problems as lines: the parts of `writ check` and `writ plan`.
// Must hold: only regular files are read, links are named and never followed, sizes are bounded before reading; what
// the server refuses in a commit's tree for its type is refused here too, and what no commit would have is not looked at.

import { constants } from "node:fs";
import { open, readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { createGit, GitError } from "../lib/git.ts";
import { counted } from "../lib/printable.ts";
import type { Problem } from "../sdk/errors.ts";
import type { DocumentFile } from "./compile.ts";
import { clean } from "./mask.ts";

/** As the server has them unless its config says otherwise. Bytes. */
export interface FolderLimits {
  readonly files: number;
  readonly fileBytes: number;
  readonly totalBytes: number;
}
export const folderLimits: FolderLimits = {
  files: 20_000,
  fileBytes: 1024 * 1024,
  totalBytes: 256 * 1024 * 1024,
};

const isDocument = (path: string): boolean => /\.ya?ml$/iu.test(path);

interface Found {
  readonly ignored: ReadonlySet<string>;
  readonly paths: string[];
  readonly problems: Problem[];
}

/** What Git ignores below a folder, such as installed packages; folders end in "/". Nothing where Git does not know the folder,
 *  or ignores all of it: whoever names it means it. */
async function ignoredBelow(folder: string): Promise<ReadonlySet<string>> {
  const git = createGit({ gitDir: null, maxOutput: 64 * 1024 * 1024 });
  const untracked = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
  try {
    const paths = (await git.text(["-C", await realpath(folder), ...untracked])).split("\0");
    return new Set(paths.includes("./") ? [] : paths);
  } catch (error) {
    if (error instanceof GitError) return new Set();
    throw error;
  }
}

async function walk(folder: string, prefix: string, found: Found): Promise<void> {
  const entries = await readdir(join(folder, prefix), { withFileTypes: true });
  for (const entry of entries) {
    const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    // A submodule has a .git file; the repository's own is a folder.
    if (entry.name === ".git" || found.ignored.has(entry.isDirectory() ? `${path}/` : path)) continue;
    if (entry.isDirectory()) await walk(folder, path, found);
    else if (entry.isSymbolicLink())
      found.problems.push(fault(path, "symbolic links are refused: put the content here"));
    else if (isDocument(path) && entry.isFile()) found.paths.push(path);
    else if (isDocument(path)) found.problems.push(fault(path, "this is no regular file"));
  }
}

const fault = (file: string, message: string): Problem => ({ file: clean(file), line: 1, column: 1, message });

/** The file, or why not. The type is asked of what was opened, not of the name. */
async function readRegular(path: string, limit: number): Promise<Buffer | string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const about = await file.stat();
    if (!about.isFile()) return "this is no regular file";
    if (about.size > limit) return `the file has ${about.size} bytes; at most ${limit} are read (limits.file_bytes)`;
    const bytes = await file.readFile();
    return bytes.length > limit ? "the file grows while it is read" : bytes;
  } finally {
    await file.close();
  }
}

/** The YAML files below a folder that Git does not ignore, their paths relative to it. Throws where the folder cannot be read. */
export async function readFolder(
  folder: string,
  limits: FolderLimits = folderLimits,
): Promise<{ readonly files: readonly DocumentFile[]; readonly problems: readonly Problem[] }> {
  const found: Found = { ignored: await ignoredBelow(folder), paths: [], problems: [] };
  await walk(folder, "", found);
  const { paths, problems } = found;
  if (paths.length > limits.files) {
    const message = `${paths.length} files; at most ${limits.files} are read (limits.files)`;
    return { files: [], problems: [...problems, fault(".", message)] };
  }
  const files: DocumentFile[] = [];
  let total = 0;
  for (const path of paths) {
    const bytes = await readRegular(join(folder, path), limits.fileBytes);
    if (typeof bytes === "string") {
      problems.push(fault(path, bytes));
      continue;
    }
    total += bytes.length;
    if (total > limits.totalBytes) {
      const message = `more than ${limits.totalBytes} bytes of documents (limits.total_bytes)`;
      return { files: [], problems: [...problems, fault(".", message)] };
    }
    files.push({ path, bytes });
  }
  return { files, problems };
}

/** FILE:LINE:COLUMN: MESSAGE, and the masked line below it. `prefix` goes before the file. */
export function problemText({ file, line, column, message, excerpt }: Problem, prefix = ""): string {
  const shown = excerpt === undefined ? "" : `\n    ${excerpt}`;
  return `${prefix}${file}:${line}:${column}: ${message}${shown}\n`;
}

export const problemCount = (problems: readonly Problem[]): string => counted(problems.length, "problem");

/** "12 documents: 3 Entity, 9 Policy" */
export function countText(declarations: readonly { readonly kind: string }[], externals: number): string {
  const kinds = new Map<string, number>();
  for (const { kind } of declarations) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const counts = [...kinds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${count} ${kind}`);
  if (externals > 0) counts.push(`${externals} external`);
  const total = counted(declarations.length + externals, "document");
  return counts.length === 0 ? total : `${total}: ${counts.join(", ")}`;
}
