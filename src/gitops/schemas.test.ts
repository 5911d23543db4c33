import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { kinds } from "../../test/cases/gitops/kinds.ts";
import { kinds as registered } from "../registry.ts";
import { compile } from "./compile.ts";
import { schemaFiles } from "./schemas.ts";

const top = join(import.meta.dirname, "../..");
const parsed = (name: string, from = schemaFiles(kinds)): Record<string, unknown> =>
  JSON.parse(from.get(name) ?? "") as Record<string, unknown>;
const checker = (schema: Record<string, unknown>) =>
  new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true }).compile(schema);

const head = { apiVersion: "writ/v1", metadata: { name: "a" } };
const policy = { ...head, kind: "Policy", spec: { rules: [{ path: "x", capabilities: ["read"] }] } };
const user = { ...head, kind: "UserpassUser" };
const fromSecret = { from_secret: { path: "secret/data/x", key: "y" } };

test("there is one for each kind, one for all, one for the repository, always the same bytes", () => {
  const files = schemaFiles(kinds);
  const names = [...kinds.map(({ name }) => `${name}.json`).sort(), "repository.json", "writ.json"];
  expect([...files.keys()]).toEqual(names);
  expect([...schemaFiles(kinds.toReversed())]).toEqual([...files]);
});

test.each([
  ["a policy", policy, true],
  ["an unknown field", { ...policy, spec: { ...policy.spec, extra: 1 } }, false],
  ["no spec", { ...head, kind: "Policy" }, false],
  ["an external one", { ...head, kind: "Policy", metadata: { name: "a", external: true } }, true],
  ["an external one with a spec", { ...policy, metadata: { name: "a", external: true } }, false],
  ["another version", { ...policy, apiVersion: "writ/v2" }, false],
  ["an unknown kind", { ...policy, kind: "Polcy" }, false],
  ["a secret by reference", { ...user, spec: { mount: "userpass", password: fromSecret } }, true],
  ["a secret in clear", { ...user, spec: { mount: "userpass", password: "hunter2" } }, false],
  ["no mount", { ...user, spec: { password: fromSecret } }, false],
  ["a duration", { ...user, spec: { mount: "userpass", password: fromSecret, token_ttl: "1h30m" } }, true],
  ["none", { ...user, spec: { mount: "userpass", password: fromSecret, token_ttl: "soon" } }, false],
])("writ.json and the kind's own agree on %s", (_name, document, valid) => {
  expect(checker(parsed("writ.json"))(document)).toBe(valid);
  const own = schemaFiles(kinds).get(`${document.kind}.json`);
  if (own !== undefined) expect(checker(JSON.parse(own) as Record<string, unknown>)(document)).toBe(valid);
});

test("every field says what it is", () => {
  const bare: string[] = [];
  const look = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    const { properties } = value as { readonly properties?: Readonly<Record<string, Record<string, unknown>>> };
    for (const [name, each] of Object.entries(properties ?? {})) {
      if (each["description"] === undefined && !path.endsWith(".if")) bare.push(`${path}.${name}`);
    }
    for (const [name, each] of Object.entries(value)) look(each, `${path}.${name}`);
  };
  for (const kind of registered) {
    const schema = parsed(`${kind.name}.json`, schemaFiles(registered));
    look(schema["else"], kind.name);
  }
  expect(bare.filter((path) => !path.includes("from_secret"))).toEqual([]);
});

test("the example repository is valid, for the compiler and for editors", () => {
  const folder = join(top, "policies");
  const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
  const documents = files.map((path) => ({ path, bytes: readFileSync(join(folder, path)) }));
  const { declarations, problems } = compile(documents, registered);
  expect(problems).toEqual([]);
  expect(declarations.map(({ kind, name }) => `${kind} ${name}`).sort()).toEqual([
    "AppRole payments-api",
    "AuthMethod approle",
    "AuthMethod userpass",
    "Entity alice",
    "Group payments",
    "Policy payments-read",
    "Policy payouts-read",
    "SecretEngine secret",
    "UserpassUser alice",
  ]);
  const check = checker(parsed("writ.json", schemaFiles(registered)));
  for (const { path, bytes } of documents) {
    const text = bytes.toString("utf8");
    expect(text, path).toMatch(/^# yaml-language-server: \$schema=\.\.\/schemas\/writ\.json\n/);
    for (const document of parseAllDocuments(text)) expect(check(document.toJS()), path).toBe(true);
  }
});
