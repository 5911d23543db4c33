// Leases cut short: the process ends after each write, and after each operation of each write on a store without
// transactions, while an account is made, renewed and ended in the world outside.
// Must hold: no account outlives what the vault knows of it: once its time has passed there is none, and nothing is left of
// its lease (on a store without transactions, nothing that anybody acts on).

import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { accounts, World } from "../core/accounts.ts";
import { type Harness, harness } from "../core/harness.ts";
import { FaultyStore } from "./store.ts";

const everything =
  'path "db/*" { capabilities = ["read", "update"] } path "auth/token/*" { capabilities = ["update"] }';

interface Prepared {
  readonly h: Harness;
  readonly store: FaultyStore;
  readonly world: World;
  readonly token: string;
  readonly lease: string;
}

async function prepare(atomic: boolean): Promise<Prepared> {
  const store = new FaultyStore(atomic);
  const world = new World();
  const h = await harness({ storage: store, plugins: [accounts(world)] });
  await h.ask("update", "sys/mounts/db", { type: "accounts" });
  await h.ask("update", "sys/policies/acl/all", { policy: everything });
  await h.ask("update", "db/roles/app", { ttl: "10m", max_ttl: "1h" });
  const { auth } = await h.ask("update", "auth/token/create", { policies: ["all"], ttl: "2h" });
  const token = auth?.client_token ?? "";
  const { lease } = await h.ask("read", "db/creds/app", {}, token);
  return { h, store, world, token, lease: lease?.id ?? "" };
}

async function settle(h: Harness): Promise<void> {
  for (let turn = 0; turn < 4; turn++) {
    await h.vault.tick().catch(() => {});
    await pause(1);
  }
}

const steps: readonly (readonly [string, (at: Prepared) => Promise<unknown>])[] = [
  ["made", ({ h, token }) => h.ask("read", "db/creds/app", {}, token)],
  ["renewed", ({ h, lease }) => h.ask("update", "sys/leases/renew", { lease_id: lease, increment: "30m" })],
  [
    "revoked",
    async ({ h, lease }) => {
      await h.ask("update", "sys/leases/revoke", { lease_id: lease });
      await settle(h);
    },
  ],
  [
    "ended with its token",
    async ({ h, token }) => {
      await h.ask("update", "auth/token/revoke", { token });
      await settle(h);
    },
  ],
  [
    "ended by time",
    async ({ h }) => {
      h.clock.advance(15 * 60_000);
      await settle(h);
    },
  ],
  [
    "ended with its mount",
    async ({ h }) => {
      await h.ask("delete", "sys/mounts/db");
      await h.vault.core?.tasks.run();
      await settle(h);
    },
  ],
];

const found = ["lease/due/", "lease/stuck/", "lease/id/db/"];
/** Ways to what may be there no more: without transactions some lead nowhere. */
const ways = ["lease/mount/", "token/child/"];

test.each(
  steps.flatMap(
    ([name, run]) =>
      [
        [name, "with", run, true],
        [name, "without", run, false],
      ] as const,
  ),
)("%s, on a store %s transactions", async (_n, _w, run, atomic) => {
  const whole = await prepare(atomic);
  const first = whole.store.writes.length;
  await run(whole);
  const writes = whole.store.writes.slice(first).map(({ ops }) => ops);
  expect(writes.length).toBeGreaterThan(0);
  for (const [number, ops] of writes.entries()) {
    const cuts = atomic ? [0, ops.length] : ops.map((_op, at) => at).concat(ops.length);
    for (const landed of cuts) {
      const at = await prepare(atomic);
      at.store.fault = { write: first + number, landed, stops: true };
      await run(at).catch(() => {});
      // Another process finds what is left, and the world as it is by now.
      const again = await at.h.reopen(new FaultyStore(atomic, at.store.entries));
      again.clock.advance(1);
      await settle(again);
      // Its time, and then some for further tries.
      for (const minutes of [180, 10, 10]) {
        again.clock.advance(minutes * 60_000);
        await again.vault.core?.tasks.run();
        await settle(again);
      }
      const what = `write ${number}, cut after ${landed} of:\n${ops.map(({ key }) => key).join("\n")}`;
      expect([...at.world.accounts.keys()], what).toEqual([]);
      for (const folder of atomic ? [...found, ...ways] : found)
        expect(await again.vault.core?.root.list(folder), `${folder}: ${what}`).toEqual([]);
      await again.vault.seal();
    }
  }
});
