import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { VaultError } from "../../src/sdk/errors.ts";
import type { Operation } from "../../src/sdk/request.ts";
import { turns } from "../conformance/probe.ts";
import { accounts, hang, World } from "./accounts.ts";
import { declare, type Harness, harness, type HarnessOptions, mountOf, refusal, setOf } from "./harness.ts";

const everything =
  'path "db/*" { capabilities = ["read", "update"] } path "auth/token/*" { capabilities = ["update"] }';

async function prepared(options: HarnessOptions = {}) {
  const world = new World();
  const other = new World();
  const h = await harness({ plugins: [accounts(world), accounts(other, "others")], ...options });
  await h.ask("update", "sys/mounts/db", { type: "accounts" });
  await h.ask("update", "sys/policies/acl/all", { policy: everything });
  await h.ask("update", "db/roles/app", { ttl: "10m", max_ttl: "1h" });
  return { h, world, other, leases: leasesOf(h) };
}

const leasesOf = (h: Harness) => {
  const { core } = h.vault;
  if (core === null) throw new Error("sealed");
  return core.leases;
};

async function got(h: Harness, path = "db/creds/app", token = h.root, operation: Operation = "read") {
  const { lease, data } = await h.ask(operation, path, {}, token);
  if (!lease) throw new Error("no lease");
  return { ...lease, user: String(data?.["username"]) };
}

const made = async (h: Harness, data: Record<string, unknown>, token = h.root) => {
  const { auth } = await h.ask("update", "auth/token/create", data, token);
  if (!auth) throw new Error("no auth");
  return auth;
};

const lookup = async (h: Harness, id: string) =>
  (await h.ask("update", "sys/leases/lookup", { lease_id: id })).data ?? {};

/** Nothing of any lease is left in storage. */
async function expectNothing(h: Harness): Promise<void> {
  for (const folder of ["lease/due/", "lease/mount/", "lease/stuck/", "token/child/"]) {
    const names = (await h.vault.core?.root.list(folder)) ?? [];
    expect(names, folder).toEqual([]);
  }
  expect(await h.vault.core?.root.list("lease/id/")).toEqual([]);
}

/** Until the plugin's work of this moment is done and written. */
async function settle(h: Harness): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await h.vault.tick();
    await turns();
    await pause(2);
  }
}

/** Deadlines are real time: waits for what they lead to, however slow the machine is. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(5);
}

describe("making a lease", () => {
  it("answers with its terms, keeps it, and tells the audit its id", async () => {
    const { h, world } = await prepared();
    const lease = await got(h);
    expect(lease).toMatchObject({ duration: 600, renewable: true });
    expect(lease.id).toMatch(/^db\/creds\/app\/[A-Za-z0-9]{24}$/);
    expect([...world.accounts]).toEqual([[lease.user, h.clock.now() + 600_000]]);
    expect(h.tape.lines.at(-1)).toContain(`"secret":{"lease_id":"${lease.id}"}`);
    h.clock.advance(60_500);
    expect(await lookup(h, lease.id)).toEqual({
      id: lease.id,
      issue_time: "2026-01-01T00:00:00.000000000Z",
      expire_time: "2026-01-01T00:10:00.000000000Z",
      last_renewal: null,
      renewable: true,
      ttl: 539,
    });
    expect(await refusal(h.ask("update", "sys/leases/lookup", { lease_id: "db/creds/app/nothing" }))).toBe(
      "invalid: invalid lease",
    );
    expect(await refusal(h.ask("update", "sys/leases/lookup", {}))).toBe("invalid: lease_id must be specified");
  });

  it("keeps the undo record before anything is made", async () => {
    const { h, world, leases } = await prepared();
    let before: unknown;
    world.onCreate = async () => {
      const [id] = (await h.vault.core?.root.list("lease/id/db/creds/app/")) ?? [];
      before = (await leases.store.get(`db/creds/app/${id ?? ""}`))?.value;
    };
    const { user } = await got(h);
    expect(before).toMatchObject({ state: "pending", undo: { user } });
  });

  it("gives the TTL of role, mount and system, each within its maximum, with a warning", async () => {
    const { h } = await prepared();
    const ttl = async (role: Record<string, unknown>, tune: Record<string, unknown> = {}) => {
      await h.ask("update", "db/roles/x", { ttl: 0, max_ttl: 0, ...role });
      await h.ask("update", "sys/mounts/db/tune", { default_lease_ttl: 0, max_lease_ttl: 0, ...tune });
      const { lease, warnings } = await h.ask("read", "db/creds/x");
      return [lease?.duration, warnings?.join("; ") ?? ""];
    };
    expect(await ttl({})).toEqual([3600, ""]);
    expect(await ttl({ ttl: "5m" })).toEqual([300, ""]);
    expect(await ttl({}, { default_lease_ttl: "2h" })).toEqual([7200, ""]);
    expect(await ttl({ ttl: "5m" }, { default_lease_ttl: "2h" })).toEqual([300, ""]);
    const warning = (asked: number, max: number) =>
      `TTL of "${asked}s" exceeded the effective max_ttl of "${max}s"; TTL value is capped accordingly`;
    expect(await ttl({ ttl: "3h" }, { max_lease_ttl: "2h" })).toEqual([7200, warning(10_800, 7200)]);
    expect(await ttl({ ttl: "3h", max_ttl: "1h" }, { max_lease_ttl: "2h" })).toEqual([3600, warning(10_800, 3600)]);
    expect(await ttl({ ttl: "48h" })).toEqual([86_400, warning(172_800, 86_400)]);
  });

  it("never grants more than its token has left, the token's parents included", async () => {
    const { h } = await prepared();
    const parent = await made(h, { policies: ["all"], ttl: "5m" });
    const child = await made(h, { policies: ["all"], ttl: "1h" }, parent.client_token);
    h.clock.advance(60_000);
    for (const token of [parent, child]) {
      const { lease, warnings } = await h.ask("read", "db/creds/app", {}, token.client_token);
      expect(lease?.duration).toBe(240);
      expect(warnings?.join()).toMatch(/capped to "240s"/);
    }
  });

  it("leases nothing to a token that has less than a second left", async () => {
    const { h, world } = await prepared();
    const { client_token } = await made(h, { policies: ["all"], ttl: "60s" });
    h.clock.advance(59_001);
    expect(await refusal(h.ask("read", "db/creds/app", {}, client_token))).toMatch(/^(denied|unauthenticated)/);
    expect(world.made).toBe(0);
    expect(await h.vault.core?.root.list("lease/id/db/")).toEqual([]);
  });

  it("ends what a batch token leased with that token, or with its parent", async () => {
    const { h, world } = await prepared();
    const parent = await made(h, { policies: ["all"], ttl: "1h" });
    const batch = { policies: ["all"], type: "batch", ttl: "5m" };
    const child = await made(h, batch, parent.client_token);
    const orphan = await made(h, { ...batch, no_parent: true });
    const leases = [
      await got(h, "db/creds/app", child.client_token),
      await got(h, "db/creds/app", orphan.client_token),
    ];
    expect(leases.map(({ duration }) => duration)).toEqual([300, 300]);
    h.clock.advance(240_000);
    for (const { id } of leases) {
      const { lease } = await h.ask("update", "sys/leases/renew", { lease_id: id, increment: "10m" });
      expect(lease?.duration, "no renewal passes the token's end").toBe(60);
    }
    await h.ask("update", "auth/token/revoke", { token: parent.client_token });
    await settle(h);
    expect([...world.accounts.keys()]).toEqual([leases[1]?.user]);
    h.clock.advance(60_000);
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });

  it("ends what a create that failed may have made", async () => {
    const { h, world } = await prepared();
    world.onCreate = async (user) => {
      world.accounts.set(user, 0);
      throw new VaultError("upstream", "the database went away");
    };
    expect(await refusal(h.ask("read", "db/creds/app"))).toBe("upstream: the database went away");
    await settle(h);
    expect([world.ended.size, world.accounts.size]).toEqual([1, 0]);
    await expectNothing(h);
  });

  it("ends what a create makes after its deadline", async () => {
    const { h, world } = await prepared({ leaseDeadline: 300 });
    const gate = Promise.withResolvers<void>();
    world.onCreate = () => gate.promise;
    expect(await refusal(h.ask("read", "db/creds/app"))).toMatch(/^upstream: what was asked for was not made within/);
    await settle(h);
    expect(world.ended.size).toBe(0);
    gate.resolve();
    await settle(h);
    expect([world.made, world.accounts.size]).toEqual([1, 0]);
    await expectNothing(h);
  });

  it("ends it again where a create that was given up comes back after all", async () => {
    const { h, world } = await prepared({ leaseDeadline: 10 });
    const gate = Promise.withResolvers<void>();
    world.onCreate = () => gate.promise;
    expect(await refusal(h.ask("read", "db/creds/app"))).toMatch(/^upstream/);
    await until(() => world.ended.size > 0);
    await settle(h);
    expect([...world.ended.values()]).toEqual([1]);
    await expectNothing(h);
    gate.resolve();
    await settle(h);
    expect([world.made, world.accounts.size, ...world.ended.values()]).toEqual([1, 0, 2]);
    await expectNothing(h);
  });

  it("forgets nothing: a process that ends before create returns leaves a lease to end", async () => {
    const { h, world } = await prepared();
    world.onCreate = async (user) => {
      world.accounts.set(user, 0);
      await hang();
    };
    void h.ask("read", "db/creds/app").catch(() => {});
    while (world.accounts.size === 0) await pause(1);
    // The process is gone: nothing of it runs any more, and another one finds what it left.
    const again = await h.reopen();
    const [name = ""] = (await again.vault.core?.root.list("lease/id/db/creds/app/")) ?? [];
    expect(await lookup(again, `db/creds/app/${name}`)).toMatchObject({ state: "pending" });
    await settle(again);
    expect(world.accounts.size).toBe(0);
    await expectNothing(again);
  });

  it("ends what the handler could not answer with", async () => {
    const { h, world } = await prepared();
    await h.ask("update", "db/roles/clumsy", {});
    expect(await refusal(h.ask("read", "db/creds/clumsy"))).toMatch(/fell over/);
    await settle(h);
    expect([world.made, world.accounts.size]).toEqual([1, 0]);
    await expectNothing(h);
  });

  it("ends what could not be audited, and withholds it", async () => {
    const { h, world } = await prepared();
    world.onCreate = async () => {
      h.tape.fail = true;
    };
    expect(await refusal(h.ask("read", "db/creds/app"))).toMatch(/^audit/);
    h.tape.fail = false;
    await settle(h);
    expect([world.made, world.accounts.size]).toEqual([1, 0]);
    await expectNothing(h);
  });

  it("makes nothing where the request's own entry was not kept", async () => {
    const { h, world } = await prepared();
    h.tape.fail = true;
    expect(await refusal(h.ask("read", "db/creds/app"))).toMatch(/^audit/);
    expect(world.made).toBe(0);
  });

  it("refuses plugins that break the contract", async () => {
    const { h, world } = await prepared();
    expect(await refusal(h.ask("read", "db/wrong"))).toMatch(/must say that it mutates/);
    expect(world.made).toBe(0);
    await expectNothing(h);
  });

  it("makes nothing at a mount that was removed before the lease was kept", async () => {
    const { h, world, leases } = await prepared();
    const { store } = leases;
    const write = store.write.bind(store);
    store.write = async (ops) => {
      store.write = write;
      await h.ask("delete", "sys/mounts/db");
      await h.vault.core?.tasks.run();
      return write(ops);
    };
    expect(await refusal(h.ask("read", "db/creds/app"))).toMatch(/^not_found: no handler/);
    await settle(h);
    expect(world.made).toBe(0);
    await expectNothing(h);
  });

  it("does not hand out what the last use of a token leased", async () => {
    const { h, world } = await prepared();
    const once = await made(h, { policies: ["all"], num_uses: 1 });
    expect(await refusal(h.ask("read", "db/creds/app", {}, once.client_token))).toMatch(/token had one use left/);
    await settle(h);
    expect([world.made, world.accounts.size]).toEqual([1, 0]);
  });

  it("makes nothing below a token or a mount that ends meanwhile", async () => {
    const { h, world } = await prepared();
    const token = await made(h, { policies: ["all"] });
    // Begun before the end, and kept after it.
    const late = h.ask("read", "db/creds/app", {}, token.client_token);
    await h.ask("update", "auth/token/revoke", { token: token.client_token });
    await late.catch(() => {});
    await settle(h);
    expect(world.accounts.size).toBe(0);
    const lost = h.ask("read", "db/creds/app");
    await h.ask("delete", "sys/mounts/db");
    await lost.catch(() => {});
    await h.vault.core?.tasks.run();
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });
});

describe("renewing a lease", () => {
  it("gives it more time up to the maximum, and says when it caps", async () => {
    const { h, world } = await prepared();
    const { id, user } = await got(h);
    h.clock.advance(300_000);
    const first = await h.ask("update", "sys/leases/renew", { lease_id: id });
    expect(first).toMatchObject({ lease: { id, duration: 600, renewable: true } });
    expect(world.accounts.get(user)).toBe(h.clock.now() + 600_000);
    expect(await lookup(h, id)).toMatchObject({ ttl: 600, last_renewal: "2026-01-01T00:05:00.000000000Z" });
    h.clock.advance(599_000);
    await h.ask("update", `sys/renew/${id}`, { increment: "40m" });
    const second = await h.ask("update", "sys/leases/renew", { lease_id: id, increment: 3600 });
    expect(second.lease?.duration).toBe(3600 - 899);
    expect(second.warnings?.join()).toMatch(/TTL of "3600s" exceeded the effective max_ttl of "2701s"/);
    h.clock.advance(2_701_000);
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toBe("invalid: lease expired");
    await settle(h);
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toBe("invalid: lease not found");
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });

  it("never passes its token's end, also where that came nearer", async () => {
    const { h } = await prepared();
    const token = await made(h, { policies: ["all"], ttl: "30m" });
    const { id } = await got(h, "db/creds/app", token.client_token);
    const { lease } = await h.ask("update", "sys/leases/renew", { lease_id: id, increment: "50m" });
    expect(lease?.duration).toBe(1800);
    await h.ask("update", "auth/token/renew", { token: token.client_token, increment: "2m" });
    expect(await lookup(h, id)).toMatchObject({ ttl: 120 });
    await h.ask("update", "auth/token/renew", { token: token.client_token, increment: "40m" });
    expect((await h.ask("update", "sys/leases/renew", { lease_id: id, increment: "50m" })).lease?.duration).toBe(2400);
  });

  it("gives no more time in the last second of the maximum, nor below a token that is gone", async () => {
    const { h, world } = await prepared();
    let renewals = 0;
    world.onRenew = async () => void (renewals += 1);
    const { id } = await got(h);
    await h.ask("update", "sys/leases/renew", { lease_id: id, increment: "1h" });
    h.clock.advance(3_599_001);
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toBe(
      "invalid: past the max TTL, cannot renew",
    );
    const { client_token } = await made(h, { policies: ["all"] });
    const below = await got(h, "db/creds/app", client_token);
    await h.ask("update", "auth/token/revoke", { token: client_token });
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: below.id }))).toMatch(
      /^invalid: lease (expired|not found)/,
    );
    expect(renewals).toBe(1);
    await settle(h);
  });

  it("lets its token end sooner also where it is revoked at that moment", async () => {
    const { h, world, leases } = await prepared();
    const { client_token } = await made(h, { policies: ["all"], ttl: "30m" });
    const { id } = await got(h, "db/creds/app", client_token);
    const { store } = leases;
    const write = store.write.bind(store);
    let met = false;
    store.write = async (ops) => {
      store.write = write;
      met = true;
      await h.ask("update", "sys/leases/revoke", { lease_id: id });
      return write(ops);
    };
    const { auth } = await h.ask("update", "auth/token/renew", { token: client_token, increment: "2m" });
    expect([met, auth?.lease_duration]).toEqual([true, 120]);
    await settle(h);
    expect(world.accounts.size).toBe(0);
  });

  it("refuses what is not renewable, and tokens", async () => {
    const { h } = await prepared();
    const { id, renewable } = await got(h, "db/fixed/x", h.root, "update");
    expect(renewable).toBe(false);
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toBe(
      "invalid: lease is not renewable",
    );
    const { client_token } = await made(h, { policies: ["all"], ttl: "1h" });
    const token = `auth/token/create/h${h.vault.core?.tokens.idOf(client_token) ?? ""}`;
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: token }))).toBe(
      "invalid: tokens cannot be renewed through this endpoint",
    );
    expect(await refusal(h.ask("update", "sys/leases/renew", {}))).toBe("invalid: lease_id must be specified");
  });

  it("changes nothing where the plugin fails or hangs, and does not stand in the way of revoking", async () => {
    const { h, world } = await prepared({ leaseDeadline: 1_000 });
    const { id } = await got(h);
    for (const [behave, text] of [
      [() => Promise.reject(new VaultError("upstream", "no")), /^upstream: no$/],
      [hang, /^internal/],
    ] as const) {
      world.onRenew = behave;
      expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toMatch(text);
      expect(await lookup(h, id)).toMatchObject({ ttl: 600, last_renewal: null });
    }
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    world.onRenew = () => (reached.resolve(), gate.promise);
    const renewing = h.ask("update", "sys/leases/renew", { lease_id: id });
    await reached.promise;
    expect(await refusal(h.ask("update", "sys/leases/renew", { lease_id: id }))).toMatch(/^conflict/);
    await h.ask("update", "sys/leases/revoke", { lease_id: id });
    gate.resolve();
    expect(await refusal(renewing)).toMatch(/^conflict/);
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });
});

describe("ending leases", () => {
  it("ends them at their time", async () => {
    const { h, world } = await prepared();
    await got(h);
    h.clock.advance(599_999);
    await settle(h);
    expect(world.accounts.size).toBe(1);
    h.clock.advance(1);
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });

  it("ends them with their token: revoked, expired, used up, or as a child", async () => {
    const { h, world } = await prepared();
    const ends: [string, (token: string) => Promise<unknown>][] = [
      ["revoked", (token) => h.ask("update", "auth/token/revoke", { token })],
      ["revoked by itself", (token) => h.ask("update", "auth/token/revoke-self", {}, token)],
      ["revoked with its parent", async () => h.ask("update", "auth/token/revoke", { token: parent.client_token })],
    ];
    const parent = await made(h, { policies: ["all"] });
    for (const [how, end] of ends) {
      const token = await made(h, { policies: ["all"] }, parent.client_token);
      await Promise.all(Array.from({ length: 40 }, () => got(h, "db/creds/app", token.client_token)));
      expect(world.accounts.size).toBe(40);
      await end(token.client_token);
      await h.vault.core?.tasks.run();
      await settle(h);
      expect(world.accounts.size, how).toBe(0);
    }
    const short = await made(h, { policies: ["all"], ttl: "60s" });
    await got(h, "db/creds/app", short.client_token);
    await h.ask("update", "auth/token/renew", { token: short.client_token, increment: "30s" });
    h.clock.advance(30_000);
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await expectNothing(h);
  });

  it("revokes at once or in the background", async () => {
    const { h, world } = await prepared();
    const first = await got(h);
    expect(await h.ask("update", "sys/leases/revoke", { lease_id: first.id })).toMatchObject({ outcome: "accepted" });
    await settle(h);
    expect(world.accounts.size).toBe(0);
    const second = await got(h);
    expect((await h.ask("update", `sys/revoke/${second.id}`, { sync: true })).outcome).toBeUndefined();
    expect(world.accounts.size).toBe(0);
    await h.ask("update", "sys/leases/revoke", { lease_id: second.id, sync: true });
    expect(await refusal(h.ask("update", "sys/leases/revoke", {}))).toBe("invalid: lease_id must be specified");
    await expectNothing(h);
  });

  it("goes on with it after a crash", async () => {
    const { h, world } = await prepared();
    world.onRevoke = hang;
    const { id } = await got(h);
    await h.ask("update", "sys/leases/revoke", { lease_id: id });
    world.onRevoke = async () => {};
    const again = await h.reopen();
    expect(await lookup(again, id)).toMatchObject({ state: "revoking", renewable: false, attempts: 0 });
    await settle(again);
    expect(world.accounts.size).toBe(0);
  });

  it("ends everything below a prefix, one lease by its id, and tokens by where they were made", async () => {
    const { h, world } = await prepared();
    await h.ask("update", "db/roles/app2", {});
    await Promise.all(Array.from({ length: 70 }, () => got(h)));
    const kept = await got(h, "db/creds/app2");
    await h.ask("update", "sys/leases/revoke-prefix/db/creds/app", { sync: true });
    expect([...world.accounts.keys()]).toEqual([kept.user]);
    await h.ask("update", `sys/revoke-prefix/${kept.id}`, { sync: true });
    expect(world.accounts.size).toBe(0);
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await h.ask("update", "auth/userpass/users/eve", { password: "correct horse", token_policies: "all" });
    const { auth } = await h.ask("update", "auth/userpass/login/eve", { password: "correct horse" }, null);
    const eve = auth?.client_token ?? "";
    const { user } = await got(h, "db/creds/app", eve);
    const { client_token } = await made(h, { policies: ["all"], ttl: "1h" });
    expect(world.accounts.has(user)).toBe(true);
    expect(await h.ask("update", "sys/leases/revoke-prefix/auth/userpass/")).toMatchObject({ outcome: "accepted" });
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, eve))).toMatch(/^unauthenticated/);
    await h.ask("read", "auth/token/lookup-self", {}, client_token);
    await settle(h);
    expect(world.accounts.size).toBe(0);
    await h.ask("update", "sys/leases/revoke-prefix/auth/token/create");
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, client_token))).toMatch(/^unauthenticated/);
    await expectNothing(h);
  });

  it("shows tokens as leases without telling them", async () => {
    const { h } = await prepared();
    const { client_token } = await made(h, { policies: ["all"], ttl: "1h" });
    const { keys } = (await h.ask("list", "sys/leases/lookup/auth/token/create/")).data as { keys: string[] };
    expect(keys).toEqual([`h${h.vault.core?.tokens.idOf(client_token) ?? ""}`]);
    const id = `auth/token/create/${keys[0] ?? ""}`;
    expect(await lookup(h, id)).toMatchObject({ id, ttl: 3600, renewable: true });
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, keys[0] ?? ""))).toMatch(/^unauthenticated/);
    await h.ask("update", "sys/leases/revoke", { lease_id: id });
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, client_token))).toMatch(/^unauthenticated/);
    expect(await refusal(h.ask("update", "sys/leases/lookup", { lease_id: id }))).toBe("invalid: invalid lease");
  });

  it("lists one level, and asks for sudo", async () => {
    const { h } = await prepared();
    const { id } = await got(h);
    await got(h, "db/fixed/x", h.root, "update");
    expect((await h.ask("list", "sys/leases/lookup/")).data).toEqual({ keys: ["db/"] });
    expect((await h.ask("list", "sys/leases/lookup/db/")).data).toEqual({ keys: ["creds/", "fixed/"] });
    expect((await h.ask("list", "sys/leases/lookup/db/creds/app/")).data).toEqual({ keys: [id.split("/").at(-1)] });
    expect(await refusal(h.ask("list", "sys/leases/lookup/db/creds/none/"))).toBe("not_found: ");
    await h.ask("update", "sys/policies/acl/operator", {
      policy: 'path "sys/leases/*" { capabilities = ["read", "list", "update"] }',
    });
    const { client_token } = await made(h, { policies: ["operator"] });
    expect((await h.ask("update", "sys/leases/lookup", { lease_id: id }, client_token)).data).toMatchObject({ id });
    for (const [operation, path] of [
      ["list", "sys/leases/lookup/"],
      ["list", "sys/leases/lookup/db/"],
      ["update", "sys/leases/revoke-prefix/db"],
      ["update", "sys/leases/revoke-force/db"],
      ["read", "sys/leases"],
    ] as const) {
      expect(await refusal(h.ask(operation, path, {}, client_token)), path).toMatch(
        /^denied: permission denied; this token lacks the capability "(sudo|list|read|update)"/,
      );
    }
    await h.ask("update", "sys/leases/revoke", { lease_id: id, sync: true }, client_token);
  });
});

describe("revocations that fail", () => {
  it("are tried again with backoff, shown, and called stuck", async () => {
    const { h, world } = await prepared();
    let tries = 0;
    world.onRevoke = async () => {
      tries += 1;
      throw new VaultError("upstream", `refused ${tries}`);
    };
    const { id } = await got(h);
    expect(await refusal(h.ask("update", "sys/leases/revoke", { lease_id: id, sync: true }))).toBe(
      `upstream: failed to revoke "${id}" (1 / 1): refused 1`,
    );
    expect(await lookup(h, id)).toMatchObject({
      state: "revoking",
      attempts: 1,
      last_error: "refused 1",
      next_attempt: "2026-01-01T00:00:01.000000000Z",
      stuck: false,
    });
    await settle(h);
    expect(tries).toBe(1);
    for (const wait of [1, 2, 4, 8, 16, 32, 64, 128, 256]) {
      h.clock.advance(wait * 1000 - 1);
      await settle(h);
      const before = tries;
      h.clock.advance(1);
      await settle(h);
      expect(tries, `after ${wait} s`).toBe(before + 1);
    }
    expect(await lookup(h, id)).toMatchObject({ attempts: 10, stuck: true });
    const { accessor = "" } = h.vault.core?.generation.mounts.at("db") ?? {};
    expect((await h.ask("read", "sys/leases", { type: "irrevocable" })).data).toEqual({
      lease_count: 1,
      leases: [{ lease_id: id, mount_id: accessor, error: "refused 10", attempts: 10 }],
    });
    expect((await h.ask("read", "sys/leases/count")).data).toEqual({ lease_count: 1, counts: { [accessor]: 1 } });
    // It is tried on all the same, and a restart does not forget.
    world.onRevoke = async () => {};
    await h.vault.seal();
    const again = await h.reopen();
    again.clock.advance(900_000);
    await settle(again);
    expect(world.accounts.size).toBe(0);
    expect((await again.ask("read", "sys/leases")).data).toEqual({ lease_count: 0, leases: [] });
    await expectNothing(again);
  });

  it("are stuck after a day, however few the attempts", async () => {
    const { h, world } = await prepared();
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "no"));
    const { id } = await got(h);
    await h.ask("update", "sys/leases/revoke", { lease_id: id });
    await settle(h);
    h.clock.advance(24 * 3_600_000);
    await settle(h);
    expect(await lookup(h, id)).toMatchObject({ attempts: 2, stuck: true });
  });

  it("tell operators nothing that a plugin did not mean for them", async () => {
    const { h, world } = await prepared();
    world.onRevoke = () => Promise.reject(new Error("connect postgres://admin:hunter2@db"));
    const { id } = await got(h);
    expect(await refusal(h.ask("update", "sys/leases/revoke", { lease_id: id, sync: true }))).not.toMatch(/hunter2/);
    expect(JSON.stringify(await lookup(h, id))).not.toMatch(/hunter2/);
  });

  it("are forgotten by force, after one try", async () => {
    const { h, world } = await prepared({ leaseDeadline: 20 });
    let tries = 0;
    world.onRevoke = (user) => {
      tries += 1;
      return user === survivor.user ? Promise.resolve() : hang();
    };
    const survivor = await got(h);
    const lost = await got(h);
    await h.ask("update", "sys/leases/revoke", { lease_id: lost.id, sync: true }).catch(() => {});
    expect(tries).toBe(1);
    const third = await got(h);
    await h.ask("update", "sys/leases/revoke-force/db");
    expect(tries).toBe(3);
    expect(new Set(world.accounts.keys())).toEqual(new Set([lost.user, third.user]));
    await expectNothing(h);
  });

  it("hold up neither others of their mount nor other mounts", async () => {
    const { h, world, other } = await prepared({ leaseDeadline: 400 });
    await h.ask("update", "sys/mounts/more", { type: "others" });
    await h.ask("update", "more/roles/app", { ttl: "10m" });
    const users = await Promise.all(Array.from({ length: 100 }, () => got(h)));
    const bad = new Set(users.slice(0, 20).map(({ user }) => user));
    world.onRevoke = (user) => (bad.has(user) ? hang() : Promise.resolve());
    h.clock.advance(10);
    await Promise.all(Array.from({ length: 10 }, () => got(h, "more/creds/app")));
    h.clock.advance(600_000);
    await h.vault.tick();
    await until(() => other.accounts.size === 0 && world.accounts.size === bad.size);
    expect(other.accounts.size).toBe(0);
    expect(new Set(world.accounts.keys())).toEqual(bad);
    expect(world.most).toBeLessThanOrEqual(32);
    const { id = "" } = users[0] ?? {};
    await until(async () => (await lookup(h, id))["attempts"] === 1);
    expect(await lookup(h, id)).toMatchObject({ attempts: 1, last_error: "no answer within 400 ms" });
  });
});

describe("a mount that is removed", () => {
  it("has its leases revoked before its data is dropped", async () => {
    const { h, world } = await prepared();
    await h.ask("update", "db/note");
    const uuid = h.vault.core?.generation.mounts.at("db/")?.uuid ?? "";
    const data = async () => (await h.vault.core?.root.list(`mount/${uuid}/`)) ?? [];
    await Promise.all(Array.from({ length: 5 }, () => got(h)));
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "not now"));
    await h.ask("delete", "sys/mounts/db");
    await h.vault.core?.tasks.run();
    expect(world.accounts.size).toBe(5);
    expect(await data()).toEqual(["note"]);
    expect(await h.vault.core?.tasks.pending()).toMatchObject([
      { task: expect.stringMatching(/^revoke-mount/), error: "the leases of this mount are not all revoked yet" },
      { task: expect.stringMatching(/^drop-data/) },
      // What revoking may need of the mount's objects stays as long.
      { task: expect.stringMatching(/^revoke-mapping/) },
      { task: expect.stringMatching(/^remove-state/) },
    ]);
    // A new mount at the same place is another one.
    await h.ask("update", "sys/mounts/db", { type: "accounts" });
    await h.ask("update", "db/roles/app", {});
    const fresh = await got(h);
    world.onRevoke = async () => {};
    await h.vault.seal();
    const again = await h.reopen();
    again.clock.advance(60_000);
    await settle(again);
    again.clock.advance(60_000);
    await again.vault.core?.tasks.run();
    expect([...world.accounts.keys()]).toEqual([fresh.user]);
    expect((await again.vault.core?.root.list(`mount/${uuid}/`)) ?? []).toEqual([]);
    expect(await again.vault.core?.tasks.pending()).toEqual([]);
  });

  it("leaves a lease that can be forgotten by force", async () => {
    const { h, world } = await prepared();
    const { id } = await got(h);
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "gone for good"));
    await h.ask("delete", "sys/mounts/db");
    await h.vault.core?.tasks.run();
    expect(await lookup(h, id)).toMatchObject({ state: "revoking" });
    await h.ask("update", "sys/leases/revoke-force/db");
    h.clock.advance(60_000);
    await h.vault.tick();
    expect(await h.vault.core?.tasks.pending()).toEqual([]);
    await expectNothing(h);
  });

  it("by Git ends its leases, and what is made after its return stays", async () => {
    const { h, world } = await prepared();
    const mount = mountOf("SecretEngine", "git", "accounts");
    const role = declare("AccountRole", "app", { ttl: 600, max_ttl: 0 }, { mount: "git" });
    await h.target.apply(setOf("1", mount, role), []);
    await got(h, "git/creds/app");
    const moved = mountOf("SecretEngine", "git", "accounts", { path: "moved" });
    await h.target.apply(setOf("2", moved, { ...role, mount: "moved" }), []);
    await h.vault.core?.tasks.run();
    expect(world.accounts.size, "a move keeps leases").toBe(1);
    const [id = ""] = ((await h.ask("list", "sys/leases/lookup/git/creds/app/")).data?.["keys"] ?? []) as string[];
    await h.ask("update", "sys/leases/renew", { lease_id: `git/creds/app/${id}` });
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "not now"));
    await h.target.apply(setOf("3"), []);
    await h.vault.core?.tasks.run();
    await h.target.apply(setOf("4", mount, role), []);
    const fresh = await got(h, "git/creds/app");
    world.onRevoke = async () => {};
    h.clock.advance(60_000);
    await h.vault.tick();
    await settle(h);
    expect([...world.accounts.keys()]).toEqual([fresh.user]);
    expect(await h.vault.core?.tasks.pending()).toEqual([]);
  });
});
