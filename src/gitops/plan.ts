// What a commit changes: by object for machines, by field for people, and why it should wait for somebody's word.
// Must hold: an object is the same by (kind, mount, name), whatever file it is in; a file that moves changes nothing.
// Secrets cannot show: a declaration holds references only.

import { isDeepStrictEqual } from "node:util";
import { compareUtf8 } from "../lib/bytes.ts";
import { counted } from "../lib/printable.ts";
import { sorting, whole, type Work } from "../lib/slices.ts";
import { type Change, type Declaration, declarationKey } from "../sdk/kind.ts";
import { label, type Path, quote } from "./faults.ts";
import { clean } from "./mask.ts";

interface Pair {
  readonly key: string;
  readonly action: Change["action"];
  readonly before: Declaration | null;
  readonly after: Declaration | null;
}

const keyOf = ({ kind, mount, name }: Declaration): string => declarationKey(kind, mount, name);

/** What counts as the object: all but where it stands. */
const body = ({ metadata, spec, secrets }: Declaration) => ({ metadata, spec, secrets });
const same = (a: Declaration, b: Declaration): boolean => a === b || isDeepStrictEqual(body(a), body(b));

function* keyed(declarations: readonly Declaration[]): Work<Map<string, Declaration>> {
  const found = new Map<string, Declaration>();
  for (const each of declarations) {
    found.set(keyOf(each), each);
    yield;
  }
  return found;
}

function* pairs(before: readonly Declaration[], after: readonly Declaration[]): Work<readonly Pair[]> {
  const old = yield* keyed(before);
  const found: Pair[] = [];
  for (const next of after) {
    const key = keyOf(next);
    const last = old.get(key);
    old.delete(key);
    if (last === undefined) found.push({ key, action: "create", before: null, after: next });
    else if (!same(last, next)) found.push({ key, action: "update", before: last, after: next });
    yield;
  }
  for (const [key, last] of old) found.push({ key, action: "delete", before: last, after: null });
  return yield* sorting(found, (a, b) => compareUtf8(a.key, b.key));
}

/** What differs, by declaration key. */
export function* planning(before: readonly Declaration[], after: readonly Declaration[]): Work<Change[]> {
  const found = yield* pairs(before, after);
  return found.map(({ action, before: last, after: next }) => {
    const { kind, mount, name, source } = (next ?? last) as Declaration;
    return { action, kind, mount, name, source };
  });
}

export const plan = (before: readonly Declaration[], after: readonly Declaration[]): Change[] =>
  whole(planning(before, after));

const named = ({ kind, mount, name }: Declaration): string =>
  `${kind} ${word(name)}${mount === null ? "" : ` (${word(mount)})`}`;

/** Why a commit is held until somebody allows it; none where it may go on. */
export function* holding(
  before: readonly Declaration[],
  after: readonly Declaration[],
  options: { readonly maxDeletions: number },
): Work<string[]> {
  const next = yield* keyed(after);
  const reasons: string[] = [];
  let gone = 0;
  for (const each of before) {
    const now = next.get(keyOf(each));
    if (now === undefined) gone += 1;
    if (each.metadata.protect === true && now?.metadata.protect !== true) {
      const what = now === undefined ? "removes it" : "drops `protect`";
      reasons.push(`${named(each)} is protected, and this commit ${what}`);
    }
    yield;
  }
  if (gone > options.maxDeletions) {
    reasons.push(`${gone} documents are removed; more than ${options.maxDeletions} at once wait for a word`);
  }
  return reasons;
}

export const holds = (...given: Parameters<typeof holding>): string[] => whole(holding(...given));

/** A value on one line: words as they are, everything else quoted. */
function word(value: unknown): string {
  if (typeof value === "string") return /^[\p{L}\p{N}_./*+@-]{1,200}$/u.test(value) ? value : quote(value);
  if (Array.isArray(value)) return `[${value.map(word).join(", ")}]`;
  if (typeof value !== "object" || value === null) return clean(String(value));
  const members = Object.entries(value).map(([name, each]) => `${word(name)}: ${word(each)}`);
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}

const isMembers = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const allMembers = (value: unknown): value is readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) && value.length > 0 && value.every(isMembers);

/** Lines for what differs below a path. */
function differences(path: Path, before: unknown, after: unknown): readonly string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (before === undefined) return [`${label(path)}: added ${word(after)}`];
  if (after === undefined) return [`${label(path)}: removed ${word(before)}`];
  if (isMembers(before) && isMembers(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => differences([...path, name], before[name], after[name]));
  }
  if (allMembers(before) && allMembers(after)) return items(path, before, after);
  return [`${label(path)}: ${word(before)} → ${word(after)}`];
}

/** Lists of objects: equal ends are left out, so that one item put in shows as one. */
function items(path: Path, before: readonly unknown[], after: readonly unknown[]): readonly string[] {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && isDeepStrictEqual(before[head], after[head])) head++;
  let tail = 0;
  while (tail < shorter - head && isDeepStrictEqual(before.at(-1 - tail), after.at(-1 - tail))) tail++;
  const old = before.slice(head, before.length - tail);
  const next = after.slice(head, after.length - tail);
  return Array.from({ length: Math.max(old.length, next.length) }, (_, at) =>
    differences([...path, head + at], old[at], next[at]),
  ).flat();
}

/** The fields as they are named in a plan: those of the spec by themselves, the document's own below `metadata`. */
function fieldsOf(declaration: Declaration | null): Readonly<Record<string, unknown>> {
  if (declaration === null) return {};
  const { name: _, ...metadata } = declaration.metadata;
  const secrets = Object.entries(declaration.secrets).map(([name, from]) => [name, { from_secret: from }]);
  // An entity has a field of that name too.
  const { metadata: own, ...spec } = declaration.spec;
  return { metadata, ...spec, ...(own !== undefined && { spec: { metadata: own } }), ...Object.fromEntries(secrets) };
}

const signs: Readonly<Record<Change["action"], string>> = { create: "+", update: "~", delete: "-" };
const place = (declaration: Declaration): string =>
  declaration.source === null ? "" : `  ${clean(declaration.source.file)}:${declaration.source.line}`;

function lines({ action, before, after }: Pair): readonly string[] {
  const shown = (after ?? before) as Declaration;
  const head = `${signs[action]} ${named(shown)}${place(shown)}`;
  if (action === "delete") return [head];
  if (action === "create") {
    const filled = Object.entries(fieldsOf(after)).filter(([, value]) => !isEmpty(value));
    return [head, ...filled.map(([name, value]) => `  + ${label([name])}: ${word(value)}`)];
  }
  return [head, ...differences([], fieldsOf(before), fieldsOf(after)).map((line) => `  - ${line}`)];
}

/** Not worth a line in a new object: what it would have anyway, in nearly every table. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === "" ||
  value === 0 ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isMembers(value) && Object.values(value).every(isEmpty));

/** The plan for people: each document with its fields, then a count. Ends in a line end. */
export function render(before: readonly Declaration[], after: readonly Declaration[]): string {
  const found = whole(pairs(before, after));
  if (found.length === 0) return "No changes.\n";
  const count = (action: Change["action"]): number => found.filter((pair) => pair.action === action).length;
  const total = `${counted(found.length, "change")}: ${count("create")} to create, ${count("update")} to update, ${count("delete")} to delete`;
  return `${found.map((pair) => lines(pair).join("\n")).join("\n")}\n\n${total}.\n`;
}
