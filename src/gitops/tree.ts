// The tree of one commit as a list of document files; what must not be there is named, all of it together.
// Must hold: a link, a submodule, a name that a file system would read in another way, or two names that one file system
// holds as one, refuse the commit; sizes are known before anything is read.

import { type Git, isCommit } from "../lib/git.ts";
import type { Problem } from "../sdk/errors.ts";
import { SourceError } from "./explain.ts";
import type { Settings } from "./settings.ts";

export interface Entry {
  /** From the top of the repository. */
  readonly path: string;
  /** Object name. */
  readonly blob: string;
  /** Bytes. */
  readonly size: number;
}

const maxProblems = 100;
const maxPath = 1_024;
/** Names of `.git` on file systems that ignore case, trailing dots and blanks, streams, or short names (git's fsck:
 *  hasDotgit), once HFS's ignorable characters (all of category Cf) are gone. */
const dotGit = /^(?:\.git[ .]*(?::.*)?|git~\d+[ .]*)$/iu;
const isDocument = (path: string): boolean => /\.ya?ml$/iu.test(path);
const quoted = (path: string): string =>
  JSON.stringify(path)
    .slice(1, -1)
    .replaceAll(/[\p{Cf}\p{Cc}]/gu, "?");

/** The fault of a name, or null. */
function nameFault(path: string): string | null {
  if (path.includes("\uFFFD")) return "the name is not valid UTF-8";
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/u.test(path)) return "the name has a control or invisible character or a backslash";
  if (Buffer.byteLength(path) > maxPath) return `the name is longer than ${maxPath} bytes`;
  for (const segment of path.split("/")) {
    if (segment === "" || segment === "." || segment === "..") return "the name leads elsewhere";
    if (dotGit.test(segment)) return "the name is a spelling of .git";
  }
  return null;
}

interface Raw extends Entry {
  readonly mode: string;
}

/** The records of `ls-tree -r -z --long` (git-ls-tree(1), OUTPUT FORMAT). */
function* records(output: Buffer, prefix: string): Generator<Raw> {
  for (let at = 0; at < output.length;) {
    const end = output.indexOf(0, at);
    const tab = output.indexOf(9, at);
    const match = /^(\d{6}) (?:blob|commit) ([0-9a-f]+) +(\d+|-)$/u.exec(output.toString("latin1", at, tab));
    if (end < 0 || tab < 0 || tab > end || match === null || !isCommit(match[2] ?? "")) {
      throw new SourceError("git lists the commit in an unknown form", "clone", "");
    }
    const path = prefix + output.toString("utf8", tab + 1, end);
    yield { mode: match[1] ?? "", blob: match[2] ?? "", size: Number(match[3]) || 0, path };
    at = end + 1;
  }
}

/** Finds two names that a case- or form-insensitive file system holds as one, folders included. */
class Names {
  readonly #seen = new Map<string, string>();

  /** The other spelling, or null. */
  add(path: string): string | null {
    for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) {
      const name = path.slice(0, at);
      const folded = name.normalize("NFKC").toUpperCase().toLowerCase();
      const before = this.#seen.get(folded);
      if (before === name) return null;
      if (before !== undefined) return before;
      this.#seen.set(folded, name);
    }
    return null;
  }
}

function entryFault(entry: Raw, names: Names): string | null {
  const fault = nameFault(entry.path);
  if (fault !== null) return fault;
  if (entry.mode === "120000") return "symbolic links are refused: put the content here";
  if (entry.mode === "160000") return "submodules are refused: put the content here";
  const other = names.add(entry.path);
  return other === null ? null : `the name differs from ${quoted(other)} in case or form only`;
}

/** Throws GitError, SourceError. */
export async function readTree(
  git: Git,
  commit: string,
  settings: Pick<Settings, "directory" | "limits">,
): Promise<{ readonly files: readonly Entry[]; readonly problems: readonly Problem[] }> {
  const { directory, limits } = settings;
  const problems: Problem[] = [];
  const report = (path: string, message: string): void => {
    if (problems.length < maxProblems) problems.push({ file: quoted(path), line: 1, column: 1, message });
  };
  const tree = directory === "" ? commit : await folder(git, commit, directory);
  if (tree === null) {
    report(directory, "the commit has no such folder; the server config says that the documents are there");
    return { files: [], problems };
  }
  const output = await git.run(["ls-tree", "-r", "-z", "--long", "--full-tree", tree]);
  const names = new Names();
  const files: Entry[] = [];
  let total = 0;
  for (const entry of records(output, directory === "" ? "" : `${directory}/`)) {
    const fault = entryFault(entry, names);
    if (fault !== null) report(entry.path, fault);
    else if (!isDocument(entry.path)) continue;
    else if (entry.size > limits.fileBytes) {
      report(entry.path, `the file has ${entry.size} bytes; at most ${limits.fileBytes} are read (limits.file_bytes)`);
    } else {
      files.push({ path: entry.path, blob: entry.blob, size: entry.size });
      total += entry.size;
    }
  }
  const place = directory === "" ? "." : directory;
  if (files.length > limits.files)
    report(place, `${files.length} files; at most ${limits.files} are read (limits.files)`);
  if (total > limits.totalBytes) {
    report(place, `${total} bytes of documents; at most ${limits.totalBytes} are read (limits.total_bytes)`);
  }
  return { files, problems };
}

/** The tree at `path`, or null where there is none: neither links nor submodules are followed. */
async function folder(git: Git, commit: string, path: string): Promise<string | null> {
  const line = await git.text(["ls-tree", "-z", "--full-tree", commit, "--", path]);
  const match = /^040000 tree ([0-9a-f]+)\t([^\0]*)\0$/u.exec(line);
  return match?.[2] === path && isCommit(match[1] ?? "") ? (match[1] ?? null) : null;
}
