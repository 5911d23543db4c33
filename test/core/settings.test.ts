// sys/config/: what it takes and shows, who may, what is still there after a restart, and what the audit has then.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Response } from "../../src/sdk/request.ts";
import { type Harness, harness, refusal } from "./harness.ts";

const origins = ["https://one.example", "https://two.example:8443"];

interface Entry {
  readonly request: { readonly path: string; readonly headers?: Readonly<Record<string, readonly string[]>> };
}

const entriesOf = (h: Harness): readonly Entry[] => h.tape.lines.map((line) => JSON.parse(line) as Entry);

const askWith = (h: Harness, headers: Record<string, string | string[]>): Promise<Response> =>
  h.vault.handle({
    id: randomUUID(),
    operation: "read",
    path: "sys/mounts",
    data: {},
    token: h.root,
    connection: { remoteAddress: "127.0.0.1", remotePort: 1, local: true },
    headers,
    time: h.clock.now(),
  });

test("everything below sys/config/ takes sudo", async () => {
  const h = await harness();
  await h.ask("update", "sys/policies/acl/nearly", {
    policy: 'path "sys/config/*" { capabilities = ["create", "read", "update", "delete", "list"] }',
  });
  const token = (await h.ask("update", "auth/token/create", { policies: ["nearly"] })).auth?.client_token ?? "";
  for (const path of [
    "cors",
    "ui/headers",
    "ui/headers/x-a",
    "auditing/request-headers",
    "auditing/request-headers/x-a",
  ]) {
    for (const operation of ["read", "list", "update", "delete"] as const) {
      const why = await refusal(h.ask(operation, `sys/config/${path}`, {}, token));
      expect(why, `${operation} ${path}`).toMatch(/^denied: permission denied; this token lacks the capability "sudo"/);
    }
  }
});

test("cors is set, shown, kept over a restart, and taken back", async () => {
  const h = await harness();
  expect((await h.ask("read", "sys/config/cors")).data).toEqual({ enabled: false });
  await h.ask("update", "sys/config/cors", { allowed_origins: origins.join(","), allowed_headers: ["X-Custom"] });
  const shown = { enabled: true, allowed_origins: origins, allowed_headers: expect.arrayContaining(["X-Custom"]) };
  expect((await h.ask("read", "sys/config/cors")).data).toEqual(shown);
  const again = await h.reopen();
  expect((await again.ask("read", "sys/config/cors")).data).toEqual(shown);
  expect(again.vault.manners()?.cors).toMatchObject({ allowed_origins: origins });
  await again.ask("delete", "sys/config/cors");
  expect((await again.ask("read", "sys/config/cors")).data).toEqual({ enabled: false });
  expect((await (await again.reopen()).ask("read", "sys/config/cors")).data).toEqual({ enabled: false });
});

test.each([
  [{}, "at least one origin or the wildcard must be provided"],
  [{ allowed_origins: ["*", "https://a.example"] }, "the '*' must be the only value"],
  [{ allowed_origins: ["https://a.example/"] }, "each of allowed_origins"],
  [{ allowed_origins: ["a.example"] }, "each of allowed_origins"],
  [{ allowed_origins: ["https://a.example\r\nx: y"] }, "each of allowed_origins"],
  [{ allowed_origins: ["null"] }, "each of allowed_origins"],
  [{ allowed_origins: "*", allowed_headers: ["a\r\nb"] }, "each of allowed_headers"],
])("cors does not take %j", async (data, why) => {
  const h = await harness();
  expect(await refusal(h.ask("update", "sys/config/cors", data))).toContain(why);
  expect((await h.ask("read", "sys/config/cors")).data).toEqual({ enabled: false });
});

test("headers of pages are set, listed, shown, kept over a restart, and deleted", async () => {
  const h = await harness();
  const path = "sys/config/ui/headers";
  await h.ask("update", `${path}/X-Custom`, { values: ["one", "two"] });
  await h.ask("update", `${path}/content-security-policy`, { values: "default-src 'none'" });
  const again = await h.reopen();
  expect((await again.ask("list", path)).data).toEqual({ keys: ["content-security-policy", "x-custom"] });
  expect((await again.ask("read", `${path}/x-CUSTOM`)).data).toEqual({ value: "one" });
  expect((await again.ask("read", `${path}/x-custom`, { multivalue: "true" })).data).toEqual({
    values: ["one", "two"],
  });
  await again.ask("delete", `${path}/X-Custom`);
  expect(await refusal(again.ask("read", `${path}/x-custom`))).toBe("not_found: ");
  expect(await refusal(again.ask("read", `${path}/constructor`))).toBe("not_found: ");
  for (const [name, values] of [
    ["x-vault-token", ["a"]],
    ["content-length", ["3"]],
    ["x-a", []],
    ["x-a", ["a\r\nset-cookie: b"]],
    ["x-a", ["é"]],
    ["x a", ["a"]],
    ["__proto__", ["a"]],
  ] as const) {
    expect(await refusal(again.ask("update", `${path}/${name}`, { values })), name).toMatch(/^invalid: /);
  }
  expect((await again.ask("list", path)).data).toEqual({ keys: ["content-security-policy"] });
});

test("the audit has the headers that are asked for, hashed where that is asked, over a restart too", async () => {
  const h = await harness();
  const path = "sys/config/auditing/request-headers";
  const headers = { "x-plain": "seen", "x-hashed": "s3cret", "x-many": ["a", "b"], "x-other": "unseen" };
  await askWith(h, headers);
  expect(entriesOf(h).some(({ request }) => "headers" in (request ?? {}))).toBe(false);
  await h.ask("update", `${path}/X-Plain`, {});
  await h.ask("update", `${path}/x-hashed`, { hmac: true });
  await h.ask("update", `${path}/x-many`, { hmac: "false" });
  await h.ask("update", `${path}/constructor`, {});
  const all = {
    "x-plain": { hmac: false },
    "x-hashed": { hmac: true },
    "x-many": { hmac: false },
    constructor: { hmac: false },
  };
  expect((await h.ask("read", path)).data).toEqual({ headers: all });
  expect((await h.ask("list", path)).data).toEqual({ headers: all });
  for (const asked of ["x-hashed", "X-HASHED"])
    expect((await h.ask("read", `${path}/${asked}`)).data).toEqual({ [asked]: { hmac: true } });
  for (const vault of [h, await h.reopen()]) {
    const from = vault.tape.lines.length;
    await askWith(vault, headers);
    const hash = (await vault.ask("update", "sys/audit-hash/tape", { input: "s3cret" })).data?.["hash"];
    const entries = entriesOf(vault).slice(from, from + 2);
    expect(entries).toHaveLength(2);
    for (const { request } of entries) {
      expect(request.headers).toEqual({ "x-plain": ["seen"], "x-hashed": [hash], "x-many": ["a", "b"] });
    }
    expect(vault.tape.lines.join("")).not.toContain("unseen");
  }
  for (const name of Object.keys(all)) await h.ask("delete", `${path}/${name}`);
  const from = h.tape.lines.length;
  await askWith(h, headers);
  expect(entriesOf(h)[from]?.request).not.toHaveProperty("headers");
  expect(await refusal(h.ask("read", `${path}/x-plain`))).toBe("invalid: Could not find header in config");
});

test("no header that carries a token is audited", async () => {
  const h = await harness();
  const path = "sys/config/auditing/request-headers";
  for (const name of ["X-Vault-Token", "authorization", "Cookie", "Proxy-Authorization", "X-Vault-MFA"]) {
    expect(await refusal(h.ask("update", `${path}/${name}`, { hmac: true })), name).toMatch(/are not audited/);
  }
  expect((await h.ask("read", path)).data).toEqual({ headers: {} });
});

test("changes at the same time are both kept", async () => {
  const h = await harness();
  const path = "sys/config/auditing/request-headers";
  const names = Array.from({ length: 20 }, (_, n) => `x-${n}`);
  await Promise.all(names.map((name) => h.ask("update", `${path}/${name}`, {})));
  const kept = (await (await h.reopen()).ask("read", path)).data?.["headers"] ?? {};
  expect(Object.keys(kept).sort()).toEqual(names.sort());
});
