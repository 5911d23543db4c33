import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "./compiler.ts";
import { compileCondition } from "./condition.ts";
import { type Asking, declared, Facts } from "./facts.ts";
import { operators } from "./operators.ts";
import { zoneOf } from "./zone.ts";

const jsonLogic = createRequire(import.meta.url)("json-logic-js") as {
  apply(logic: unknown, data: unknown): unknown;
  add_operation(name: string, run: (...args: readonly never[]) => unknown): void;
};

const utc = zoneOf("UTC");
/** A Tuesday, 08:30 in UTC. */
const time = Date.UTC(2026, 10, 24, 8, 30);
const asking: Asking = {
  path: "secret/data/db",
  operation: "read",
  remoteAddress: "10.1.2.3",
  time,
  entity: { id: "e-1", name: "alice", metadata: { team: "payments", "dotted.key": "d", empty: "" } },
  groups: ["payments", "team-red"],
  login: { mount: "userpass", type: "userpass", accessor: "auth_userpass_1", metadata: { username: "alice" } },
  token: {
    type: "service",
    displayName: "userpass-alice",
    policies: ["default", "payments"],
    orphan: true,
    createdAt: time - 600_000,
    expiresAt: time + 3_600_500,
  },
};
const nobody: Asking = {
  ...asking,
  remoteAddress: "",
  time: null,
  entity: null,
  groups: null,
  login: null,
  token: null,
};

function holds(when: unknown, given: Partial<Asking> = {}, zone = "UTC"): boolean {
  const { condition, faults } = compileCondition(when, zoneOf(zone));
  expect(faults).toEqual([]);
  return condition?.holds(new Facts({ ...asking, ...given })) ?? false;
}
const faultsOf = (when: unknown): string[] =>
  compileCondition(when, utc).faults.map(({ path, message }) => `${path.join(".")}: ${message}`);

const v = (name: string): unknown => ({ var: name });

describe("facts", () => {
  const values: Readonly<Record<string, unknown>> = {
    "identity.entity.id": "e-1",
    "identity.entity.name": "alice",
    "identity.entity.metadata.team": "payments",
    "identity.entity.metadata.dotted.key": "d",
    "identity.groups": ["payments", "team-red"],
    "auth.mount": "userpass",
    "auth.type": "userpass",
    "auth.accessor": "auth_userpass_1",
    "auth.metadata.username": "alice",
    "token.type": "service",
    "token.display_name": "userpass-alice",
    "token.policies": ["default", "payments"],
    "token.orphan": true,
    "token.age": 600,
    "token.ttl": 3600,
    "request.path": "secret/data/db",
    "request.operation": "read",
    "request.remote_address": "10.1.2.3",
    "time.unix": time / 1000,
    "time.date": "2026-11-24",
    "time.clock": "08:30",
    "time.hour": 8,
    "time.weekday": "tue",
  };

  /** A condition that is true of the value. */
  const says = (name: string, value: unknown): unknown => {
    if (Array.isArray(value)) return { in: [value[0], v(name)] };
    if (name === "request.remote_address") return { cidr: [v(name), value] };
    return value === true ? v(name) : { "==": [v(name), value] };
  };

  test.each(Object.entries(values))("%s", (name, value) => {
    expect(holds(says(name, value))).toBe(true);
    expect(holds({ "!": says(name, value) })).toBe(false);
    // Missing, neither is so.
    if (name === "request.path" || name === "request.operation") return;
    for (const when of [says(name, value), { "!": says(name, value) }]) expect(holds(when, nobody)).toBe(false);
  });

  test("all that are declared stand above", () => {
    const named = declared.filter(({ name }) => !name.endsWith("*")).map(({ name }) => name);
    expect(Object.keys(values)).toEqual(expect.arrayContaining(named));
  });

  test("a member that every object has is none of a map's", () => {
    for (const name of ["toString", "constructor", "__proto__", "hasOwnProperty", "nope"]) {
      for (const map of ["identity.entity.metadata", "auth.metadata"]) {
        expect(holds({ "!=": [v(`${map}.${name}`), "x"] }), name).toBe(false);
      }
    }
    expect(holds({ "==": [v("identity.entity.metadata.empty"), ""] })).toBe(true);
  });

  test("a token that never ends has no ttl", () => {
    const token = asking.token === null ? null : { ...asking.token, expiresAt: 0 };
    expect(holds({ ">": [v("token.ttl"), 60] })).toBe(true);
    for (const when of [{ ">": [v("token.ttl"), 60] }, { "<=": [v("token.ttl"), 60] }])
      expect(holds(when, { token })).toBe(false);
  });

  test("each is read once, and told as it was read", () => {
    let reads = 0;
    const facts = new Facts({
      ...asking,
      get groups() {
        reads += 1;
        return Array.from({ length: 70 }, (_none, at) => `g${at}`);
      },
    });
    const { condition } = compileCondition(
      { and: [{ in: ["g1", v("identity.groups")] }, { in: ["g2", v("identity.groups")] }, { "!": v("token.orphan") }] },
      utc,
    );
    expect(facts.seen).toBeNull();
    expect(condition?.holds(facts)).toBe(false);
    expect(reads).toBe(1);
    const { "identity.groups": groups, ...rest } = facts.seen ?? {};
    expect(rest).toEqual({ "token.orphan": true });
    expect(groups).toHaveLength(65);
    expect((groups as string[]).at(-1)).toBe("… 6 more");
    const none = new Facts(nobody);
    compileCondition({ "==": [v("auth.type"), "x"] }, utc).condition?.holds(none);
    expect(none.seen).toEqual({ "auth.type": null });
  });
});

test("the page of facts and operators has all of them, as they are", () => {
  const page = readFileSync(new URL("README.md", import.meta.url), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  const facts = rows.filter((row) => row.split(" | ").length === 3);
  expect(facts).toEqual(
    declared.map(({ name, type, description }) => `| \`${name}\` | ${type.name} | ${description} |`),
  );
  const named = rows.slice(facts.length).flatMap((row) => [...(row.split(" | ")[0] ?? "").matchAll(/`([^`]+)`/g)]);
  expect(named.map(([, name]) => name)).toEqual([...operators.keys()]);
});

describe("time", () => {
  test.each([
    ["Europe/Zurich", Date.UTC(2026, 0, 4, 23, 30), "2026-01-05", "00:30", 0, "mon"],
    ["Europe/Zurich", Date.UTC(2026, 2, 29, 0, 59), "2026-03-29", "01:59", 1, "sun"],
    ["Europe/Zurich", Date.UTC(2026, 2, 29, 1, 0), "2026-03-29", "03:00", 3, "sun"],
    ["Europe/Zurich", Date.UTC(2026, 9, 25, 0, 30), "2026-10-25", "02:30", 2, "sun"],
    ["Europe/Zurich", Date.UTC(2026, 9, 25, 1, 30), "2026-10-25", "02:30", 2, "sun"],
    ["Asia/Kathmandu", Date.UTC(2026, 5, 30, 18, 15), "2026-07-01", "00:00", 0, "wed"],
    ["America/New_York", Date.UTC(2026, 0, 1, 4, 59, 59, 999), "2025-12-31", "23:59", 23, "wed"],
    ["UTC", 0, "1970-01-01", "00:00", 0, "thu"],
  ])("in %s at %d", (zone, at, date, clock, hour, weekday) => {
    expect(zoneOf(zone).at(at)).toEqual({ date, clock, hour, weekday });
    const when = { and: [{ "==": [v("time.date"), date] }, { "==": [v("time.clock"), clock] }] };
    expect(holds(when, { time: at }, zone)).toBe(true);
    expect(holds(when, { time: at + 60_000 }, zone)).toBe(false);
  });

  test("dates and times of day are ordered, alone or between", () => {
    expect(holds({ "<=": ["08:30", v("time.clock"), "17:00"] })).toBe(true);
    expect(holds({ "<": ["08:30", v("time.clock"), "17:00"] })).toBe(false);
    expect(holds({ ">=": [v("time.date"), "2026-11-24"] })).toBe(true);
    expect(holds({ ">": [v("time.date"), "2026-11-24"] })).toBe(false);
  });

  test("one zone tells the time of every minute, forward and back", () => {
    const zone = zoneOf("Pacific/Auckland");
    const format = new Intl.DateTimeFormat("en-GB", {
      timeZone: "Pacific/Auckland",
      hour: "2-digit",
      minute: "2-digit",
    });
    for (const at of [0, 59_999, 60_000, 59_999, -1, 86_400_000, 0]) expect(zone.at(at).clock).toBe(format.format(at));
  });
});

describe("addresses", () => {
  const inside = (ranges: unknown, remoteAddress: string): boolean =>
    holds({ cidr: [v("request.remote_address"), ranges] }, { remoteAddress });

  test("in one range or several, of either family", () => {
    expect(inside("10.0.0.0/8", "10.255.0.1")).toBe(true);
    expect(inside("10.0.0.0/8", "11.0.0.1")).toBe(false);
    expect(inside(["192.168.0.0/16", "10.1.2.3"], "::ffff:10.1.2.3")).toBe(true);
    expect(inside(["2001:db8::/32"], "2001:db8::1")).toBe(true);
    expect(inside(["2001:db8::/32"], "10.0.0.1")).toBe(false);
  });

  test("a text that is no address is in no range and not outside of any", () => {
    const when = { cidr: [v("identity.entity.metadata.team"), "10.0.0.0/8"] };
    expect(holds(when)).toBe(false);
    expect(holds({ "!": when })).toBe(false);
    expect(holds({ "!": { cidr: [v("request.remote_address"), "10.0.0.0/8"] } }, { remoteAddress: "" })).toBe(false);
  });
});

describe("what is refused, and where", () => {
  test.each<readonly [unknown, string]>([
    [true, ": asks for no fact"],
    [{ some: [["a"], { "==": [v(""), "a"] }] }, ": asks for no fact"],
    [null, ": has no value"],
    ["yes", ": is text, where true or false is needed"],
    [v("time.hour"), ": is a number, where true or false is needed"],
    [{}, ": an empty map; write one operator"],
    [{ and: [v("token.orphan")], or: [] }, "or: two operators in one map"],
    [{ and: [] }, "and: needs a list of conditions"],
    [{ log: v("token.orphan") }, 'log: no operator is called "log": what a condition reads is in the audit'],
    [{ constructor: [1] }, 'constructor: no operator is called "constructor": there are var and or'],
    [
      { and: [v("token.orphan"), { if: [1, 2, 3] }] },
      'and.1.if: no operator is called "if": write and, or and ! instead',
    ],
    [{ "==": [v("time.hour"), "8"] }, "==.1: is text, compared with a number; the two are never equal"],
    [{ "==": [v("token.orphan"), 1] }, "==.1: is a number, compared with true or false"],
    [{ "==": [v("time.hour")] }, "==: needs two values to compare"],
    [{ "==": [v("time.hour"), null] }, "==.1: has no value"],
    [{ "==": [v("identity.groups"), ["a"]] }, "==: compares no lists; write in, some, all or none"],
    [{ "==": [v("time.weekday"), "tues"] }, '==.1: "tues" is not a weekday; did you mean tue?'],
    [{ in: [v("time.weekday"), ["mon", "Tue"]] }, 'in.1.1: "Tue" is not a weekday; did you mean tue?'],
    [{ "==": [v("time.weekday"), v("time.date")] }, "==.1: is a date such as 2026-12-24, compared with a weekday"],
    [{ "<": [v("time.date"), "2026-02-30"] }, '<.1: "2026-02-30" is not a date'],
    [{ "<": [v("time.date"), v("auth.metadata.until")] }, "<.1: may be any text, so it is not ordered with a date"],
    [{ "<=": ["08:00", v("time.clock"), "24:00"] }, '<=.2: "24:00" is not a time of day'],
    [{ ">": [1, v("time.hour"), 3] }, ">: needs two values to compare"],
    [{ ">": [v("request.path"), "a"] }, ">: orders numbers, dates and times of day; this is text"],
    [{ in: ["a", v("request.path")] }, "in.1: is text, where a list is needed; write == for one value, starts_with"],
    [{ in: [v("time.hour"), ["8"]] }, "in.0: is a number, and the list is a list of texts"],
    [{ in: [v("time.hour"), [8, "9"]] }, "in.1.1: a list holds texts or numbers, not both"],
    [{ in: [v("time.hour"), []] }, "in.1: an empty list: nothing is in it"],
    [{ in: [v("time.hour"), [v("time.hour")]] }, "in.1.0: a list holds texts or numbers, written out"],
    [{ in: [v("request.operation"), ["read", "write"]] }, 'in.1.1: "write" is not an operation'],
    [{ cidr: [v("request.remote_address"), "10.0.0.0/33"] }, 'cidr.1: "10.0.0.0/33" is no range'],
    [{ cidr: [v("request.remote_address"), ["10.0.0.0/8", "10.0.0.0/8/9"]] }, 'cidr.1.1: "10.0.0.0/8/9" is no range'],
    [{ cidr: [v("request.remote_address"), v("auth.type")] }, "cidr.1: write one like 10.0.0.0/8"],
    [{ cidr: ["10.0.0.1", "10.0.0.0/8"] }, "cidr.0: is no fact that holds an address"],
    [{ cidr: [v("request.remote_address"), 5] }, "cidr.1: write one like 10.0.0.0/8"],
    [{ cidr: [v("request.remote_address"), [10]] }, "cidr.1.0: 10 is no range"],
    [{ "!=": ["2001:DB8::1", v("request.remote_address")] }, "!=.1: is an address, which has several spellings"],
    [{ in: [v("request.remote_address"), ["10.0.0.1"]] }, "in.0: is an address"],
    [{ starts_with: [v("request.remote_address"), "10."] }, "starts_with.0: is an address"],
    [{ starts_with: [v("request.path"), ""] }, "starts_with.1: needs a text of one character or more"],
    [
      { ends_with: [v("request.path"), v("auth.type")] },
      "ends_with.1: needs a text of one character or more, written out",
    ],
    [{ "==": [v("request.pth"), "a"] }, '==.0.var: no fact is called "request.pth"; did you mean request.path?'],
    [{ "==": [v("identity.entity.metadata."), "a"] }, '==.0.var: no fact is called "identity.entity.metadata."'],
    [{ "==": [v(""), "a"] }, '==.0.var: no fact is called ""'],
    [{ "==": [{ var: ["auth.type", "none"] }, "a"] }, "==.0.var.1: takes no default: a fact that is missing withholds"],
    [{ "==": [{ var: 1 }, "a"] }, "==.0.var: needs the name of a fact"],
    [
      { some: [v("identity.groups"), { "==": [v("request.path"), "a"] }] },
      "some.1.==.0.var: inside some, all and none only the member is there",
    ],
    [{ all: [v("request.path"), { "==": [v(""), "a"] }] }, "all.0: is text, where a list of texts is needed"],
    [{ none: [v("identity.groups")] }, "none: needs a list and a condition on its members"],
    [
      { some: [v("identity.groups"), { some: [["a"], { "==": [v(""), "a"] }] }] },
      "some.1.some: stands inside another of its sort",
    ],
    [{ "!": [v("token.orphan"), v("token.orphan")] }, "!: needs one condition"],
    [{ in: [v("auth.type"), ["x".repeat(limits.text + 1)]] }, "in.1.0: a text in a condition has at most 1024"],
  ])("%j", (when, message) => {
    const [first, second] = faultsOf(when);
    expect(first).toContain(message);
    expect(second).toBeUndefined();
  });

  test("all faults come out together", () => {
    expect(faultsOf({ or: [{ "==": [v("x"), 1] }, v("token.orphan"), { "<": [1, "a"] }] })).toHaveLength(2);
  });

  test("what is too large or too deep", () => {
    const wide = { or: Array.from({ length: limits.size }, () => v("token.orphan")) };
    expect(faultsOf(wide)).toEqual([expect.stringMatching(/^or\.\d+\.?.*: a condition has at most 500 parts$/)]);
    let deep: unknown = v("token.orphan");
    for (let at = 0; at < limits.depth; at += 1) deep = { "!": deep };
    expect(faultsOf(deep)[0]).toContain("operators are nested at most 12 deep");
    let endless: unknown = 1;
    for (let at = 0; at < 100_000; at += 1) endless = [endless];
    expect(faultsOf({ in: [v("time.hour"), endless] })).toHaveLength(1);
  });

  test("a list that would take too long to look through withholds", () => {
    const groups = Array.from({ length: 30_000 }, (_none, at) => `g${at}`);
    const when = { some: [v("identity.groups"), { "==": [v(""), "g29999"] }] };
    expect(holds(when, { groups })).toBe(false);
    expect(holds({ "!": when }, { groups })).toBe(false);
    expect(holds(when, { groups: groups.slice(-10_000) })).toBe(true);
  });
});

test("what is missing withholds, unless everything was settled before", () => {
  const given = { login: null };
  const missing = { "==": [v("auth.type"), "ldap"] };
  expect(holds({ or: [v("token.orphan"), missing] }, given)).toBe(true);
  expect(holds({ or: [missing, v("token.orphan")] }, given)).toBe(false);
  expect(holds({ "!": { and: [{ "!": v("token.orphan") }, missing] } }, given)).toBe(true);
  expect(holds({ none: [v("identity.groups"), { "==": [v(""), "x"] }] }, { groups: null })).toBe(false);
});

test("a fact that throws withholds", () => {
  const broken = new Facts({
    ...asking,
    get groups(): never {
      throw new Error("broken");
    },
  });
  const { condition } = compileCondition({ none: [v("identity.groups"), { "==": [v(""), "x"] }] }, utc);
  expect(condition?.holds(broken)).toBe(false);
});

describe("json-logic-js", () => {
  const number = (address: string): number => address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  jsonLogic.add_operation("cidr", (address: string, ranges: string | string[]) =>
    [ranges].flat().some((range) => {
      const [base = "", bits = "32"] = range.split("/");
      const size = 2 ** (32 - Number(bits));
      return Math.floor(number(address) / size) === Math.floor(number(base) / size);
    }),
  );
  jsonLogic.add_operation("starts_with", (value: string, start: string) => value.slice(0, start.length) === start);
  jsonLogic.add_operation("ends_with", (value: string, end: string) => value.slice(-end.length) === end);

  const words = fc.constantFrom("a", "b", "ab", "payments", "", "x y");
  const some = fc.array(words, { minLength: 1, maxLength: 4 });
  const textFact = fc.constantFrom(
    "identity.entity.name",
    "identity.entity.metadata.team",
    "auth.type",
    "auth.metadata.username",
    "token.display_name",
    "request.path",
  );
  const numberFact = fc.constantFrom("token.age", "token.ttl", "time.hour");
  const listFact = fc.constantFrom("identity.groups", "token.policies");
  const week = fc.constantFrom("mon", "tue", "wed", "thu", "fri", "sat", "sun");
  const hours = fc.integer({ min: 0, max: 24 });
  const name = (facts: fc.Arbitrary<string>): fc.Arbitrary<unknown> =>
    fc.tuple(facts, fc.boolean()).map(([one, listed]) => ({ var: listed ? [one] : one }));
  const call = (operators: readonly string[], ...args: readonly fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> =>
    fc.tuple(fc.constantFrom(...operators), ...args).map(([operator, ...given]) => ({ [operator]: given }));
  const equal = ["==", "!=", "===", "!=="];
  const order = ["<", "<=", ">", ">="];
  const clockText = fc.constantFrom("00:00", "08:30", "12:00", "23:59");
  const dateText = fc.constantFrom("2026-01-05", "2026-01-07", "2026-01-31");

  /** On the member of a list. */
  const onMember = fc.oneof(
    call(equal, fc.constant(v("")), words),
    call(["in"], fc.constant(v("")), some),
    call(["starts_with", "ends_with"], fc.constant(v("")), fc.constantFrom("a", "pay")),
  );
  const leaf = fc.oneof(
    call(equal, name(textFact), words),
    call(equal, words, name(textFact)),
    call(equal, name(textFact), name(textFact)),
    call(equal, name(numberFact), hours),
    call(equal, fc.constant(v("time.weekday")), week),
    call(order, name(numberFact), hours),
    call(order, hours, name(numberFact)),
    call(["<", "<="], hours, name(numberFact), hours),
    call(["<", "<="], clockText, fc.constant(v("time.clock")), clockText),
    call(order, fc.constant(v("time.date")), dateText),
    call(["in"], name(textFact), some),
    call(["in"], words, name(listFact)),
    call(["in"], name(textFact), name(listFact)),
    call(["in"], fc.constant(v("time.hour")), fc.array(hours, { minLength: 1, maxLength: 8 })),
    call(["in"], fc.constant(v("time.weekday")), fc.array(week, { minLength: 1, maxLength: 5 })),
    call(["some", "all", "none"], name(listFact), onMember),
    call(["starts_with", "ends_with"], name(textFact), fc.constantFrom("a", "b", "pay")),
    call(
      ["cidr"],
      fc.constant(v("request.remote_address")),
      fc.constantFrom("10.0.0.0/8", ["10.1.0.0/16", "192.168.1.1"]),
    ),
    name(fc.constant("token.orphan")),
  );
  const logic = fc.letrec((tie) => ({
    test: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.array(tie("test"), { minLength: 1, maxLength: 3 }).map((tests) => ({ and: tests })),
      fc.array(tie("test"), { minLength: 1, maxLength: 3 }).map((tests) => ({ or: tests })),
      fc.tuple(tie("test"), fc.boolean()).map(([one, listed]) => ({ "!": listed ? [one] : one })),
    ),
  })).test;
  const maybe = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { freq: 8 });
  const members = fc.array(words, { maxLength: 3 });
  const world = fc.record({
    time: fc.integer({ min: Date.UTC(2026, 0, 5), max: Date.UTC(2026, 1, 1) }),
    path: words,
    remoteAddress: fc.constantFrom("", "10.0.0.1", "10.1.9.9", "192.168.1.1"),
    entity: maybe(fc.record({ id: words, name: words, team: maybe(words) })),
    groups: maybe(members),
    login: maybe(fc.record({ type: words, username: maybe(words) })),
    token: maybe(fc.record({ name: words, policies: members, orphan: fc.boolean(), age: hours, ttl: fc.nat(25) })),
  });

  const askingOf = ({ time: at, path, remoteAddress, entity, groups, login, token }: WorldOf): Asking => ({
    path,
    operation: "read",
    remoteAddress,
    time: at,
    groups,
    entity: entity && { id: entity.id, name: entity.name, metadata: entity.team === null ? {} : { team: entity.team } },
    login: login && {
      mount: "m",
      type: login.type,
      accessor: "",
      metadata: login.username === null ? {} : { username: login.username },
    },
    token: token && {
      type: "service",
      displayName: token.name,
      policies: token.policies,
      orphan: token.orphan,
      createdAt: at - token.age * 1000,
      expiresAt: token.ttl === 0 ? 0 : at + token.ttl * 1000,
    },
  });
  type WorldOf = typeof world extends fc.Arbitrary<infer T> ? T : never;

  const dataOf = ({ time: at, path, remoteAddress, entity, groups, login, token }: WorldOf): unknown => {
    const date = new Date(at);
    return {
      identity: { entity: entity && { ...entity, metadata: { team: entity.team } }, groups },
      auth: login && { type: login.type, metadata: { username: login.username } },
      token: token && { ...token, display_name: token.name, ttl: token.ttl === 0 ? null : token.ttl },
      request: { path, remote_address: remoteAddress },
      time: {
        hour: date.getUTCHours(),
        weekday: date.toUTCString().slice(0, 3).toLowerCase(),
        clock: date.toISOString().slice(11, 16),
        date: date.toISOString().slice(0, 10),
      },
    };
  };

  test("says the same wherever nothing that is read is missing", () => {
    const counts = { same: 0, held: 0, missing: 0 };
    fc.assert(
      fc.property(logic, fc.array(world, { minLength: 8, maxLength: 8 }), (when, worlds) => {
        const { condition, faults } = compileCondition(JSON.parse(JSON.stringify(when)), utc);
        expect(faults).toEqual([]);
        for (const one of worlds) {
          const facts = new Facts(askingOf(one));
          const held = condition?.holds(facts);
          if (Object.values(facts.seen ?? {}).includes(null)) {
            counts.missing += 1;
            expect(held).toBe(false);
            continue;
          }
          expect(held).toBe(jsonLogic.apply(when, dataOf(one)));
          counts.same += 1;
          if (held === true) counts.held += 1;
        }
      }),
      { numRuns: 5000 },
    );
    expect(counts.same).toBeGreaterThan(20_000);
    expect(counts.held / counts.same).toBeGreaterThan(0.2);
    expect(counts.held / counts.same).toBeLessThan(0.8);
    expect(counts.missing).toBeGreaterThan(2000);
  });

  test("never throws, whatever it is given", () => {
    const junk = fc.anything({
      maxDepth: 6,
      withObjectString: true,
      withNullPrototype: true,
      values: [fc.constantFrom(...words_)],
    });
    fc.assert(
      fc.property(junk, (when) => {
        const { condition, faults } = compileCondition(when, utc);
        expect(condition === null).toBe(faults.length > 0);
      }),
      { numRuns: 5000 },
    );
  });

  /** Where json-logic-js opens and a condition here does not: it withholds, or does not compile. */
  test.each<readonly [string, unknown, unknown]>([
    ["two missing facts are equal", { "==": [v("auth.type"), v("auth.mount")] }, {}],
    ["nothing is no more than five", { "<=": [v("token.ttl"), 5] }, {}],
    ["nothing is not in a list", { "!": { in: [v("auth.type"), ["ldap"]] } }, {}],
    ["nothing in nothing is none", { none: [v("identity.groups"), { "==": [v(""), "x"] }] }, {}],
    ["an empty text is in any", { in: ["", v("request.path")] }, { request: { path: "x" } }],
    [
      "text is a number where it looks like one",
      { "==": [v("identity.entity.metadata.level"), 5] },
      { identity: { entity: { metadata: { level: "5" } } } },
    ],
    ["text is true", { and: [v("request.path")] }, { request: { path: "x" } }],
    [
      "a prototype is walked",
      { "!=": [v("identity.entity.metadata.constructor"), "x"] },
      { identity: { entity: { metadata: {} } } },
    ],
    ["a default stands in", { "==": [{ var: ["auth.type", "ldap"] }, "ldap"] }, {}],
  ])("opens where %s", (_why, when, data) => {
    expect(Boolean(jsonLogic.apply(when, data))).toBe(true);
    const { condition } = compileCondition(when, utc);
    expect(condition?.holds(new Facts(nobody)) ?? false).toBe(false);
  });
});

const words_ = ["var", "and", "or", "!", "==", "in", "some", "cidr", "time.hour", "", "__proto__", 1, true, null];
