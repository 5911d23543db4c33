// Leases in numbers, on SQLite with real syncs. Figures are printed; only what must be true is asserted: nothing is left, and
// nothing is lost.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { spawn } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { shorten } from "../../src/core/leases/renewal.ts";
import { startBench, type Bench } from "./bench.ts";

const many = 100_000;
const mass = 10_000;
const atOnce = 128;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-leases-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
const figures = (values: readonly number[]): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.5, 0.99, 1]
    .map((q) => `${q === 1 ? "max" : `p${q * 100}`} ${quantile(sorted, q).toFixed(1)} ms`)
    .join(", ");
};
const print = (text: string): void => console.log(`leases: ${text}`);

/** `count` times, `atOnce` at a time. Returns seconds. */
async function repeat(count: number, run: (at: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const at = next++;
      await run(at);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return (performance.now() - start) / 1000;
}

/** Ticks as the server does, and reads without a pause, until `done`. Returns how long reads took. */
async function reading(bench: Bench, token: string, done: () => boolean): Promise<number[]> {
  const took: number[] = [];
  const ticking = setInterval(() => void bench.vault.tick(), 500);
  const reader = async (): Promise<void> => {
    for (let at = 0; !done(); at++) {
      const start = performance.now();
      await bench.ask("read", `kv/key${at % 1000}`, {}, token);
      took.push(performance.now() - start);
      await pause(1);
    }
  };
  await Promise.all(Array.from({ length: 8 }, reader));
  clearInterval(ticking);
  return took;
}

/** The last account is ended a moment before its lease is forgotten. The test's own end is the limit. */
async function settled(bench: Bench): Promise<void> {
  while ((await bench.list("lease/id/db/")).length > 0) {
    await pause(100);
    await bench.vault.tick();
  }
}

test("100,000 leases: the next start loads none of them", async () => {
  const bench = await startBench(join(folder, "many"));
  const seconds = await repeat(many, () => bench.ask("read", "db/creds/long"));
  print(`${many} made in ${seconds.toFixed(1)} s: ${(many / seconds).toFixed(0)}/s, two synced writes each`);
  expect(bench.world.accounts.size).toBe(many);
  const { share, root } = bench;
  await bench.close();
  const child = spawn(process.execPath, [join(import.meta.dirname, "bench.ts"), join(folder, "many"), share, root], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await new Promise((resolve) => child.once("exit", resolve));
  const { served, rss, due, looked } = JSON.parse(said) as Record<string, number>;
  print(`start to first answer ${served} ms (asked: 3000), resident then ${rss} MiB (asked: 400)`);
  print(`one lookup by id reads ${looked} entry of storage`);
  expect(due).toBeGreaterThan(0);
  expect(looked).toBe(1);
});

test("10,000 leases that end at once leave reads alone, and end in time", async () => {
  const bench = await startBench(join(folder, "mass"));
  await repeat(1_000, (at) => bench.ask("update", `kv/key${at}`, { value: `${at}` }));
  const { auth } = await bench.ask("update", "auth/token/create", { policies: ["reader"], ttl: "5h" });
  const token = auth?.client_token ?? "";
  let since = Date.now();
  const before = await reading(bench, token, () => Date.now() - since > 3_000);
  print(`reads before: ${figures(before)} (${before.length})`);
  // They all end in the same millisecond, and their token lives on.
  const maker = (await bench.ask("update", "auth/token/create", { policies: ["all"], ttl: "5h" })).auth;
  await repeat(mass, () => bench.ask("read", "db/creds/long", {}, maker?.client_token));
  expect(bench.world.accounts.size).toBe(mass);
  const { core } = bench.vault;
  if (core === null) throw new Error("sealed");
  const end = Date.now() + 10_000;
  await shorten(core, core.tokens.idOf(maker?.client_token ?? ""), end);
  const lags: number[] = [];
  bench.world.onRevoke = async () => {
    lags.push(Date.now() - end);
  };
  await pause(Math.max(0, end - Date.now() - 500));
  since = performance.now();
  const during = await reading(bench, token, () => bench.world.accounts.size === 0);
  print(`reads during the expiry of ${mass}: ${figures(during)} (${during.length}); asked: p99 100 ms`);
  print(`expiry lag: ${figures(lags)}; asked: p99 2000 ms`);
  expect(bench.world.ended.size).toBe(mass);
  await settled(bench);
  expect(await bench.list("lease/due/")).toHaveLength(2);
  await bench.close();
});

test("10,000 tokens that end at once, each with a lease", async () => {
  const bench = await startBench(join(folder, "tokens"));
  await repeat(1_000, (at) => bench.ask("update", `kv/key${at}`, { value: `${at}` }));
  const reader = (await bench.ask("update", "auth/token/create", { policies: ["reader"], ttl: "5h" })).auth;
  const parent = (await bench.ask("update", "auth/token/create", { policies: ["all"], ttl: "5h" })).auth;
  const seconds = await repeat(mass, async () => {
    const { auth } = await bench.ask(
      "update",
      "auth/token/create",
      { policies: ["all"], ttl: "1h" },
      parent?.client_token,
    );
    await bench.ask("read", "db/creds/long", {}, auth?.client_token);
  });
  print(`${mass} tokens with a lease each made in ${seconds.toFixed(1)} s`);
  expect(bench.world.accounts.size).toBe(mass);
  const start = performance.now();
  await bench.ask("update", "auth/token/revoke", { token: parent?.client_token });
  print(`their parent's revocation answered in ${(performance.now() - start).toFixed(0)} ms`);
  const during = await reading(bench, reader?.client_token ?? "", () => bench.world.accounts.size === 0);
  print(`all ended ${((performance.now() - start) / 1000).toFixed(1)} s later; reads meanwhile: ${figures(during)}`);
  await settled(bench);
  expect(await bench.list("token/id/")).toHaveLength(2);
  await bench.close();
});
