// sys/metrics and sys/in-flight-req: who may ask, and that what they tell follows what happens.

import { randomUUID } from "node:crypto";

import { expect, test } from "vitest";
import type { Request } from "../../src/sdk/request.ts";
import { type Metric, parsed } from "../prometheus.ts";
import { type Harness, harness, refusal } from "./harness.ts";

type Told = ReadonlyMap<string, readonly Metric[]>;

async function told(h: Harness, token = h.root): Promise<Told> {
  const { text } = await h.ask("read", "sys/metrics", { format: "prometheus" }, token);
  expect(text?.type).toBe("text/plain; version=0.0.4; charset=utf-8");
  return new Map(parsed(text?.body ?? "").map(({ name, metrics }) => [name, metrics]));
}

const one = (metrics: Told, name: string, labels: object = {}): number => {
  const found = metrics
    .get(name)
    ?.find((each) => Object.entries(labels).every(([key, value]) => each.labels?.[key] === value));
  return Number(found?.value ?? Number.NaN);
};

test("metrics take a token that may read them, and no more", async () => {
  const h = await harness();
  await h.ask("update", "sys/policies/acl/scraper", { policy: 'path "sys/metrics" { capabilities = ["read"] }' });
  const make = async (policies: readonly string[]): Promise<string> =>
    (await h.ask("update", "auth/token/create", { policies })).auth?.client_token ?? "";
  expect((await told(h, await make(["scraper"]))).size).toBeGreaterThan(15);
  const why = await refusal(h.ask("read", "sys/metrics", {}, await make(["default"])));
  expect(why).toMatch(/^denied: permission denied; this token lacks the capability "read" on "sys\/metrics"/);
  expect(await refusal(h.ask("read", "sys/metrics", {}, null))).toMatch(/missing client token/);
  expect(await refusal(h.ask("read", "sys/metrics", { format: "xml" }))).toMatch(/^invalid: the format must be/);
});

test("they tell what there is, and follow it", async () => {
  const h = await harness();
  const before = await told(h);
  expect(one(before, "vault_core_unsealed")).toBe(1);
  expect(one(before, "vault_core_in_flight_requests")).toBe(1);
  expect(one(before, "writ_initialized")).toBe(1);
  expect(one(before, "vault_token_count")).toBe(1);
  expect(one(before, "writ_audit_device_state", { device: "tape", state: "ok" })).toBe(1);
  expect(one(before, "writ_audit_device_state", { device: "tape", state: "behind" })).toBe(0);
  expect(one(before, "writ_build_info", { version: "2.0.0" })).toBe(1);
  expect(one(before, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(one(before, "process_cpu_seconds_total")).toBeGreaterThan(0);
  await h.ask("update", "sys/policies/acl/x", { policy: 'path "a" { capabilities = ["read"] }' });
  for (let n = 0; n < 3; n++) await h.ask("update", "auth/token/create", { policies: ["x"] });
  h.tape.fail = true;
  await expect(h.ask("read", "sys/mounts")).rejects.toMatchObject({ code: "audit" });
  h.tape.fail = false;
  h.clock.advance(61_000);
  // The feed tries again after a while of real time.
  await expect
    .poll(() =>
      h.ask("read", "sys/mounts").then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  await told(h);
  const after = await told(h);
  expect(one(after, "vault_token_count")).toBe(4);
  expect(one(after, "writ_generation_sequence")).toBeGreaterThan(one(before, "writ_generation_sequence"));
  expect(one(after, "writ_generation_age_seconds")).toBe(61);
  expect(one(after, "writ_audit_failures_total")).toBeGreaterThanOrEqual(1);
});

test("without a format they are Vault's JSON", async () => {
  const h = await harness();
  const { text } = await h.ask("read", "sys/metrics");
  expect(text?.type).toBe("application/json");
  expect(JSON.parse(text?.body ?? "")).toMatchObject({
    Timestamp: "2026-01-01 00:00:00 +0000 UTC",
    Gauges: expect.arrayContaining([{ Name: "vault.core.unsealed", Value: 1, Labels: {} }]),
    Points: [],
  });
});

test("a sealed vault tells that it is", async () => {
  const h = await harness();
  await h.vault.seal();
  const families = await h.vault.metrics();
  const values = families.flatMap((family) =>
    family.type === "gauge" ? [[family.name, family.samples[0]?.value]] : [],
  );
  expect(Object.fromEntries(values)).toMatchObject({ vault_core_unsealed: 0, writ_initialized: 1 });
  expect(families.map(({ name }) => name)).not.toContain("vault_token_count");
});

test("requests that are worked on are shown to who has sudo, without their tokens", async () => {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "sys/policies/acl/reader", { policy: 'path "sys/in-flight-req" { capabilities = ["read"] }' });
  const token = (await h.ask("update", "auth/token/create", { policies: ["reader"] })).auth?.client_token ?? "";
  expect(await refusal(h.ask("read", "sys/in-flight-req", {}, token))).toMatch(/lacks the capability "sudo"/);
  const { promise, resolve } = Promise.withResolvers<void>();
  h.tape.block = () => promise;
  const request: Request = {
    id: randomUUID(),
    operation: "list",
    path: "secret/metadata/",
    data: {},
    token: h.root,
    connection: { remoteAddress: "10.0.0.1", remotePort: 4711, local: false },
    headers: {},
    time: h.clock.now(),
  };
  const waiting = h.vault.handle(request).catch(() => {});
  const asked = h.ask("read", "sys/in-flight-req");
  resolve();
  const { data, shape } = await asked;
  h.tape.block = null;
  await waiting;
  expect(shape).toBe("bare");
  expect(Object.keys(data ?? {})).toHaveLength(2);
  expect(data?.[request.id]).toEqual({
    client_id: "",
    client_remote_address: "10.0.0.1:4711",
    request_method: "LIST",
    request_path: "/v1/secret/metadata",
    start_time: "2026-01-01T00:00:00.000000000Z",
  });
  expect(JSON.stringify(data)).not.toContain(h.root);
  expect(Object.keys((await h.ask("read", "sys/in-flight-req")).data ?? {})).toHaveLength(1);
});
