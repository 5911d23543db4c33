// One run of the reconciler as a list of steps: each goes on (null) or ends the run with a verdict.
// Must hold: nothing is applied whose intention the audit did not keep; a commit is held whole unless that very commit was
// allowed; the end of an earlier attempt is told before anything new is done.

import type { Clock } from "../lib/clock.ts";
import { sliced, type Work } from "../lib/slices.ts";
import type { Change, Commit, CommitSet, Declaration, Target } from "../sdk/kind.ts";
import { entryOf, keep, type Memory, recall } from "./record.ts";
import type { Held, Verdict } from "./status.ts";
import type { Shelf, Workshop } from "./workshop.ts";

/** What the steps work with. */
export interface Tools {
  readonly target: Target;
  readonly workshop: Workshop;
  readonly planning: (before: readonly Declaration[], after: readonly Declaration[]) => Work<readonly Change[]>;
  readonly holding: (
    before: readonly Declaration[],
    after: readonly Declaration[],
    limits: { readonly maxDeletions: number },
  ) => Work<readonly string[]>;
  readonly settings: { readonly maxDeletions: number };
  readonly clock: Clock;
}

/** One run, as far as it has come. */
export interface Attempt {
  readonly tools: Tools;
  readonly shelf: Shelf;
  /** The verdict that still stands for this head and this live commit, if any. */
  readonly standing: (head: Commit, live: string | null) => Verdict | null;
  readonly fetched: (head: Commit) => void;
  /** Commits that a person just allowed. */
  readonly asked: ReadonlyMap<Held["for"], { readonly commit: string; readonly by: string }>;
  current: ReturnType<Target["current"]>;
  memory: Memory;
  head: Commit | null;
  set: CommitSet | null;
  changes: readonly Change[];
  /** The audit kept the intention, so it must hear the end. */
  planned: boolean;
}

export const judge = (
  clock: Clock,
  result: Verdict["result"],
  commit: Commit | null,
  more: Partial<Verdict> = {},
): Verdict => ({ result, commit, message: null, problems: [], held: null, at: clock.now(), ...more });

export async function remember(attempt: Attempt, memory: Memory): Promise<void> {
  await keep(attempt.tools.target, memory);
  attempt.memory = memory;
}

/** An attempt whose end nobody told: the process died, or no audit device was there. */
async function recover(attempt: Attempt): Promise<null> {
  const { target } = attempt.tools;
  attempt.current = target.current();
  attempt.memory = await recall(target);
  const commit = attempt.memory.attempt;
  if (commit === null) return null;
  const live = attempt.current?.commit.id === commit;
  const result = live ? "applied" : "interrupted";
  const known = live && attempt.current !== null ? attempt.current.commit : commit;
  await target.audit(entryOf({ phase: "finished", commit: known, previous: null, result }));
  await remember(attempt, { ...attempt.memory, attempt: null, told: `${commit}:${result}` });
  return null;
}

/** What was judged stays judged while neither the head nor the live commit has changed. */
async function fetch(attempt: Attempt): Promise<Verdict | null> {
  const head = await attempt.tools.workshop.fetch();
  attempt.head = head;
  attempt.fetched(head);
  return attempt.standing(head, attempt.current?.commit.id ?? null);
}

/** A head that does not build on what is applied was rewritten, or is another branch's. */
async function ancestry(attempt: Attempt): Promise<Verdict | null> {
  const { current, head, tools } = attempt;
  if (current === null || head === null || (await tools.workshop.descends(head, current.commit.id))) return null;
  const reasons = [
    `${head.id.slice(0, 12)} does not descend from the applied commit ${current.commit.id.slice(0, 12)}: the branch was rewritten. A commit that builds on the applied one is taken by itself`,
  ];
  return unless(attempt, { for: "rewind", reasons });
}

async function compile(attempt: Attempt): Promise<Verdict | null> {
  const { head, current, tools, shelf } = attempt;
  if (head === null) return null;
  const parcel = await tools.workshop.compile(head, shelf.serial);
  const count = parcel.problems.length;
  if (count > 0) {
    const message = `${count} ${count === 1 ? "problem" : "problems"}; nothing was changed. Mend the documents and push again`;
    return judge(tools.clock, "invalid", head, { message, problems: parcel.problems });
  }
  const declarations = await sliced(shelf.put(parcel));
  attempt.set = { commit: head, declarations, externals: parcel.externals };
  attempt.changes = await sliced(tools.planning(current?.declarations ?? [], declarations));
  return null;
}

async function hold(attempt: Attempt): Promise<Verdict | null> {
  const { tools, current, set } = attempt;
  const { maxDeletions } = tools.settings;
  const reasons = await sliced(tools.holding(current?.declarations ?? [], set?.declarations ?? [], { maxDeletions }));
  return reasons.length === 0 ? null : unless(attempt, { for: "deletions", reasons });
}

/** Held, unless somebody allowed this very commit. */
async function unless(attempt: Attempt, held: Held): Promise<Verdict | null> {
  const { head, memory, current, tools } = attempt;
  if (head === null || memory.allowed[held.for] === head.id) return null;
  const asked = attempt.asked.get(held.for);
  if (asked?.commit !== head.id) return judge(tools.clock, "held", head, { held });
  const previous = current?.commit.id ?? null;
  await tools.target.audit(
    entryOf({ phase: "planned", commit: head, previous, result: "allowed", held, by: asked.by }),
  );
  await remember(attempt, { ...memory, allowed: { ...memory.allowed, [held.for]: head.id } });
  return null;
}

async function apply(attempt: Attempt): Promise<Verdict> {
  const { set, current, changes, memory, tools } = attempt;
  const applied = judge(tools.clock, "applied", attempt.head);
  if (set === null || (current?.commit.id === set.commit.id && changes.length === 0)) return applied;
  const previous = current?.commit.id ?? null;
  await tools.target.audit(entryOf({ phase: "planned", commit: set.commit, previous, changes }));
  attempt.planned = true;
  await remember(attempt, { ...memory, attempt: set.commit.id });
  await tools.target.apply(set, changes);
  return applied;
}

const steps = [recover, fetch, ancestry, compile, hold, apply] as const;

/** The steps in order; the first verdict ends the run. Throws what a step throws. */
export async function walk(attempt: Attempt): Promise<Verdict> {
  for (const step of steps) {
    const verdict = await step(attempt);
    if (verdict !== null) return verdict;
  }
  throw new Error("the last step gives a verdict");
}
