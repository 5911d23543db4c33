import { describe, expect, it } from "vitest";
import { Rates } from "../../src/core/quotas/rate.ts";
import { Targets } from "../../src/core/quotas/target.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { accounts, World } from "./accounts.ts";
import { type Harness, harness, refusal } from "./harness.ts";

async function prepared(): Promise<Harness & { readonly world: World }> {
  const world = new World();
  const h = await harness({ plugins: [accounts(world)] });
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/a", { data: { n: 1 } });
  await h.ask("update", "sys/mounts/db", { type: "accounts" });
  await h.ask("update", "db/roles/app", { ttl: 600 });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  for (const name of ["ann", "bob"]) {
    await h.ask("update", `auth/userpass/users/${name}`, { password: `${name}-password`, token_ttl: 600 });
  }
  return Object.assign(h, { world });
}

const from = (remoteAddress: string) => ({ connection: { remoteAddress, remotePort: 1, local: false } });

const reads = (h: Harness, address = "10.0.0.1", path = "secret/data/a") =>
  h.ask("read", path, {}, h.root, from(address)).then(
    () => "ok",
    ({ code }: VaultError) => code,
  );

const login = (h: Harness, name: string, spelling = name): Promise<string> =>
  h.ask("update", `auth/userpass/login/${spelling}`, { password: `${name}-password` }, null).then(
    ({ auth }) => auth?.client_token ?? "",
    ({ code }: VaultError) => code,
  );

const define = (h: Harness, type: string, name: string, data: Record<string, unknown>) =>
  h.ask("update", `sys/quotas/${type}/${name}`, data);

describe("which quota is meant", () => {
  const target = (accessor: string | null, suffix = "", role = "") => ({ accessor, suffix, role });
  const all = {
    global: target(null),
    mount: target("a"),
    exact: target("a", "x/y"),
    glob: target("a", "x/*"),
    longer: target("a", "x/lo*"),
    role: target("a", "", "r"),
  };
  const find = (below: string, role: string | null = null, accessor = "a", quotas = Object.values(all)) =>
    Object.entries(all).find(([, one]) => one === new Targets(quotas).find({ accessor, below, role }))?.[0];

  it("is the most specific one", () => {
    expect(find("x/y", "r")).toBe("role");
    expect(find("x/y")).toBe("exact");
    expect(find("x/y/")).toBe("exact");
    expect(find("x/long")).toBe("longer");
    expect(find("x/z", "other")).toBe("glob");
    expect(find("z")).toBe("mount");
    expect(find("z", null, "b")).toBe("global");
    expect(find("z", null, "b", [all.mount])).toBeUndefined();
    expect(find("x/y", "r", "a", [all.global])).toBe("global");
  });
});

describe("counting requests", () => {
  const quota = { name: "q", path: "", accessor: null, suffix: "", role: "", inheritable: true };

  it("lets so many through in an interval, for each address", () => {
    const rates = new Rates({ ...quota, rate: 3, interval: 10, block_interval: 0 });
    const take = (at: number, address = "a"): boolean => rates.take(address, at).allowed;
    expect([take(0), take(1), take(2), take(3), take(9_999)]).toEqual([true, true, true, false, false]);
    expect(take(4, "b")).toBe(true);
    expect([take(10_000), take(10_001), take(10_002), take(10_003)]).toEqual([true, true, true, false]);
    expect(rates.take("a", 12_500)).toEqual({ allowed: false, limit: 3, remaining: 0, reset: 8 });
    expect(rates.take("c", 12_500)).toEqual({ allowed: true, limit: 3, remaining: 2, reset: 10 });
  });

  it("blocks who asked too often, for as long as it says", () => {
    const rates = new Rates({ ...quota, rate: 1, interval: 1, block_interval: 60 });
    expect(rates.take("a", 0).allowed).toBe(true);
    expect(rates.take("a", 500)).toEqual({ allowed: false, limit: 1, remaining: 0, reset: 60 });
    expect(rates.take("a", 30_000).allowed).toBe(false);
    expect(rates.take("a", 60_499).allowed).toBe(false);
    expect(rates.take("a", 60_500).allowed).toBe(true);
  });

  it("keeps a bounded number of addresses", () => {
    const rates = new Rates({ ...quota, rate: 1, interval: 1, block_interval: 0 });
    for (let n = 0; n < 40_000; n++) rates.take(`10.0.${n >> 8}.${n & 255}`, n);
    expect(rates.size).toBeLessThanOrEqual(16_384);
  });
});

describe("rate limits", () => {
  it("are written, read, listed and dropped as in Vault", async () => {
    const h = await prepared();
    expect((await h.ask("list", "sys/quotas/rate-limit/")).data).toEqual({ keys: [] });
    await define(h, "rate-limit", "all", { rate: 100.5 });
    await define(h, "rate-limit", "kv", { rate: "5", interval: "1m", block_interval: 30, path: "secret/data/x*" });
    await define(h, "rate-limit", "logins", { rate: 5, path: "/auth/userpass/", role: "ann" });
    expect((await h.ask("list", "sys/quotas/rate-limit/")).data).toEqual({ keys: ["all", "kv", "logins"] });
    const page = { after: "all", limit: 1 };
    expect((await h.ask("list", "sys/quotas/rate-limit/", page)).data).toEqual({ keys: ["kv"] });
    expect((await h.ask("read", "sys/quotas/rate-limit/kv")).data).toEqual({
      type: "rate-limit",
      name: "kv",
      path: "secret/data/x*",
      role: "",
      rate: 5,
      interval: 60,
      block_interval: 30,
      inheritable: false,
    });
    expect((await h.ask("read", "sys/quotas/rate-limit/all")).data).toMatchObject({
      path: "",
      rate: 100.5,
      interval: 1,
      inheritable: true,
    });
    expect((await h.ask("read", "sys/quotas/rate-limit/logins")).data).toMatchObject({
      path: "auth/userpass/",
      role: "ann",
    });
    for (const [data, message] of [
      [{ rate: 0 }, /'rate' is invalid/],
      [{ rate: "many" }, /'rate' is invalid/],
      [{}, /'rate' is invalid/],
      [{ rate: 1, path: "nowhere" }, /invalid mount path "nowhere"/],
      [{ rate: 1, role: "ann" }, /needs the path/],
      [{ rate: 1, role: "ann", path: "secret" }, /not a valid auth method/],
      [{ rate: 1, role: "ann", path: "auth/token" }, /not a valid auth method/],
      [{ rate: 1, role: "ann", path: "auth/userpass/login" }, /both a path suffix and a role/],
      [{ rate: 1 }, /similar properties exists under the name "all"/],
    ] as const) {
      expect(await refusal(define(h, "rate-limit", "wrong", data))).toMatch(message);
    }
    expect(await refusal(define(h, "rate-limit", "-", { rate: 1 }))).toMatch(/^invalid/);
    await h.ask("delete", "sys/quotas/rate-limit/all");
    await h.ask("delete", "sys/quotas/rate-limit/all");
    expect(await refusal(h.ask("read", "sys/quotas/rate-limit/all"))).toMatch(/^not_found/);
  });

  it("turn away who asks too often, before it is asked who he is, and by address", async () => {
    const h = await prepared();
    await define(h, "rate-limit", "kv", { rate: 2, path: "secret" });
    expect([await reads(h), await reads(h), await reads(h)]).toEqual(["ok", "ok", "rate_limited"]);
    expect(await reads(h, "10.0.0.2")).toBe("ok");
    expect(await refusal(h.ask("read", "secret/data/a", {}, "hvs.nobody", from("10.0.0.1")))).toBe(
      'rate_limited: request path "secret/data/a": rate limit quota exceeded',
    );
    expect(await refusal(h.ask("read", "sys/mounts", {}, h.root, from("10.0.0.1"))).catch(() => "ok")).toBe("ok");
    h.clock.advance(1_000);
    expect(await reads(h)).toBe("ok");
    await define(h, "rate-limit", "kv", { rate: 1, path: "secret" });
    expect([await reads(h), await reads(h)]).toEqual(["ok", "rate_limited"]);
    await h.ask("delete", "sys/quotas/rate-limit/kv");
    expect(h.vault.core?.quotas.rates).toBeNull();
    expect(await reads(h)).toBe("ok");
  });

  it("say in headers what is left, and in the audit who was turned away, where that is asked for", async () => {
    const h = await prepared();
    await define(h, "rate-limit", "kv", { rate: 1, interval: 10, path: "secret" });
    const asked = () => h.ask("read", "secret/data/a", {}, h.root, from("10.0.0.1"));
    expect((await asked()).headers).toBeUndefined();
    h.tape.lines.length = 0;
    expect(((await asked().catch((error: unknown) => error)) as VaultError).headers).toBeUndefined();
    expect(h.tape.lines).toEqual([]);
    expect((await h.ask("read", "sys/quotas/config")).data).toMatchObject({
      enable_rate_limit_audit_logging: false,
      enable_rate_limit_response_headers: false,
    });
    await h.ask("update", "sys/quotas/config", {
      enable_rate_limit_audit_logging: true,
      enable_rate_limit_response_headers: "true",
    });
    h.clock.advance(10_000);
    h.tape.lines.length = 0;
    expect((await asked()).headers).toEqual([
      "X-Ratelimit-Limit",
      "1",
      "X-Ratelimit-Remaining",
      "0",
      "X-Ratelimit-Reset",
      "10",
    ]);
    const error = (await asked().catch((caught: unknown) => caught)) as VaultError;
    expect(error.headers?.slice(-2)).toEqual(["Retry-After", "10"]);
    const last = JSON.parse(h.tape.lines.at(-1) ?? "") as Record<string, unknown>;
    expect(last).toMatchObject({
      type: "response",
      error: 'request path "secret/data/a": rate limit quota exceeded',
      request: { path: "secret/data/a", remote_address: "10.0.0.1" },
    });
    // Errors of requests that were let through tell it too.
    const missed = await h
      .ask("read", "secret/data/none", {}, h.root, from("10.0.0.9"))
      .catch((caught: unknown) => caught);
    expect((missed as VaultError).headers).toContain("X-Ratelimit-Remaining");
  });

  it("leave exempt paths and sealing alone, and survive a restart", async () => {
    const h = await prepared();
    await define(h, "rate-limit", "all", { rate: 1, interval: 3600 });
    expect([await reads(h), await reads(h)]).toEqual(["ok", "rate_limited"]);
    expect(await refusal(h.ask("update", "sys/quotas/config", { rate_limit_exempt_paths: ["/"] }))).toMatch(
      /^rate_limited|^invalid/,
    );
    const admin = { ...from("10.9.9.9") };
    await h.ask("update", "sys/quotas/config", { rate_limit_exempt_paths: "secret/data,sys/quo*" }, h.root, admin);
    expect([await reads(h), await reads(h), await reads(h)]).toEqual(["ok", "ok", "ok"]);
    expect(await reads(h, "10.0.0.1", "secret/metadata/a")).toBe("rate_limited");
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("read", "sys/quotas/config", {}, h.root, admin)).data).toMatchObject({
      rate_limit_exempt_paths: ["secret/data", "sys/quo*"],
    });
    expect([
      await reads(again, "10.0.0.1", "secret/metadata/a"),
      await reads(again, "10.0.0.1", "secret/metadata/a"),
    ]).toEqual(["ok", "rate_limited"]);
    await again.ask("update", "sys/seal", {}, h.root, from("10.0.0.1"));
  });

  it("are about a role, in whatever spelling, or a path, and move with their mount", async () => {
    const h = await prepared();
    await define(h, "rate-limit", "ann", { rate: 1, interval: 60, path: "auth/userpass", role: "ann" });
    expect(await login(h, "ann")).toMatch(/^hvs/);
    expect(await login(h, "ann", "ANN")).toBe("rate_limited");
    expect(await login(h, "bob")).toMatch(/^hvs/);
    expect(await login(h, "bob")).toMatch(/^hvs/);
    await define(h, "rate-limit", "bob", { rate: 1, interval: 60, path: "auth/userpass/login/bob" });
    expect(await login(h, "bob")).toMatch(/^hvs/);
    expect(await login(h, "bob", "BOB")).toBe("rate_limited");
    await define(h, "rate-limit", "kv", { rate: 1, interval: 60, path: "secret/data/a" });
    expect([await reads(h), await reads(h)]).toEqual(["ok", "rate_limited"]);
    await h.ask("update", "sys/remount", { from: "secret", to: "moved" });
    expect((await h.ask("read", "sys/quotas/rate-limit/kv")).data).toMatchObject({ path: "moved/data/a" });
    expect(await reads(h, "10.0.0.1", "moved/data/a")).toBe("rate_limited");
  });
});

const credentials = (h: Harness): Promise<string> =>
  h.ask("read", "db/creds/app").then(
    ({ lease }) => lease?.id ?? "",
    ({ code, errors }: VaultError) => `${code}: ${errors.join()}`,
  );

const full = 'rate_limited: request path "db/creds/app": lease count quota exceeded';

describe("lease counts", () => {
  it("let so many be there, and count what ends", async () => {
    const h = await prepared();
    await define(h, "lease-count", "db", { max_leases: 3, path: "db" });
    const ids = [await credentials(h), await credentials(h), await credentials(h)];
    expect(ids.every((id) => id.startsWith("db/creds/app/"))).toBe(true);
    expect(await credentials(h)).toBe(full);
    expect(h.world.made).toBe(3);
    expect((await h.ask("read", "sys/quotas/lease-count/db")).data).toEqual({
      type: "lease-count",
      name: "db",
      path: "db/",
      role: "",
      max_leases: 3,
      inheritable: false,
      counter: 3,
    });
    await h.ask("update", "sys/leases/revoke", { lease_id: ids[0], sync: true });
    expect(await credentials(h)).toMatch(/^db/);
    expect(await credentials(h)).toBe(full);
    h.clock.advance(600_000);
    await h.vault.tick();
    await new Promise((resolve) => setImmediate(resolve));
    await h.vault.tick();
    expect(await credentials(h)).toMatch(/^db/);
  });

  it("are never passed by many who come at once", async () => {
    const h = await prepared();
    await define(h, "lease-count", "db", { max_leases: 10, path: "db" });
    const made = await Promise.all(Array.from({ length: 50 }, () => credentials(h)));
    expect(made.filter((id) => id.startsWith("db"))).toHaveLength(10);
    expect(h.world.accounts.size).toBe(10);
  });

  it("give room where one that cannot be revoked is dropped, and count it once", async () => {
    const h = await prepared();
    await define(h, "lease-count", "db", { max_leases: 1, path: "db" });
    const id = await credentials(h);
    h.world.onRevoke = () => Promise.reject(new VaultError("upstream", "gone for good"));
    expect(await refusal(h.ask("update", "sys/leases/revoke", { lease_id: id, sync: true }))).toMatch(/gone for good/);
    expect(await credentials(h)).toBe(full);
    await h.ask("update", "sys/leases/revoke-force/db/creds/app");
    expect((await h.ask("read", "sys/quotas/lease-count/db")).data).toMatchObject({ counter: 0 });
    expect(await credentials(h)).toMatch(/^db/);
    expect(await credentials(h)).toBe(full);
  });

  it("hold across restarts, and for what was there before them", async () => {
    const h = await prepared();
    await credentials(h);
    await credentials(h);
    await define(h, "lease-count", "db", { max_leases: 3, path: "db" });
    await h.vault.seal();
    const again = await h.reopen();
    expect(await credentials(again)).toMatch(/^db/);
    expect(await credentials(again)).toBe(full);
    await define(again, "lease-count", "db", { max_leases: 1, path: "db" });
    expect(await credentials(again)).toBe(full);
    // Two less than far too many are still too many.
    const { data } = await again.ask("list", "sys/leases/lookup/db/creds/app/");
    for (const name of ((data?.["keys"] ?? []) as string[]).slice(0, 2)) {
      await again.ask("update", "sys/leases/revoke", { lease_id: `db/creds/app/${name}`, sync: true });
    }
    again.clock.advance(1_000);
    expect(await credentials(again)).toBe(full);
  });

  it("count the tokens of logins, by mount and by role, and give room where one ends", async () => {
    const h = await prepared();
    await define(h, "lease-count", "logins", { max_leases: 2, path: "auth/userpass" });
    await define(h, "lease-count", "ann", { max_leases: 1, path: "auth/userpass", role: "ann" });
    const ann = await login(h, "ann");
    expect(ann).toMatch(/^hvs/);
    expect(await login(h, "ann")).toBe("rate_limited");
    expect(await login(h, "bob")).toMatch(/^hvs/);
    expect(await login(h, "bob")).toBe("rate_limited");
    await h.ask("update", "auth/token/revoke-self", {}, ann);
    expect(await login(h, "ann")).toMatch(/^hvs/);
    expect(await login(h, "ann")).toBe("rate_limited");
    expect(await refusal(define(h, "lease-count", "x", { max_leases: 0 }))).toMatch(/'max_leases' is invalid/);
  });

  it("count everything where they are about everything, but for root and batch tokens", async () => {
    const h = await prepared();
    const made = (data: Record<string, unknown>) =>
      h.ask("update", "auth/token/create", { policies: ["default"], ...data }).then(
        ({ auth }) => auth?.client_token,
        ({ code }: VaultError) => code,
      );
    await define(h, "lease-count", "all", { max_leases: 3 });
    expect(await made({})).toMatch(/^hvs/);
    expect(await credentials(h)).toMatch(/^db/);
    const { wrapInfo } = await h.ask("read", "secret/data/a", {}, h.root, { wrapTtl: 60 });
    expect(wrapInfo).toBeDefined();
    expect(await made({})).toBe("rate_limited");
    expect(await credentials(h)).toBe(full);
    expect(await refusal(h.ask("read", "secret/data/a", {}, h.root, { wrapTtl: 60 }))).toMatch(/^rate_limited/);
    expect(await made({ type: "batch", ttl: "1h" })).toMatch(/^hvb/);
    expect(await made({ policies: ["root"] })).toMatch(/^hvs/);
    await h.ask("update", "sys/wrapping/unwrap", { token: wrapInfo?.token });
    expect(await made({})).toMatch(/^hvs/);
    expect(await made({})).toBe("rate_limited");
  });

  it("are about a path too", async () => {
    const h = await prepared();
    await h.ask("update", "db/roles/apple", { ttl: 600 });
    await h.ask("update", "db/roles/bee", { ttl: 600 });
    await define(h, "lease-count", "one", { max_leases: 1, path: "db/creds/app" });
    await define(h, "lease-count", "some", { max_leases: 1, path: "db/creds/ap*" });
    expect(await credentials(h)).toMatch(/^db/);
    expect(await credentials(h)).toBe(full);
    const of = (role: string) =>
      h.ask("read", `db/creds/${role}`).then(
        () => "ok",
        ({ code }: VaultError) => code,
      );
    // What begins so is counted together, app's among it.
    expect(await of("apple")).toBe("rate_limited");
    expect(await of("bee")).toBe("ok");
  });
});
