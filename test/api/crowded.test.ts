// Whoever is over his rate limit is told so before the body of his request is read.

import { setTimeout as pause } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import { type Harness, harness } from "../core/harness.ts";
import { type Answered, exchange, requestText, start, until, Wire } from "./fixture.ts";

let h: Harness;
let port = 0;
/** How often the door was asked whether somebody is over his limit. */
let asked = 0;

beforeEach(async () => {
  h = await harness();
  await h.ask("update", "sys/mounts/kv", { type: "kv" });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  const { vault } = h;
  const door = {
    handle: vault.handle.bind(vault),
    crowded: (...about: Parameters<typeof vault.crowded>) => {
      asked += 1;
      return vault.crowded(...about);
    },
  };
  ({ port } = await start({ door, app: { clock: h.clock } }));
});

const limit = (data: object): Promise<unknown> =>
  h.ask("update", "sys/quotas/rate-limit/q", { rate: 1, interval: 60, path: "kv", ...data });

/** Sends a head whose body never comes. */
async function head(path: string): Promise<Wire> {
  const wire = new Wire(port);
  await wire.send(requestText(`POST /v1/${path}`, [`X-Vault-Token: ${h.root}`, "Content-Length: 1000000"]));
  return wire;
}

/** The answer to a head alone. */
const refused = async (path: string): Promise<Answered | null> => (await head(path)).answer();

/** Null where the server waits for the body. */
async function waits(path: string): Promise<Answered | null> {
  const before = asked;
  const wire = await head(path);
  await until(() => asked > before);
  return Promise.race([wire.answer(), pause(200, null)]);
}

const write = async (path: string): Promise<number> =>
  (await exchange(port, `POST /v1/${path}`, [`X-Vault-Token: ${h.root}`], '{"a":"1"}')).status;

test("at paths of the limit alone, with the headers that are asked for, and as long as it lasts", async () => {
  await limit({});
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_response_headers: true });
  expect(await waits("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(204);
  const answer = await refused("kv/a");
  expect(answer).toMatchObject({ status: 429, headers: { "x-ratelimit-remaining": "0", "retry-after": "60" } });
  expect(answer?.body).toContain('request path \\"kv/a\\": rate limit quota exceeded');
  expect(await waits("cubbyhole/a")).toBeNull();
  h.clock.advance(60_000);
  expect(await waits("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(204);
  expect(await write("kv/a")).toBe(429);
});

test("not where the request has to be known: for a block to begin, for its audit entry, for whose login it is", async () => {
  await limit({ block_interval: 120 });
  expect(await write("kv/a")).toBe(204);
  expect(await waits("kv/a")).toBeNull();
  expect(await write("kv/a")).toBe(429);
  h.clock.advance(119_999);
  expect((await refused("kv/a"))?.status).toBe(429);
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_audit_logging: true });
  expect(await waits("kv/a")).toBeNull();
  await h.ask("update", "sys/quotas/config", { enable_rate_limit_audit_logging: false });
  await h.ask("update", "sys/quotas/rate-limit/al", { rate: 1, interval: 60, path: "auth/userpass", role: "al" });
  await limit({ rate: 1, path: "auth/userpass/login/*" });
  for (const status of [400, 429]) expect(await write("auth/userpass/login/bo")).toBe(status);
  expect(await waits("auth/userpass/login/bo")).toBeNull();
});

test("sealing never waits for anything, and a sealed vault limits nothing", async () => {
  await h.ask("update", "sys/quotas/rate-limit/all", { rate: 1, interval: 60 });
  expect(await write("kv/a")).toBe(204);
  expect((await refused("kv/a"))?.status).toBe(429);
  expect(await waits("sys/seal")).toBeNull();
  await h.vault.seal();
  expect(await write("kv/a")).toBe(503);
});
