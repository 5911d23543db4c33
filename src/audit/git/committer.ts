// Takes lines from the spool into the repository, and the repository to the remote. Runs in a worker thread.
// Must hold: a spool file goes only after a branch names its lines; a round that fails changes nothing that is kept and
// runs again; lines are committed in the order of the chain.

import type { KeyObject } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../lib/clock.ts";
import type { Timer } from "../../lib/flight.ts";
import { GitError } from "../../lib/git.ts";
import type { Logger } from "../../lib/log.ts";
import { Mutex } from "../../lib/mutex.ts";
import type { Access } from "../../lib/remote.ts";
import type { Head } from "../../sdk/audit.ts";
import { batchHead, linesOf, linkOf } from "../../sdk/chain.ts";
import { Publisher } from "./publisher.ts";
import { branchPrefix, Repository } from "./repository.ts";
import { messageOf, portionOf } from "./segments.ts";
import { forgetSpooled, spooledAfter } from "./spool.ts";

export interface CommitterOptions {
  /** The bare repository. */
  readonly path: string;
  readonly signing: KeyObject;
  /** Milliseconds from a line to its commit. */
  readonly interval: number;
  readonly remote: Access | null;
  readonly log: Logger;
  readonly clock: Clock;
  readonly timer: Timer;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** After each round. */
  readonly onStatus: (status: CommitStatus) => void;
}

export interface CommitStatus {
  readonly committed: Head | null;
  /** The last line that the remote is known to have; null without a remote, or before the first push. */
  readonly pushed: Head | null;
  /** What somebody should look at; null where all is well. */
  readonly alarm: string | null;
  /** Why the last round or push failed; null once one succeeds. */
  readonly error: string | null;
}

export const spoolFolder = (path: string): string => join(path, "spool");

const roundLines = 50_000;
const roundBytes = 8 * 1024 * 1024;
const commitsPerPack = 256;
const longestPause = 300_000;
const walkLimit = 1000;
const newline = Buffer.from("\n");

export class Committer {
  readonly #options: CommitterOptions;
  readonly #repository: Repository;
  readonly #publisher: Publisher | null;
  readonly #turns = new Mutex();
  #committed: Head | null = null;
  #last: { readonly month: string; readonly id: string } | null = null;
  #alarm: string | null = null;
  #error: string | null = null;
  #failures = 0;
  #commits = 0;
  #cancel: (() => void) | null = null;
  #closed = false;
  #known: { readonly tips: string; readonly segments: readonly { first: number; blob: string }[] } | null = null;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#repository = new Repository(options.path, options.signing);
    this.#publisher = options.remote === null ? null : new Publisher(this.#repository, options.remote, options);
  }

  get status(): CommitStatus {
    const publisher = this.#publisher;
    return {
      committed: this.#committed,
      pushed: publisher?.pushed ?? null,
      alarm: this.#alarm ?? publisher?.alarm ?? null,
      error: this.#error ?? publisher?.error ?? null,
    };
  }

  /** The last line that a commit of this vault names. */
  async open(): Promise<Head | null> {
    await this.#repository.open();
    await mkdir(spoolFolder(this.#options.path), { recursive: true, mode: 0o700 });
    for (const [month, tip] of await this.#repository.branches()) {
      const found = await this.#ownHead(month, tip);
      if (found !== null && found.seq > (this.#committed?.seq ?? 0)) {
        this.#committed = found;
        this.#last = { month, id: tip };
      }
    }
    await this.#publisher?.open();
    return this.#committed;
  }

  /** There are lines to commit, within the interval. */
  note(): void {
    if (this.#closed) return;
    this.#cancel ??= this.#options.timer.after(this.#pause(), () => {
      this.#cancel = null;
      void this.commit();
    });
  }

  /** Commits and pushes what there is, now. Never rejects: what fails is in the status and tried again. */
  async commit(): Promise<void> {
    await this.#turns.run("commit", async () => {
      try {
        while (await this.#portion());
        this.#failures = 0;
        this.#error = null;
      } catch (error) {
        if (this.#failures++ === 0) this.#options.log.error("audit commit failed: it is tried again", detailOf(error));
        this.#error = "the last commit failed; the server's log says why";
        this.note();
      }
    });
    this.#options.onStatus(this.status);
    const publisher = this.#publisher;
    if (publisher === null) return;
    // A remote that is slow holds up neither commits nor reads.
    await this.#turns.run("push", () => publisher.push(() => this.note()));
    this.#options.onStatus(this.status);
  }

  /** Lines from number `from` on, out of the spool or the branches; none where `from` is not there. */
  async read(from: number, limit: number): Promise<Uint8Array[]> {
    const spooled = await spooledAfter(spoolFolder(this.#options.path), from - 1, limit, roundBytes);
    if (spooled[0] !== undefined && linkOf(spooled[0])?.seq === from) return spooled;
    const segment = (await this.#segments()).findLast((one) => one.first <= from);
    if (segment === undefined) return [];
    const lines: Uint8Array[] = [];
    for await (const line of linesOf("segment", [await this.#repository.blob(segment.blob)])) {
      if ((linkOf(line.bytes)?.seq ?? 0) < from || lines.length >= limit) continue;
      lines.push(Buffer.concat([line.bytes, newline]));
    }
    return lines[0] !== undefined && linkOf(lines[0])?.seq === from ? lines : [];
  }

  async close(): Promise<void> {
    this.#cancel?.();
    this.#closed = true;
    await this.commit();
    this.#publisher?.close();
  }

  /** Commits the next lines of one month; false where there were none. */
  async #portion(): Promise<boolean> {
    const spool = spoolFolder(this.#options.path);
    const lines = await spooledAfter(spool, this.#committed?.seq ?? 0, roundLines, roundBytes);
    const [opening] = lines;
    if (opening === undefined) return false;
    const link = linkOf(opening);
    if (this.#committed !== null && link?.prev !== this.#committed.hash) {
      this.#raise(`line ${link?.seq ?? 0} does not continue what is committed`);
    }
    const portion = portionOf(lines);
    const ref = branchPrefix + portion.month;
    const parent = await this.#repository.resolve(ref);
    const previous = parent === null ? this.#last : null;
    const id = await this.#repository.make(
      parent,
      portion.files,
      messageOf(portion, previous),
      this.#options.clock.now(),
    );
    await this.#repository.move(ref, id, parent);
    if (parent === null) await this.#repository.git.run(["symbolic-ref", "HEAD", ref]);
    this.#committed = portion.head;
    this.#last = { month: portion.month, id };
    await forgetSpooled(spool, portion.head.seq);
    if (++this.#commits % commitsPerPack === 0) await this.#repository.pack();
    return true;
  }

  /** The newest commit of a branch that this vault signed. Others on top of it are somebody else's. */
  async #ownHead(month: string, tip: string): Promise<Head | null> {
    let next: string | undefined = tip;
    for (let steps = 0; next !== undefined && steps < walkLimit; steps++) {
      const commit = await this.#repository.commit(next);
      if (commit.own) return batchHead(commit.message);
      this.#raise(`branch audit/${month} holds commits that this vault did not sign`);
      next = commit.parents[0];
    }
    return null;
  }

  async #segments(): Promise<readonly { first: number; blob: string }[]> {
    const branches = await this.#repository.branches();
    const tips = [...branches.values()].join(" ");
    if (this.#known?.tips !== tips) {
      const lists = await Promise.all([...branches.values()].map((id) => this.#repository.segments(id)));
      this.#known = { tips, segments: lists.flat().sort((a, b) => a.first - b.first) };
    }
    return this.#known.segments;
  }

  #raise(alarm: string): void {
    if (this.#alarm === alarm) return;
    this.#alarm = alarm;
    this.#options.log.security("audit repository is not as this vault left it", { alarm });
  }

  #pause(): number {
    const wait = Math.min(longestPause, this.#options.interval * 2 ** Math.min(this.#failures, 10));
    return this.#failures === 0 ? wait : wait * (0.8 + 0.4 * this.#options.random());
  }
}

export const detailOf = (error: unknown): Record<string, unknown> =>
  error instanceof GitError ? { error: error.message, detail: error.detail } : { error };
