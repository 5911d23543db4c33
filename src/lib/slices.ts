// Long work on a thread that serves others meanwhile: written once as a generator that yields wherever it may be left for a
// moment, run at one go where nobody waits, and in slices of milliseconds where somebody does.
// Must hold: whoever runs work in slices sees to it that what it works on does not change meanwhile.

import { performance } from "node:perf_hooks";

/** Yields where it may be interrupted, returns its result. */
export type Work<T> = Generator<undefined, T>;

/** Milliseconds at one go. */
const slice = 2;

/** At one go. */
export function whole<T>(work: Work<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Bit by bit; what else the thread has to do comes in between. */
export async function sliced<T>(work: Work<T>): Promise<T> {
  let begun = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - begun < slice) continue;
    await new Promise((resolve) => setImmediate(resolve));
    begun = performance.now();
  }
}

const run = 128;

/** A sorted copy: short runs, then merged. */
export function* sorting<T>(items: readonly T[], compare: (a: T, b: T) => number): Work<T[]> {
  let sorted = [...items];
  for (let from = 0; from < sorted.length; from += run) {
    const part = sorted.slice(from, from + run).sort(compare);
    for (let at = 0; at < part.length; at += 1) sorted[from + at] = part[at] as T;
    yield;
  }
  for (let length = run; length < sorted.length; length *= 2) {
    const merged: T[] = [];
    for (let from = 0; from < sorted.length; from += 2 * length) {
      const middle = Math.min(from + length, sorted.length);
      const end = Math.min(middle + length, sorted.length);
      let left = from;
      let right = middle;
      while (left < middle || right < end) {
        const first = right >= end || (left < middle && compare(sorted[left] as T, sorted[right] as T) <= 0);
        merged.push(sorted[first ? left++ : right++] as T);
        if (merged.length % run === 0) yield;
      }
    }
    sorted = merged;
  }
  return sorted;
}
