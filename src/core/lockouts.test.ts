import { beforeEach, describe, expect, test } from "vitest";
import { manualClock } from "../lib/clock.ts";
import { createLogger } from "../lib/log.ts";
import { Lockouts, type LockoutRules, rulesOf } from "./lockouts.ts";

const minute = 60_000;
const rules: LockoutRules = { threshold: 5, duration: 15 * minute, reset: 15 * minute };
let clock: ReturnType<typeof manualClock>;
let lockouts: Lockouts;
let checks: number;
let logged: string[];

const made = (most?: number): Lockouts =>
  new Lockouts(clock, createLogger({ write: (line) => void logged.push(line) }), most);

beforeEach(() => {
  clock = manualClock();
  logged = [];
  checks = 0;
  lockouts = made();
});

/** "right", "wrong", or the code of what it was refused with. */
async function attempt(right: boolean, name = "alice", more: Partial<LockoutRules> = {}): Promise<string> {
  try {
    const found = await lockouts.attempt({ accessor: "a", name }, { ...rules, ...more }, async () => {
      checks += 1;
      await Promise.resolve();
      return right ? "right" : null;
    });
    return found ?? "wrong";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

async function fail(times: number, name = "alice"): Promise<void> {
  for (let time = 0; time < times; time++) expect(await attempt(false, name)).toBe("wrong");
}

describe("a row of failures", () => {
  test("locks from the fifth on, for as long as it says, and no check is made meanwhile", async () => {
    await fail(5);
    expect([await attempt(true), await attempt(false)]).toEqual(["denied", "denied"]);
    expect(checks).toBe(5);
    clock.advance(15 * minute - 1);
    expect(await attempt(true)).toBe("denied");
    clock.advance(1);
    expect(await attempt(true)).toBe("right");
    expect(logged.filter((line) => line.includes("locked"))).toHaveLength(1);
  });

  test("ends with a success, with time, and with an unlock", async () => {
    await fail(4);
    expect(await attempt(true)).toBe("right");
    await fail(4);
    clock.advance(15 * minute);
    await fail(4);
    lockouts.unlock({ accessor: "a", name: "alice" });
    await fail(4);
    await fail(1);
    lockouts.unlock({ accessor: "a", name: "alice" });
    expect(await attempt(true)).toBe("right");
  });

  test("is of one name at one mount", async () => {
    await fail(5);
    expect(await attempt(true, "bob")).toBe("right");
    const other = lockouts.attempt({ accessor: "b", name: "alice" }, rules, async () => "right");
    expect(await other).toBe("right");
    expect([...lockouts.locked()]).toEqual([["a", ["alice"]]]);
  });

  test("follows the rules of now, and none where lockout is off", async () => {
    for (let time = 0; time < 20; time++) expect(await attempt(false, "alice", { threshold: 0 })).toBe("wrong");
    await fail(3);
    expect(await attempt(true, "alice", { threshold: 2 })).toBe("denied");
    expect(await attempt(true)).toBe("right");
    expect(await attempt(false, "bob", { threshold: 1, duration: minute })).toBe("wrong");
    expect(await attempt(true, "bob")).toBe("denied");
    clock.advance(minute);
    expect(await attempt(true, "bob")).toBe("right");
  });

  test("counts what is wrong, and not what could not be checked", async () => {
    const broken = (): Promise<string | null> =>
      lockouts.attempt({ accessor: "a", name: "alice" }, rules, async () => Promise.reject(new Error("busy")));
    for (let time = 0; time < 20; time++) await expect(broken()).rejects.toThrow("busy");
    await fail(4);
    expect(await attempt(true)).toBe("right");
  });
});

describe("many at once", () => {
  test("are never checked more often than in a row", async () => {
    const results = await Promise.all(Array.from({ length: 60 }, () => attempt(false)));
    expect(results.filter((result) => result === "wrong")).toHaveLength(5);
    expect(results.filter((result) => result === "denied")).toHaveLength(55);
    expect(checks).toBe(5);
  });

  test("with what is right all get in, however many were wrong before", async () => {
    await fail(4);
    const results = await Promise.all(Array.from({ length: 60 }, () => attempt(true)));
    expect(new Set(results)).toEqual(new Set(["right"]));
    expect(await attempt(true)).toBe("right");
  });

  test("are told to come later where too many wait", async () => {
    const results = await Promise.all(Array.from({ length: 100 }, () => attempt(true)));
    expect(results.filter((result) => result === "rate_limited")).toHaveLength(100 - 5 - 64);
    expect(results.filter((result) => result === "right")).toHaveLength(69);
  });

  test("a right one among wrong ones begins the count anew, whatever the order", async () => {
    for (let at = 0; at < 8; at++) {
      lockouts = made();
      checks = 0;
      await Promise.all(Array.from({ length: 8 }, (_, each) => attempt(each === at)));
      // Four wrong ones can be checked beside a right one before it counts, five after it.
      expect(checks).toBeLessThanOrEqual(10);
      const locked = lockouts.locked().size === 1;
      if (locked) expect(await attempt(true)).toBe("denied");
      else expect(await attempt(true)).toBe("right");
    }
  });
});

describe("memory", () => {
  test("is bounded, and a name that fails often is not forgotten before those that fail once", async () => {
    lockouts = made(100);
    await fail(5, "victim");
    await fail(4, "almost");
    for (let each = 0; each < 99; each++) await fail(1, `other ${each}`);
    expect(await attempt(true, "victim")).toBe("denied");
    await fail(1, "almost");
    expect(await attempt(true, "almost")).toBe("denied");
    for (let each = 0; each < 1000; each++) await fail(1, `other ${each}`);
    expect(await attempt(true, "victim")).toBe("denied");
    expect([...lockouts.locked()]).toEqual([["a", ["victim", "almost"]]]);
  });

  test("of locked names is bounded too, those whose time is over first", async () => {
    lockouts = made(10);
    for (let each = 0; each < 5; each++) await fail(5, `early ${each}`);
    clock.advance(15 * minute);
    for (let each = 0; each < 10; each++) await fail(5, `late ${each}`);
    expect(lockouts.locked().get("a")).toHaveLength(10);
    await fail(5, "one more");
    expect(lockouts.locked().get("a")).toHaveLength(10);
    expect(await attempt(true, "one more")).toBe("denied");
  });
});

test("a mount's tuning says how, and what it leaves out is as usual", () => {
  const of = (config: object | undefined): LockoutRules =>
    rulesOf({ spec: { config: { user_lockout_config: config } } as never });
  expect(of(undefined)).toEqual(rules);
  expect(rulesOf({ spec: null })).toEqual(rules);
  const none = { lockout_threshold: 0, lockout_duration: 0, lockout_counter_reset_duration: 0, lockout_disable: false };
  expect(of(none)).toEqual(rules);
  expect(of({ lockout_threshold: 3, lockout_duration: 60, lockout_counter_reset_duration: 30 })).toEqual({
    threshold: 3,
    duration: minute,
    reset: minute / 2,
  });
  expect(of({ ...none, lockout_disable: true }).threshold).toBe(0);
});
