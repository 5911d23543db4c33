// The known word that somebody probably meant.

/** Edits (insert, delete, replace, swap of neighbours) from one word to another: optimal string alignment. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** The closest of `known`, or null where none is close: more than a third of its letters would have to change. */
export function nearest(word: string, known: readonly string[]): string | null {
  if (word.length > 100) return null;
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_.\s]/g, "");
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const each of known) {
    const edits = distance(plain(word), plain(each));
    if (edits < least && edits <= Math.max(1, Math.floor(each.length / 3))) {
      best = each;
      least = edits;
    }
  }
  return best;
}
