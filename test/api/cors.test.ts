// Pages of other origins, on a real socket in front of a real vault.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Harness, harness } from "../core/harness.ts";
import { type Answered, errorsOf, exchange, start } from "./fixture.ts";

const ours = "https://app.example";
let h: Harness;
let port = 0;

beforeAll(async () => {
  h = await harness();
});
afterAll(() => h.vault.seal());
beforeEach(async () => {
  const { vault } = h;
  ({ port } = await start({ door: { handle: (request) => vault.handle(request), manners: () => vault.manners() } }));
});

const token = (): string => `X-Vault-Token: ${h.root}`;
const allowing = (answer: Answered): unknown =>
  Object.fromEntries(
    Object.entries(answer.headers).filter(([name]) => name.startsWith("access-control") || name === "vary"),
  );
const preflight = (origin: string, method: string, path = "/v1/secret/a"): Promise<Answered> =>
  exchange(port, `OPTIONS ${path}`, [
    `Origin: ${origin}`,
    `Access-Control-Request-Method: ${method}`,
    "Access-Control-Request-Headers: x-vault-token",
  ]);

test("nothing is allowed, and nothing refused, before somebody sets it", async () => {
  const answer = await exchange(port, "GET /v1/sys/mounts", [token(), `Origin: ${ours}`]);
  expect([answer.status, allowing(answer)]).toEqual([200, {}]);
  const asked = await preflight(ours, "PUT");
  expect([asked.status, allowing(asked), asked.headers["allow"]]).toEqual([204, {}, expect.stringContaining("PATCH")]);
});

describe("once an origin is allowed", () => {
  beforeAll(() => h.ask("update", "sys/config/cors", { allowed_origins: [ours], allowed_headers: ["X-Custom"] }));

  test("its preflights are answered, for every method that there is", async () => {
    for (const method of ["GET", "LIST", "SCAN", "PUT", "POST", "PATCH", "DELETE", "HEAD"]) {
      for (const path of ["/v1/secret/a", "/v1/sys/health", "/v1//secret/a"]) {
        const answer = await preflight(ours, method, path);
        expect([answer.status, answer.body], method).toEqual([204, ""]);
        expect(allowing(answer)).toEqual({
          "access-control-allow-origin": ours,
          "access-control-allow-methods": expect.stringContaining(method),
          "access-control-allow-headers": expect.stringMatching(/X-Vault-Token.*X-Custom/),
          "access-control-max-age": "300",
          vary: "Origin",
        });
      }
    }
    const other = await preflight(ours, "TRACE");
    expect([other.status, errorsOf(other)]).toEqual([405, ["unsupported method"]]);
  });

  test("it may read every answer, errors too", async () => {
    for (const [line, status] of [
      ["GET /v1/sys/mounts", 200],
      ["GET /v1/nowhere/x", 404],
      ["GET /v1/a/../b", 400],
      ["LIST /v1/sys/policies/acl", 200],
      ["GET /v1//sys/mounts", 307],
      ["GET /v1/sys/health", 200],
      ["OPTIONS /v1/sys/mounts", 204],
    ] as const) {
      const answer = await exchange(port, line, [token(), `Origin: ${ours}`]);
      expect([answer.status, allowing(answer)], line).toEqual([
        status,
        { "access-control-allow-origin": ours, vary: "Origin" },
      ]);
    }
  });

  test("no other is, and nothing is done for it", async () => {
    for (const origin of [
      "https://evil.example",
      "http://app.example",
      `${ours}.evil.example`,
      `${ours}:444`,
      "null",
    ]) {
      for (const answer of [
        await exchange(
          port,
          "PUT /v1/sys/policies/acl/x",
          [token(), `Origin: ${origin}`],
          '{"policy":"path \\"a\\" {}"}',
        ),
        await exchange(port, "GET /v1/sys/health", [`Origin: ${origin}`]),
        await preflight(origin, "GET"),
      ]) {
        expect([answer.status, errorsOf(answer), allowing(answer)], origin).toEqual([403, ["origin not allowed"], {}]);
      }
    }
    await expect(h.ask("read", "sys/policies/acl/x")).rejects.toMatchObject({ code: "not_found" });
  });

  test("the server's own pages, and clients without an origin, ask as before", async () => {
    for (const headers of [[], ["Origin: http://writ"]]) {
      const answer = await exchange(port, "GET /v1/sys/mounts", [token(), ...headers]);
      expect([answer.status, allowing(answer)]).toEqual([200, {}]);
    }
  });

  test("the wildcard allows any", async () => {
    await h.ask("update", "sys/config/cors", { allowed_origins: "*" });
    const answer = await exchange(port, "GET /v1/sys/mounts", [token(), "Origin: https://any.example"]);
    expect(allowing(answer)).toMatchObject({ "access-control-allow-origin": "https://any.example" });
    await h.ask("delete", "sys/config/cors");
    expect(allowing(await exchange(port, "GET /v1/sys/mounts", [token(), `Origin: ${ours}`]))).toEqual({});
  });
});

test("pages of the server have the headers of sys/config/ui/headers, and the API has not", async () => {
  await h.ask("update", "sys/config/ui/headers/X-Frame-Options", { values: ["DENY"] });
  expect((await exchange(port, "GET /")).headers["x-frame-options"]).toBe("DENY");
  expect((await exchange(port, "GET /v1/sys/health")).headers).not.toHaveProperty("x-frame-options");
});
