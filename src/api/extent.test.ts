import * as fc from "fast-check";
import { expect, test } from "vitest";
import { checkExtent, type Extent } from "./extent.ts";

const limits: Extent = { depth: 4, members: 6, stringBytes: 8 };
const check = (text: string, within: Extent = limits): void => checkExtent(Buffer.from(text), within);

test.each([
  "",
  "{}",
  '{"a":[{"b":[]}]}',
  "[1,2,3,4,5,6]",
  '{"a":1,"b":2,"c":[4,5,6]}',
  '{"12345678":"12345678"}',
  '{"a":"[{[{[,,,"}',
  String.raw`{"a":"\"\"[{["}`,
  String.raw`{"\\":"\\","b":[]}`,
])("%s is within", (text) => expect(() => check(text)).not.toThrow());

test.each([
  ['{"a":[{"b":[[]]}]}', "nested too deeply"],
  ["[[[[[", "nested too deeply"],
  ["[1,2,3,4,5,6,7]", "more than 6 names and items"],
  ['{"a":1,"b":2,"c":[4,5,6,7]}', "more than 6 names and items"],
  ["[[],[],[],[]]", "more than 6 names and items"],
  ['{"123456789":1}', "a string of more than 8 bytes"],
  ['{"a":"123456789"}', "a string of more than 8 bytes"],
  ['{"a":"éééé.', "a string of more than 8 bytes"],
  [String.raw`{"a":"\"123456\"78"}`, "a string of more than 8 bytes"],
])("%s is beyond: %s", (text, why) => expect(() => check(text)).toThrow(why));

test("what a value holds is told as it is, whatever it holds", () => {
  const sizes = (value: unknown): { depth: number; members: number; string: number } => {
    if (typeof value === "string")
      return { depth: 0, members: 0, string: Buffer.byteLength(JSON.stringify(value)) - 2 };
    if (typeof value !== "object" || value === null) return { depth: 0, members: 0, string: 0 };
    const entries = Object.entries(value);
    const below = [
      ...entries.map(([, each]) => sizes(each)),
      ...(Array.isArray(value) ? [] : Object.keys(value).map(sizes)),
    ];
    return {
      depth: 1 + Math.max(0, ...below.map(({ depth }) => depth)),
      members: Math.max(1, entries.length) + below.reduce((sum, { members }) => sum + members, 0),
      string: Math.max(0, ...below.map(({ string }) => string)),
    };
  };
  fc.assert(
    fc.property(fc.json(), (text) => {
      const { depth, members, string: stringBytes } = sizes(JSON.parse(text));
      const exact = { depth, members, stringBytes };
      const plain = JSON.stringify(JSON.parse(text));
      check(plain, exact);
      if (depth > 0) expect(() => check(plain, { ...exact, depth: depth - 1 })).toThrow("deeply");
      if (members > 0) expect(() => check(plain, { ...exact, members: members - 1 })).toThrow("names and items");
      if (stringBytes > 0) expect(() => check(plain, { ...exact, stringBytes: stringBytes - 1 })).toThrow("a string");
    }),
  );
});

test("long strings end where they end, however they are escaped", () => {
  const piece = fc.constantFrom('"', "\\", "x", "é", "x".repeat(120), "x".repeat(127), "\\".repeat(128), "\n");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.nat(3), (pieces, more) => {
      const string = pieces.join("");
      const stringBytes = Buffer.byteLength(JSON.stringify(string)) - 2;
      const text = JSON.stringify([string, ...Array.from({ length: more }, () => 0)]);
      const exact = { depth: 1, members: more + 1, stringBytes };
      check(text, exact);
      expect(() => check(text, { ...exact, members: more })).toThrow("names and items");
      if (stringBytes > 0) expect(() => check(text, { ...exact, stringBytes: stringBytes - 1 })).toThrow("a string");
    }),
  );
});
