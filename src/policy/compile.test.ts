import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse, schemaOf } from "../sdk/fields.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Json } from "../sdk/view.ts";
import {
  compilePolicy,
  compileRules,
  defaultPolicy,
  defaultPolicyText,
  policyFields,
  policyKind,
  printPolicy,
  rootPolicy,
} from "./compile.ts";
import { parsePolicy } from "./hcl.ts";
import { merge } from "./match.ts";

function declare(rules: readonly object[], name = "team", git = true): Declaration {
  const { values } = parse(policyFields, { rules });
  return {
    kind: "Policy",
    mount: null,
    name,
    metadata: { name },
    spec: values as unknown as Record<string, Json>,
    secrets: {},
    source: git ? { file: "policies/team.yaml", line: 1, column: 1 } : null,
  };
}

const messages = (rules: readonly object[], name = "team", git = true): string[] =>
  (policyKind.check?.(declare(rules, name, git)) ?? []).map((fault) => `${fault.path.join(".")}: ${fault.message}`);

test("a rule names at most so many fields, wherever it is written; what is stored compiles", () => {
  const names = (count: number): string[] => Array.from({ length: count }, (_none, at) => `n${at}`);
  const lists = (count: number): object => Object.fromEntries(names(count).map((name) => [name, []]));
  const rule = { path: "a", capabilities: ["read"] };
  for (const git of [true, false]) {
    const told = (more: object): readonly string[] => messages([{ ...rule, ...more }], "team", git);
    expect(told({ allowed_parameters: lists(4096), required_parameters: names(4096) })).toEqual([]);
    expect(told({ allowed_parameters: lists(4097) })).toEqual(["rules.0: allowed_parameters has more than 4096 names"]);
    expect(told({ denied_parameters: lists(4097) })).toEqual(["rules.0: denied_parameters has more than 4096 names"]);
    expect(told({ required_parameters: names(4097) })).toEqual([
      "rules.0: required_parameters has more than 4096 names",
    ]);
  }
  expect(compilePolicy(declare([{ ...rule, denied_parameters: lists(5000) }])).rules).toHaveLength(1);
});

describe("check in Git", () => {
  test.each([
    [[{ path: "a/+*", capabilities: ["read"] }], /^rules\.0: `\+\*` is not a wildcard/],
    [
      [{ path: "a/*/b", capabilities: ["read"] }],
      /^rules\.0\.path: "a\/\*\/b": `\*` is a wildcard only at the very end/,
    ],
    [[{ path: "a/**", capabilities: ["read"] }], /only at the very end/],
    [[{ path: "", capabilities: ["read"] }], /is empty/],
    [[{ path: "a//b", capabilities: ["deny"] }], /^rules\.0\.path: "a\/\/b": no request has such a path/],
    [[{ path: "a//*", capabilities: ["read"] }], /no request has such a path/],
    [[{ path: "a/../b", capabilities: ["read"] }], /no request has such a path/],
    [[{ path: "./a", capabilities: ["read"] }], /no request has such a path/],
    [[{ path: "a/.", capabilities: ["read"] }], /no request has such a path/],
    [[{ path: "a ", capabilities: ["read"] }], /spaces at its ends/],
    [[{ path: "a", capabilities: [] }], /^rules\.0\.capabilities: no capability: write \[deny\]/],
    [
      [
        { path: "a", capabilities: ["read"] },
        { path: "b", capabilities: ["read"] },
        { path: "/a", capabilities: ["list"] },
      ],
      /^rules\.2\.path: an earlier rule has the same path "a"; make them one/,
    ],
    [
      [{ path: "{{identity.entity.nmae}}/x", capabilities: ["read"] }],
      /no such template: \{\{identity\.entity\.nmae\}\}/,
    ],
    [[{ path: "{{identity.entity.name}}/x", capabilities: ["deny"] }], /a rule that denies takes no template/],
    [[{ path: "}}", capabilities: ["read"] }], /do not pair up/],
    [
      [{ path: "a", capabilities: ["read"], allowed_parameters: { x: "y" } }],
      /allowed_parameters needs a list of values/,
    ],
    [[{ path: "a", capabilities: ["read"], denied_parameters: ["x"] }], /denied_parameters needs a list of values/],
    [[{ path: "é".repeat(2049), capabilities: ["read"] }], /longer than 4096 bytes/],
  ])("%j", (rules, message) => {
    expect(messages(rules)).toHaveLength(1);
    expect(messages(rules)[0]).toMatch(message);
  });

  test("tells everything that is wrong at once", () => {
    const rules = [
      { path: "+*", capabilities: ["read"] },
      { path: "x", capabilities: ["deny"], expires: "tomorrow" },
      { path: "y", capabilities: [] },
      { path: "{{identity.entity.nmae}}/x", capabilities: ["read"] },
      { path: "}}", capabilities: ["read"] },
    ];
    expect(messages(rules, "root").map((message) => message.split(":")[0])).toEqual([
      "",
      "rules.0",
      "rules.1.expires",
      "rules.1.expires",
      "rules.4",
      "rules.2.capabilities",
      "rules.3.path",
    ]);
  });

  test("lets good rules pass, and they compile", () => {
    const rules = [
      { path: "secret/data/{{identity.entity.name}}/*", capabilities: ["read"] },
      { path: "secret/a+b", capabilities: ["deny", "read"] },
      { path: "secret/.a/b..c/...", capabilities: ["read"] },
      { path: "secret/metadata/a/", capabilities: ["list"] },
      { path: "*", capabilities: ["list"], allowed_parameters: { x: ["y", 1], "*": [] } },
    ];
    expect(messages(rules)).toEqual([]);
    expect(compilePolicy(declare(rules)).specs).toHaveLength(5);
  });

  test("refuses names that are taken or that no list could hold", () => {
    const rules = [{ path: "a", capabilities: ["read"] }];
    for (const name of ["root", " ROOT", "response-wrapping"]) expect(messages(rules, name)[0]).toContain("built in");
    for (const name of ["", "a,b", "a\nb"]) expect(messages(rules, name)[0]).toContain("without commas");
    expect(messages(rules, "default")).toEqual([]);
    expect(() => compilePolicy(declare(rules, "Root"))).toThrow('"root" cannot be changed');
  });
});

test("the API is held to Vault's rules only", () => {
  const rules = [
    { path: "a/*/b", capabilities: [] },
    { path: "a/*/b", capabilities: ["read"] },
    { path: "{{identity.entity.nmae}}/x", capabilities: ["deny"] },
  ];
  expect(messages(rules, "team", false)).toEqual([]);
  expect(messages([{ path: "+*", capabilities: ["read"] }], "team", false)).toHaveLength(1);
  expect(() => compileRules("x", [{ path: "+*", capabilities: ["read"] }])).toThrow('policy "x", path "+*": `+*`');
});

test("the ceiling is sudo on anything below sys", () => {
  const above = [
    "*",
    "sys/*",
    "s*",
    "+/mounts",
    "sys/mounts",
    "/sys/x",
    "+",
    "sys",
    "{{identity.entity.name}}/x",
    "s{{identity.entity.name}}",
  ];
  const below = [
    "system/*",
    "secret/*",
    "auth/+/x",
    "sys1/+",
    "t{{identity.entity.name}}/x",
    "secret/{{identity.entity.name}}",
  ];
  const faults = (path: string, capabilities: string[]): number =>
    policyKind.ceiling?.(declare([{ path, capabilities }])).length ?? -1;
  for (const path of above) expect(faults(path, ["read", "sudo"]), path).toBe(1);
  for (const path of above) expect(faults(path, ["read"]), path).toBe(0);
  for (const path of above) expect(faults(path, ["deny", "sudo"]), path).toBe(0);
  for (const path of below) expect(faults(path, ["sudo"]), path).toBe(0);
});

test("the schema refuses unknown capabilities and fields", () => {
  const validate = new Ajv2020({ strict: false }).compile(schemaOf(policyFields));
  expect(validate({ rules: [{ path: "a", capabilities: ["read"] }] })).toBe(true);
  expect(validate({ rules: [{ path: "a", capabilities: ["raed"] }] })).toBe(false);
  expect(validate({ rules: [{ path: "a", capabilities: ["read"], wehn: {} }] })).toBe(false);
  expect(validate({ rules: [{ path: "a" }] })).toBe(false);
});

test("default lets a token mind itself, and no more", () => {
  const bindings = { entity: { id: "e1", name: "al", metadata: {}, aliases: [] }, groups: [] };
  const acl = merge([defaultPolicy], bindings);
  const may = (path: string): string => acl.capabilities(path).join();
  expect(may("auth/token/lookup-self")).toBe("read");
  expect(may("auth/token/renew-self")).toBe("update");
  expect(may("auth/token/revoke-self")).toBe("update");
  expect(may("sys/capabilities-self")).toBe("update");
  expect(may("cubbyhole/any/thing")).toBe("create,delete,list,read,update");
  expect(may("identity/entity/id/e1")).toBe("read");
  expect(may("identity/entity/id/e2")).toBe("deny");
  expect(may("auth/token/create")).toBe("deny");
  expect(may("sys/mounts")).toBe("deny");
  expect(acl.reachable("secret/")).toBe(false);
  expect(parsePolicy(defaultPolicyText)).toEqual({ rules: defaultPolicy.specs });
});

test("what is printed of root is empty, and root allows all", () => {
  expect(printPolicy(rootPolicy)).toBe("");
  const acl = merge([defaultPolicy, rootPolicy]);
  expect(acl.root).toBe(true);
  expect(acl.check("sys/seal", "update")).toEqual({
    allowed: true,
    sudo: true,
    rule: { path: "*", policies: ["root"] },
  });
  expect(acl.capabilities("x")).toEqual(["root"]);
  expect(acl.reachable("x/")).toBe(true);
});
