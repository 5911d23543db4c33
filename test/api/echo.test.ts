// No value that a client sends comes back in an error: it may be a secret, meant for somebody else.

import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Operation } from "../../src/sdk/request.ts";
import { type Harness, harness } from "../core/harness.ts";
import { exchange, requestText, start, Wire } from "./fixture.ts";

const mark = "m4rked-v4lue";
let h: Harness;

beforeAll(async () => {
  h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "sys/mounts/old", { type: "kv", options: { version: "1" } });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  await h.ask("update", "auth/approle/role/x", {});
  await h.ask("update", "auth/userpass/users/x", { password: "first-password" });
});
afterAll(() => h.vault.seal());

const lines: Readonly<Partial<Record<Operation, string>>> = {
  update: "POST",
  create: "POST",
  patch: "PATCH",
  read: "GET",
  delete: "DELETE",
  list: "LIST",
};

/** Whatever a field is, some of these are wrong for it. */
const values: readonly unknown[] = [mark, `${mark},1h`, [mark], { a: mark }, [{ b: { c: mark } }], `{"a":"${mark}"`];

function* requests(): Generator<{ readonly method: string; readonly path: string; readonly body: unknown }> {
  for (const mounted of h.vault.core?.generation.mounts ?? []) {
    for (const route of mounted.routes) {
      const below = route.path.replace(/:[a-z_]+\*{0,2}/g, "x");
      for (const [operation, handler] of Object.entries(route.on)) {
        const method = lines[operation as Operation];
        // Ends the test, not the request.
        if (method === undefined || below === "seal" || below === "step-down" || below.startsWith("rotate")) continue;
        for (const name of Object.keys(handler.fields ?? {})) {
          for (const value of values) yield { method, path: `${mounted.path}${below}`, body: { [name]: value } };
        }
      }
    }
  }
}

test("no route tells what was wrong by repeating it", async () => {
  const { port } = await start({ door: { handle: (request) => h.vault.handle(request) } });
  const token = `X-Vault-Token: ${h.root}`;
  const merge = "Content-Type: application/merge-patch+json";
  const told = new Set<string>();
  const wire = new Wire(port);
  let [refused, sent] = [0, 0];
  for (const { method, path, body } of requests()) {
    const text = method === "POST" || method === "PATCH" ? JSON.stringify(body) : "";
    const [[name, value] = ["", ""]] = Object.entries(body as object) as [string, unknown][];
    const query = text === "" ? `?${name}=${encodeURIComponent(String(value))}` : "";
    const length = `Content-Length: ${Buffer.byteLength(text)}`;
    await wire.send(requestText(`${method} /v1/${path}${query}`, [token, merge, length], text));
    const answer = await wire.answer();
    sent += 1;
    if (answer === null) throw new Error(`no answer to ${method} ${path}`);
    if (answer.status < 400) continue;
    refused += 1;
    expect(answer.status, `${method} ${path} ${text} ${answer.body}`).not.toBe(500);
    if (answer.body.includes(mark)) told.add(`${method} ${path} ${name}: ${answer.body.trim()}`);
  }
  expect([...told]).toEqual([]);
  expect(refused).toBeGreaterThan(sent / 4);
});

test("nor does what stands before the door", async () => {
  const { port } = await start({ door: { handle: (request) => h.vault.handle(request) } });
  const { root } = h;
  for (const [line, headers, body] of [
    ["GET /v1/secret/data/a", [`X-Vault-Token: ${mark}`], ""],
    ["GET /v1/secret/data/a", [`X-Vault-Token: ${root},${mark}`], ""],
    ["GET /v1/secret/data/a", [`Authorization: Bearer ${mark}`, `X-Vault-Token: ${root}`], ""],
    ["GET /v1/secret/data/a", [`Authorization: Basic ${mark}`], ""],
    ["GET /v1/secret/data/a", [`X-Vault-Namespace: ${mark}`], ""],
    ["GET /v1/secret/data/a", [`X-Vault-Wrap-TTL: ${mark}`], ""],
    ["GET /v1/secret/data/a", [`Host: ${mark}/@`], ""],
    ["GET /v1/secret/data/a", [`Content-Length: ${mark}`], ""],
    ["GET /v1/secret/data/a", [`Transfer-Encoding: ${mark}`], ""],
    ["GET /v1/secret/data/a", [`Expect: ${mark}`], ""],
    [`GET /v1/secret/data/a?version=${mark}`, [`X-Vault-Token: ${root}`], ""],
    [`GET /v1/secret/data/a?list=${mark}`, [], ""],
    [`GET /v1/sys/health?standbycode=${mark}`, [], ""],
    [`${mark} /v1/secret/data/a`, [], ""],
    ["POST /v1/secret/data/a", [`X-Vault-Token: ${root}`], mark],
    ["POST /v1/secret/data/a", [`X-Vault-Token: ${root}`], `"${mark}"`],
    ["POST /v1/secret/data/a", [`X-Vault-Token: ${root}`], `{"data":"${mark}"}`],
    ["POST /v1/secret/data/a", [`X-Vault-Token: ${root}`], `{"data":${mark}}`],
    ["POST /v1/secret/data/a", [`X-Vault-Token: ${root}`, `Content-Encoding: ${mark}`], "{}"],
    ["PATCH /v1/secret/data/a", [`X-Vault-Token: ${root}`, `Content-Type: ${mark}`], "{}"],
    ["PUT /v1/sys/unseal", [], `{"key":"${mark}"}`],
    ["PUT /v1/sys/unseal", [`Origin: http://${mark}`], `{"key":"00"}`],
    ["PUT /v1/sys/init", [], `{"secret_shares":"${mark}"}`],
    ["POST /v1/sys/rekey/update", [`X-Vault-Token: ${root}`], `{"key":"${mark}","nonce":"${mark}"}`],
    ["POST /v1/auth/userpass/login/x", [], `{"password":"${mark}"}`],
    ["POST /v1/auth/approle/login", [], `{"role_id":"${mark}","secret_id":"${mark}"}`],
  ] as const) {
    const answer = await exchange(port, line, headers, body);
    const told = `${line} ${headers.join()} ${body}: ${answer.status} ${answer.body}`;
    expect(answer.status, told).toBeGreaterThanOrEqual(400);
    expect(answer.status, told).toBeLessThan(500);
    expect(answer.body, told).not.toContain(mark);
  }
});

test("nothing of a failure inside is told but an id", async () => {
  const secrets = ["/var/lib/writ/storage", mark, "at handle ("];
  const cause = new Error(`ENOENT: no such file, open '/var/lib/writ/storage' ${mark}\n    at handle (x.ts:1:1)`);
  for (const thrown of [cause, new TypeError(mark, { cause }), Object.assign(cause, { path: "/var/lib/writ" })]) {
    const { port, logged } = await start({ handle: () => Promise.reject(thrown) });
    const answer = await exchange(port, `GET /v1/${randomUUID()}`);
    expect(answer.status).toBe(500);
    for (const each of secrets) expect(answer.body).not.toContain(each);
    expect(logged.join("")).not.toContain(mark);
  }
});
