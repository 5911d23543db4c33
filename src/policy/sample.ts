// Passwords that fit rules, each of them as likely as any other.
// Must hold: the work is bounded before it begins, and it always ends: nothing is drawn and thrown away. A character of a
// set is drawn by the system's generator, without bias; how likely each set comes next is a double, right to 2^-40.

import { randomInt } from "node:crypto";

export interface CharsetRule {
  readonly charset: string;
  /** How many characters of the set a password has at least. */
  readonly min_chars: number;
}

export interface PasswordRules {
  readonly length: number;
  readonly rules: readonly CharsetRule[];
}

/** Characters that the same rules ask for. */
interface Group {
  readonly characters: readonly string[];
  /** How likely one character is of this group. */
  readonly weight: number;
  /** By what is still needed: what is needed after one of them. */
  readonly next: Uint32Array;
}

const mostWork = 4_000_000;
const fine = 2 ** 47;

/** What is still needed of each rule is one number: the digits are the rules', each of its own base. */
interface Needs {
  readonly rules: readonly {
    readonly characters: ReadonlySet<string>;
    readonly place: number;
    readonly base: number;
  }[];
  readonly count: number;
}

function needsOf(rules: readonly CharsetRule[]): Needs {
  let count = 1;
  const asking = rules
    .filter((rule) => rule.min_chars > 0)
    .map(({ charset, min_chars }) => {
      const rule = { characters: new Set(charset), place: count, base: min_chars + 1 };
      count *= rule.base;
      return rule;
    });
  return { rules: asking, count };
}

/** Characters by the rules that they count for. */
function groupsOf(rules: readonly CharsetRule[], needs: Needs): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const character of new Set(rules.flatMap(({ charset }) => Array.from(charset)))) {
    const key = needs.rules.flatMap(({ characters }, at) => (characters.has(character) ? [at] : [])).join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [character]);
    else group.push(character);
  }
  return groups;
}

/** Whether passwords by these rules can be drawn with little work. */
export function isBounded({ length, rules }: PasswordRules): boolean {
  const needs = needsOf(rules);
  return needs.count * groupsOf(rules, needs).size * (length + 1) <= mostWork;
}

function preparedGroups(rules: readonly CharsetRule[], needs: Needs): readonly Group[] {
  const groups = [...groupsOf(rules, needs)];
  const all = groups.reduce((sum, [, characters]) => sum + characters.length, 0);
  return groups.map(([key, characters]) => {
    const counting = key === "" ? [] : key.split(",").map((at) => needs.rules[Number(at)]);
    const next = new Uint32Array(needs.count).map((_zero, needed) =>
      counting.reduce((left, rule) => {
        if (rule === undefined || Math.floor(needed / rule.place) % rule.base === 0) return left;
        return left - rule.place;
      }, needed),
    );
    return { characters, weight: characters.length / all, next };
  });
}

/** For each number of characters to come, and for what is needed then: how likely random ones have all of it. */
function chancesOf(length: number, count: number, groups: readonly Group[]): readonly Float64Array[] {
  const chances = [new Float64Array(count)];
  chances[0]?.fill(1, 0, 1);
  for (let left = 1; left <= length; left++) {
    const before = chances[left - 1] ?? new Float64Array(count);
    const row = new Float64Array(count);
    for (const { weight, next } of groups) {
      for (let needed = 0; needed < count; needed++) {
        row[needed] = (row[needed] ?? 0) + weight * (before[next[needed] ?? 0] ?? 0);
      }
    }
    chances.push(row);
  }
  return chances;
}

/** Null where no password fits. The rules must be bounded. `random` gives whole numbers from 0 to below its argument. */
export function drawPassword(
  { length, rules }: PasswordRules,
  random = (below: number) => randomInt(below),
): string | null {
  const needs = needsOf(rules);
  const groups = preparedGroups(rules, needs);
  const chances = chancesOf(length, needs.count, groups);
  let needed = needs.count - 1;
  if ((chances[length]?.[needed] ?? 0) === 0) return null;
  let password = "";
  for (let left = length; left > 0; left--) {
    const row = chances[left - 1];
    const chance = ({ weight, next }: Group): number => weight * (row?.[next[needed] ?? 0] ?? 0);
    const possible = groups.filter((group) => chance(group) > 0);
    let point = (random(fine) / fine) * possible.reduce((sum, group) => sum + chance(group), 0);
    const group = possible.find((one) => (point -= chance(one)) < 0) ?? possible.at(-1);
    if (group === undefined) return null;
    password += group.characters[random(group.characters.length)] ?? "";
    needed = group.next[needed] ?? 0;
  }
  return password;
}
