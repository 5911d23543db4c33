// Lease counts: how many leases, tokens that end among them, there may be of one place. The indexes are the truth: they are
// counted, no further than matters, when somebody makes the first lease of a place after unseal, and again where the count
// says that there are too many. In between what is made counts up, and what ends counts down.
// Must hold: nothing is made beyond a limit; a count that is not sure is too high and never too low.

import type { Clock } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { View } from "../../sdk/view.ts";
import { type Place, type Target, Targets } from "./target.ts";

export interface LeaseCount extends Target {
  readonly name: string;
  readonly path: string;
  readonly max_leases: number;
  readonly inheritable: boolean;
}

/** Keys below `folder` whose names begin with `head`. */
export interface Index {
  readonly folder: string;
  readonly head: string;
  /** In folders below it too. */
  readonly deep: boolean;
}

/** Names listed at once. */
const atOnce = 1_000;
/** Milliseconds until it is counted again while there are too many. */
const pause = 500;

interface Count {
  /** Null before it was counted. */
  known: number | null;
  /** Being made. */
  pending: number;
  /** More than the limit were found, and not counted to the end. */
  over: boolean;
  countedAt: number;
  counting: Promise<void> | null;
}

async function countKeys(view: View, { folder, head, deep }: Index, enough: number): Promise<number> {
  let count = 0;
  for (let after = ""; count < enough;) {
    const names = await view.list(folder, { after, limit: atOnce });
    for (const name of names) {
      if (!name.startsWith(head)) continue;
      if (!name.endsWith("/")) count += 1;
      else if (deep && count < enough) {
        count += await countKeys(view, { folder: `${folder}${name}`, head: "", deep }, enough - count);
      }
    }
    if (names.length < atOnce) break;
    after = names.at(-1) ?? "";
  }
  return Math.min(count, enough);
}

export interface LeaseLimitsOptions {
  readonly root: View;
  readonly clock: Clock;
  /** Where the leases of a quota stand now; none where its mount is not there. */
  indexes(quota: LeaseCount): readonly Index[];
}

export class LeaseLimits {
  readonly #options: LeaseLimitsOptions;
  readonly #targets: Targets<LeaseCount>;
  readonly #counts = new Map<LeaseCount, Count>();

  constructor(quotas: readonly LeaseCount[], options: LeaseLimitsOptions) {
    this.#options = options;
    this.#targets = new Targets(quotas);
    for (const quota of quotas) {
      this.#counts.set(quota, { known: null, pending: 0, over: false, countedAt: 0, counting: null });
    }
  }

  /** Runs `make`, which makes one lease at that place. Throws VaultError `rate_limited` where there are enough. */
  async within<T>(place: Place, path: string, make: () => Promise<T>): Promise<T> {
    const quota = this.#targets.find(place);
    const count = quota === null ? undefined : this.#counts.get(quota);
    if (quota === null || count === undefined) return make();
    if (isFull(count, quota)) await this.#again(quota, count);
    if (isFull(count, quota))
      throw new VaultError("rate_limited", `request path "${path}": lease count quota exceeded`);
    count.pending += 1;
    try {
      const made = await make();
      if (count.known !== null) count.known += 1;
      return made;
    } finally {
      count.pending -= 1;
    }
  }

  /** One has ended. */
  ended(place: Place): void {
    const quota = this.#targets.find(place);
    const count = quota === null ? undefined : this.#counts.get(quota);
    // While it is counted, nobody knows whether the count has it.
    if (!count || count.counting !== null || count.over || !count.known) return;
    count.known -= 1;
  }

  /** How many there are, not counted beyond one more than the limit. */
  async count(name: string): Promise<number> {
    for (const [quota, count] of this.#counts) {
      if (quota.name !== name) continue;
      if (count.known === null) await this.#again(quota, count);
      return count.known ?? 0;
    }
    return 0;
  }

  async #again(quota: LeaseCount, count: Count): Promise<void> {
    if (count.counting === null) {
      const { clock } = this.#options;
      if (count.known !== null && clock.now() - count.countedAt < pause) return;
      count.counting = this.#recount(quota, count).finally(() => {
        count.counting = null;
      });
    }
    await count.counting;
  }

  async #recount(quota: LeaseCount, count: Count): Promise<void> {
    const { root, clock } = this.#options;
    const enough = quota.max_leases + 1;
    const before = count.known ?? 0;
    count.countedAt = clock.now();
    let found = 0;
    for (const index of this.#options.indexes(quota)) found += await countKeys(root, index, enough - found);
    // What was made meanwhile may have been missed.
    const made = Math.max(0, (count.known ?? 0) - before);
    count.known = found + made;
    count.over = found >= enough;
  }
}

const isFull = ({ known, pending }: Count, { max_leases: most }: LeaseCount): boolean =>
  known === null || known + pending >= most;
