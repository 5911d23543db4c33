// Whoever is over his rate limit is told so before the body of his request is read.

import { beforeEach, expect, test } from "vitest";
import { type Harness, harness } from "../core/harness.ts";
import { type Answered, exchange, requestText, start, Wire } from "./fixture.ts";

let h: Harness;
let port = 0;

beforeEach(async () => {
  h = await harness();
  await h.ask("update", "sys/mounts/kv", { type: "kv" });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  const { vault } = h;
  const door = {
    handle: vault.handle.bind(vault),
    crowded: vault.crowded.bind(vault),
  };
  ({ port } = await start({ door, app: { clock: h.clock } }));
});

const limit = (data: object): Promise<unknown> =>
  h.ask("update", "sys/quotas/rate-limit/q", { rate: 1, interval: 60, path: "kv", ...data });

/** Its body never comes; null where the server waits for it. */
async function head(path: string): Promise<Answered | null> {
  const wire = new Wire(port);
  await wire.send(requestText(`POST /v1/${path}`, [`X-Vault-Token: ${h.root}`, "Content-Length: 1000000"]));
  const answer = await Promise.race([wire.answer(), new Promise<null>((resolve) => setTimeout(resolve, 200, null))]);
  wire.socket.destroy();
  return answer;
}

const write = async (path: string): Promise<number> =>
  (await exchange(port, `POST /v1/${path}`, [`X-Vault-Token: ${h.root}`], '{"a":"1"}')).status;

test("at paths of the limit alone, with the headers that are asked for, and as long as it lasts", async () => {
  await limit({});
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_response_headers: true });
  expect(await head("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(204);
  const refused = await head("kv/a");
  expect(refused).toMatchObject({ status: 429, headers: { "x-ratelimit-remaining": "0", "retry-after": "60" } });
  expect(refused?.body).toContain('request path \\"kv/a\\": rate limit quota exceeded');
  expect(await head("cubbyhole/a")).toBeNull();
  h.clock.advance(60_000);
  expect(await head("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(204);
  expect(await write("kv/a")).toBe(429);
});

test("not where the request has to be known: for a block to begin, for its audit entry, for whose login it is", async () => {
  await limit({ block_interval: 120 });
  expect(await write("kv/a")).toBe(204);
  expect(await head("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(429);
  h.clock.advance(119_999);
  expect((await head("kv/a"))?.status).toBe(429);
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_audit_logging: true });
  expect(await head("kv/a")).toBeNull();
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_audit_logging: false });
  await h.ask("update", "sys/quotas/rate-limit/al", { rate: 1, interval: 60, path: "auth/userpass", role: "al" });
  await limit({ rate: 1, path: "auth/userpass/login/*" });
  for (const status of [400, 429]) expect(await write("auth/userpass/login/bo")).toBe(status);
  expect(await head("auth/userpass/login/bo")).toBeNull();
});

test("sealing never waits for anything, and a sealed vault limits nothing", async () => {
  await h.ask("update", "sys/quotas/rate-limit/all", { rate: 1, interval: 60 });
  expect(await write("kv/a")).toBe(204);
  expect((await head("kv/a"))?.status).toBe(429);
  expect(await head("sys/seal")).toBeNull();
  await h.vault.seal();
  expect(await write("kv/a")).toBe(503);
});
