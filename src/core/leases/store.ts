// Leases in storage. A lease is pending while what it is for is being made, active, and revoking once it is to end; it is
// gone when it has ended.
// Must hold: a lease's indexes are there before it is, and until it is gone; every prefix of a write is safe where a store
// has no transactions.

import type { Undo } from "../../sdk/mount.ts";
import type { View, ViewEntry, ViewOp } from "../../sdk/view.ts";
import { childKey, dueKey, idKey, mountKey, nameOf, stuckKey } from "./keys.ts";

export interface LeaseEntry {
  /** "<path of the request>/<random>". */
  readonly id: string;
  readonly state: "pending" | "active" | "revoking";
  /** The mount that made it, and which of its lease types ends it. */
  readonly accessor: string;
  readonly type: string;
  readonly undo: Undo;
  /** Id of the token that it ends with: its maker's, or for a batch token its parent's, if it has one. */
  readonly token: string | null;
  /** The address that asked for it; of batch tokens, of which no token in storage says so, in whose name it was made, too. */
  readonly origins?: readonly string[];
  /** Milliseconds since 1970. */
  readonly issued_at: number;
  readonly expires_at: number;
  /** 0 for never. */
  readonly last_renewal: number;
  /** An end that no renewal passes: of a batch token, which nobody can ask later. 0 for none. */
  readonly until: number;
  /** Seconds, as the terms said; 0 for the mount's. */
  readonly default_ttl: number;
  readonly max_ttl: number;
  readonly renewable: boolean;
  /** What revoking it came to; null before. */
  readonly ending: Ending | null;
}

export interface Ending {
  /** When it began, and when it is tried again. */
  readonly since: number;
  readonly next: number;
  /** That failed. */
  readonly attempts: number;
  readonly error: string | null;
  /** It failed for so long that somebody should look. It is tried on. */
  readonly stuck: boolean;
}

/** When it is to be looked at. */
export const dueOf = (entry: LeaseEntry): number =>
  entry.ending?.next ?? (entry.state === "pending" ? entry.issued_at : entry.expires_at);

const firstRetry = 1_000;
const lastRetry = 900_000;
const stuckAttempts = 10;
const stuckAge = 24 * 3_600_000;

/** To end now. */
export const endingNow = (entry: LeaseEntry, now: number): LeaseEntry => ({
  ...entry,
  state: "revoking",
  ending: { attempts: 0, error: null, stuck: false, ...entry.ending, since: entry.ending?.since ?? now, next: now },
});

/** After an attempt that failed. */
export function failed(entry: LeaseEntry, now: number, error: string): LeaseEntry {
  const since = entry.ending?.since ?? now;
  const attempts = (entry.ending?.attempts ?? 0) + 1;
  const next = now + Math.min(firstRetry * 2 ** (attempts - 1), lastRetry);
  const stuck = attempts >= stuckAttempts || now - since >= stuckAge;
  return { ...entry, state: "revoking", ending: { since, next, attempts, error, stuck } };
}

export class LeaseStore {
  readonly #root: View;

  constructor(root: View) {
    this.#root = root;
  }

  get(id: string): Promise<ViewEntry<LeaseEntry> | null> {
    return this.#root.getJson<LeaseEntry>(idKey(id));
  }

  /** Operations that make a new one; the entry comes last. */
  add(entry: LeaseEntry): ViewOp[] {
    const name = nameOf(entry.id);
    const indexes = [mountKey(entry.accessor, name), dueKey(dueOf(entry), name)];
    if (entry.token !== null) indexes.push(childKey(entry.token, name));
    return [
      ...indexes.map((key): ViewOp => ({ key, value: true })),
      { key: idKey(entry.id), value: entry, expect: "absent" },
    ];
  }

  /** Operations that make `before` into `after`. `expect` where another may have changed it; `seen` is a further time
   *  under which it stood in the due index. */
  change(before: LeaseEntry, after: LeaseEntry, { expect, seen }: { expect?: number; seen?: number } = {}): ViewOp[] {
    const name = nameOf(after.id);
    const due = dueOf(after);
    const ops: ViewOp[] = [{ key: dueKey(due, name), value: true }];
    if (after.ending?.stuck && !before.ending?.stuck) ops.push({ key: stuckKey(name), value: true });
    ops.push({ key: idKey(after.id), value: after, ...(expect !== undefined && { expect }) });
    for (const time of new Set([dueOf(before), seen ?? dueOf(before)])) {
      if (time !== due) ops.push({ key: dueKey(time, name), value: null });
    }
    return ops;
  }

  /** Operations that end it. */
  drop(entry: LeaseEntry, seen?: number): ViewOp[] {
    const name = nameOf(entry.id);
    // The entry first: as long as it is there, every way to it is.
    const keys = [idKey(entry.id), mountKey(entry.accessor, name)];
    if (entry.token !== null) keys.push(childKey(entry.token, name));
    if (entry.ending?.stuck) keys.push(stuckKey(name));
    for (const time of new Set([dueOf(entry), seen ?? dueOf(entry)])) keys.push(dueKey(time, name));
    return keys.map((key) => ({ key, value: null }));
  }

  write(ops: readonly ViewOp[]): Promise<number[]> {
    return this.#root.write(ops);
  }
}
