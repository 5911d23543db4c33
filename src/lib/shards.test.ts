import fc from "fast-check";
import { expect, it } from "vitest";
import { Shards } from "./shards.ts";
import { whole } from "./slices.ts";

type Change = readonly (readonly [key: string, value: number | null])[];

function change(map: Shards<number>, ops: Change): Shards<number> {
  const draft = map.draft();
  for (const [key, value] of ops) {
    if (value === null) draft.delete(key);
    else draft.set(key, value);
    expect(draft.get(key) ?? null).toBe(value);
  }
  return draft.done();
}

const entriesOf = (map: Shards<number>): Map<string, number | undefined> =>
  new Map([...map.keys()].sort().map((key) => [key, map.get(key)]));

it("is a Map that leaves what it was made from as it was", () => {
  const key = fc.nat(400).map((n) => `key-${n}`);
  const ops = fc.array(fc.tuple(key, fc.option(fc.nat(3))), { maxLength: 120 });
  fc.assert(
    fc.property(fc.array(ops, { maxLength: 12 }), (changes: readonly Change[]) => {
      const made: { map: Shards<number>; model: Map<string, number> }[] = [{ map: new Shards(), model: new Map() }];
      for (const each of changes) {
        const { map, model } = made.at(-1) ?? { map: new Shards<number>(), model: new Map<string, number>() };
        const next = new Map(model);
        for (const [name, value] of each) {
          if (value === null) next.delete(name);
          else next.set(name, value);
        }
        made.push({ map: change(map, each), model: next });
      }
      for (const { map, model } of made) {
        expect(entriesOf(map)).toEqual(new Map([...model].sort(([a], [b]) => (a < b ? -1 : 1))));
        expect([...map.values()].sort()).toEqual([...model.values()].sort());
        expect(map.size).toBe(model.size);
        for (const other of made) {
          const names = new Set([...model.keys(), ...other.model.keys()]);
          const differ = [...names].filter((name) => model.get(name) !== other.model.get(name));
          expect([...whole(map.changed(other.map))].sort()).toEqual(differ.sort());
        }
      }
    }),
    { numRuns: 60 },
  );
});

it("is the same map where nothing has changed", () => {
  const map = change(new Shards(), [["a", 1]]);
  expect(
    change(map, [
      ["a", 1],
      ["b", null],
    ]),
  ).toBe(map);
  expect(change(map, [])).toBe(map);
});

it("copies a small part of many for one change", () => {
  const keys = Array.from({ length: 20_000 }, (_, n) => `entity-${n}`);
  const map = change(
    new Shards(),
    keys.map((key, n) => [key, n] as const),
  );
  const after = change(map, [["entity-77", 0]]);
  let steps = 0;
  for (const work = map.changed(after); work.next().done !== true;) steps += 1;
  expect(steps).toBe(1);
  expect(whole(map.changed(after))).toEqual(["entity-77"]);
});
