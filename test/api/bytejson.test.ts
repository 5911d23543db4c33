import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBase64, decodeHex, encodeBase64, encodeHex, scanObject } from "../../src/lib/bytejson.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (raw: Uint8Array): string => new TextDecoder().decode(raw);

describe("scanObject", () => {
  it("reads members by name, and the last of a repeated name", () => {
    const found = scanObject(bytes(' { "key" : "ab\\/c" , "n":-1.5e2,"reset":true, "x": null, "n": 3 }\n'), [
      "key",
      "n",
      "reset",
      "x",
      "y",
    ]);
    expect(found?.key?.type === "string" && text(found.key.raw)).toBe("ab\\/c");
    expect(found?.n).toEqual({ type: "number", value: 3 });
    expect(found?.reset).toEqual({ type: "boolean", value: true });
    expect(found?.x).toEqual({ type: "null" });
    expect(found?.y).toBeUndefined();
  });

  it("tells empty containers from filled ones, at any depth", () => {
    const found = scanObject(bytes('{"a":[],"b":{},"c":[{"key":1}],"d":{"key":[2]}}'), ["a", "b", "c", "d", "key"]);
    expect(found).toEqual({
      a: { type: "nested", empty: true },
      b: { type: "nested", empty: true },
      c: { type: "nested", empty: false },
      d: { type: "nested", empty: false },
    });
  });

  it("agrees with JSON.parse on what is an object", () => {
    const accepted = (input: string): boolean => {
      try {
        const value: unknown = JSON.parse(input);
        return typeof value === "object" && value !== null && !Array.isArray(value);
      } catch {
        return false;
      }
    };
    const piece = fc.constantFrom(
      ...Array.from('{}[]:,"\\ \n\t01-+.eEaufntrlse'),
      "true",
      "null",
      '"a":',
      "{}",
      "é",
      "\u0001",
      "\\u00",
      "1.5",
    );
    const damaged = fc.tuple(fc.object({ maxDepth: 3 }), fc.nat(), fc.nat(3), piece).map(([value, at, cut, insert]) => {
      const whole = JSON.stringify(value);
      const place = at % (whole.length + 1);
      return whole.slice(0, place) + insert + whole.slice(place + cut);
    });
    const input = fc.oneof(
      damaged,
      fc.object({ maxDepth: 4 }).map((value) => JSON.stringify(value)),
      fc.array(piece).map((all) => `{${all.join("")}`),
    );
    let yes = 0;
    let no = 0;
    fc.assert(
      fc.property(input, (whole) => {
        const expected = accepted(whole);
        if (expected) yes++;
        else no++;
        expect(scanObject(bytes(whole), ["a"]) !== null, whole).toBe(expected);
      }),
      { numRuns: 5000 },
    );
    expect(yes).toBeGreaterThan(500);
    expect(no).toBeGreaterThan(500);
  });

  it("refuses invalid UTF-8, a byte order mark and bottomless nesting", () => {
    expect(scanObject(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), ["a"])).toBeNull();
    expect(scanObject(bytes("\ufeff{}"), ["a"])).toBeNull();
    expect(scanObject(bytes(`{"a":${"[".repeat(31)}${"]".repeat(31)}}`), ["a"])).not.toBeNull();
    expect(scanObject(bytes(`{"a":${"[".repeat(33)}${"]".repeat(33)}}`), ["a"])).toBeNull();
    expect(scanObject(bytes(`{"a":${"[".repeat(200_000)}`), ["a"])).toBeNull();
  });
});

describe("hex and base64", () => {
  it("are Node's, both ways, in fresh memory", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 70 }), (input) => {
        const hex = Buffer.from(input).toString("hex");
        const base64 = Buffer.from(input).toString("base64");
        expect(text(encodeHex(input))).toBe(hex);
        expect(text(encodeBase64(input))).toBe(base64);
        for (const raw of [bytes(hex), bytes(hex.toUpperCase())]) expect(decodeHex(raw)).toEqual(input);
        const raw = bytes(base64);
        const out = decodeBase64(raw);
        expect(out).toEqual(input);
        raw.fill(0);
        expect(out).toEqual(input);
      }),
    );
  });

  it("resolve the escapes that encoders write into base64", () => {
    expect(decodeBase64(bytes("\\u002b\\/+\\u002F"))).toEqual(decodeBase64(bytes("+/+/")));
    expect(decodeHex(bytes("\\u0061b"))).toEqual(Uint8Array.of(0xab));
  });

  it.each([
    "",
    "A",
    "AA",
    "AAA",
    "A===",
    "====",
    "AA=A",
    "AA==AA==",
    "AB==",
    "AAB=",
    "AA-_",
    "AA A",
    "AAAA\n",
    "\\u00e9AA",
    "é",
  ])("base64 %j is none", (input) => expect(decodeBase64(bytes(input))).toBeNull());
  it.each(["", "a", "abc", "0x", "gg", "ab ", "\\nab"])("hex %j is none", (input) =>
    expect(decodeHex(bytes(input))).toBeNull(),
  );
});
