import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VaultError } from "../sdk/errors.ts";
import { parsePasswordPolicy, passwordPolicyKind, printPasswordPolicy } from "./password.ts";
import { type CharsetRule, drawPassword, isBounded } from "./sample.ts";

const text = `
length = 20
rule "charset" {
  charset = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 1
}
rule "charset" { charset = "0123456789" min-chars = 2 } // numbers
rule "charset" { charset = "!@#$%^&*\\"" }
`;

const json = JSON.stringify({
  length: 20,
  rule: [
    { charset: { charset: "abcdefghijklmnopqrstuvwxyz", "min-chars": 1 } },
    { charset: [{ charset: "0123456789", "min-chars": 2 }] },
    { charset: { charset: '!@#$%^&*"' } },
  ],
});

const wrong = (given: string): string => {
  try {
    parsePasswordPolicy(given);
  } catch (error) {
    if (error instanceof VaultError && error.code === "invalid") return error.message;
    throw error;
  }
  throw new Error("was allowed");
};

describe("a password policy", () => {
  test("is read from HCL and from JSON, and printed as it is read", () => {
    const rules = parsePasswordPolicy(text);
    expect(rules).toEqual({
      length: 20,
      rules: [
        { charset: "abcdefghijklmnopqrstuvwxyz", min_chars: 1 },
        { charset: "0123456789", min_chars: 2 },
        { charset: '!@#$%^&*"', min_chars: 0 },
      ],
    });
    expect(parsePasswordPolicy(json)).toEqual(rules);
    expect(parsePasswordPolicy(printPasswordPolicy(rules))).toEqual(rules);
  });

  test.each([
    ['length = 3\nrule "charset" { charset = "a" }', "passwords must be between 4 and 100 characters"],
    ['length = 101\nrule "charset" { charset = "a" }', "passwords must be between 4 and 100 characters"],
    ['rule "charset" { charset = "a" }', "passwords must be between 4 and 100 characters"],
    ["length = 8", "no charset specified"],
    ['length = 8\nrule "charset" { min-chars = 1 }', "no charset specified"],
    ['length = 4\nrule "charset" { charset = "a" min-chars = 5 }', "require at least 5 characters but 4 is specified"],
    ['length = 8\nrule "charset" { charset = "a\\u0007" }', "non-printable character in charset"],
    ['length = 8\nrule "charset" { charset = "a" max-chars = 1 }', '2:32: "…" is nothing a rule has'],
    ['length = 8\nrule "words" { charset = "a" }', "no rule is called"],
    ['length = "8"', "needs a whole number"],
    ["length = 8\nlength", "password policy: 2:"],
    [
      `length = 8\nrule "charset" { charset = "${String.fromCodePoint(...Array.from({ length: 257 }, (_, at) => 0x4e00 + at))}" }`,
      "limited to 256 characters",
    ],
    [`length = 100\n${'rule "charset" { charset = "ab" min-chars = 9 }\n'.repeat(11)}`, "too many combinations"],
    ["a".repeat(65_537), "more than 65536 characters"],
  ])("%s is refused", (given, why) => {
    expect(wrong(given)).toContain(why);
    expect(wrong(given)).toMatch(/^invalid password policy: /);
  });

  test("in Git has no slash in its name", () => {
    const spec = { length: 8, rules: [{ charset: "ab", min_chars: 1 }] };
    const declaration = {
      kind: "PasswordPolicy",
      mount: null,
      metadata: { name: "a" },
      spec,
      secrets: {},
      source: null,
    };
    expect(passwordPolicyKind.check?.({ ...declaration, name: "a" })).toEqual([]);
    expect(passwordPolicyKind.check?.({ ...declaration, name: "a/b" })).toHaveLength(1);
  });
});

describe("a password", () => {
  const sets = fc.array(
    fc.record({ charset: fc.constantFrom("ab", "abc", "xyz", "0123456789", "z0é😀"), min_chars: fc.nat(4) }),
    { minLength: 1, maxLength: 5 },
  );
  const count = (password: string, { charset }: CharsetRule): number =>
    Array.from(password).filter((one) => Array.from(charset).includes(one)).length;

  test("has its length, and what each rule asks for, whatever the rules", () => {
    fc.assert(
      fc.property(sets, fc.nat(10), (rules, more) => {
        const length =
          Math.max(
            4,
            rules.reduce((sum, rule) => sum + rule.min_chars, 0),
          ) + more;
        fc.pre(isBounded({ length, rules }));
        const password = drawPassword({ length, rules }) ?? "";
        expect(Array.from(password)).toHaveLength(length);
        for (const rule of rules) expect(count(password, rule)).toBeGreaterThanOrEqual(rule.min_chars);
        const all = new Set(rules.flatMap(({ charset }) => Array.from(charset)));
        for (const one of password) expect(all.has(one)).toBe(true);
      }),
    );
  });

  test("is any of those that fit, each as likely as the others", () => {
    // All 4-letter words of a, b, c, 1 with an a and two of a and 1, by hand.
    const rules = [
      { charset: "abc", min_chars: 0 },
      { charset: "a", min_chars: 1 },
      { charset: "a1", min_chars: 2 },
    ];
    const letters = ["a", "b", "c", "1"];
    const words = letters.flatMap((a) =>
      letters.flatMap((b) => letters.flatMap((c) => letters.map((d) => a + b + c + d))),
    );
    const fitting = words.filter((word) => rules.every((rule) => count(word, rule) >= rule.min_chars));
    const seen = new Map<string, number>(fitting.map((word) => [word, 0]));
    const draws = 400 * fitting.length;
    for (let at = 0; at < draws; at++) {
      const word = drawPassword({ length: 4, rules }) ?? "";
      const before = seen.get(word);
      if (before === undefined) throw new Error(`${word} does not fit`);
      seen.set(word, before + 1);
    }
    // Chi-squared: its mean is the degrees of freedom; 10 deviations come by chance once in 10 ** 13 times.
    const chi = [...seen.values()].reduce((sum, got) => sum + (got - 400) ** 2 / 400, 0);
    const freedom = fitting.length - 1;
    expect(Math.abs(chi - freedom)).toBeLessThan(10 * Math.sqrt(2 * freedom));
  });

  test("is found where chance would never find one, and null where there is none", () => {
    const digits = [
      { charset: "0123456789", min_chars: 40 },
      { charset: "abcdefghijklmnopqrstuvwxyz", min_chars: 0 },
    ];
    expect(drawPassword({ length: 40, rules: digits })).toMatch(/^\d{40}$/);
    expect(
      drawPassword({
        length: 4,
        rules: [
          { charset: "a", min_chars: 3 },
          { charset: "b", min_chars: 2 },
        ],
      }),
    ).toBeNull();
  });
});
