// Everything that is wrong with a document is told at once, also where part of it cannot be read.

import { expect, test } from "vitest";
import { compile } from "../../src/gitops/compile.ts";
import { kinds } from "../../src/registry.ts";

const problemsOf = (rules: readonly string[], more = ""): string[] => {
  const lines = ["apiVersion: writ/v1", "kind: Policy", "metadata: { name: p }", "spec:", more, "  rules:"];
  const text = [...lines, ...rules.map((rule) => `    - ${rule}`), ""].join("\n");
  return compile([{ path: "a.yaml", bytes: Buffer.from(text) }], kinds).problems.map(
    ({ line, message }) => `${line}: ${message.split(/[:;]/)[0]}`,
  );
};

const good = "{ path: a, capabilities: [read] }";
const nameless = "{ capabilities: [read] }";
const unknownCapability = "{ path: c, capabilities: [raed] }";
const unknownFact = '{ path: d, capabilities: [read], when: { "==": [{ var: request.adress }, x] } }';
const guardedDeny = '{ path: e, capabilities: [deny], when: { "==": [{ var: time.weekday }, mon] } }';

test("items that can be read are judged beside those that cannot, each in its place", () => {
  expect(problemsOf([good, nameless, unknownFact, unknownCapability, guardedDeny, good])).toEqual([
    "8: spec.rules[1].path is missing",
    '9: spec.rules[2].when."=="[0].var',
    "10: spec.rules[3].capabilities[0] must be one of create, delete, deny, list, patch, read, scan, sudo, update",
    "11: spec.rules[4].when",
    "12: spec.rules[5].path",
  ]);
});

test("nothing is made up where what is left might be judged by what is not there", () => {
  expect(problemsOf([nameless])).toEqual(["7: spec.rules[0].path is missing"]);
  expect(problemsOf([unknownFact, good], "  time_zone: [x]")).toEqual(["5: spec.time_zone must be a string"]);
  expect(problemsOf([unknownFact, nameless], "  thyme_zone: x")).toHaveLength(2);
});

test("each address range that is none is told, in both lists of a role", () => {
  const text = `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: approle }
spec: { type: approle }
---
apiVersion: writ/v1
kind: AppRole
metadata: { name: app }
spec:
  mount: approle
  token_bound_cidrs: [10.0.0.0/8, nowhere, 10.0.0.0/33]
  secret_id_bound_cidrs:
    - 10.0.0.0/8
    - 300.0.0.1
    - 10.0.0.0/8/8
`;
  const { problems } = compile([{ path: "a.yaml", bytes: Buffer.from(text) }], kinds);
  expect(problems.map(({ line, column, message }) => `${line}:${column} ${message.split(":")[0]}`)).toEqual([
    "11:35 spec.token_bound_cidrs[1]",
    "11:44 spec.token_bound_cidrs[2]",
    "14:7 spec.secret_id_bound_cidrs[1]",
    "15:7 spec.secret_id_bound_cidrs[2]",
  ]);
});
