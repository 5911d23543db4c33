// Where `writ audit verify` reads lines from: files, or the history of an audit repository.

import type { KeyObject } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parseCommit, signedBy } from "../lib/commit.ts";
import { createGit, type Git } from "../lib/git.ts";
import { batchHead, type Line, linesOf, linkOf } from "../sdk/chain.ts";

export interface Source {
  lines(): AsyncIterable<Line>;
  /** Hashes that commits name, by sequence number. */
  readonly known: ReadonlyMap<number, string> | null;
  /** Reconcile files by sequence number; null where the source has none. */
  readonly reconciles: ReadonlyMap<number, { readonly file: string; readonly text: string }> | null;
  readonly commits?: number;
  readonly notes: readonly string[];
}

export interface Fault {
  readonly fault: string;
}

type Keys = readonly KeyObject[] | null;

const logName = /\.(?:jsonl|log)(?:[.-]|$)/;
const asideName = /\.torn-\d+/;
const batchCommits = 2000;
const batchBytes = 64 * 1024 * 1024;
const output = 1024 * 1024 * 1024;

const isFolder = async (path: string): Promise<boolean> => (await stat(path).catch(() => null))?.isDirectory() === true;

/** The git directory of a repository, bare or not; null where it is none. */
async function gitDirOf(path: string): Promise<string | null> {
  for (const folder of [path, join(path, ".git")]) {
    if ((await isFolder(join(folder, "objects"))) && (await isFolder(join(folder, "refs")))) return resolve(folder);
  }
  return null;
}

export async function openSource(path: string, keys: Keys): Promise<Source | Fault> {
  const entry = await stat(path).catch(() => null);
  if (entry === null) return { fault: `${path} does not exist` };
  if (!entry.isDirectory()) return fileSource([path], []);
  if ((await gitDirOf(path)) !== null) return readHistory(path, keys);
  return folderSource(path);
}

function fileSource(paths: readonly string[], notes: readonly string[]): Source {
  return {
    known: null,
    reconciles: null,
    notes,
    async *lines() {
      for (const path of paths)
        yield* linesOf(path, createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>);
    },
  };
}

/** Rotated files, in the order of their first lines. */
async function folderSource(folder: string): Promise<Source | Fault> {
  const names = (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  const found: { path: string; first: number }[] = [];
  const notes: string[] = [];
  for (const name of names.sort()) {
    const path = join(folder, name);
    if (!logName.test(name) || asideName.test(name)) notes.push(`${path} was left out: by its name it is no log`);
    else if (/\.(?:gz|xz|zst|bz2)$/.test(name)) return { fault: `${path} is compressed: unpack it first` };
    else if ((await stat(path)).size > 0) {
      const first = await firstSeq(path);
      if (first === null) return { fault: `${path}:1: it is no audit line: it must begin with {"seq":…,"prev":"…",` };
      found.push({ path, first });
    }
  }
  if (found.length === 0) return { fault: `${folder} holds no audit log: files end in .jsonl or .log` };
  return fileSource(
    found.sort((a, b) => a.first - b.first).map(({ path }) => path),
    notes,
  );
}

async function firstSeq(path: string): Promise<number | null> {
  const handle = await open(path, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
    return linkOf(buffer.subarray(0, bytesRead))?.seq ?? null;
  } finally {
    await handle.close();
  }
}

/** Objects in the order asked for, through one `cat-file --batch`. */
async function objects(git: Git, ids: readonly string[]): Promise<Buffer[]> {
  const out = await git.run(["cat-file", "--batch"], { input: `${ids.join("\n")}\n`, maxOutput: output });
  const found: Buffer[] = [];
  for (let at = 0; found.length < ids.length;) {
    const end = out.indexOf(10, at);
    const match = /^[0-9a-f]+ [a-z]+ (\d+)$/.exec(out.toString("latin1", at, end));
    if (match === null) throw new Error(`object ${ids[found.length] ?? ""} is missing in the repository`);
    found.push(out.subarray(end + 1, end + 1 + Number(match[1])));
    at = end + 1 + Number(match[1]) + 1;
  }
  return found;
}

/** The commit that each month's branch stands at. In a clone the remote's branches count: only they are all there. */
async function monthsOf(git: Git): Promise<readonly { readonly name: string; readonly tip: string }[]> {
  const read = async (prefix: string) => {
    const text = await git.text(["for-each-ref", "--format=%(objectname) %(refname)", prefix]);
    const rows = text === "" ? [] : text.split("\n").map((row) => row.split(" "));
    return rows.flatMap(([tip = "", ref = ""]) => {
      const name = /audit\/\d{4}-\d\d$/.exec(ref)?.[0];
      return name === undefined ? [] : [{ name, tip }];
    });
  };
  const remote = await read("refs/remotes/origin/audit/");
  return (remote.length > 0 ? remote : await read("refs/heads/audit/")).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Checks commits in order: one parent each, signed by one of the keys (where given), naming the lines that they end in. */
async function checkCommits(
  git: Git,
  month: { readonly name: string; readonly tip: string },
  keys: Keys,
  known: Map<number, string>,
): Promise<number | Fault> {
  const ids = (await git.text(["rev-list", "--reverse", "--topo-order", month.tip], { maxOutput: output })).split("\n");
  for (let at = 0; at < ids.length; at += batchCommits) {
    const slice = ids.slice(at, at + batchCommits);
    for (const [index, raw] of (await objects(git, slice)).entries()) {
      const commit = parseCommit(raw);
      const place = `${month.name}: commit ${slice[index] ?? ""}`;
      if (commit.parents.length > 1) return { fault: `${place} is a merge: this vault makes none` };
      if (keys !== null && commit.signature === null) return { fault: `${place} is not signed` };
      if (keys !== null && !signedBy(commit, keys)) return { fault: `${place} is not signed by the key given` };
      const head = batchHead(commit.message);
      if (head === null) return { fault: `${place} names no audit lines: this vault did not make it` };
      const before = known.get(head.seq);
      if (before !== undefined && before !== head.hash) {
        return { fault: `${place} gives seq ${head.seq} another hash than an earlier commit` };
      }
      known.set(head.seq, head.hash);
    }
  }
  const log = ["log", "--no-renames", "--diff-filter=a", "--name-status", "--format=commit %H", month.tip];
  const rewritten = /commit ([0-9a-f]+)\n\n[A-Z]\d*\t([^\n]+)/.exec(await git.text(log, { maxOutput: output }));
  if (rewritten !== null) {
    return {
      fault: `${month.name}: commit ${rewritten[1]} changes or removes ${rewritten[2]}: files are written once`,
    };
  }
  return ids.length;
}

interface TreeFile {
  readonly month: string;
  readonly path: string;
  readonly blob: string;
  readonly size: number;
}

async function filesOf(git: Git, month: { readonly name: string; readonly tip: string }): Promise<TreeFile[]> {
  const list = await git.text(["ls-tree", "-r", "-l", "-z", month.tip], { maxOutput: output });
  return list.split("\0").flatMap((row) => {
    const match = /^100644 blob ([0-9a-f]+) +(\d+)\t(.+)$/.exec(row);
    return match === null
      ? []
      : [{ month: month.name, path: match[3] ?? "", blob: match[1] ?? "", size: Number(match[2]) }];
  });
}

/** All months' branches as one log. */
export async function readHistory(path: string, keys: Keys): Promise<Source | Fault> {
  const gitDir = await gitDirOf(path);
  if (gitDir === null) return { fault: `${path} is no git repository` };
  const git = createGit({ gitDir, timeout: 600_000, maxOutput: output });
  const known = new Map<number, string>();
  const segments: (TreeFile & { first: number })[] = [];
  const reconciles = new Map<number, { readonly file: string; readonly text: string }>();
  let commits = 0;
  for (const month of await monthsOf(git)) {
    const checked = await checkCommits(git, month, keys, known);
    if (typeof checked !== "number") return checked;
    commits += checked;
    for (const file of await filesOf(git, month)) {
      const first = /^requests\/.+\/(\d+)\.jsonl$/.exec(file.path)?.[1];
      const reconcile = /^reconciles\/.+\/(\d+)-[^/]+\.json$/.exec(file.path)?.[1];
      if (first !== undefined) segments.push({ ...file, first: Number(first) });
      else if (reconcile !== undefined) {
        const name = `${month.name}:${file.path}`;
        const [bytes] = await objects(git, [file.blob]);
        const text = compact(bytes ?? Buffer.alloc(0));
        if (text === null) return { fault: `${name}:1: it is no JSON` };
        reconciles.set(Number(reconcile), { file: name, text });
      } else return { fault: `${month.name}: ${file.path} is no file of an audit log` };
    }
  }
  if (commits === 0) return { fault: `${basename(path)} has no branch audit/YYYY-MM` };
  segments.sort((a, b) => a.first - b.first);
  return { known, reconciles, commits, notes: [], lines: () => segmentLines(git, segments) };
}

async function* segmentLines(git: Git, segments: readonly TreeFile[]): AsyncGenerator<Line> {
  for (let at = 0; at < segments.length;) {
    let end = at;
    for (
      let size = 0;
      end < segments.length && (end === at || size + (segments[end]?.size ?? 0) <= batchBytes);
      end++
    ) {
      size += segments[end]?.size ?? 0;
    }
    const slice = segments.slice(at, end);
    const blobs = await objects(
      git,
      slice.map(({ blob }) => blob),
    );
    for (const [index, { month, path }] of slice.entries()) {
      yield* linesOf(`${month}:${path}`, [blobs[index] ?? Buffer.alloc(0)]);
    }
    at = end;
  }
}

function compact(bytes: Uint8Array): string | null {
  try {
    return JSON.stringify(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch {
    return null;
  }
}
