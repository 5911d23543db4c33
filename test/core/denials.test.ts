// What a refusal tells whom.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { VaultError } from "../../src/sdk/errors.ts";
import type { Operation } from "../../src/sdk/request.ts";
import { declare, type Harness, harness, mountOf, setOf } from "./harness.ts";

const rules = [
  { path: "secret/data/*", capabilities: ["read"] },
  { path: "secret/data/closed/*", capabilities: ["deny"] },
  { path: "secret/data/fresh/*", capabilities: ["create"] },
  { path: "secret/data/later/*", capabilities: ["update", "read"], expires: "2020-01-01T00:00:00Z" },
  {
    path: "secret/data/both/*",
    capabilities: ["create", "update"],
    allowed_parameters: { options: [] },
  },
  { path: "sys/rotate", capabilities: ["update"] },
];

async function prepared(): Promise<{ readonly h: Harness; readonly token: string }> {
  const h = await harness();
  await h.target.apply(
    setOf(
      "aa",
      mountOf("SecretEngine", "secret", "kv", { options: { version: "2" } }),
      declare("Policy", "hidden-name", { rules }),
    ),
    [],
  );
  for (const folder of ["closed", "fresh", "later", "both", "open"]) {
    await h.ask("update", `secret/data/${folder}/there`, { data: { a: "1" } });
  }
  const made = await h.ask("update", "auth/token/create", { policies: ["hidden-name"] });
  return { h, token: made.auth?.client_token ?? "" };
}

async function errorsOf(
  h: Harness,
  operation: Operation,
  path: string,
  token: string | null,
  data: Record<string, unknown> = {},
): Promise<readonly string[]> {
  const id = randomUUID();
  try {
    await h.vault.handle({
      id,
      operation,
      path,
      data: Object.assign(Object.create(null) as Record<string, unknown>, data),
      token,
      connection: { remoteAddress: "127.0.0.1", remotePort: 1, local: true },
      headers: {},
      time: h.clock.now(),
    });
  } catch (error) {
    return (error as VaultError).errors.map((text) => text.replace(id, "ID"));
  }
  throw new Error(`${operation} ${path} was allowed`);
}

const lacks = (name: string, path: string): string =>
  `this token lacks the capability ${name} on "${path}" (request ID)`;

test.each<[Operation, string, string]>([
  ["delete", "secret/data/open/there", lacks('"delete"', "secret/data/open/there")],
  ["read", "kv/nowhere", lacks('"read"', "kv/nowhere")],
  ["list", "secret/metadata/", lacks('"list"', "secret/metadata/")],
  ["patch", "secret/data/fresh/there", lacks('"patch"', "secret/data/fresh/there")],
  ["update", "secret/data/fresh/there", lacks('"update"', "secret/data/fresh/there")],
  ["update", "sys/rotate", lacks('"sudo"', "sys/rotate")],
  [
    "read",
    "secret/data/closed/there",
    'a policy of this token denies the capability "read" on "secret/data/closed/there" explicitly (request ID)',
  ],
  [
    "read",
    "secret/data/later/there",
    'this token has the capability "read" on "secret/data/later/there" under conditions or until a time, and not now (request ID)',
  ],
  [
    "update",
    "secret/data/both/there",
    'this token has the capability "create" or "update" on "secret/data/both/there", but not for these fields or values (request ID)',
  ],
])("%s of %s", async (operation, path, text) => {
  const { h, token } = await prepared();
  expect(await errorsOf(h, operation, path, token, { data: { a: 1 } })).toEqual(["permission denied", text]);
});

test("who may neither create nor update does not learn whether something is there", async () => {
  const { h, token } = await prepared();
  for (const folder of ["closed", "later", "both", "open"]) {
    const path = `secret/data/${folder}`;
    const told = await Promise.all(
      ["there", "absent"].map(async (name) => {
        const [, text = ""] = await errorsOf(h, "update", `${path}/${name}`, token, { data: { a: 1 } });
        return text.replace(name, "NAME");
      }),
    );
    expect(told[0], folder).toBe(told[1]);
    expect(told[0], folder).toContain('"create" or "update"');
  }
});

test("no name of a policy, no pattern and no condition is told", async () => {
  const { h, token } = await prepared();
  for (const folder of ["closed", "later", "both", "open"]) {
    const text = (await errorsOf(h, "delete", `secret/data/${folder}/there`, token)).join();
    expect(text).not.toMatch(/hidden-name|\*|2020|options/);
  }
});

test("a token that is not valid is told of no path", async () => {
  const { h, token } = await prepared();
  expect(await errorsOf(h, "read", "secret/data/a", null)).toEqual(["permission denied", "missing client token"]);
  expect(await errorsOf(h, "read", "secret/data/a", "hvs.wrong")).toEqual(["permission denied", "invalid token"]);
  await h.ask("update", "auth/token/revoke", { token });
  expect(await errorsOf(h, "delete", "secret/data/a", token)).toEqual(["permission denied", "invalid token"]);
});

test("the id is the one that the audit has", async () => {
  const { h, token } = await prepared();
  const id = randomUUID();
  const asked = h.vault.handle({
    id,
    operation: "delete",
    path: "secret/data/a",
    data: {},
    token,
    connection: { remoteAddress: "127.0.0.1", remotePort: 1, local: true },
    headers: {},
    time: h.clock.now(),
  });
  await expect(asked).rejects.toMatchObject({ errors: ["permission denied", expect.stringContaining(id)] });
  const last = JSON.parse(h.tape.lines.at(-1) ?? "{}") as { request: { id: string }; error: string };
  expect([last.request.id, last.error]).toEqual([id, expect.stringMatching(/^permission denied; this token lacks/)]);
});
