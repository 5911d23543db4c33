// Every write of a lease's life, interrupted in every way, as in sequences.test.ts; but what leases are for lies outside of
// the vault, and must be there exactly where a lease says so.
// Must hold: no account without a lease, no lease without its account, no lease without its token, whatever was interrupted;
// what was answered is there; and in the end nothing is left of anything.

import { setTimeout as pause } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { VaultError } from "../../src/sdk/errors.ts";
import type { LeaseEntry } from "../../src/core/leases/store.ts";
import { turns } from "../conformance/probe.ts";
import { accounts, World } from "../core/accounts.ts";
import { type Harness, harness } from "../core/harness.ts";
import { type Entries, FaultyStore } from "./store.ts";

const world = new World();
let first: Harness;
let entries: Entries;
/** Accounts at the start, the token that has them, and the lease of one. */
let users: ReadonlyMap<string, number>;
let token: string;
let lease: string;
let leaseUser = "";
const start = Date.UTC(2026, 0, 1);

const role = { ttl: "10m", max_ttl: "2h" };

beforeAll(async () => {
  const store = new FaultyStore(true);
  first = await harness({ storage: store, plugins: [accounts(world)], leaseDeadline: 50 });
  await first.ask("update", "sys/mounts/db", { type: "accounts" });
  await first.ask("update", "db/roles/app", role);
  await first.ask("update", "sys/policies/acl/all", { policy: 'path "db/*" { capabilities = ["read", "update"] }' });
  token = (await first.ask("update", "auth/token/create", { policies: ["all"], ttl: "5h" })).auth?.client_token ?? "";
  lease = (await first.ask("read", "db/creds/app", {}, token)).lease?.id ?? "";
  await first.ask("read", "db/creds/app", {}, token);
  await first.vault.seal();
  ({ entries } = store);
  users = new Map(world.accounts);
});

interface Scenario {
  readonly name: string;
  readonly run: (h: Harness) => Promise<unknown>;
  /** What an answer promises, whatever happens afterwards. */
  readonly kept?: () => void;
  /** Takes long, and has no writes of its own kind. */
  readonly once?: true;
}

const refusing = (): Promise<void> => Promise.reject(new VaultError("upstream", "not now"));
const gone = (): void => expect(world.accounts.size).toBe(0);

const scenarios: readonly Scenario[] = [
  {
    name: "create",
    run: (h) => h.ask("read", "db/creds/app", {}, token),
    kept: () => expect(world.accounts.size).toBe(3),
  },
  {
    name: "create that fails half way",
    run: async (h) => {
      world.onCreate = async (user) => {
        world.accounts.set(user, 0);
        await refusing();
      };
      await h.ask("read", "db/creds/app", {}, token).catch(() => {});
      await settle(h);
    },
    kept: () => expect(world.accounts.size).toBe(2),
  },
  {
    name: "create that outlives its deadline",
    run: async (h) => {
      const gate = Promise.withResolvers<void>();
      world.onCreate = () => gate.promise;
      await h.ask("read", "db/creds/app", {}, token).catch(() => {});
      gate.resolve();
      await settle(h);
    },
    kept: () => expect(world.accounts.size).toBe(2),
  },
  {
    name: "answer that cannot be audited",
    run: async (h) => {
      world.onCreate = async () => {
        h.tape.fail = true;
      };
      await h.ask("read", "db/creds/app", {}, token).catch(() => {});
      h.tape.fail = false;
      await settle(h);
    },
    // A process that ends just then leaves a lease that ends by itself.
    once: true,
  },
  {
    name: "renew",
    run: (h) => h.ask("update", "sys/leases/renew", { lease_id: lease, increment: "1h" }),
    kept: () => expect(world.accounts.get(leaseUser)).toBe(start + 3_600_000),
  },
  {
    name: "shorter token",
    run: (h) => h.ask("update", "auth/token/renew", { token, increment: "5m" }),
  },
  {
    name: "revoke",
    run: (h) => h.ask("update", "sys/leases/revoke", { lease_id: lease, sync: true }),
    kept: () => expect(world.accounts.size).toBe(1),
  },
  {
    name: "revoke in the background",
    run: (h) => h.ask("update", "sys/leases/revoke-prefix/db/creds", {}),
    kept: gone,
  },
  {
    name: "revoke that fails",
    run: async (h) => {
      world.onRevoke = refusing;
      await h.ask("update", "sys/leases/revoke-prefix/db", { sync: true }).catch((error: VaultError) => {
        if (!error.message.includes("not now")) throw error;
      });
    },
    kept: gone,
  },
  {
    name: "revoke by force",
    run: async (h) => {
      world.onRevoke = refusing;
      await h.ask("update", "sys/leases/revoke", { lease_id: lease, sync: true }).catch(() => {});
      world.onRevoke = async () => {};
      await h.ask("update", `sys/leases/revoke-force/${lease}`);
    },
  },
  {
    name: "token revoke",
    run: (h) => h.ask("update", "auth/token/revoke", { token }),
    kept: gone,
  },
  {
    name: "token expiry",
    run: async (h) => {
      h.clock.advance(5 * 3_600_000);
      await settle(h);
    },
    kept: gone,
  },
  {
    name: "expiry",
    run: async (h) => {
      h.clock.advance(600_000);
      await settle(h);
    },
    kept: gone,
  },
  {
    name: "unmount",
    run: (h) => h.ask("delete", "sys/mounts/db"),
    kept: gone,
  },
];

async function settle(h: Harness): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await h.vault.core?.tasks.run().catch(() => {});
    await h.vault.tick().catch(() => {});
    await turns();
    await pause(1);
  }
}

async function open(from: Entries, atomic: boolean): Promise<{ readonly h: Harness; readonly store: FaultyStore }> {
  world.onCreate = world.onRevoke = world.onRenew = async () => {};
  const store = new FaultyStore(atomic, from);
  return { h: await first.reopen(store), store };
}

function reset(): void {
  first.clock.set(start);
  world.accounts.clear();
  for (const [user, until] of users) world.accounts.set(user, until);
}

async function walk(h: Harness, folder: string): Promise<string[]> {
  const names = (await h.vault.core?.root.list(folder)) ?? [];
  const below = await Promise.all(
    names.map((name) => (name.endsWith("/") ? walk(h, `${folder}${name}`) : Promise.resolve([`${folder}${name}`]))),
  );
  return below.flat();
}

/** Accounts and leases are the same, once what is to be done is done. */
async function expectSame(h: Harness, forced: boolean): Promise<void> {
  await settle(h);
  // What failed is tried again within a minute.
  for (let round = 0; round < 2; round++) {
    h.clock.advance(60_000);
    await settle(h);
  }
  const core = h.vault.core;
  if (core === null) throw new Error("sealed");
  const there = new Map<string, LeaseEntry>();
  for (const key of await walk(h, "lease/id/db/")) {
    const entry = (await core.root.getJson<LeaseEntry>(key))?.value;
    if (entry === undefined) throw new Error(`no entry at ${key}`);
    there.set(entry.undo["user"] as string, entry);
  }
  // What was forced may be either, and that is what force is.
  const certain = (user: string): boolean => !forced || user !== leaseUser;
  const found = [...there].filter(([user]) => certain(user)).map(([user, { state }]) => [user, state]);
  const left = [...world.accounts.keys()].filter(certain);
  expect(found.sort()).toEqual(left.map((user) => [user, "active"]).sort());
  for (const [user, entry] of there) {
    expect(world.accounts.get(user), "the account lasts as long as the lease").toBeGreaterThanOrEqual(entry.expires_at);
    expect(await core.tokens.get(entry.token ?? ""), "the lease has its token").not.toBeNull();
    const due = `lease/due/${String(entry.expires_at).padStart(15, "0")}/${entry.id.replaceAll("/", "%2F")}`;
    expect(await walk(h, "lease/due/")).toContain(due);
  }
}

async function expectNothing(h: Harness, forced: boolean): Promise<void> {
  for (const hours of [1, 5]) {
    h.clock.advance(hours * 3_600_000);
    await settle(h);
  }
  if (!forced) gone();
  const folders = ["lease/id/db/", "lease/due/", "lease/stuck/"];
  // Without transactions a token may leave indexes behind that lead nowhere.
  if (h.storage.atomic) folders.push("lease/", "token/child/");
  for (const folder of folders) expect(await walk(h, folder), folder).toEqual([]);
}

/** The scenario's writes, without a fault. */
async function record({ run, kept }: Scenario, atomic: boolean) {
  reset();
  const { h, store } = await open(entries, atomic);
  leaseUser = (await h.vault.core?.leases.store.get(lease))?.value.undo["user"] as string;
  const skip = store.writes.length;
  await run(h);
  await settle(h);
  const writes = store.writes.slice(skip);
  world.onRevoke = async () => {};
  h.clock.advance(2_000);
  await settle(h);
  kept?.();
  await h.vault.seal();
  expect(writes.length).toBeGreaterThan(0);
  return { skip, writes };
}

describe.each([
  ["with transactions", true],
  ["without transactions", false],
])("on a store %s", (_, atomic) => {
  const some = scenarios.filter(({ once }) => atomic || once !== true);
  test.each(some.map((scenario) => [scenario.name, scenario] as const))("%s", async (name, scenario) => {
    const { skip, writes } = await record(scenario, atomic);
    const forced = name.includes("force");
    for (const [number, { ops }] of writes.entries()) {
      const cuts = atomic ? [0, ops.length] : [...ops.keys(), ops.length];
      for (const landed of cuts) {
        for (const stops of [true, false]) {
          reset();
          const at = await open(entries, atomic);
          at.store.fault = { write: skip + number, landed, stops };
          const answered = await scenario.run(at.h).then(
            () => true,
            () => false,
          );
          try {
            await settle(at.h);
            at.store.fault = null;
            const now = stops ? await open(at.store.entries, atomic) : at;
            world.onCreate = world.onRevoke = async () => {};
            await expectSame(now.h, forced);
            if (answered) scenario.kept?.();
            await expectNothing(now.h, forced);
            await now.h.vault.seal();
          } catch (error) {
            const done = ops.map(
              ({ key, value }, op) => `${op < landed ? "landed" : "lost"} ${value ? "put" : "del"} ${key}`,
            );
            throw new Error(
              `write ${number} of ${writes.length}, ${stops ? "then it ends" : "then it goes on"}, answered ${answered}:\n` +
                `${done.join("\n")}\n${String(error)}`,
              { cause: error },
            );
          }
        }
      }
    }
  });
});
