// Keeps a remote at the same commits as the local repository, in order, after any time away.
// Must hold: what the remote has is never overwritten: a push names the commit it expects there (--force-with-lease), and
// where something else is found, that is raised as an alarm, and only this vault's own unpushed batches are committed
// again, signed again, on top of it.

import type { Clock } from "../../lib/clock.ts";
import type { Timer } from "../../lib/flight.ts";
import { createGit, type Git, GitError, isCommit } from "../../lib/git.ts";
import type { Logger } from "../../lib/log.ts";
import { type Access, openRemote } from "../../lib/remote.ts";
import type { Head } from "../../sdk/audit.ts";
import { batchHead } from "../../sdk/chain.ts";
import { branchPrefix, type Repository } from "./repository.ts";

export interface PublisherOptions {
  readonly path: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly random: () => number;
}

const pushedPrefix = "refs/writ/pushed/audit/";
const remotePrefix = "refs/writ/remote/audit/";
const firstPause = 5_000;
const longestPause = 300_000;
const pushTimeout = 120_000;
const tries = 3;

export class Publisher {
  readonly #repository: Repository;
  readonly #access: Access;
  readonly #options: PublisherOptions;
  #pushed: Head | null = null;
  #alarm: string | null = null;
  #error: string | null = null;
  #failures = 0;
  #cancel: (() => void) | null = null;

  constructor(repository: Repository, access: Access, options: PublisherOptions) {
    this.#repository = repository;
    this.#access = access;
    this.#options = options;
  }

  get pushed(): Head | null {
    return this.#pushed;
  }

  get alarm(): string | null {
    return this.#alarm;
  }

  get error(): string | null {
    return this.#error;
  }

  async open(): Promise<void> {
    for (const id of (await this.#repository.branches(pushedPrefix)).values()) await this.#reached(id);
  }

  /** Pushes what is missing, unless a pause after a failure is under way; `again` is called when it ends. Never rejects. */
  async push(again: () => void): Promise<void> {
    if (this.#cancel !== null) return;
    try {
      const pushed = await this.#repository.branches(pushedPrefix);
      const missing = [...(await this.#repository.branches())].filter(([month, id]) => pushed.get(month) !== id);
      const git = missing.length === 0 ? null : await this.#connect();
      for (const [month] of missing) if (git !== null) await this.#branch(git, month);
      this.#failures = 0;
      this.#error = null;
    } catch (error) {
      const fields = error instanceof GitError ? { error: error.message, detail: error.detail } : { error };
      if (this.#failures === 0) this.#options.log.warn("audit push failed: it is tried again", fields);
      this.#error = "the last push failed; the server's log says why";
      const pause = Math.min(longestPause, firstPause * 2 ** Math.min(this.#failures++, 10));
      this.#cancel = this.#options.timer.after(pause * (0.8 + 0.4 * this.#options.random()), () => {
        this.#cancel = null;
        again();
      });
    }
  }

  close(): void {
    this.#cancel?.();
  }

  /** Credentials are read each time: they may have been renewed. */
  async #connect(): Promise<Git> {
    const { environment, protocol, secrets } = await openRemote(this.#access);
    return createGit({ gitDir: this.#options.path, environment, protocols: [protocol], secrets, timeout: pushTimeout });
  }

  async #branch(git: Git, month: string): Promise<void> {
    for (let round = 1; ; round++) {
      const local = await this.#repository.resolve(branchPrefix + month);
      const pushed = await this.#repository.resolve(pushedPrefix + month);
      if (local === null) return;
      const ref = branchPrefix + month;
      try {
        await git.run([
          "push",
          "--quiet",
          `--force-with-lease=${ref}:${pushed ?? ""}`,
          this.#access.url,
          `${local}:${ref}`,
        ]);
        await this.#repository.move(pushedPrefix + month, local, pushed);
        await this.#reached(local);
        return;
      } catch (error) {
        const there = await this.#remoteTip(git, ref);
        if (there === pushed || round >= tries) throw error;
        // The remote may have taken the push whose answer was lost, or this is a clone of it, on a new machine.
        const known = there === local || (pushed === null && (await this.#holds(git, local, there)));
        if (!known) await this.#adopt(git, month, local, pushed, there);
        await this.#repository.move(pushedPrefix + month, there, pushed);
      }
    }
  }

  async #remoteTip(git: Git, ref: string): Promise<string | null> {
    const id = (await git.text(["ls-remote", "--quiet", this.#access.url, ref])).split("\t")[0] ?? "";
    return isCommit(id) ? id : null;
  }

  async #holds(git: Git, local: string, id: string | null): Promise<boolean> {
    if (id === null || !(await git.succeeds(["cat-file", "-e", id]))) return false;
    return git.succeeds(["merge-base", "--is-ancestor", id, local]);
  }

  /** The remote is not where this vault left it: takes that in, and puts its own batches on top. */
  async #adopt(git: Git, month: string, local: string, pushed: string | null, there: string | null): Promise<void> {
    this.#raise(month, pushed, there);
    if (there === null) return;
    await git.run([
      "fetch",
      "--quiet",
      "--no-tags",
      "--no-write-fetch-head",
      this.#access.url,
      `+${branchPrefix}${month}:${remotePrefix}${month}`,
    ]);
    if (await git.succeeds(["merge-base", "--is-ancestor", there, local])) return;
    const list = await git.text(["rev-list", "--reverse", `${there}..${local}`]);
    let tip = there;
    for (const id of list === "" ? [] : list.split("\n")) {
      const commit = await this.#repository.commit(id);
      if (!commit.own) continue;
      const files = new Map<string, Uint8Array>();
      for (const [path, blob] of await this.#repository.added(id)) files.set(path, await this.#repository.blob(blob));
      tip = await this.#repository.make(tip, files, commit.message, this.#options.clock.now());
    }
    await this.#repository.move(branchPrefix + month, tip, local);
  }

  #raise(month: string, expected: string | null, found: string | null): void {
    this.#alarm = `branch audit/${month} of the push remote was changed by somebody else`;
    this.#options.log.security("audit branch on the push remote holds what this vault did not push", {
      branch: `audit/${month}`,
      expected: expected ?? "nothing",
      found: found ?? "nothing",
    });
  }

  async #reached(id: string): Promise<void> {
    const head = batchHead((await this.#repository.commit(id)).message);
    if (head !== null && head.seq > (this.#pushed?.seq ?? 0)) this.#pushed = head;
  }
}
