import fc from "fast-check";
import { expect, test } from "vitest";
import { steadyClock } from "./clock.ts";

const year = 365 * 24 * 3600 * 1000;

test("time goes on as it passes when the clock is set back, and follows it when it is set ahead", () => {
  let [wall, passed] = [1_000_000, 0];
  const clock = steadyClock(
    () => wall,
    () => passed,
  );
  expect(clock.now()).toBe(1_000_000);
  wall -= year;
  expect(clock.now()).toBe(1_000_000);
  passed += 5_000;
  wall += 5_000;
  expect(clock.now()).toBe(1_005_000);
  wall += 2 * year;
  expect(clock.now()).toBe(1_005_000 + year);
  wall -= year;
  passed += 10;
  expect(clock.now()).toBe(1_005_010 + year);
  clock.atLeast(5 * year);
  passed += 10;
  expect(clock.now()).toBe(5 * year + 10);
  clock.atLeast(3);
  expect(clock.now()).toBe(5 * year + 10);
});

test("it never goes back, and never passes more slowly than time does", () => {
  const step = fc.record({ set: fc.integer({ min: -1e6, max: 1e6 }), pass: fc.integer({ min: 0, max: 1000 }) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let [wall, passed] = [1e9, 0];
      const clock = steadyClock(
        () => wall,
        () => passed,
      );
      for (const { set, pass } of steps) {
        const before = clock.now();
        wall += set + pass;
        passed += pass;
        expect(clock.now()).toBeGreaterThanOrEqual(before + pass);
        expect(clock.now()).toBeGreaterThanOrEqual(wall);
      }
    }),
  );
});
