import { expect, test } from "vitest";
import { kinds } from "../../test/cases/gitops/kinds.ts";
import type { Declaration } from "../sdk/kind.ts";
import { compile } from "./compile.ts";
import { holds, plan, render } from "./plan.ts";

function declared(files: Readonly<Record<string, string>>): readonly Declaration[] {
  const list = Object.entries(files).map(([path, text]) => ({ path, bytes: Buffer.from(text) }));
  const { declarations, problems } = compile(list, kinds);
  expect(problems).toEqual([]);
  return declarations;
}

const policy = (name: string, rules: string, marks = ""): string =>
  `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: ${name}${marks} }\nspec: { rules: [${rules}] }\n`;
const rule = (path: string, capabilities: string): string => `{ path: ${path}, capabilities: [${capabilities}] }`;
const auth = "apiVersion: writ/v1\nkind: AuthMethod\nmetadata: { name: userpass }\nspec: { type: userpass }\n";
const user = (path: string): string =>
  `apiVersion: writ/v1\nkind: UserpassUser\nmetadata: { name: alice }\nspec: { mount: userpass, password: { from_secret: { path: ${path}, key: pw } }, token_ttl: 1h }\n`;

test("an update shows each field that differs, and where the document is", () => {
  const before = declared({
    "policies/payments.yaml": `#\n#\n${policy("payments-read", rule("secret/data/x", "read"))}`,
  });
  const after = declared({
    "policies/payments.yaml": `#\n#\n${policy("payments-read", rule("secret/data/x", "read, list"), ", owner: pay team")}`,
  });
  expect(plan(before, after)).toEqual([
    {
      action: "update",
      kind: "Policy",
      mount: null,
      name: "payments-read",
      source: { file: "policies/payments.yaml", line: 3, column: 1 },
    },
  ]);
  expect(render(before, after)).toBe(
    `~ Policy payments-read  policies/payments.yaml:3
  - metadata.owner: added "pay team"
  - rules[0].capabilities: [read] → [read, list]

1 change: 0 to create, 1 to update, 0 to delete.
`,
  );
});

test("one rule put in is one line, wherever it is put", () => {
  const [a, b, c] = [rule("a", "read"), rule("b", "read"), rule("c", "read")];
  const before = declared({ "p.yaml": policy("p", `${a}, ${c}`) });
  const after = declared({ "p.yaml": policy("p", `${a}, ${b}, ${c}`) });
  expect(render(before, after)).toContain("  - rules[1]: added { path: b, capabilities: [read] }\n\n");
  expect(render(after, before)).toContain("  - rules[1]: removed { path: b, capabilities: [read] }\n\n");
});

test("what is new, gone and only moved", () => {
  const before = declared({
    "auth.yaml": auth,
    "a.yaml": user("secret/data/a"),
    "old.yaml": policy("old", rule("x", "read")),
  });
  const after = declared({
    "moved/auth.yaml": auth,
    "a.yaml": user("secret/data/b"),
    "new.yaml": policy("new", rule("x", "read")),
  });
  expect(render(before, after)).toBe(
    `+ Policy new  new.yaml:1
  + rules: [{ path: x, capabilities: [read] }]
- Policy old  old.yaml:1
~ UserpassUser alice (userpass)  a.yaml:1
  - password.from_secret.path: secret/data/a → secret/data/b

3 changes: 1 to create, 1 to update, 1 to delete.
`,
  );
  expect(plan(before, after).map(({ action, name }) => `${action} ${name}`)).toEqual([
    "create new",
    "delete old",
    "update alice",
  ]);
});

test("nothing changes where only files, comments and the order of a map do, or the set went through storage", () => {
  const entity = (facts: string): string =>
    `apiVersion: writ/v1\nkind: Entity\nmetadata: { name: e }\nspec: { metadata: { ${facts} } }\n`;
  const before = declared({ "a.yaml": entity("a: x, b: y") });
  const after = declared({ "b.yaml": `# moved\n---\n${entity("b: y, a: x")}` });
  expect(plan(before, after)).toEqual([]);
  expect(render(before, after)).toBe("No changes.\n");
  expect(plan(JSON.parse(JSON.stringify(before)) as Declaration[], before)).toEqual([]);
  expect(plan(structuredClone(before) as Declaration[], before)).toEqual([]);
});

test("the document's own metadata and a field of that name are told apart", () => {
  const entity = (owner: string, team: string): readonly Declaration[] =>
    declared({
      "e.yaml": `apiVersion: writ/v1\nkind: Entity\nmetadata: { name: e, owner: ${owner} }\nspec: { metadata: { team: ${team} } }\n`,
    });
  expect(render(entity("a", "x"), entity("b", "y"))).toContain(
    "  - metadata.owner: a → b\n  - spec.metadata.team: x → y\n",
  );
});

test("what a terminal would obey is not printed", () => {
  const odd = (text: string): readonly Declaration[] =>
    declared({
      "a.yaml": `apiVersion: writ/v1\nkind: Entity\nmetadata: { name: e }\nspec: { metadata: { k: "${text}" } }\n`,
    });
  const text = render(odd("x"), odd("\\e[31m\\u202Ey\\nz"));
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  expect(text).not.toMatch(/[\u001B\u202E]/);
  expect(text.split("\n")).toHaveLength(5);
});

test("a protected document is not removed, and not stripped of its mark, without a word", () => {
  const rules = rule("x", "read");
  const before = declared({ "a.yaml": `${policy("a", rules, ", protect: true")}---\n${policy("b", rules)}` });
  const held = (files: Readonly<Record<string, string>>): string[] =>
    holds(before, declared(files), { maxDeletions: 10 });
  expect(held({ "a.yaml": policy("a", rules, ", protect: true") })).toEqual([]);
  expect(held({ "a.yaml": policy("b", rules) })).toEqual(["Policy a is protected, and this commit removes it"]);
  expect(held({ "a.yaml": policy("a", rules) })).toEqual(["Policy a is protected, and this commit drops `protect`"]);
});

test("more deletions than the maximum wait, exactly as many do not", () => {
  const many = (count: number): readonly Declaration[] =>
    declared(
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`${at}.yaml`, policy(`p${at}`, rule("x", "read"))])),
    );
  expect(holds(many(13), many(3), { maxDeletions: 10 })).toEqual([]);
  expect(holds(many(13), many(2), { maxDeletions: 10 })).toEqual([
    "11 documents are removed; more than 10 at once wait for a word",
  ]);
  expect(holds(many(1), many(0), { maxDeletions: 0 })).toHaveLength(1);
  expect(holds([], many(20), { maxDeletions: 0 })).toEqual([]);
});
