import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpuOf } from "../../test/cpu.ts";
import { isVaultError } from "../sdk/errors.ts";
import { capabilities } from "./capability.ts";
import type { Json } from "../sdk/view.ts";
import { compileRules } from "./compile.ts";
import { limits } from "./compiler.ts";
import { parsePolicy } from "./hcl.ts";
import { printRules } from "./print.ts";
import type { RuleSpec } from "./rule.ts";

const errorOf = (text: string): string => {
  try {
    parsePolicy(text);
  } catch (error) {
    if (isVaultError(error, "invalid")) return error.message;
    throw error;
  }
  return "no error";
};

test("reads what people write", () => {
  const text = `
    # the team
    name = "dev" // twice: see below
    /* all
       of it */
    path "secret/*" {
      capabilities = ["read", "list",]
      comment      = <<-EOT
        why
      EOT
    }
    "path" "/a\\"b\\u00e9" { "capabilities" = ["deny"], policy = "write" }
    path "x" { capabilities = [] allowed_parameters { a = [1, -2.5, 0x10, true, "s", { k = "v" }, [1]], "*" = [] }, }
  `;
  expect(parsePolicy(`\uFEFF${text.replaceAll("\n", "\r\n")}`).rules).toEqual([
    { path: "secret/*", capabilities: ["read", "list"] },
    { path: '/a"bé', capabilities: ["deny", "create", "read", "update", "delete", "list"] },
    {
      path: "x",
      capabilities: [],
      allowed_parameters: { a: [1, -2.5, 16, true, "s", { k: "v" }, [1]], "*": [] },
    },
  ]);
  expect(parsePolicy("")).toEqual({ rules: [] });
});

test("reads a condition as an object, as a block, and as JSON in a text", () => {
  const when = { in: [{ var: "time.weekday" }, ["mon", "tue"]] };
  for (const text of [
    'when = { in = [{ var = "time.weekday" }, ["mon", "tue"]] }',
    'when { "in" = [{ "var" = "time.weekday" }, ["mon", "tue",]] }',
    'when = "{\\"in\\": [{\\"var\\": \\"time.weekday\\"}, [\\"mon\\", \\"tue\\"]]}"',
    'when = <<EOT\n{"in": [{"var": "time.weekday"},\n ["mon", "tue"]]}\nEOT',
  ]) {
    const policy = parsePolicy(
      `time_zone = "Europe/Zurich"\npath "a" { capabilities = ["read"]\n expires = "2027-01-31T00:00:00Z"\n ${text}\n }`,
    );
    expect(policy).toEqual({
      rules: [{ path: "a", capabilities: ["read"], expires: "2027-01-31T00:00:00Z", when }],
      time_zone: "Europe/Zurich",
    });
  }
});

test("reads JSON, one object or several", () => {
  const rules = [
    { path: "a", capabilities: ["read"] },
    { path: "b", capabilities: ["deny"] },
    { path: "b", capabilities: ["read", "list"], required_parameters: ["x"] },
  ];
  expect(
    parsePolicy(
      '{"name":"n","path":{"a":{"capabilities":["read"]},"b":[{"policy":"deny"},{"policy":"read","required_parameters":["x"]}]}}',
    ).rules,
  ).toEqual(rules);
  expect(
    parsePolicy(
      ' {"path":[{"a":{"capabilities":["read"]}},{"b":[{"policy":"deny"},{"policy":"read","required_parameters":["x"]}]}]}',
    ).rules,
  ).toEqual(rules);
});

describe("says where and what", () => {
  test.each([
    ['path "a" {\n  capabilities = ["raed"]\n}', '2:19: no capability is called "…"'],
    ['path "a" {\n  capabilites = ["read"]\n}', '2:3: "…" is no field of a path'],
    ['bad = "foo"', '1:1: "…" is nothing a policy has'],
    ["name{}", '1:5: "name" needs text'],
    ['path "a" { policy = "banana" }', '1:21: "policy" is one of deny, read, write, sudo'],
    ['path "a" { capabilities = "read" }', '1:27: "capabilities" needs a list'],
    ['path "a" { capabilities = [read] }', "1:28: put this word in quotation marks"],
    ['path "a" { capabilities = ["read" "list"] }', '1:35: expected "," or "]", found "\\""'],
    ['path "a" { capabilities = ["read"]', "1:35: expected a name, found the end of the text"],
    ['path "a', "1:6: this text has no closing"],
    ['path "a\n" {}', "1:6: this text has no closing"],
    ['path "a\\q" {}', "1:8: \\q is no escape"],
    ['path "\\uD8" {}', "1:7: \\u needs 4 hexadecimal digits"],
    ['path a { capabilities = ["read"] }', "1:1: put the text before the block in quotation marks"],
    ['path { capabilities = ["read"] }', "1:1: expected one path"],
    ['path "a" "b" {}', "1:1: expected one path"],
    ['path "a" = "b"', "1:10: expected `=` or `{`"],
    ['path "foo/+*" { capabilities = ["read"] }', '1:1: path "…": `+*` is not a wildcard'],
    ['path "{{a" { capabilities = ["read"] }', '1:1: path "…": `{{` and `}}` do not pair up'],
    ['path "a" { capabilities = ["read"]\n mfa_methods = ["a"] }', '2:2: "mfa_methods" is not enforced by this vault'],
    ['path "a" { capabilities = ["read"] min_wrapping_ttl = "0.5s" }', '"min_wrapping_ttl" needs whole seconds'],
    ['path "a" { capabilities = ["read"] max_wrapping_ttl = "soon" }', '"max_wrapping_ttl" needs whole seconds'],
    [
      'path "a" { capabilities = ["read"] min_wrapping_ttl = 2 max_wrapping_ttl = 1 }',
      "max_wrapping_ttl cannot be less than min_wrapping_ttl",
    ],
    ['path "a" { expiration = "2030-01-01T00:00:00Z" }', '1:12: "expiration" is not enforced'],
    ['path "a" { capabilities = ["read"] capabilities = ["list"] }', '1:36: "capabilities" stands twice'],
    ['path "a" { allowed_parameters = { b = "c" } }', '1:39: "b" in "allowed_parameters" needs a list'],
    ['path "a" { allowed_parameters = { b = [], b = [1] } }', '1:43: "b" stands twice'],
    ['path "a" { denied_parameters = { "\\\\" = [] } }', "1:34: a name must not be a backslash alone"],
    ['{"path":{"a":{"denied_parameters":{"b":[{"\\u005c":1}]}}}}', "1:42: a name must not be a backslash alone"],
    ['path "a" { allowed_parameters = { b = [-1e999] } }', "1:40: this number is too large"],
    ["name = <<EOT\nx\n", "1:8: no line ends this text with EOT"],
    [`path "a" { allowed_parameters = { a = ${"[".repeat(40)}`, "nested deeper than 32"],
    ['{"path": {"a": {"capabilities": ["read"],}}}', "1:42: expected another entry after the comma"],
    ['{"path": {"a" {"capabilities": ["read"]}}}', '1:15: expected ":" after the name'],
    ['{"path": {a: {}}}', "1:11: expected a name"],
    ['{"path": {}} # more', '1:14: expected the end of the text, found "#"'],
    ['{"path": {"a": {"capabilities": ["read"], "wehn": {}}}}', '1:43: "…" is no field of a path'],
    ['{"path": {"a": {"capabilities": ["read"], "when": {}}}}', "1:51: when: an empty map; write one operator"],
    [
      'path "a" {\n  capabilities = ["read"]\n  when = { "and" = [{ "==" = [{ "var" = "time.hour" }, "8"] }] }\n}',
      "3:56: when.and.0.==.1: is text, compared with a number",
    ],
    ['path "a" { when { and { x = 1 } and { x = 2 } } }', '1:33: "and" stands twice here'],
    [
      `path "a" { when = <<E\n{"and": [{"==": [1, 2]}],\n "and": []}\nE\n }`,
      '1:19: "when" is no JSON object: 2:2: "and" stands twice here',
    ],
    ['path "a" { when = "a = 1" }', '1:19: "when" needs an object, or JSON in a text'],
    ['path "a" { expires = "2027-02-30T00:00:00Z" }', "1:22: expires: is no instant"],
    ['path "a" { expires = 2027 }', '1:22: "expires" needs text in quotation marks'],
    [
      'path "a" { capabilities = ["deny"]\n expires = "2027-01-31T00:00:00Z" }',
      "2:12: expires: a rule that denies takes no expires",
    ],
    [
      'path "a" { policy = "deny" when = { "==" = [{ "var" = "time.hour" }, 8] } }',
      "1:35: when: a rule that denies takes no when",
    ],
    ['time_zone = "Europe/Zurihc"', "1:13: no time zone is called"],
    ['time_zone = "UTC" time_zone = "UTC"', '1:19: "time_zone" stands twice'],
  ])("%s", (text, message) => {
    expect(errorOf(text)).toContain(`failed to parse policy: `);
    expect(errorOf(text)).toContain(message);
  });

  test("with the name, if it has one, and up to a length", () => {
    expect(() => parsePolicy("x", "mine")).toThrow('failed to parse policy "mine": 1:2: expected');
    expect(errorOf(" ".repeat(1_048_577))).toContain("at most 1048576 characters");
  });
});

test("parses and refuses in time that grows with the text only", () => {
  const texts = [
    "# x\n".repeat(200_000),
    "/*".repeat(400_000),
    'path "a" { capabilities = ["read"] }\n'.repeat(20_000),
  ];
  const [, time] = cpuOf(() => texts.map(errorOf));
  expect(time).toBeLessThan(5000);
});

/** What a policy cannot name. */
const fieldName = fc.string().filter((name) => name !== "\\");
const anyJson = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.string(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fieldName, tie("value"), { maxKeys: 3 }),
  ),
})).value;
const parameters = fc.option(fc.dictionary(fieldName, fc.array(anyJson, { maxLength: 3 }), { maxKeys: 3 }), {
  nil: undefined,
});
const conditions = fc.option(
  fc.constantFrom(
    { "==": [{ var: "time.hour" }, 8] },
    { and: [{ cidr: [{ var: "request.remote_address" }, "10.0.0.0/8"] }, { "!": { var: ["token.orphan"] } }] },
    { some: [{ var: "identity.groups" }, { starts_with: [{ var: "" }, '"\n\u2028{{'] }] },
  ),
  { nil: undefined },
);
const rule = fc
  .record({
    when: conditions,
    expires: fc.option(fc.constant("2027-01-31T00:00:00+01:00"), { nil: undefined }),
    path: fc.string({ unit: "grapheme" }).filter((path) => !path.includes("+*") && !/\{\{|\}\}|^\\$/.test(path)),
    capabilities: fc.subarray([...capabilities]),
    allowed_parameters: parameters,
    denied_parameters: parameters,
    required_parameters: fc.option(fc.array(fc.string(), { maxLength: 3 }), { nil: undefined }),
    min_wrapping_ttl: fc.option(fc.integer({ min: 0, max: 50 }), { nil: undefined }),
    max_wrapping_ttl: fc.option(fc.integer({ min: 50, max: 90 }), { nil: undefined }),
  })
  .map((fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)))
  .filter(({ capabilities: own, when, expires }) =>
    (own as string[]).includes("deny") ? when === undefined && expires === undefined : true,
  );

test("reads back what is printed, as HCL and as JSON", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 4 }), fc.constantFrom("UTC", "Asia/Tokyo"), (generated, zone) => {
      const rules = generated as unknown as RuleSpec[];
      const plain = JSON.parse(JSON.stringify(rules)) as unknown;
      const printed = parsePolicy(printRules(rules, zone));
      expect(JSON.parse(JSON.stringify(printed.rules))).toEqual(plain);
      expect(printed.time_zone ?? "UTC").toBe(zone);
      const members = rules.map(({ path, ...body }) => ({ [path]: body }));
      const json = parsePolicy(JSON.stringify({ path: members, time_zone: zone }));
      expect(JSON.parse(JSON.stringify(json.rules))).toEqual(plain);
      expect(json.time_zone).toBe(zone);
    }),
    { numRuns: 300 },
  );
});

test("a condition as deep as it may be is printed and read back", () => {
  let when: Json = { var: "token.orphan" };
  for (let depth = 1; depth < limits.depth; depth += 1) when = { and: [when] };
  const rules: RuleSpec[] = [{ path: "a", capabilities: ["read"], when }];
  compileRules("deep", rules);
  expect(parsePolicy(printRules(rules)).rules).toEqual(rules);
  const json = { path: [{ a: [{ capabilities: ["read"], when }] }] };
  expect(parsePolicy(JSON.stringify(json)).rules).toEqual(rules);
});

test("reads as many rules, lines and names as a text can have", () => {
  const json = `{"path":{${'"a":{},'.repeat(140_000)}"b":{}}}`;
  expect(parsePolicy(json).rules).toHaveLength(140_001);
  const lines = `path "a" { comment = <<-E\n${"  x\n".repeat(200_000)}  E\n}`;
  expect(parsePolicy(lines).rules).toEqual([{ path: "a", capabilities: [] }]);
  const fields = Array.from({ length: 90_000 }, (_none, at) => `"${at.toString(36)}"=[]`);
  const names = `path "a" { denied_parameters = { ${fields.join(" ")} } }`;
  expect(Object.keys(parsePolicy(names).rules[0]?.denied_parameters ?? {})).toHaveLength(90_000);
  expect(errorOf(names.replace('"1"=[]', '"1"=[] "0"=[]'))).toContain('stands twice in "denied_parameters"');
});

test("never throws anything but a VaultError, whatever comes", () => {
  const pieces = fc.constantFrom(
    "path",
    '"a"',
    "{",
    "}",
    "[",
    "]",
    "=",
    ",",
    ":",
    '"',
    "\\",
    "<<E\n",
    "E\n",
    "#",
    "/*",
    "{{",
    "+*",
    "1",
    "-",
    "\n",
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ unit: "binary" }))), (parts) => {
      const text = parts.join("");
      if (errorOf(text) === "no error") compileRules("fuzz", parsePolicy(text).rules);
    }),
    { numRuns: 500 },
  );
});
