// Makes the vault what the branch says, one commit at a time: when to look, what came of it, whom to tell.
// Must hold: one run at a time; a commit is applied whole or not at all; a commit that was refused is not worked on again
// until something changes; nothing of this needs the remote to serve requests, and a sealed vault only postpones it.

import { Flight, type Timer } from "../lib/flight.ts";
import { Mutex } from "../lib/mutex.ts";
import { isVaultError, VaultError } from "../sdk/errors.ts";
import type { Change, Commit } from "../sdk/kind.ts";
import { type Attempt, judge, remember, type Tools, walk } from "./attempt.ts";
import { meaning, SourceError } from "./explain.ts";
import { type Order, refusal, type Wanted } from "./pin.ts";
import { entryOf, noMemory, type Pin, recall } from "./record.ts";
import type { Settings } from "./settings.ts";
import { type Held, howToAllow, report, type Standing, type Verdict } from "./status.ts";
import { Shelf } from "./workshop.ts";

export interface ReconcilerOptions extends Tools {
  readonly settings: Pick<Settings, "branch" | "directory" | "pollInterval" | "maxDeletions"> & {
    readonly remote: { readonly url: string };
  };
  readonly timer: Timer;
  /** 0 <= n < 1. */
  readonly random: () => number;
  /** Milliseconds from one fetch to the next, at least; 1,000 unless given. */
  readonly spacing?: number;
}

export interface SyncOptions {
  /** Commits that are allowed in spite of being held, each for one reason. */
  readonly allow?: Readonly<Partial<Record<Held["for"], string>>>;
  /** Who asks, for the audit. */
  readonly by?: string;
}

/** What came of an order. */
interface Done {
  readonly attempt: Attempt;
  readonly verdict: Verdict;
  readonly error: unknown;
}

const firstRetry = 2_000;
const lastRetry = 15 * 60_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #flight: Flight<Verdict>;
  readonly #shelf = new Shelf();
  readonly #orders = new Mutex();
  #order: { readonly order: Order; readonly done: (done: Done) => void } | null = null;
  /** Orders that wait for the one before them. */
  #queued = 0;
  /** What the last look found, for measurements. */
  #pinned: { readonly pin: Pin; readonly behind: number | null } | null = null;
  readonly #asked = new Map<Held["for"], { readonly commit: string; readonly by: string }>();
  /** The last verdict on a commit, and the commit that was live then. */
  #judged: { readonly verdict: Verdict; readonly against: string | null } | null = null;
  #verdict: Verdict;
  #head: Commit | null = null;
  #failures = 0;
  #retryAt = 0;
  #lastFetch: number | null = null;
  #nextPoll: number | null = null;
  #cancelPoll: (() => void) | null = null;
  /** A person asked: what was judged before is judged again. */
  #forced = false;
  #running = false;
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, timer, spacing = 1_000 } = options;
    this.#verdict = judge(clock, "waiting", null);
    this.#flight = new Flight(() => this.#run(), { spacing, clock, timer });
  }

  /** Begins to look and to poll. */
  start(): void {
    this.wake();
  }

  /** Something may be new: look soon. Any number of calls cost one or two looks. */
  wake(): void {
    // A run never rejects; only a closed flight does.
    this.#flight.fly().catch(() => {});
  }

  /** To call after each unseal: what was missed meanwhile is done now. */
  resume(): void {
    this.#judged = null;
    this.wake();
  }

  /** Looks now, at commits refused before too, and resolves with the verdict. Throws VaultError `invalid` where a commit
   *  is to be allowed that is not the branch's head, or another one is pinned. */
  async sync(options: SyncOptions = {}): Promise<Verdict> {
    const allow = Object.entries(options.allow ?? {}) as [Held["for"], string][];
    if (allow.length > 0) {
      const { pin } = await recall(this.#options.target);
      if (pin !== null)
        throw new VaultError("invalid", `commit ${pin.commit} is pinned, no other is applied: writ unpin`);
    }
    for (const [reason, commit] of allow) this.#asked.set(reason, { commit, by: options.by ?? "" });
    this.#forced = true;
    const verdict = await this.#flight.fly();
    for (const [reason, commit] of allow) {
      if (this.#asked.get(reason)?.commit === commit) this.#asked.delete(reason);
      if (verdict.commit !== null && verdict.commit.id !== commit) throw notHeld(commit, verdict);
    }
    return verdict;
  }

  /** Applies one commit that the branch has or had, and holds the vault there. Resolves with what that changed. Throws
   *  VaultError where it cannot be; nothing has changed then. */
  async pin(wanted: Wanted): Promise<readonly Change[]> {
    const { attempt, verdict, error } = await this.#obeyed({ pin: wanted });
    if (verdict.result !== "applied")
      throw isVaultError(error) && !attempt.obeyed ? error : refusal(verdict, attempt.obeyed);
    // The branch, which a pin does not wait for.
    this.wake();
    return attempt.changes;
  }

  /** Goes on with the branch. False where nothing was pinned. Throws VaultError where that could not be put on record. */
  async unpin(by: string): Promise<boolean> {
    const before = await recall(this.#options.target);
    const { attempt, error, verdict } = await this.#obeyed({ unpin: { by } });
    if (attempt.obeyed) return before.pin !== null;
    if (isVaultError(error)) throw error;
    throw new VaultError("internal", `nothing was changed: ${verdict.message ?? verdict.result}`);
  }

  /** What holds the vault at one commit. Throws VaultError `sealed`. */
  async pinned(): Promise<{ readonly pin: Pin; readonly behind: number | null } | null> {
    const { pin } = await recall(this.#options.target);
    const known = this.#pinned?.pin.commit === pin?.commit ? (this.#pinned?.behind ?? null) : null;
    return pin === null ? null : { pin, behind: known };
  }

  /** One after another, each in a look of its own. None waits for a fetch that something before it began. */
  #obeyed(order: Order): Promise<Done> {
    this.#queued += 1;
    if (this.#running) this.#options.workshop.hurry().catch(() => {});
    return this.#orders.run("", () => {
      this.#queued -= 1;
      const { promise, resolve, reject } = Promise.withResolvers<Done>();
      this.#order = { order, done: resolve };
      this.#forced = true;
      this.#flight.fly().catch(reject);
      return promise;
    });
  }

  standing(): Standing {
    const { settings } = this.#options;
    return {
      remote: settings.remote.url,
      branch: settings.branch,
      directory: settings.directory,
      head: this.#head,
      verdict: this.#verdict,
      lastFetch: this.#lastFetch,
      nextPoll: this.#nextPoll,
      running: this.#running,
      pinned: this.#pinned,
    };
  }

  /** What sys/gitops/status answers. Throws VaultError `sealed`. */
  async status(options: { readonly documents: boolean }): Promise<Readonly<Record<string, unknown>>> {
    return report({ ...this.standing(), pinned: await this.pinned() }, this.#options.target, options);
  }

  /** Ends what runs, then the workshop. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelPoll?.();
    const landed = this.#flight.close();
    await this.#options.workshop.close();
    await landed;
  }

  #begin(order: Order | null): Attempt {
    const forced = this.#forced;
    this.#forced = false;
    return {
      tools: this.#options,
      shelf: this.#shelf,
      asked: this.#asked,
      order,
      obeyed: false,
      hurried: () => this.#order !== null || this.#queued > 0,
      standing: (head, live) => (forced ? null : this.#standing(head, live)),
      fetched: (head) => {
        this.#head = head;
        this.#lastFetch = this.#options.clock.now();
      },
      current: null,
      memory: noMemory,
      pin: null,
      head: null,
      unread: null,
      behind: null,
      set: null,
      changes: [],
      planned: false,
    };
  }

  #standing(head: Commit, live: string | null): Verdict | null {
    const judged = this.#judged;
    if (judged === null || judged.verdict.commit?.id !== head.id || judged.against !== live) return null;
    const due = judged.verdict.result === "failed" && this.#options.clock.now() >= this.#retryAt;
    return due ? null : judged.verdict;
  }

  async #run(): Promise<Verdict> {
    this.#running = true;
    let verdict = this.#verdict;
    do {
      const asked = this.#order;
      this.#order = null;
      if (asked !== null) verdict = await this.#look(asked.order, asked.done);
      // A pin that was refused says nothing of the branch, for which others may wait.
      if (asked === null || ("pin" in asked.order && verdict.result !== "applied")) {
        verdict = await this.#look(null, () => {});
      }
    } while (this.#order !== null || this.#queued > 0);
    this.#running = false;
    this.#schedule();
    return verdict;
  }

  async #look(order: Order | null, done: (done: Done) => void): Promise<Verdict> {
    const attempt = this.#begin(order);
    let error: unknown = null;
    const verdict = await walk(attempt).catch((thrown: unknown) => {
      error = thrown;
      return this.#failure(attempt, thrown);
    });
    const refused = order !== null && "pin" in order && verdict.result !== "applied";
    const isCut = attempt.hurried() && verdict.result === "failed";
    if (attempt.planned || !(refused || isCut)) {
      this.#settle(attempt, verdict);
      await this.#tell(attempt, verdict).catch((fault: unknown) => {
        this.#options.log.error("the end of a reconcile attempt is not in the audit yet", { error: fault });
      });
    }
    done({ attempt, verdict, error });
    return verdict;
  }

  #failure(attempt: Attempt, error: unknown): Verdict {
    const { clock, log } = this.#options;
    if (isVaultError(error, "sealed")) return judge(clock, "sealed", attempt.head);
    if (attempt.order !== null && isVaultError(error, "invalid")) {
      return judge(clock, "failed", attempt.head, { message: error.message });
    }
    const { message, problems, detail } = meaning(error);
    if (!this.#closed && !(attempt.hurried() && error instanceof SourceError))
      log.warn("reconcile failed", { commit: attempt.head?.id ?? null, reason: message, detail });
    return judge(clock, "failed", attempt.head, { message, problems });
  }

  /** Takes note of a verdict; one that only stood again changes nothing. */
  #settle(attempt: Attempt, verdict: Verdict): void {
    const { clock, log } = this.#options;
    this.#verdict = verdict;
    const { pin } = attempt.memory;
    if (verdict.result !== "sealed") this.#pinned = pin === null ? null : { pin, behind: attempt.behind };
    if (verdict === this.#judged?.verdict) return;
    if (attempt.head !== null && verdict.result !== "sealed") {
      const against = verdict.result === "applied" ? attempt.head.id : (attempt.current?.commit.id ?? null);
      this.#judged = { verdict, against };
    }
    this.#failures = verdict.result === "failed" ? this.#failures + 1 : 0;
    this.#retryAt = clock.now() + Math.min(this.#pause(), lastRetry);
    const commit = verdict.commit?.id ?? "";
    if (verdict.held !== null) {
      log.warn("commit held", { commit, reasons: verdict.held.reasons, allow: howToAllow(verdict.held, commit) });
    } else if (verdict.result === "invalid") {
      log.warn("commit refused", { commit, problems: verdict.problems.length });
    } else if (verdict.result === "applied" && attempt.planned) {
      log.info("commit applied", { commit, changes: attempt.changes.length });
    } else if (attempt.unread !== null) {
      log.warn("the branch could not be read; the pinned commit stays", { commit, reason: attempt.unread });
    }
  }

  /** The end of an attempt, to the audit: once for each commit and result, and always where its beginning was told. */
  async #tell(attempt: Attempt, verdict: Verdict): Promise<void> {
    const { commit, result, held, problems, message } = verdict;
    if (commit === null || result === "sealed" || result === "waiting") return;
    // A run that the shutdown stopped has no end worth telling; one that was planned is told by the next process.
    if (this.#closed && result === "failed") return;
    const told = [commit.id, result, ...(held === null ? [] : [held.for])].join(":");
    if (!attempt.planned && (result === "applied" || attempt.memory.told === told)) return;
    const previous = attempt.current?.commit.id ?? null;
    const changes = attempt.set === null ? {} : { changes: attempt.changes };
    const entry = entryOf({ phase: "finished", commit, previous, result, held, problems, message, ...changes });
    await this.#options.target.audit(entry);
    const allowed = result === "applied" ? { deletions: null, rewind: null } : attempt.memory.allowed;
    await remember(attempt, { ...attempt.memory, attempt: null, told, allowed });
  }

  /** Milliseconds until what failed is tried again; grows without bound. */
  #pause(): number {
    return firstRetry * 2 ** Math.min(Math.max(this.#failures - 1, 0), 30);
  }

  #schedule(): void {
    const { settings, clock, timer, random } = this.#options;
    this.#cancelPoll?.();
    if (this.#closed) return;
    const usual = settings.pollInterval;
    const base = this.#verdict.result === "failed" ? Math.min(usual, this.#pause()) : usual;
    // ±20 %, so that many vaults of one remote do not ask at the same moment.
    const wait = Math.round(base * (0.8 + 0.4 * random()));
    this.#nextPoll = clock.now() + wait;
    this.#cancelPoll = timer.after(wait, () => this.wake());
  }
}

function notHeld(commit: string, verdict: Verdict): VaultError {
  const state = verdict.held === null ? verdict.result : `held for ${verdict.held.for}`;
  const head = verdict.commit?.id ?? "unknown";
  return new VaultError("invalid", `commit ${commit} cannot be allowed: the branch is at ${head}, which is ${state}`);
}
