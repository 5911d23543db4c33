import { performance } from "node:perf_hooks";
import fc from "fast-check";
import { expect, test } from "vitest";
import { sliced, sorting, whole, type Work } from "./slices.ts";

function* count(to: number, ms = 0): Work<number> {
  let at = 0;
  while (at < to) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    at += 1;
    yield;
  }
  return at;
}

test("both ways give the result; errors come through", async () => {
  expect(whole(count(5))).toBe(5);
  expect(await sliced(count(5))).toBe(5);
  const broken = function* (): Work<number> {
    yield* count(2);
    throw new Error("broken");
  };
  expect(() => whole(broken())).toThrow("broken");
  await expect(sliced(broken())).rejects.toThrow("broken");
});

test("others get their turn in between", async () => {
  let turns = 0;
  let over = false;
  const turn = (): void => {
    turns += 1;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await sliced(count(10, 1.5));
  over = true;
  expect(turns).toBeGreaterThanOrEqual(3);
});

test("sorts as sort does, whatever the length, and keeps the order of equals", () => {
  const pair = fc.tuple(fc.integer({ min: 0, max: 20 }), fc.nat());
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 700, size: "max" }), (items) => {
      const compare = (a: readonly [number, number], b: readonly [number, number]): number => a[0] - b[0];
      expect(whole(sorting(items, compare))).toEqual(items.toSorted(compare));
    }),
    { numRuns: 60 },
  );
});
