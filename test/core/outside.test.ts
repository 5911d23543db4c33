// What a seal leaves alive in other systems: counted, and ended before it, while nothing new is leased.

import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { VaultError } from "../../src/sdk/errors.ts";
import { turns } from "../conformance/probe.ts";
import { accounts, World } from "./accounts.ts";
import { type Harness, harness, refusal } from "./harness.ts";

const path = "sys/leases/outside";

async function prepared() {
  const world = new World();
  const other = new World();
  const h = await harness({ plugins: [accounts(world), accounts(other, "others")] });
  await h.ask("update", "sys/mounts/db", { type: "accounts" });
  await h.ask("update", "sys/mounts/cloud", { type: "others" });
  for (const mount of ["db", "cloud"]) await h.ask("update", `${mount}/roles/app`, { ttl: "10m", max_ttl: "1h" });
  const leases = h.vault.core?.leases;
  if (leases === undefined) throw new Error("sealed");
  return { h, world, other, leases };
}

const got = async (h: Harness, mount = "db"): Promise<string> =>
  String((await h.ask("read", `${mount}/creds/app`)).lease?.id);
const shown = async (h: Harness) => (await h.ask("read", path)).data ?? {};

/** Revocations run and their outcomes are written. */
async function settle(h: Harness): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    await h.vault.tick();
    await turns();
    await pause(2);
  }
}

async function expectNothing(h: Harness): Promise<void> {
  for (const folder of ["lease/due/", "lease/mount/", "lease/stuck/", "lease/id/"]) {
    expect(await h.vault.core?.root.list(folder), folder).toEqual([]);
  }
}

describe("counting", () => {
  test("tells the leases of engines by mount, and no tokens", async () => {
    const { h } = await prepared();
    expect(await shown(h)).toEqual({
      lease_count: 0,
      complete: true,
      mounts: [],
      stopped_until: null,
      ending: false,
      failing: [],
    });
    for (let made = 0; made < 3; made += 1) await got(h);
    await got(h, "cloud");
    await h.ask("update", "auth/token/create", { ttl: "1h" });
    expect(await shown(h)).toMatchObject({
      lease_count: 4,
      complete: true,
      mounts: expect.arrayContaining([
        { mount: "db/", mount_accessor: expect.any(String), lease_count: 3 },
        { mount: "cloud/", mount_accessor: expect.any(String), lease_count: 1 },
      ]),
    });
    expect(await refusal(h.ask("read", path, {}, null))).toMatch(/^unauthenticated/);
  });

  test("ends when its time is over, and says that there may be more", async () => {
    const { h, leases } = await prepared();
    await got(h);
    await got(h, "cloud");
    const { complete, leases: counts } = await leases.outside.count(0);
    expect(complete).toBe(false);
    expect([...counts.values()]).toEqual([1]);
  });
});

describe("ending", () => {
  test("ends all, leases nothing meanwhile, and again once it is let go", async () => {
    const { h, world, other } = await prepared();
    for (let made = 0; made < 5; made += 1) await got(h);
    await got(h, "cloud");
    expect(await h.ask("update", path, { hold: "1m" })).toMatchObject({
      outcome: "accepted",
      data: { stopped_until: expect.any(String) },
    });
    expect(await refusal(got(h))).toBe("rate_limited: nothing is leased now: the vault is about to be sealed");
    await settle(h);
    expect([world.accounts.size, other.accounts.size]).toEqual([0, 0]);
    expect(await shown(h)).toMatchObject({ lease_count: 0, complete: true, ending: false });
    await expectNothing(h);
    await h.ask("delete", path);
    await got(h);
    expect(world.accounts.size).toBe(1);
  });

  test("the stop ends by itself", async () => {
    const { h } = await prepared();
    await h.ask("update", path, { hold: "1m" });
    h.clock.set(h.clock.now() + 59_000);
    expect(await refusal(got(h))).toMatch(/^rate_limited/);
    h.clock.set(h.clock.now() + 1_000);
    await got(h);
    expect(await shown(h)).toMatchObject({ stopped_until: null, lease_count: 1 });
  });

  test("tells what does not end and why, and tries that again when it is asked again", async () => {
    const { h, world } = await prepared();
    const id = await got(h);
    await got(h, "cloud");
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "the database is away"));
    await h.ask("update", path, { hold: "1m" });
    await settle(h);
    expect(await shown(h)).toMatchObject({
      lease_count: 1,
      mounts: [{ mount: "db/" }],
      failing: [{ lease_id: id, mount: "db/", attempts: 1, error: "the database is away" }],
    });
    world.onRevoke = async () => {};
    await h.ask("update", path, { hold: "1m" });
    await settle(h);
    expect(await shown(h)).toMatchObject({ lease_count: 0, failing: [] });
    expect(world.accounts.size).toBe(0);
  });

  test("looking for what does not end has a bound too", async () => {
    const { h, world, other, leases } = await prepared();
    await got(h);
    await got(h, "cloud");
    for (const one of [world, other]) one.onRevoke = () => Promise.reject(new VaultError("upstream", "away"));
    await h.ask("update", path, { hold: "1m" });
    await settle(h);
    expect(await leases.outside.failing(0)).toHaveLength(1);
    expect(await leases.outside.failing(60_000)).toHaveLength(2);
  });

  test("an account that is being made is counted until it is ended", async () => {
    const { h, world } = await prepared();
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    world.onCreate = () => {
      reached.resolve();
      return gate.promise;
    };
    const making = refusal(got(h));
    await reached.promise;
    await h.ask("update", path, { hold: "1m" });
    await settle(h);
    expect(await shown(h)).toMatchObject({ lease_count: 1 });
    gate.resolve();
    await making;
    await settle(h);
    expect(world.accounts.size).toBe(0);
    expect(await shown(h)).toMatchObject({ lease_count: 0 });
    await expectNothing(h);
  });

  test("a lease on its way into storage when leasing stops is never made", async () => {
    const { h, world, leases } = await prepared();
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const keep = leases.keep.bind(leases);
    leases.keep = async (...args) => {
      reached.resolve();
      await gate.promise;
      return keep(...args);
    };
    const making = refusal(got(h));
    await reached.promise;
    await h.ask("update", path, { hold: "1m" });
    await settle(h);
    expect(await shown(h)).toMatchObject({ lease_count: 0 });
    gate.resolve();
    expect(await making).toMatch(/^rate_limited/);
    expect(world.made).toBe(0);
    await expectNothing(h);
  });

  test("what an index names without a lease is no account", async () => {
    const { h } = await prepared();
    const accessor = h.vault.core?.generation.mounts.at("db")?.accessor ?? "";
    await h.vault.core?.root.write([{ key: `lease/mount/${accessor}/db%2Fcreds%2Fapp%2Fgone`, value: true }]);
    expect(await shown(h)).toMatchObject({ lease_count: 1 });
    await h.ask("update", path);
    await settle(h);
    expect(await shown(h)).toMatchObject({ lease_count: 0 });
  });

  test("a seal in the middle ends it; what was told to end ends after the unseal", async () => {
    const { h, world } = await prepared();
    for (let made = 0; made < 300; made += 1) await got(h);
    await h.ask("update", path, { hold: "1m" });
    await h.ask("update", "sys/seal");
    await h.unseal();
    await got(h, "cloud");
    await h.ask("update", path);
    await settle(h);
    expect(world.accounts.size).toBe(0);
  });
});
