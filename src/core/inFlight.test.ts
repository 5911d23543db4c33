import { expect, test } from "vitest";
import type { Request } from "../sdk/request.ts";
import { InFlight } from "./inFlight.ts";

const named = (id: string): Request => ({ id }) as Request;

test("holds what came and has not gone, whatever the order", () => {
  const flights = new InFlight();
  const ids = (): string[] => [...flights].map(({ id }) => id).sort();
  const [a, b, c] = ["a", "b", "c"].map((id) => flights.enter(named(id))) as [number, number, number];
  expect([flights.size, ids()]).toEqual([3, ["a", "b", "c"]]);
  flights.leave(a);
  flights.leave(c);
  expect([flights.size, ids()]).toEqual([1, ["b"]]);
  const d = flights.enter(named("d"));
  expect([flights.size, ids()]).toEqual([2, ["b", "d"]]);
  for (const slot of [d, b]) flights.leave(slot);
  expect([flights.size, ids()]).toEqual([0, []]);
});
