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

test("a group is not a member of itself", () => {
  expect(problemsOf(group("a", "b", "c"), group("b", "c"), group("c"))).toEqual([]);
  expect(problemsOf(group("a", "a"))).toEqual(["4:25: spec.member_groups[0]: by this the group is a member of itself"]);
  expect(problemsOf(group("top", "a"), group("a", "b"), group("b", "c", "a"), group("c"))).toEqual([
    "9:25: spec.member_groups[0]: by this the group is a member of itself",
    "14:28: spec.member_groups[1]: by this the group is a member of itself",
  ]);
});
