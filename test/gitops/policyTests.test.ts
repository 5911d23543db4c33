// Conditions and policy tests in documents, with the kinds that the program has: where a fault is shown, what a test of a
// policy reports, and that it reaches no vault.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { check } from "../../src/cli/check.ts";
import { compile } from "../../src/gitops/compile.ts";
import type { Source } from "../../src/gitops/source.ts";
import { createWorkshop } from "../../src/gitops/workshop.ts";
import { kinds } from "../../src/registry.ts";

const compiled = (...texts: readonly string[]) =>
  compile([{ path: "a.yaml", bytes: Buffer.from(texts.join("\n---\n")) }], kinds);
const problemsOf = (...texts: readonly string[]): string[] =>
  compiled(...texts).problems.map(({ line, column, message }) => `${line}:${column}: ${message}`);

const policy = (rules: string, more = "", name = "p"): string =>
  `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: ${name} }\nspec:\n  ${more}\n  rules:\n${rules}`;
const policyTest = (spec: string): string =>
  `apiVersion: writ/v1\nkind: PolicyTest\nmetadata: { name: t }\nspec:\n${spec}`;

describe("a fault of a condition", () => {
  test.each([
    [
      "    - { path: a, capabilities: [read], when: { in: [{ var: time.weekday }, [mon, tues]] } }",
      '7:82: spec.rules[0].when.in[1][1]: "tues" is not a weekday; did you mean tue?',
    ],
    [
      "    - path: a\n      capabilities: [read]\n      when:\n        and:\n          - var: token.orphan\n          - cidr:\n              - var: request.remote_address\n              - [10.0.0.0/8, 10.0.0.0/80]",
      '14:30: spec.rules[0].when.and[1].cidr[1][1]: "10.0.0.0/80" is no range; write one like 10.0.0.0/8, or a list of them',
    ],
    [
      "    - path: a\n      capabilities: [read]\n      when:\n        or:\n          - var: token.orphan\n        and:\n          - var: token.orphan",
      '12:9: spec.rules[0].when.and: two operators in one map; put them into a list below "and" or "or", such as { in: [{ var: time.weekday }, [mon, tue]] }',
    ],
    ["    - { path: a, capabilities: [read], when: }", "7:40: spec.rules[0].when: has no value"],
    ["    - { path: a, capabilities: [read], when: true }", "7:46: spec.rules[0].when: asks for no fact"],
    [
      "    - { path: a, capabilities: [deny], expires: 2027-01-31T00:00:00Z }",
      "7:49: spec.rules[0].expires: a rule that denies takes no expires: it would open what it closes",
    ],
    [
      "    - { path: a, capabilities: [deny], when: { var: token.orphan } }",
      "7:46: spec.rules[0].when: a rule that denies takes no when",
    ],
    ["    - { path: a, capabilities: [read], expires: 2027-01-31 }", "7:49: spec.rules[0].expires: is no instant"],
  ])("%s", (rules, problem) => {
    const [first, second] = problemsOf(policy(rules));
    expect(first).toContain(problem);
    expect(second).toBeUndefined();
  });

  test("and of a time zone", () => {
    const rules = "    - { path: a, capabilities: [read] }";
    expect(problemsOf(policy(rules, "time_zone: Europe/Zurihc"))[0]).toMatch(
      /^5:14: spec\.time_zone: no time zone is called "Europe\/Zurihc"; .*did you mean Europe\/Zurich\?/,
    );
    expect(problemsOf(policy(rules, "time_zone: +01:00"))[0]).toMatch(/^5:14: spec\.time_zone: no time zone/);
    expect(problemsOf(policy(rules, "time_zone: Europe/Zurich"))).toEqual([]);
  });
});

const documents = `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: people }
spec: { type: userpass }
---
apiVersion: writ/v1
kind: UserpassUser
metadata: { name: alice }
spec:
  mount: people
  token_policies: [own]
  password: { from_secret: { path: secret/data/alice, key: password } }
---
apiVersion: writ/v1
kind: Entity
metadata: { name: alice-smith }
spec:
  aliases: [{ mount: people, name: Alice }]
  policies: [direct]
  metadata: { team: red }
---
apiVersion: writ/v1
kind: Entity
metadata: { name: gone }
spec: { policies: [direct], disabled: true }
---
apiVersion: writ/v1
kind: Group
metadata: { name: inner }
spec: { policies: [inner], member_entities: [alice-smith] }
---
apiVersion: writ/v1
kind: Group
metadata: { name: outer }
spec: { policies: [outer], member_groups: [inner] }
---
${policy('    - { path: "direct/{{identity.entity.name}}/*", capabilities: [read] }', "", "direct")}
---
${policy("    - { path: own, capabilities: [read], when: { ==: [{ var: auth.type }, userpass] } }", "", "own")}
---
${policy("    - { path: inner, capabilities: [read, sudo] }\n    - { path: inner/shut, capabilities: [deny] }", "", "inner")}
---
${policy(
  "    - { path: outer, capabilities: [update], allowed_parameters: { a: [x] }, when: { in: [outer, { var: identity.groups }] } }\n    - { path: hours, capabilities: [list], when: { ==: [{ var: time.hour }, 9] }, expires: 2027-01-01T00:00:00Z }",
  "time_zone: Asia/Tokyo",
  "outer",
)}
`;

const answers = (spec: string): string[] =>
  problemsOf(documents.trimEnd(), policyTest(spec)).map((problem) => problem.replace(/^\d+:\d+: /, ""));

describe("a policy test", () => {
  test("asks for an entity, its groups, a login, and policies by name", () => {
    expect(
      answers(`  time: 2026-11-25T00:30:00Z
  principals:
    - { name: alice, login: { mount: people, name: alice } }
    - { name: same, entity: alice-smith }
    - { name: robot, policies: [inner], groups: [outer] }
    - { name: gone, entity: gone }
  tests:
    - { principals: [alice], operations: [read], paths: [own, direct/alice-smith/x, inner, auth/token/lookup-self], expect: allow }
    - { principals: [same], operations: [read], paths: [own, auth/token/lookup-self, direct/bob/x], expect: deny }
    - { principals: [same, robot], operations: [update], paths: [outer], data: { a: x }, expect: allow }
    - { principals: [same, robot], operations: [update], paths: [outer], data: { a: y }, expect: deny }
    - { principals: [same], operations: [read], paths: [inner], sudo: true, expect: allow }
    - { principals: [same], operations: [read], paths: [direct/alice-smith/x], sudo: true, expect: deny }
    - { operations: [read], paths: [inner/shut], expect: deny }
    - { principals: [robot], operations: [list], paths: [hours], expect: allow }
    - { principals: [robot], operations: [list], paths: [hours], time: 2026-11-25T01:00:00Z, expect: deny }
    - { principals: [robot], operations: [list], paths: [hours], time: 2027-11-25T00:30:00Z, expect: deny }
    - { principals: [gone], operations: [read], paths: [direct/gone/x], expect: deny }`),
    ).toEqual([]);
  });

  test("asks for a role, whose login says what the test gives", () => {
    const role = `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: machines }
spec: { type: approle, path: robots }
---
apiVersion: writ/v1
kind: AppRole
metadata: { name: payer }
spec: { mount: robots, token_policies: [pay], token_no_default_policy: true }`;
    const rules = "    - { path: a, capabilities: [read], when: { ==: [{ var: auth.metadata.role_name }, payer] } }";
    const spec = (facts: string, path: string): string =>
      policyTest(`  principals: [{ name: payer, login: { mount: robots, name: payer }, facts: { ${facts} } }]
  tests: [{ operations: [read], paths: [${path}], expect: allow }]`);
    const ask = (facts: string, path = "a"): string[] => problemsOf(role, policy(rules, "", "pay"), spec(facts, path));
    expect(ask("auth.metadata.role_name: payer")).toEqual([]);
    expect(ask("auth.type: approle")[0]).toContain("auth.metadata.role_name is missing");
    expect(ask("auth.type: approle", "auth/token/lookup-self")[0]).toContain("no rule of its policies (pay) matches");
  });

  test("says what decided otherwise", () => {
    expect(
      answers(`  principals:
    - { name: alice, entity: alice-smith, login: { mount: people, name: alice }, facts: { auth.metadata.username: alice } }
    - { name: gone, entity: gone }
    - { name: root, policies: [root] }
  tests:
    - { principals: [alice], operations: [read], paths: [nowhere], expect: allow }
    - { principals: [alice], operations: [delete], paths: [inner], expect: allow }
    - { principals: [alice], operations: [read], paths: [inner/shut], expect: allow }
    - { principals: [alice], operations: [update], paths: [outer], data: { a: y }, expect: allow }
    - { principals: [alice], operations: [list], paths: [hours], expect: allow }
    - { principals: [alice], operations: [list], paths: [hours], time: 2027-01-01T00:00:00Z, expect: allow }
    - { principals: [alice], operations: [list], paths: [hours], time: 2026-12-31T23:59:59Z, expect: allow }
    - { principals: [alice], operations: [read], paths: [own], expect: deny }
    - { principals: [alice], operations: [read], paths: [own], facts: { auth.type: ldap }, expect: allow }
    - { principals: [alice], operations: [read], paths: [direct/alice-smith/x], sudo: true, expect: allow }
    - { principals: [gone], operations: [read], paths: [direct/gone/x], expect: allow }
    - { principals: [root], operations: [read], paths: [any], expect: deny }`),
    ).toEqual([
      'spec.tests[0].paths[0]: alice: read "nowhere" is denied, not as expected: no rule of its policies (default, direct, inner, outer, own) matches',
      'spec.tests[1].paths[0]: alice: delete "inner" is denied, not as expected: the rule "inner" of inner decides: it allows read, sudo, and not delete',
      'spec.tests[2].paths[0]: alice: read "inner/shut" is denied, not as expected: the rule "inner/shut" of inner decides: it denies',
      'spec.tests[3].paths[0]: alice: update "outer" is denied, not as expected: the rule "outer" of outer decides: it does not take these fields, or misses some',
      'spec.tests[4].paths[0]: alice: list "hours" is denied, not as expected: the rule "hours" of outer decides: it expires, and the test gives no time',
      'spec.tests[5].paths[0]: alice: list "hours" is denied, not as expected: the rule "hours" of outer decides: it has expired (2027-01-01T00:00:00Z)',
      'spec.tests[6].paths[0]: alice: list "hours" is denied, not as expected: the rule "hours" of outer decides: its condition does not hold, where time.hour (Asia/Tokyo) is 8',
      'spec.tests[7].paths[0]: alice: read "own" is allowed, not as expected: the rule "own" of own decides, where auth.type is "userpass"',
      'spec.tests[8].paths[0]: alice: read "own" is denied, not as expected: the rule "own" of own decides: its condition does not hold, where auth.type is "ldap"',
      'spec.tests[9].paths[0]: alice: read "direct/alice-smith/x" is denied, not as expected: the rule "direct/alice-smith/*" of direct decides: it gives no sudo',
      'spec.tests[10].paths[0]: gone: read "direct/gone/x" is denied, not as expected: the entity is disabled',
      'spec.tests[11].paths[0]: root: read "any" is allowed, not as expected: the policy root allows everything',
    ]);
  });

  test("has faults of its own, each in its place", () => {
    expect(
      answers(`  time: today
  facts: { time.hour: 3, token.orphan: "yes", nope: 1, request.remote_address: ten }
  principals:
    - { name: a, policies: [own] }
    - { name: a }
  tests:
    - { principals: [b], operations: [read], paths: [], data: 1, time: now, expect: deny }`),
    ).toEqual([
      "spec.time: is no instant; write one like 2026-11-25T10:00:00Z",
      'spec.facts."time.hour": follows from the path, the operation and the time',
      'spec.facts."token.orphan": needs true or false',
      'spec.facts.nope: no fact is called "nope"',
      'spec.facts."request.remote_address": needs an address',
      "spec.principals[1]: nobody: name an entity, a login, groups or policies",
      'spec.principals[1].name: two principals are called "a"',
      'spec.tests[0].principals[0]: no principal is called "b" here',
      "spec.tests[0].paths: is empty, so nothing is asked",
      "spec.tests[0].data: needs a map of fields",
      "spec.tests[0].time: is no instant; write one like 2026-11-25T10:00:00Z",
    ]);
    const reference =
      "  principals: [{ name: a, policies: [nope] }]\n  tests: [{ operations: [write], paths: [a], expect: deny }]";
    expect(answers(reference).map((each) => each.split(";")[0])).toEqual([
      expect.stringContaining('no Policy is called "nope"'),
      expect.stringContaining("spec.tests[0].operations[0] must be one of"),
    ]);
    const stranger =
      "  principals: [{ name: a, login: { mount: people, name: bob } }]\n  tests: [{ operations: [read], paths: [a], expect: deny }]";
    expect(answers(stranger)).toEqual([
      'spec.principals[0].login.name: no document declares a login "bob" on "people"; declare it, or name the policies that it would give',
    ]);
    const [external] = problemsOf(
      "apiVersion: writ/v1\nkind: Policy\nmetadata: { name: far, external: true }",
      policyTest(
        "  principals: [{ name: a, policies: [far] }]\n  tests: [{ operations: [read], paths: [a], expect: deny }]",
      ),
    );
    expect(external).toMatch(/^9:38: spec\.principals\[0\]\.policies\[0\]: Policy "far" is not among these documents/);
  });

  test("asks no more than is good", () => {
    const paths = Array.from({ length: 2001 }, (_none, at) => `p${at}`).join(", ");
    const spec = `  principals: [{ name: a, policies: [own] }]\n  tests: [{ operations: [read, list, update, delete, scan], paths: [${paths}], expect: deny }]`;
    expect(answers(spec)).toEqual(["spec.tests: asks 10005 questions; a document asks at most 10000"]);
  });

  test("and those of a commit together ask no more either", () => {
    const principals = Array.from({ length: 36 }, (_none, at) => `{ name: p${at}, policies: [own] }`).join(", ");
    const paths = Array.from({ length: 39 }, (_none, at) => `p${at}`).join(", ");
    const spec = `  principals: [${principals}]
  tests: [{ operations: [create, read, list, update, delete, scan, patch], paths: [${paths}], expect: deny }]`;
    const some = (count: number): string[] =>
      Array.from({ length: count }, (_none, at) => policyTest(spec).replace("name: t", `name: t${at}`));
    const started = performance.now();
    expect(problemsOf(documents.trimEnd(), ...some(104)).map((each) => each.replace(/^\d+:\d+: /, ""))).toEqual(
      Array.from({ length: 3 }, () => "spec.tests: the tests of all documents together ask too much; leave some out"),
    );
    console.info(`a million questions: ${(performance.now() - started).toFixed(0)} ms`);
  });

  test("takes the nearest of the facts that are given", () => {
    const spec = (tests: string, facts = ""): string =>
      `  facts: { auth.type: userpass }\n  principals: [{ name: a, policies: [own]${facts} }]\n  tests: [{ operations: [read], paths: [own], ${tests} }]`;
    expect(answers(spec("expect: allow"))).toEqual([]);
    expect(answers(spec("expect: deny", ", facts: { auth.type: ldap }"))).toEqual([]);
    expect(answers(spec("facts: { auth.type: userpass }, expect: allow", ", facts: { auth.type: ldap }"))).toEqual([]);
  });

  test("cannot be external, and is sent to no vault", async () => {
    expect(problemsOf("apiVersion: writ/v1\nkind: PolicyTest\nmetadata: { name: t, external: true }")).toEqual([
      "3:32: a PolicyTest is no object of a vault: remove this",
    ]);
    const good = policyTest(
      "  principals: [{ name: a, policies: [own] }]\n  tests: [{ operations: [read], paths: [a], expect: deny }]",
    );
    const bad = good.replace("expect: deny", "expect: allow");
    const workshopOf = (text: string) => {
      const source = {
        list: async () => ({ files: [{ path: "a.yaml", blob: text, size: 1 }], problems: [] }),
        read: async () => [Buffer.from(text)],
        close: () => {},
      } as unknown as Source;
      const secrets = [{ directory: "", paths: ["secret/data/alice"] }];
      return createWorkshop(source, compile, kinds, { allow: [], directory: "", secrets });
    };
    const commit = { id: "a".repeat(40), parents: [], author: "", time: 0, subject: "" };
    const sent = await workshopOf(`${documents}---\n${good}`).compile(commit, null);
    expect(sent.problems).toEqual([]);
    expect(sent.changed).toHaveLength(10);
    expect(sent.changed.map(({ kind }) => kind)).not.toContain("PolicyTest");
    const refused = await workshopOf(`${documents}---\n${bad}`).compile(commit, null);
    expect(refused.changed).toEqual([]);
    expect(refused.problems.map(({ message }) => message)).toEqual([
      'spec.tests[0].paths[0]: a: read "a" is denied, not as expected: no rule of its policies (own) matches',
    ]);
  });
});

test("writ check runs them and names the rules that none decides", async () => {
  const folder = await mkdtemp(join(tmpdir(), "writ-tests-"));
  try {
    const spec =
      "  principals: [{ name: a, policies: [inner] }]\n  tests: [{ operations: [read], paths: [inner], expect: allow }]";
    await writeFile(join(folder, "all.yaml"), `${documents}---\n${policyTest(spec)}`);
    const said: string[] = [];
    const io = { out: (text: string) => void said.push(text), error: (text: string) => void said.push(text) };
    expect(await check(folder, io, kinds)).toBe(0);
    expect(said.join("").replaceAll(`${folder}/`, "").split("\n")).toEqual([
      "11 documents: 1 AuthMethod, 2 Entity, 2 Group, 4 Policy, 1 PolicyTest, 1 UserpassUser; no problems",
      "policy tests: 1, 1 questions, all as expected; 1 of 6 rules decide one or more",
      "all.yaml:43:15: no test decides by this rule of direct: direct/{{identity.entity.name}}/*",
      "all.yaml:51:15: no test decides by this rule of own: own",
      "all.yaml:60:15: no test decides by this rule of inner: inner/shut",
      "all.yaml:68:15: no test decides by this rule of outer: outer",
      "all.yaml:69:15: no test decides by this rule of outer: hours",
      "",
    ]);
    await writeFile(join(folder, "all.yaml"), `${documents}---\n${policyTest(spec.replace("allow", "deny"))}`);
    said.length = 0;
    expect(await check(folder, io, kinds)).toBe(1);
    expect(said.join("")).toContain(
      'all.yaml:76:41: spec.tests[0].paths[0]: a: read "inner" is allowed, not as expected',
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
