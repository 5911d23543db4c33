// The policy repository as commits, trees and blobs: a bare clone, read by object names only.
// Must hold: exactly one branch is fetched, into exactly one ref; what was applied stays here, whatever becomes of the branch,
// by refs of our own; nothing is ever checked out, so no hook, filter, attribute or link of the repository takes effect;
// what it reads is bounded in count, bytes and time; a clone that is damaged or of another remote is made anew, since
// nothing but the remote and the vault's own storage counts.
// Known gap: the history itself is bounded by `fetch_bytes` for one fetch only, not over the life of a clone; a clone that had
// to be made anew has what the branch has now, and nothing from before it was rewritten.

import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Blobs } from "../lib/blobs.ts";
import { createGit, type Git, GitError, isCommit } from "../lib/git.ts";
import type { Problem } from "../sdk/errors.ts";
import type { Commit } from "../sdk/kind.ts";
import { explain, SourceError } from "./explain.ts";
import type { Settings } from "./settings.ts";
import { type Entry, readTree } from "./tree.ts";

const head = "refs/writ/head";
/** A ref for each commit that is kept. */
const keptFolder = "refs/writ/kept";
const marker = "writ-remote";
/** One fetch makes one pack; beyond this many they are joined. */
const maxPacks = 50;
/** Bytes of memory of one process of git: what a repository can be made to ask for is without end. */
const maxMemory = 1024 * 1024 * 1024;
/** Bytes of what is told of a commit. */
const maxDescription = 256 * 1024;

type Format = "sha1" | "sha256";

export interface Listing {
  readonly files: readonly Entry[];
  readonly problems: readonly Problem[];
}

/** A commit, or why it is none: nothing there is called so, or several are. */
export type Found = Commit | "none" | "several";

export class Source {
  readonly #settings: Settings;
  readonly #folder: string;
  readonly #clone: string;
  readonly #git: Git;
  readonly #blobs: Blobs;
  readonly #stop = new AbortController();
  /** Of the fetch that was asked for and has not ended. */
  #fetching: AbortController | null = null;
  #format: Format = "sha1";
  #ready = false;
  /** What was asked to be kept, where all of it is. */
  #kept = "";
  /** A clone made anew that fails again is not made anew at each poll: the fault is elsewhere then. */
  #renewed = false;

  /** `folder` is this source's own; it is created, 0700. */
  constructor(settings: Settings, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
    this.#clone = join(folder, "clone.git");
    this.#git = createGit({
      gitDir: this.#clone,
      environment: settings.remote.environment,
      secrets: settings.remote.secrets,
      protocols: [settings.remote.protocol],
      timeout: settings.limits.fetchTimeout,
      maxOutput: 64 * 1024 * 1024,
      maxMemory,
      signal: this.#stop.signal,
    });
    this.#blobs = new Blobs(this.#git, settings.limits.fetchTimeout);
  }

  /** The commit that the branch points to now. Throws SourceError. */
  fetch(): Promise<Commit> {
    this.#fetching = new AbortController();
    return this.#mended(async () => {
      await this.#pull();
      const commit = await this.#commit(head);
      this.#renewed = false;
      return commit;
    }).finally(() => {
      this.#fetching = null;
    });
  }

  /** Ends a fetch that is under way, which rejects: something else cannot wait for a remote that does not answer. */
  hurry(): void {
    this.#fetching?.abort();
  }

  /** Whether `commit` has `ancestor` in its history. False where the ancestor is not known (any more). */
  async descends(commit: Commit, ancestor: string): Promise<boolean> {
    if (commit.id === ancestor || commit.parents.includes(ancestor)) return true;
    if (!isCommit(ancestor) || ancestor.length !== commit.id.length) return false;
    return this.#mended(async () => {
      // An object that is not there is no ancestor, not a failure. cat-file ends with 1 for an object and with 128 for a
      // peeled one that is missing, so the plain name is asked for.
      if (!(await this.#git.succeeds(["cat-file", "-e", ancestor]))) return false;
      return this.#git.succeeds(["merge-base", "--is-ancestor", ancestor, commit.id]);
    });
  }

  /** What the whole name of a commit, or its beginning, stands for among what was fetched. */
  find(name: string): Promise<Found> {
    return this.#local(async () => {
      const ids = await this.#git.text(["rev-parse", `--disambiguate=${name}`]);
      const [id, second] = await this.#commits(ids.split("\n").filter(isCommit));
      if (id === undefined) return "none";
      return second === undefined ? this.#commit(id) : "several";
    });
  }

  /** The branch as it was fetched last, by this process or one before. */
  last(): Promise<Commit | null> {
    return this.#local(async () => {
      if (!(await this.#git.succeeds(["show-ref", "--verify", "--quiet", head]))) return null;
      return this.#commit(head);
    });
  }

  /** How many commits `commit` has that `base` has not. */
  ahead(commit: string, base: string): Promise<number> {
    return this.#local(async () => Number(await this.#git.text(["rev-list", "--count", commit, `^${base}`, "--"])));
  }

  /** Keeps these commits, and no others beside the branch's: those of them that are there. */
  async keep(ids: readonly string[]): Promise<void> {
    const wanted = ids.join(" ");
    if (wanted === this.#kept) return;
    await this.#local(async () => {
      const there = await this.#commits(ids.filter(isCommit));
      const refs = await this.#git.text(["for-each-ref", "--format=%(refname:lstrip=3)", `${keptFolder}/`]);
      const before = new Set(refs.split("\n").filter(isCommit));
      const lines = [
        ...there.filter((id) => !before.has(id)).map((id) => `create ${keptFolder}/${id} ${id}\n`),
        ...[...before].filter((id) => !ids.includes(id)).map((id) => `delete ${keptFolder}/${id}\n`),
      ];
      if (lines.length > 0) await this.#git.run(["update-ref", "--stdin"], { input: lines.join("") });
      if (there.length === ids.length) this.#kept = wanted;
    });
  }

  /** Those that are there, and commits. */
  async #commits(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const input = `${ids.join("\n")}\n`;
    const found = await this.#git.text(["cat-file", "--batch-check=%(objectname) %(objecttype)"], { input });
    return found.split("\n").flatMap((line) => (line.endsWith(" commit") ? line.split(" ", 1) : []));
  }

  /** The document files of a commit by path, and what is wrong with the tree. */
  list(commit: Commit): Promise<Listing> {
    return this.#mended(() => readTree(this.#git, commit.id, this.#settings));
  }

  /** The content of these entries, in their order. */
  read(entries: readonly Entry[]): Promise<Buffer[]> {
    return this.#mended(() =>
      this.#blobs.read(
        entries.map((entry) => entry.blob),
        this.#settings.limits.totalBytes,
      ),
    );
  }

  /** For good: what runs ends, what is asked later fails. */
  close(): void {
    this.#stop.abort();
    this.#blobs.close();
  }

  /** Runs `work` on the clone as it is: the remote may be away, and then there is no other. */
  async #local<T>(work: () => Promise<T>): Promise<T> {
    try {
      await this.#prepare();
      return await work();
    } catch (error) {
      this.#ready = false;
      throw explain(error);
    }
  }

  /** Runs `work`; where the clone seems to be at fault, makes it anew, fetches and runs `work` once more. */
  async #mended<T>(work: () => Promise<T>): Promise<T> {
    try {
      await this.#prepare();
      return await work();
    } catch (error) {
      const told = explain(error);
      this.#ready = false;
      if (told.cause !== "clone" || this.#renewed) throw told;
      this.#renewed = true;
    }
    try {
      await this.#renew();
      await this.#pull();
      return await work();
    } catch (error) {
      this.#ready = false;
      throw explain(error);
    }
  }

  async #prepare(): Promise<void> {
    if (this.#ready) return;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const found = await readFile(join(this.#clone, marker), "utf8").catch(() => "");
    if (found.startsWith("sha256\n")) this.#format = "sha256";
    if (found === this.#mark()) await this.#clean();
    else await this.#renew();
    this.#ready = true;
  }

  #mark(): string {
    return `${this.#format}\n${this.#settings.remote.url}\n`;
  }

  /** A new, empty clone. It gets its name last: one that was interrupted is no clone. */
  async #renew(): Promise<void> {
    this.#blobs.close();
    this.#kept = "";
    for (const name of await readdir(this.#folder)) {
      if (name.startsWith("fresh-")) await discard(join(this.#folder, name)).catch(() => {});
    }
    const fresh = await mkdtemp(join(this.#folder, "fresh-"));
    const git = createGit({ gitDir: null });
    const format = this.#format === "sha1" ? [] : [`--object-format=${this.#format}`];
    await git.run(["init", "--bare", "--quiet", "--template=", "--initial-branch=none", ...format, "--", fresh]);
    await writeFile(join(fresh, marker), this.#mark(), { mode: 0o600 });
    await discard(this.#clone);
    await rename(fresh, this.#clone);
    this.#ready = true;
  }

  /** Removes what a killed git, or a loss of power, left: locks, packs that were never finished, and refs of ours that do not
   *  say what they are called after. No git runs in the clone meanwhile: each run ends with its process group before its
   *  promise does. */
  async #clean(): Promise<void> {
    for (const folder of ["", "refs/writ", keptFolder, "objects/pack", "objects/info", "objects"]) {
      const names = await readdir(join(this.#clone, folder)).catch(() => []);
      for (const name of names) {
        if (!/\.lock$|^tmp_|^incoming-|^gc\.pid$/u.test(name)) continue;
        await discard(join(this.#clone, folder, name));
      }
    }
    for (const name of await readdir(join(this.#clone, keptFolder)).catch(() => [])) {
      const file = join(this.#clone, keptFolder, name);
      if ((await readFile(file, "utf8").catch(() => "")) === `${name}\n`) continue;
      // Git neither lists nor replaces a ref that is broken: it is made anew once it is gone.
      await discard(file);
      this.#kept = "";
    }
  }

  async #pull(): Promise<void> {
    const { remote, branch, limits } = this.#settings;
    const options = [
      "--quiet",
      "--no-tags",
      "--no-recurse-submodules",
      "--no-auto-maintenance",
      "--no-write-fetch-head",
      "--no-prune",
      "--refmap=",
    ];
    // The full name on the left: a tag or another ref of the branch's name never stands in for it.
    const refspec = `+refs/heads/${branch}:${head}`;
    const signal = AbortSignal.any(
      [this.#stop, this.#fetching].flatMap((each) => (each === null ? [] : [each.signal])),
    );
    const bounds = { maxFile: limits.fetchBytes, signal };
    try {
      await this.#git.run(["fetch", ...options, "--", remote.url, refspec], bounds);
    } catch (error) {
      if (!(error instanceof GitError) || !/mismatched algorithms/u.test(error.detail)) throw error;
      this.#format = this.#format === "sha1" ? "sha256" : "sha1";
      await this.#renew();
      await this.#git.run(["fetch", ...options, "--", remote.url, refspec], bounds);
    }
    await this.#pack();
  }

  async #pack(): Promise<void> {
    const names = await readdir(join(this.#clone, "objects/pack"));
    if (names.filter((name) => name.endsWith(".pack")).length <= maxPacks) return;
    this.#blobs.close();
    await this.#git.run(["repack", "-a", "-d", "-q"]);
  }

  async #commit(name: string): Promise<Commit> {
    const format = ["%H", "%P", "%an <%ae>", "%ct", "%s"].join("%x00");
    const shown = [
      "--no-mailmap",
      "--no-show-signature",
      "--no-color",
      "--no-decorate",
      "--encoding=UTF-8",
      "--no-notes",
    ];
    const text = await this.#git.text(["log", "-1", ...shown, `--format=${format}`, name, "--"], {
      maxOutput: maxDescription,
    });
    const [id = "", parents = "", author = "", time = "", subject = ""] = text.split("\0");
    if (!isCommit(id) || !/^\d{1,12}$/u.test(time)) throw new SourceError("the commit cannot be read", "clone", "");
    return {
      id,
      parents: parents.split(" ").filter(isCommit),
      author: printable(author),
      time: Number(time) * 1_000,
      subject: printable(subject),
    };
  }
}

/** A git that outlived a killed server may still write here: what appears while it is removed is removed too. */
const discard = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });

/** Text of a stranger for terminals and logs: no control or direction characters, at most 200. */
export const printable = (text: string): string =>
  text
    .replaceAll(/[\s\p{Cc}\p{Cf}\p{Cs}]+/gu, " ")
    .trim()
    .slice(0, 200);
