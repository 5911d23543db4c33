// The audit repository: bare, written with git's plumbing, without index or work tree. Each month is a branch of its own
// history, so that retention drops a branch and rewrites none; each commit only adds files, and is signed (SSH signature,
// Ed25519) by the vault's key.
// Must hold: an object is on the disk before a branch names it; a branch moves only from where this process saw it.

import { createPublicKey, type KeyObject } from "node:crypto";
import { chmod, mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseCommit, signedBy } from "../../lib/commit.ts";
import { createGit, type Git, isCommit } from "../../lib/git.ts";
import { signSsh } from "../../lib/sshsig.ts";

export interface Commit {
  readonly id: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly message: string;
  /** Whether this vault's key signed it. */
  readonly own: boolean;
}

/** What a commit adds, by path. */
export type Files = ReadonlyMap<string, Uint8Array>;

export const branchPrefix = "refs/heads/audit/";
const identity = "Writ audit <audit@writ.invalid>";
/** Beside objects, the move of a branch must last too: the spool is thrown away after it. */
const durable = ["-c", "core.fsync=objects,reference"];

export class Repository {
  readonly git: Git;
  readonly #path: string;
  readonly #key: KeyObject;
  readonly #own: readonly KeyObject[];
  /** Rows of the trees that the last commit wrote, which the next one most likely changes. */
  #trees: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map();
  #last: { readonly commit: string; readonly tree: string } = { commit: "", tree: "" };

  constructor(path: string, key: KeyObject) {
    this.#path = path;
    this.#key = key;
    this.#own = [createPublicKey(key)];
    this.git = createGit({ gitDir: path });
  }

  /** Makes it where it is absent, and removes locks that a killed process left (this process is the only one). */
  async open(): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    await chmod(this.#path, 0o700);
    const there = await stat(join(this.#path, "HEAD")).catch(() => null);
    if (there === null) {
      const init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=audit/none", this.#path];
      await createGit({ gitDir: null }).run(init);
    }
    for (const folder of ["", "refs/heads/audit", "refs/writ/pushed/audit"]) {
      const names = await readdir(join(this.#path, folder)).catch(() => []);
      for (const name of names) if (name.endsWith(".lock")) await rm(join(this.#path, folder, name), { force: true });
    }
  }

  /** Commit names by branch, "2026-11" and so on, in order. */
  async branches(prefix = branchPrefix): Promise<ReadonlyMap<string, string>> {
    const text = await this.git.text(["for-each-ref", "--format=%(objectname) %(refname)", prefix]);
    const rows = text === "" ? [] : text.split("\n").map((row) => row.split(" ") as [string, string]);
    return new Map(rows.map(([id, name]) => [name.slice(prefix.length), id]));
  }

  async commit(id: string): Promise<Commit> {
    const commit = parseCommit(await this.git.run(["cat-file", "commit", id]));
    return {
      id,
      tree: commit.tree,
      parents: commit.parents,
      message: commit.message,
      own: signedBy(commit, this.#own),
    };
  }

  /** Adds files to the tree of `parent` and signs the commit; no branch moves. `time` in milliseconds since 1970. */
  async make(parent: string | null, files: Files, text: string, time: number): Promise<string> {
    const base =
      parent === null ? null : parent === this.#last.commit ? this.#last.tree : (await this.commit(parent)).tree;
    const blobs = new Map<string, string>();
    for (const [path, bytes] of files) blobs.set(path, await this.#write("blob", bytes));
    const written = new Map<string, Map<string, string>>();
    const tree = await this.#graft(base, blobs, written);
    this.#trees = written;
    const stamp = `${identity} ${Math.floor(time / 1000)} +0000`;
    const head = `tree ${tree}\n${parent === null ? "" : `parent ${parent}\n`}author ${stamp}\ncommitter ${stamp}\n`;
    const signature = signSsh(this.#key, "git", Buffer.from(`${head}\n${text}`)).replaceAll("\n", "\n ");
    const commit = await this.#write("commit", Buffer.from(`${head}gpgsig ${signature}\n\n${text}`));
    this.#last = { commit, tree };
    return commit;
  }

  /** Moves a ref, from where it was; null stands for absent on either side. */
  async move(ref: string, to: string | null, from: string | null): Promise<void> {
    const old = from ?? "0".repeat((to ?? "").length || 40);
    const args = to === null ? ["-d", ref, ...(from === null ? [] : [from])] : [ref, to, old];
    await this.git.run([...durable, "update-ref", ...args]);
  }

  async resolve(ref: string): Promise<string | null> {
    const id = await this.git.text(["for-each-ref", "--format=%(objectname)", ref]);
    return isCommit(id) ? id : null;
  }

  /** Files that a commit adds to its first parent: path and blob. */
  async added(id: string): Promise<Map<string, string>> {
    const args = ["diff-tree", "-r", "-z", "--root", "--no-commit-id", "--no-renames", "--diff-filter=AM", id];
    const parts = (await this.git.text(args)).split("\0");
    const found = new Map<string, string>();
    for (let at = 0; at + 1 < parts.length; at += 2)
      found.set(parts[at + 1] ?? "", (parts[at] ?? "").split(" ")[3] ?? "");
    return found;
  }

  async blob(id: string): Promise<Buffer> {
    return this.git.run(["cat-file", "blob", id]);
  }

  /** Segments of a commit's tree: the number of the first line, and the blob. In order. */
  async segments(id: string): Promise<readonly { readonly first: number; readonly blob: string }[]> {
    const list = await this.git.run(["ls-tree", "-r", "-z", id, "requests/"], { maxOutput: 512 * 1024 * 1024 });
    const found: { first: number; blob: string }[] = [];
    for (const row of list.toString().split("\0")) {
      const match = /^100644 blob ([0-9a-f]+)\t.*\/(\d+)\.jsonl$/.exec(row);
      if (match !== null) found.push({ first: Number(match[2]), blob: match[1] ?? "" });
    }
    return found.sort((a, b) => a.first - b.first);
  }

  /** Loose objects and small packs into one pack; the cost stays in proportion to what is new. */
  async pack(): Promise<void> {
    await this.git.run(["repack", "-d", "-l", "-q", "--geometric=2"], { timeout: 600_000 });
  }

  async #write(type: "blob" | "commit", bytes: Uint8Array): Promise<string> {
    return this.git.text([...durable, "hash-object", "-t", type, "-w", "--stdin"], { input: bytes });
  }

  /** A tree with `blobs` put in at their paths: one `mktree` for each folder on the way. */
  async #graft(
    tree: string | null,
    blobs: ReadonlyMap<string, string>,
    written: Map<string, Map<string, string>>,
  ): Promise<string> {
    const rows = new Map(tree === null ? [] : (this.#trees.get(tree) ?? (await this.#rows(tree))));
    const folders = new Map<string, Map<string, string>>();
    for (const [path, blob] of blobs) {
      const cut = path.indexOf("/");
      const name = cut < 0 ? path : path.slice(0, cut);
      if (cut < 0) rows.set(name, `100644 blob ${blob}\t${name}`);
      else folders.set(name, (folders.get(name) ?? new Map<string, string>()).set(path.slice(cut + 1), blob));
    }
    for (const [name, inside] of folders) {
      const old = /^040000 tree ([0-9a-f]+)\t/.exec(rows.get(name) ?? "")?.[1] ?? null;
      rows.set(name, `040000 tree ${await this.#graft(old, inside, written)}\t${name}`);
    }
    const input = [...rows.values()].map((row) => `${row}\0`).join("");
    const id = await this.git.text([...durable, "mktree", "-z"], { input });
    written.set(id, rows);
    return id;
  }

  /** A tree's entries as `ls-tree` writes them, by name. */
  async #rows(tree: string): Promise<Map<string, string>> {
    const list = (await this.git.text(["ls-tree", "-z", tree])).split("\0").filter((row) => row !== "");
    return new Map(list.map((row) => [row.slice(row.indexOf("\t") + 1), row]));
  }
}
