// Every write that the core makes, interrupted in every way: after each of its operations on a store without transactions,
// and, on any store, failing whole, failing though it landed, or being the last thing that the process did.
// Must hold: the vault unseals; what was answered is there; what was interrupted is wholly there or not at all, once its
// tasks have run; doing it again succeeds; nothing that a client is told names a path of the file system.

import { beforeAll, describe, expect, test } from "vitest";
import type { VaultError } from "../../src/sdk/errors.ts";
import { type Harness, harness } from "../core/harness.ts";
import { checkKept, makeWorld, type Scenario, scenarios, type World } from "./scenarios.ts";
import { apply, type Entries, FaultyStore, secretPath } from "./store.ts";

let first: Harness;
let world: World;
let entries: Entries;

beforeAll(async () => {
  const store = new FaultyStore(true);
  first = await harness({ storage: store });
  world = await makeWorld(first);
  await first.vault.seal();
  ({ entries } = store);
});

interface Opened {
  readonly h: Harness;
  readonly store: FaultyStore;
}

async function open(from: Entries, atomic: boolean): Promise<Opened> {
  const store = new FaultyStore(atomic, from);
  return { h: await first.reopen(store), store };
}

/** Tasks, expiry, and further tries of both. */
async function settle(h: Harness): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await h.vault.core?.tasks.run();
    await h.vault.tick();
  }
  expect(await h.target.pending()).toEqual([]);
}

const close = async ({ h, store }: Opened): Promise<void> => {
  store.fault = null;
  await h.vault.seal();
};

/** The scenario once without a fault: its writes, and what can be told before and after. */
async function record(scenario: Scenario, atomic: boolean) {
  first.clock.set(Date.UTC(2026, 0, 1));
  const at = await open(entries, atomic);
  await scenario.before?.(at.h, world);
  await settle(at.h);
  const time = at.h.clock.now();
  const observed = await scenario.observe(at.h, world);
  await close(at);
  const start = at.store.entries;
  const again = await open(start, atomic);
  // What comes before a write is no part of it: versions are reserved by the first write after an unseal.
  const skip = again.store.writes.length;
  await scenario.run(again.h, world);
  await settle(again.h);
  const end = again.h.clock.now();
  const writes = again.store.writes.slice(skip);
  const after = await scenario.observe(again.h, world);
  await scenario.after?.(again.h, world);
  await close(again);
  expect(writes.length).toBeGreaterThan(0);
  return { start, time, end, skip, writes, before: observed, after };
}

type Recorded = Awaited<ReturnType<typeof record>>;

/** All pages of the live generation are there, whatever was collected. */
async function checkPages({ vault, storage }: Harness): Promise<void> {
  const root = vault.core?.generation.record.root ?? "";
  const entry = await vault.core?.root.get(`generation/pages/${root}`);
  const { pages } = JSON.parse(Buffer.from(entry?.value ?? []).toString()) as { pages: Record<string, string> };
  expect(await storage.list("generation/pages/")).toEqual(expect.arrayContaining([root, ...Object.values(pages)]));
}

/** Looks at what an interruption left, does it again, and looks again. */
async function inspect(scenario: Scenario, at: Opened, { before, after, time }: Recorded): Promise<void> {
  const { h } = at;
  await settle(h);
  const found = await scenario.observe(h, world);
  expect([before, after]).toContainEqual(found);
  if (JSON.stringify(found) !== JSON.stringify(after)) {
    h.clock.set(time);
    await scenario.run(h, world);
    await settle(h);
    expect(await scenario.observe(h, world)).toEqual(after);
  }
  await checkKept(h);
  await checkPages(h);
  await scenario.after?.(h, world);
}

describe.each([
  ["with transactions", true],
  ["without transactions", false],
])("on a store %s", (_, atomic) => {
  test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    "%s: the process ends",
    async (_n, scenario) => {
      const recorded = await record(scenario, atomic);
      for (const [number, { ops, before }] of recorded.writes.entries()) {
        const cuts = atomic ? [0, ops.length] : ops.map((_op, at) => at).concat(ops.length);
        for (const landed of cuts) {
          first.clock.set(recorded.end);
          const at = await open(apply(before, ops.slice(0, landed)), atomic);
          try {
            await inspect(scenario, at, recorded);
          } catch (error) {
            const done = ops.map(({ key }, op) => `${op < landed ? "landed" : "lost"} ${key}`).join("\n");
            throw new Error(
              `write ${number} of ${recorded.writes.length}, cut after ${landed}:\n${done}\n${String(error)}`,
              {
                cause: error,
              },
            );
          } finally {
            await close(at);
          }
        }
      }
    },
  );

  test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    "%s: the process goes on",
    async (_n, scenario) => {
      const recorded = await record(scenario, atomic);
      for (const [number, { ops }] of recorded.writes.entries()) {
        const half = atomic ? [] : [Math.ceil(ops.length / 2)];
        for (const landed of new Set([0, ...half, ops.length])) {
          first.clock.set(recorded.time);
          const at = await open(recorded.start, atomic);
          at.store.fault = { write: recorded.skip + number, landed, stops: false };
          try {
            const error = await scenario.run(at.h, world).then(
              () => null,
              (thrown: VaultError) => thrown,
            );
            if (error !== null) {
              expect(error.name).toBe("VaultError");
              expect(error.errors.join()).not.toContain(secretPath);
            }
            at.h.clock.advance(120_000);
            await settle(at.h);
            // What the process serves is what the store has.
            const served = await scenario.observe(at.h, world);
            const other = await open(at.store.entries, atomic);
            expect(await scenario.observe(other.h, world)).toEqual(served);
            await close(other);
            at.h.clock.set(recorded.time);
            await inspect(scenario, at, recorded);
          } catch (error) {
            const what = `write ${number} of ${recorded.writes.length}, of which ${landed} of ${ops.length} landed`;
            throw new Error(`${what}: ${ops.map(({ key }) => key).join(", ")}\n${String(error)}`, { cause: error });
          } finally {
            await close(at);
          }
        }
      }
    },
  );
});

test("an initialisation that was cut off anywhere is begun anew", async () => {
  const whole = new FaultyStore(false);
  await harness({ storage: whole, shares: 1, threshold: 1 });
  let cuts = 0;
  for (const { ops, before } of whole.writes) {
    for (let landed = 0; landed < ops.length; landed++) {
      const store = new FaultyStore(false, apply(before, ops.slice(0, landed)));
      const again = await harness({ storage: store });
      await again.ask("read", "sys/mounts");
      await again.vault.seal();
      cuts += 1;
    }
  }
  expect(cuts).toBeGreaterThan(5);
});
