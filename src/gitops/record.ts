// What the reconciler keeps through a restart, and what it tells the audit.
// Must hold: a pin is on record before anything is done for it; an allowance names one commit and is gone once that commit is
// applied; an attempt to apply is on record before it begins, so that its end is told even where the process died in between.

import type { Problem } from "../sdk/errors.ts";
import type { Change, Commit, Target } from "../sdk/kind.ts";
import type { Held, Result } from "./status.ts";

const name = "reconciler";

export interface Allowances {
  readonly deletions: string | null;
  readonly rewind: string | null;
}

/** One commit that the vault is held at, whatever the branch does. */
export interface Pin {
  readonly commit: string;
  readonly reason: string;
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Documents that are protected may go, for this commit. */
  readonly allowProtected: boolean;
}

export interface Memory {
  /** The commit whose application began and is not known to have ended. */
  readonly attempt: string | null;
  /** The last commit and result told to the audit: each is told once. */
  readonly told: string | null;
  readonly allowed: Allowances;
  readonly pin: Pin | null;
  /** What the branch gave last, from a pin on until it gives the next: what is rewritten is told by that, as if nothing had
   *  been pinned. Null where that is what is live. */
  readonly trunk: string | null;
  /** What was live, the newest first: these commits can be pinned, and stay in the clone. */
  readonly applied: readonly string[];
}

/** Commits that were live and are remembered; what they build on needs no memory. */
const mostApplied = 50;

export const noMemory: Memory = {
  attempt: null,
  told: null,
  allowed: { deletions: null, rewind: null },
  pin: null,
  trunk: null,
  applied: [],
};

/** With a commit of the branch that is applied: what builds on it needs no word, and no word for another lasts. */
export const following = (memory: Memory): Memory => ({
  ...memory,
  trunk: null,
  allowed: { deletions: null, rewind: null },
});

/** With a commit that is live now. */
export const applying = (memory: Memory, commit: string): Memory =>
  memory.applied[0] === commit
    ? memory
    : { ...memory, applied: [commit, ...memory.applied.filter((id) => id !== commit)].slice(0, mostApplied) };

const text = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);

export async function recall(target: Pick<Target, "load">): Promise<Memory> {
  const found = await target.load(name);
  if (found === null) return noMemory;
  return {
    attempt: text(found["attempt"]),
    told: text(found["told"]),
    allowed: { deletions: text(found["deletions"]), rewind: text(found["rewind"]) },
    pin: (found["pin"] ?? null) as Pin | null,
    trunk: text(found["trunk"]),
    applied: (found["applied"] ?? []) as readonly string[],
  };
}

export const keep = (target: Pick<Target, "save">, memory: Memory): Promise<void> =>
  target.save(name, {
    attempt: memory.attempt,
    told: memory.told,
    deletions: memory.allowed.deletions,
    rewind: memory.allowed.rewind,
    pin: memory.pin === null ? null : { ...memory.pin },
    trunk: memory.trunk,
    applied: memory.applied,
  });

/** Changes and positions that one entry lists; the commit itself has the rest. */
const maxListed = 1_000;

function planOf(changes: readonly Change[]): Readonly<Record<string, unknown>> {
  const count = (action: Change["action"]): number => changes.filter((change) => change.action === action).length;
  return {
    create: count("create"),
    update: count("update"),
    delete: count("delete"),
    changes: changes.slice(0, maxListed).map((change) => ({
      action: change.action,
      kind: change.kind,
      mount: change.mount,
      name: change.name,
      file: change.source?.file ?? null,
      line: change.source?.line ?? null,
    })),
  };
}

export interface Told {
  readonly phase: "planned" | "finished" | "pinned" | "unpinned";
  /** The whole commit, or its name where no more is known. */
  readonly commit: Commit | string;
  /** The commit that was live before. */
  readonly previous: string | null;
  readonly result?: Result | "interrupted" | "allowed";
  readonly changes?: readonly Change[];
  readonly problems?: readonly Problem[];
  readonly held?: Held | null;
  readonly message?: string | null;
  /** Who allowed or pinned it, where somebody did, and why. */
  readonly by?: string;
  readonly reason?: string;
}

/** A reconcile entry: places of problems, never their lines. */
export function entryOf(told: Told): Readonly<Record<string, unknown>> {
  const { problems = [] } = told;
  const commit = typeof told.commit === "string" ? null : told.commit;
  return {
    type: "reconcile",
    phase: told.phase,
    ...(told.result !== undefined && { result: told.result }),
    commit: typeof told.commit === "string" ? told.commit : told.commit.id,
    parents: commit?.parents ?? [],
    author: commit?.author ?? null,
    commit_time: commit === null ? null : new Date(commit.time).toISOString(),
    subject: commit?.subject ?? null,
    previous: told.previous,
    ...(told.changes !== undefined && { plan: planOf(told.changes) }),
    ...(problems.length > 0 && {
      problems: {
        count: problems.length,
        at: problems.slice(0, maxListed).map(({ file, line, column }) => `${file}:${line}:${column}`),
      },
    }),
    ...(told.held && { held: { for: told.held.for, reasons: told.held.reasons } }),
    ...(told.message && { message: told.message }),
    ...(told.by !== undefined && { by: told.by }),
    ...(told.reason && { reason: told.reason }),
  };
}
