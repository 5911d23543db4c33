// One run of the reconciler as a list of steps: each goes on (null) or ends the run with a verdict.
// Must hold: nothing is applied whose intention the audit did not keep; a commit is held whole unless that very commit was
// allowed; the end of an earlier attempt is told before anything new is done; while a commit is pinned no other is applied,
// and whether the branch can be read does not matter.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { counted } from "../lib/printable.ts";
import { sliced, type Work } from "../lib/slices.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { Change, Commit, CommitSet, Declaration, Target } from "../sdk/kind.ts";
import { SourceError } from "./explain.ts";
import { locate, losses, type Order } from "./pin.ts";
import { applying, entryOf, following, keep, type Memory, type Pin, recall } from "./record.ts";
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
  readonly settings: { readonly branch: string; readonly maxDeletions: number };
  readonly clock: Clock;
  readonly log: Logger;
}

/** One run, as far as it has come. */
export interface Attempt {
  readonly tools: Tools;
  readonly shelf: Shelf;
  /** What a person wants done first. */
  readonly order: Order | null;
  /** That is on record. */
  obeyed: boolean;
  /** A person waits for another look than this one. */
  readonly hurried: () => boolean;
  /** The verdict that still stands for this head and this live commit, if any. */
  readonly standing: (head: Commit, live: string | null) => Verdict | null;
  /** The branch was read. */
  readonly fetched: (head: Commit) => void;
  /** Commits that a person just allowed. */
  readonly asked: ReadonlyMap<Held["for"], { readonly commit: string; readonly by: string }>;
  current: ReturnType<Target["current"]>;
  memory: Memory;
  /** What holds the vault, or is to. */
  pin: Pin | null;
  /** The commit to apply: the branch's head, or what is pinned. */
  head: Commit | null;
  /** Why the branch could not be read, where that does not matter. */
  unread: string | null;
  /** Commits that the branch has and the pinned one has not; null where nobody knows. */
  behind: number | null;
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
  const memory = await recall(target);
  attempt.memory = attempt.current === null ? memory : applying(memory, attempt.current.commit.id);
  attempt.pin = memory.pin;
  const commit = attempt.memory.attempt;
  if (commit === null) return null;
  const live = attempt.current?.commit.id === commit;
  const result = live ? "applied" : "interrupted";
  const known = live && attempt.current !== null ? attempt.current.commit : commit;
  await target.audit(entryOf({ phase: "finished", commit: known, previous: null, result }));
  const ended = live && memory.pin === null ? following(attempt.memory) : attempt.memory;
  await remember(attempt, { ...ended, attempt: null, told: `${commit}:${result}` });
  return null;
}

/** Pins or unpins. What is to be pinned is on record only once all else has been looked at. */
async function obey(attempt: Attempt): Promise<null> {
  const { order, tools, memory, current, fetched, hurried } = attempt;
  if (order === null) return null;
  if ("unpin" in order) {
    attempt.obeyed = memory.pin === null;
    if (memory.pin === null) return null;
    const told = { commit: memory.pin.commit, previous: current?.commit.id ?? null, by: order.unpin.by };
    await tools.target.audit(entryOf({ phase: "unpinned", ...told }));
    await remember(attempt, { ...memory, pin: null });
    attempt.pin = null;
    attempt.obeyed = true;
    return null;
  }
  const { name, reason, by, allowProtected } = order.pin;
  const { branch } = tools.settings;
  const known = { branch, current: current?.commit ?? null, applied: memory.applied, hurried, fetched };
  attempt.head = await locate(tools.workshop, name, known);
  attempt.pin = { commit: attempt.head.id, reason, by, allowProtected, since: tools.clock.now() };
  return null;
}

/** What may be wanted again stays in the clone: before the branch, which may have been rewritten, is fetched. A clone that is
 *  damaged ends nothing here: the fetch that follows makes it anew. */
async function retain({ tools, memory, pin }: Attempt): Promise<null> {
  try {
    const held = [pin?.commit, memory.trunk].filter((id) => typeof id === "string");
    await tools.workshop.keep([...new Set([...held, ...memory.applied])]);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    const { message, detail } = error;
    tools.log.warn("what was applied could not be marked in the clone as kept", { reason: message, detail });
  }
  return null;
}

/** What was judged stays judged while neither the head nor the live commit has changed. */
async function fetch(attempt: Attempt): Promise<Verdict | null> {
  const { pin, current, tools } = attempt;
  // A pin that is being made does without the remote from here on.
  if (attempt.head === null && attempt.hurried()) throw new SourceError("something else came first", "remote", "");
  if (pin !== null) return pinned(attempt, pin);
  const head = await tools.workshop.fetch();
  attempt.head = head;
  attempt.fetched(head);
  return attempt.standing(head, current?.commit.id ?? null);
}

/** The branch is read so that it can be shown, and for nothing else: a pin that is being made does not wait for that. */
async function pinned(attempt: Attempt, pin: Pin): Promise<Verdict | null> {
  const { current, tools } = attempt;
  const { workshop, clock } = tools;
  const live = current?.commit.id ?? null;
  const isNew = attempt.head !== null;
  if (!isNew) await read(attempt);
  // What is live needs nothing from the clone.
  const isLive = live === pin.commit;
  try {
    const found = isNew ? attempt.head : await workshop.find(pin.commit);
    const branch = await workshop.last();
    if (found !== null && typeof found !== "string") {
      attempt.head = found;
      attempt.behind = branch === null ? null : await workshop.ahead(branch.id, pin.commit);
      const standing = isNew ? null : attempt.standing(found, live);
      return standing?.result === "applied" ? judge(clock, "applied", found, { message: attempt.unread }) : standing;
    }
  } catch (error) {
    if (!(error instanceof SourceError) || isNew || !isLive) throw error;
    attempt.unread ??= `the clone could not be read, the pinned commit stays: ${error.message}`;
  }
  if (isLive) return judge(clock, "applied", current?.commit ?? null, { message: attempt.unread });
  const message = `the pinned commit ${pin.commit} is neither applied nor in the clone, and branch ${tools.settings.branch} does not have it: writ unpin, or pin another`;
  return judge(clock, "failed", null, { message });
}

async function read(attempt: Attempt): Promise<void> {
  try {
    attempt.fetched(await attempt.tools.workshop.fetch());
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    attempt.unread = `the branch could not be read, the pinned commit stays: ${error.message}`;
  }
}

/** A head that does not build on what is applied was rewritten, or is another branch's. */
async function ancestry(attempt: Attempt): Promise<Verdict | null> {
  const { current, head, tools, pin, memory } = attempt;
  // Whoever pins a commit wants just that one.
  if (pin !== null) return null;
  const base = memory.trunk ?? current?.commit.id ?? null;
  if (base === null || head === null || (await tools.workshop.descends(head, base))) return null;
  const known = memory.trunk === null ? "the applied commit" : "what the branch gave before the pin, commit";
  const reasons = [
    `${head.id.slice(0, 12)} does not descend from ${known} ${base.slice(0, 12)}: the branch was rewritten. A commit that builds on ${base.slice(0, 12)} is taken by itself`,
  ];
  return unless(attempt, { for: "rewind", reasons });
}

/** What to do about a commit that is not valid. What is pushed changes nothing about one that is pinned. */
function remedy({ pin, order }: Attempt): string {
  if (pin === null) return "nothing was changed. Mend the documents and push again";
  return order === null
    ? "nothing was changed. Pin another commit, or go on with the branch: writ unpin"
    : "pin another commit";
}

async function compile(attempt: Attempt): Promise<Verdict | null> {
  const { head, current, tools, shelf } = attempt;
  if (head === null) return null;
  const parcel = await tools.workshop.compile(head, shelf.serial);
  const count = parcel.problems.length;
  if (count > 0) {
    const message = `${counted(count, "problem")}; ${remedy(attempt)}`;
    return judge(tools.clock, "invalid", head, { message, problems: parcel.problems });
  }
  const declarations = await sliced(shelf.put(parcel));
  attempt.set = { commit: head, declarations, externals: parcel.externals };
  attempt.changes = await sliced(tools.planning(current?.declarations ?? [], declarations));
  return null;
}

async function hold(attempt: Attempt): Promise<Verdict | null> {
  const { tools, current, set, pin } = attempt;
  if (pin?.allowProtected) return null;
  const maxDeletions = pin === null ? tools.settings.maxDeletions : Infinity;
  const before = current?.declarations ?? [];
  const unusual = await sliced(tools.holding(before, set?.declarations ?? [], { maxDeletions }));
  const reasons = pin === null ? unusual : [...unusual, ...losses(before, attempt.changes)];
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

/** From here on the vault is held at that commit, whatever happens to this process. */
async function fix(attempt: Attempt): Promise<Verdict | null> {
  const { order, pin, set, changes, memory, current, tools } = attempt;
  if (order === null || !("pin" in order) || pin === null || set === null) return null;
  const { by, reason } = pin;
  const previous = current?.commit.id ?? null;
  await tools.target.audit(entryOf({ phase: "pinned", commit: set.commit, previous, changes, by, reason }));
  await remember(attempt, { ...memory, pin, trunk: memory.trunk ?? previous });
  attempt.obeyed = true;
  try {
    return await apply(attempt);
  } catch (error) {
    // It was not applied: the pin before, if there was one, still holds. A vault that is sealed meanwhile goes on later.
    if (isVaultError(error, "sealed")) throw error;
    await remember(attempt, { ...attempt.memory, pin: memory.pin, trunk: memory.trunk });
    attempt.obeyed = false;
    throw error;
  }
}

async function apply(attempt: Attempt): Promise<Verdict> {
  const { set, current, changes, memory, tools, pin } = attempt;
  const applied = judge(tools.clock, "applied", attempt.head, { message: attempt.unread });
  if (set === null || (current?.commit.id === set.commit.id && changes.length === 0)) {
    if (pin === null && memory.trunk !== null) await remember(attempt, following(memory));
    return applied;
  }
  const previous = current?.commit.id ?? null;
  await tools.target.audit(entryOf({ phase: "planned", commit: set.commit, previous, changes }));
  attempt.planned = true;
  await remember(attempt, { ...memory, attempt: set.commit.id });
  await tools.target.apply(set, changes);
  const known = applying(attempt.memory, set.commit.id);
  attempt.memory = pin === null ? following(known) : known;
  // So that the next look, which does it where this fails, need not before it fetches.
  await retain(attempt).catch(() => {});
  return applied;
}

const steps = [recover, obey, retain, fetch, ancestry, compile, hold, fix, apply] as const;

/** The steps in order; the first verdict ends the run. Throws what a step throws. */
export async function walk(attempt: Attempt): Promise<Verdict> {
  for (const step of steps) {
    const verdict = await step(attempt);
    if (verdict !== null) return verdict;
  }
  throw new Error("the last step gives a verdict");
}
