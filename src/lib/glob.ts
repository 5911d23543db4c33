// Path patterns: `*` for any part of one segment, `?` for one character of it, `**` as a segment for any number of
// segments. Everything else stands for itself.
// Must hold: a match takes time in proportion to pattern times path; no pattern is slower.

/** `*` for any part of the text, `?` for one character. Two-pointer match: only the last star is ever gone back to. */
export function wildcardMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      star = p++;
      mark = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

/** Whether the pattern stands for the path, or for a folder that it is in. Neither begins with a slash. */
export function globMatches(pattern: string, path: string): boolean {
  const wanted = pattern.replace(/\/+$/, "").split("/");
  const given = path.split("/");
  // reached[g] says whether the wanted segments so far can end right before given segment g.
  let reached = given.map((_, at) => at === 0);
  reached.push(false);
  for (const want of wanted) {
    const next = reached.map(() => false);
    for (let g = 0; g < reached.length; g++) {
      if (want === "**") next[g] = reached[g] === true || (g > 0 && next[g - 1] === true);
      else if (g > 0) next[g] = reached[g - 1] === true && wildcardMatches(want, given[g - 1] ?? "");
    }
    reached = next;
  }
  return reached.some((yes, at) => yes && at > 0);
}
