import { describe, expect, test } from "vitest";
import { Flight, manualTimer } from "./flight.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setup(spacing = 1_000) {
  const timer = manualTimer();
  const runs: PromiseWithResolvers<number>[] = [];
  const flight = new Flight(
    () => {
      const run = Promise.withResolvers<number>();
      runs.push(run);
      return run.promise;
    },
    { spacing, clock: timer.clock, timer },
  );
  return { timer, runs, flight };
}

describe("Flight", () => {
  test("a call during a run gets the result of the next one, shared", async () => {
    const { flight, runs } = setup(0);
    const first = flight.fly();
    const second = flight.fly();
    const third = flight.fly();
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    expect(await first).toBe(1);
    await turn();
    expect(runs).toHaveLength(2);
    runs[1]?.resolve(2);
    expect(await Promise.all([second, third])).toEqual([2, 2]);
    await turn();
    expect(runs).toHaveLength(2);
  });

  test("starts keep their distance, counted from start to start", async () => {
    const { flight, runs, timer } = setup();
    void flight.fly();
    timer.pass(400);
    void flight.fly();
    runs[0]?.resolve(1);
    await turn();
    timer.pass(599);
    expect(runs).toHaveLength(1);
    timer.pass(1);
    expect(runs).toHaveLength(2);
  });

  test("a clock set back delays by one spacing at most", async () => {
    const { flight, runs, timer } = setup();
    void flight.fly();
    runs[0]?.resolve(1);
    await turn();
    timer.clock.set(0);
    void flight.fly();
    timer.pass(1_000);
    expect(runs).toHaveLength(2);
  });

  test("a run that fails fails its own callers only", async () => {
    const { flight, runs } = setup(0);
    const first = flight.fly();
    const second = flight.fly();
    runs[0]?.reject(new Error("no"));
    await expect(first).rejects.toThrow("no");
    await turn();
    runs[1]?.resolve(2);
    expect(await second).toBe(2);
  });

  test("close waits for the run and refuses the rest", async () => {
    const { flight, runs } = setup(0);
    const first = flight.fly();
    const second = flight.fly();
    second.catch(() => {});
    let closed = false;
    const closing = flight.close().then(() => {
      closed = true;
    });
    await turn();
    expect(closed).toBe(false);
    runs[0]?.resolve(1);
    await closing;
    expect(await first).toBe(1);
    await expect(second).rejects.toThrow("closed");
    await expect(flight.fly()).rejects.toThrow("closed");
    expect(runs).toHaveLength(1);
  });
});
