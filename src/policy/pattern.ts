// The path language of policies: literal text, `+` for one whole segment, `*` at the very end for any rest.
// Everywhere else both signs stand for themselves, as in Vault.
// Must hold: of two patterns that match one path, the one that Vault documents as more specific has the higher score:
// first wildcard later, no `*` at the end, fewer `+` segments, longer; on a tie the greater text wins.

/** One pattern, taken apart once. */
export interface Pattern {
  /** As written, without a leading slash. Two patterns are the same exactly where their paths are. */
  readonly path: string;
  /** No wildcard: found by equality, before anything else is tried. */
  readonly exact: boolean;
  /** Whole segments in order. Where there is a `tail`, those before it. */
  readonly segments: readonly string[];
  /** What the segment after them starts with, whatever follows; null where the pattern does not end in `*`. */
  readonly tail: string | null;
  /** Specificity among patterns that are not exact. */
  readonly score: number;
}

/** Bytes of a pattern: several times the longest path that a mount can have. Keeps the score within 2^53. */
export const longestPattern = 4096;

const withoutSlash = (path: string): string => (path.startsWith("/") ? path.slice(1) : path);

/** What Vault refuses too; null where there is nothing. */
export function patternFault(written: string): string | null {
  const path = withoutSlash(written);
  if (path.includes("+*"))
    return "`+*` is not a wildcard; write `+` for one segment, or `*` alone at the end for any rest";
  if (Buffer.byteLength(path) > longestPattern) return `longer than ${longestPattern} bytes`;
  return null;
}

/** Call `patternFault` first. */
export function parsePattern(written: string): Pattern {
  const path = withoutSlash(written);
  const wild = path === "+" || path.startsWith("+/") || path.includes("/+");
  const glob = path.endsWith("*");
  const text = glob ? path.slice(0, -1) : path;
  const parts = text.split("/");
  // Vault takes the position of the first plus sign, even of one inside a segment, where it is no wildcard.
  const first = wild ? path.indexOf("+") : text.length;
  const plus = parts.reduce((count, part) => (part === "+" ? count + 1 : count), 0);
  return {
    path,
    exact: !wild && !glob,
    segments: glob ? parts.slice(0, -1) : parts,
    tail: glob ? (parts.at(-1) ?? "") : null,
    score: ((first * 2 + (glob ? 0 : 1)) * 4096 + (4095 - plus)) * 8192 + Buffer.byteLength(text),
  };
}

const textOf = (pattern: Pattern): string => (pattern.tail === null ? pattern.path : pattern.path.slice(0, -1));

/** Whether `one` goes before `other` on a path that both match. Neither is exact. */
export function isMoreSpecific(one: Pattern, other: Pattern): boolean {
  if (one.score !== other.score) return one.score > other.score;
  // By bytes, as Go compares strings: UTF-16 order differs beyond U+D7FF.
  return Buffer.compare(Buffer.from(textOf(one)), Buffer.from(textOf(other))) > 0;
}

/** How a pattern lies to the paths that start with `prefix`, which ends in "/": "all" of them match, "some" may, "none" can.
 *  The prefix without its slash counts as inside, because a list is asked there too. */
export function covers(pattern: Pattern, prefix: string): "all" | "some" | "none" {
  const inside = prefix.slice(0, -1).split("/");
  const { segments, tail } = pattern;
  for (const [at, segment] of inside.entries()) {
    const part = segments[at];
    if (part === undefined) {
      return tail !== null && segment.startsWith(tail) ? "all" : "none";
    }
    if (part !== "+" && part !== segment) return "none";
  }
  return tail === "" && segments.length === inside.length ? "all" : "some";
}
