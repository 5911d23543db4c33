// What only all documents of a commit together show of people and groups.

import { expect, test } from "vitest";
import { compile } from "../../src/gitops/compile.ts";
import { kinds } from "../../src/registry.ts";

const problemsOf = (...texts: readonly string[]): string[] =>
  compile([{ path: "a.yaml", bytes: Buffer.from(texts.join("---\n")) }], kinds).problems.map(
    ({ line, column, message }) => `${line}:${column}: ${message}`,
  );

const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: writ/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const mount = document("AuthMethod", "userpass", "{ type: userpass }") + "---\n";
const entity = (name: string, ...aliases: string[]) =>
  document(
    "Entity",
    name,
    `{ aliases: [${aliases.map((alias) => `{ mount: userpass, name: ${alias} }`).join(", ")}] }`,
  );
const group = (name: string, ...members: string[]) =>
  document("Group", name, `{ member_groups: [${members.join(", ")}] }`);

test("a login is of one entity, whatever its case", () => {
  expect(problemsOf(mount + entity("ada", "ada"), entity("eve", "eve"))).toEqual([]);
  expect(problemsOf(mount + entity("ada", "ada", "ADA"))).toEqual([]);
  expect(problemsOf(mount + entity("ada", "ada"), entity("eve", "eve", "Ada"))).toEqual([
    '14:76: spec.aliases[1].name: this login is that of Entity "ada" already; a login is one person or service',
  ]);
});

test("names of people and groups are one name in whatever case", () => {
  expect(problemsOf(entity("ada"), entity("eve"), group("ada"), group("Eve"))).toEqual([]);
  expect(problemsOf(entity("ada"), entity("Ada"), group("team"), group("TEAM"))).toEqual([
    '8:19: Entity "Ada" and "ada", at a.yaml:1, are one name: only case tells them apart; choose another',
    '18:19: Group "TEAM" and "team", at a.yaml:11, are one name: only case tells them apart; choose another',
  ]);
  const outside = "apiVersion: writ/v1\nkind: Entity\nmetadata: { name: ADA, external: true }\n";
  expect(problemsOf(entity("ada"), outside)).toHaveLength(1);
});

test("the TTL of a mount is within its maximum", () => {
  const tuned = (config: string): string => document("AuthMethod", "up", `{ type: userpass, config: { ${config} } }`);
  expect(problemsOf(tuned("default_lease_ttl: 1h, max_lease_ttl: 1h"))).toEqual([]);
  expect(problemsOf(tuned("default_lease_ttl: 1h"))).toEqual([]);
  expect(problemsOf(tuned("default_lease_ttl: 61m, max_lease_ttl: 1h"))).toEqual([
    "4:54: spec.config.default_lease_ttl: backend max lease TTL of 3600 would be less than backend default lease TTL of 3660",
  ]);
  const engine = "{ type: kv, config: { default_lease_ttl: 2h, max_lease_ttl: 1h } }";
  expect(problemsOf(document("SecretEngine", "kv", engine))).toHaveLength(1);
});

test("a group is not a member of itself", () => {
  expect(problemsOf(group("a", "b", "c"), group("b", "c"), group("c"))).toEqual([]);
  expect(problemsOf(group("a", "a"))).toEqual(["4:25: spec.member_groups[0]: by this the group is a member of itself"]);
  expect(problemsOf(group("top", "a"), group("a", "b"), group("b", "c", "a"), group("c"))).toEqual([
    "9:25: spec.member_groups[0]: by this the group is a member of itself",
    "14:28: spec.member_groups[1]: by this the group is a member of itself",
  ]);
});
