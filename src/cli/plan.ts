// `writ plan [BASE [HEAD]]`: document by document, what HEAD (the work tree where left out) changes against BASE (what
// is upstream of it where left out).
// Must hold: commits are read by git's plumbing with fixed arguments and whole object names; nothing is checked out.

import { realpath } from "node:fs/promises";
import { Blobs } from "../lib/blobs.ts";
import { createGit, type Git, GitError, isCommit } from "../lib/git.ts";
import { folderLimits, problemCount, problemText, readFolder } from "../gitops/check.ts";
import { compile, type Compilation, type DocumentFile } from "../gitops/compile.ts";
import { holds, render } from "../gitops/plan.ts";
import { readTree } from "../gitops/tree.ts";
import type { Problem } from "../sdk/errors.ts";
import type { Kind } from "../sdk/kind.ts";
import { filePrefix, type Io, isFolder } from "./check.ts";

export interface PlanOptions {
  /** The folder of the documents, inside a git work tree; the current one where left out. */
  readonly dir?: string;
  readonly base?: string;
  readonly head?: string;
  readonly allow?: readonly string[];
  /** As the server's gitops.max_deletions. */
  readonly maxDeletions?: number;
}

/** A fault of the call: there is nothing to compare. */
class PlanError extends Error {
  override readonly name = "PlanError";
}

interface Repository {
  readonly git: Git;
  /** The folder of the documents from the top, without slashes at its ends. */
  readonly directory: string;
}

async function openRepository(dir: string): Promise<Repository> {
  try {
    const at = await realpath(dir);
    const outer = createGit({ gitDir: null });
    const gitDir = await outer.text(["-C", at, "rev-parse", "--absolute-git-dir"]);
    const prefix = await outer.text(["-C", at, "rev-parse", "--show-prefix"]);
    return { git: createGit({ gitDir, maxOutput: 64 * 1024 * 1024 }), directory: prefix.replace(/\/$/, "") };
  } catch {
    throw new PlanError(`${JSON.stringify(dir)} is in no git work tree`);
  }
}

/** The whole name of what a person calls a commit, or null. */
async function resolve(git: Git, name: string): Promise<string | null> {
  try {
    const id = await git.text(["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`]);
    return isCommit(id) ? id : null;
  } catch (error) {
    if (error instanceof GitError) return null;
    throw error;
  }
}

async function named(git: Git, name: string): Promise<string> {
  const id = await resolve(git, name);
  const hint = id === null && (await isFolder(name)) ? `; a folder is named so: --dir ${name}` : "";
  if (id === null) throw new PlanError(`there is no commit ${JSON.stringify(name)}${hint}`);
  return id;
}

/** Where the head left what is upstream; its parent where nothing is. */
async function defaultBase(git: Git, head: string): Promise<string> {
  for (const name of ["@{upstream}", "refs/remotes/origin/HEAD"]) {
    const upstream = await resolve(git, name);
    if (upstream === null) continue;
    const fork = await git.text(["merge-base", upstream, head]).catch(() => upstream);
    return isCommit(fork) ? fork : upstream;
  }
  const parent = await resolve(git, "HEAD~1");
  if (parent === null) throw new PlanError("there is nothing upstream and no earlier commit; name a BASE");
  return parent;
}

interface Side {
  readonly files: readonly DocumentFile[];
  readonly problems: readonly Problem[];
}

async function readCommit({ git, directory }: Repository, commit: string): Promise<Side> {
  const limits = { ...folderLimits, fetchBytes: 0, fetchTimeout: 0 };
  const { files, problems } = await readTree(git, commit, { directory, limits });
  const blobs = new Blobs(git);
  try {
    const bytes = await blobs.read(
      files.map(({ blob }) => blob),
      limits.totalBytes,
    );
    const documents = files.map(({ path, blob }, at) => ({ path, blob, bytes: bytes[at] ?? new Uint8Array() }));
    return { files: documents, problems };
  } finally {
    blobs.close();
  }
}

/** The files on disk, with the paths they have in a commit. */
async function readWorkTree({ directory }: Repository, dir: string): Promise<Side> {
  const { files, problems } = await readFolder(dir);
  const prefix = directory === "" ? "" : `${directory}/`;
  return {
    files: files.map((file) => ({ ...file, path: prefix + file.path })),
    problems: problems.map((problem) => ({ ...problem, file: prefix + problem.file })),
  };
}

function compileSide(side: Side, kinds: readonly Kind[], directory: string, allow: readonly string[]): Compilation {
  const compiled = compile(side.files, kinds, { directory, allow });
  return { ...compiled, problems: [...side.problems, ...compiled.problems] };
}

async function run(options: PlanOptions, io: Io, kinds: readonly Kind[]): Promise<number> {
  const dir = options.dir ?? ".";
  const repository = await openRepository(dir);
  const { git, directory } = repository;
  const head = options.head === undefined ? null : await named(git, options.head);
  const base =
    options.base === undefined
      ? await defaultBase(git, head ?? (await named(git, "HEAD")))
      : await named(git, options.base);
  const compileOne = (side: Side): Compilation => compileSide(side, kinds, directory, options.allow ?? []);
  // A base without the folder is one where nothing was declared yet.
  const before = compileOne(await readCommit(repository, base));
  const after = compileOne(head === null ? await readWorkTree(repository, dir) : await readCommit(repository, head));
  if (after.problems.length > 0) {
    const prefix = head === null ? filePrefix(dir) : "";
    const cut = head === null && directory !== "" ? directory.length + 1 : 0;
    for (const problem of after.problems) io.out(problemText({ ...problem, file: problem.file.slice(cut) }, prefix));
    io.error(`${problemCount(after.problems)}; nothing would be applied\n`);
    return 1;
  }
  if (before.problems.length > 0) {
    io.error(
      `${base.slice(0, 12)} has ${problemCount(before.problems)}; its documents without problems are compared\n`,
    );
  }
  io.out(render(before.declarations, after.declarations));
  const reasons = holds(before.declarations, after.declarations, { maxDeletions: options.maxDeletions ?? 10 });
  for (const reason of reasons) io.out(`held until allowed: ${reason}\n`);
  return 0;
}

/** Prints what changes. Returns the exit code: 0, 1 where HEAD has problems, 2 where there is nothing to compare. */
export async function plan(options: PlanOptions, io: Io, kinds: readonly Kind[]): Promise<number> {
  try {
    return await run(options, io, kinds);
  } catch (error) {
    if (!(error instanceof PlanError) && !(error instanceof GitError)) throw error;
    const detail = error instanceof GitError && error.detail !== "" ? `\n${error.detail}` : "";
    io.error(`writ plan: ${error.message}${detail}\n`);
    return 2;
  }
}
