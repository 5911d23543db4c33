import { describe, expect, test } from "vitest";
import { mountConformance } from "../../../test/conformance/mount.ts";
import { createKit, type Kit, refusal, refused, timeText } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";

const secret = "c0rrect-h0rse-battery";
const other = "another-battery-staple";
const login = (secretId: string, roleId = "role-of-payments") =>
  ({ operation: "update", path: "login", data: { role_id: roleId, secret_id: secretId } }) as const;

mountConformance("approle", plugin, {
  objects: [
    { resource: "roles", name: "payments", spec: { token_policies: ["a"] }, secrets: { role_id: "role-of-payments" } },
    { resource: "roles", name: "batch", spec: { secret_id_ttl: 60, secret_id_num_uses: 3 } },
  ],
  steps: [
    { operation: "update", path: "role/payments/custom-secret-id", data: { secret_id: secret, metadata: { a: "b" } } },
    { operation: "update", path: "role/batch/role-id", data: { role_id: "role-of-batch" } },
    { operation: "update", path: "role/batch/custom-secret-id", data: { secret_id: other, ttl: 30 } },
    login(other, "role-of-batch"),
    { operation: "update", path: "role/batch/secret-id/lookup", data: { secret_id: other } },
    { operation: "update", path: "role/batch/role-id", data: { role_id: "new-role-of-batch" } },
    { operation: "update", path: "role/batch/custom-secret-id", data: { secret_id: secret }, after: 31_000 },
    { operation: "update", path: "role/batch/secret-id/destroy", data: { secret_id: secret } },
    { operation: "delete", path: "role/payments/secret-id/destroy", data: { secret_id: secret } },
  ],
  observe: [
    login(secret),
    { operation: "read", path: "role/payments/role-id" },
    { operation: "list", path: "role/payments/secret-id" },
    { operation: "list", path: "role/batch/secret-id" },
    ...["payments", "batch"].flatMap((role) =>
      [secret, other].map((id) => ({
        operation: "update" as const,
        path: `role/${role}/secret-id/lookup`,
        data: { secret_id: id },
      })),
    ),
  ],
  secrets: [secret, other],
  params: { name: ["payments", "nobody", "BATCH"] },
});

async function vault(spec: Readonly<Record<string, unknown>> = {}): Promise<Kit> {
  const kit = createKit(plugin);
  await kit.declare("roles", "Payments", { token_policies: ["readers"], ...spec });
  return kit;
}

const idsOf = async (
  kit: Kit,
  data: Readonly<Record<string, unknown>> = {},
): Promise<{ role_id: string; secret_id: string; accessor: string }> => {
  const role = await kit.data("read", "role/payments/role-id");
  const made = await kit.data("update", "role/payments/secret-id", data);
  return {
    role_id: String(role?.["role_id"]),
    secret_id: String(made?.["secret_id"]),
    accessor: String(made?.["secret_id_accessor"]),
  };
};

const enter = async (kit: Kit, ids: { role_id: string; secret_id: string }) =>
  (await kit.call("update", "login", { role_id: ids.role_id, secret_id: ids.secret_id })).response?.grant;

const bad = ["invalid", ["invalid role or secret ID"]];

describe("logins", () => {
  test("a role id and a secret id give a grant for the role, with the secret id's metadata", async () => {
    const kit = await vault();
    const ids = await idsOf(kit, { metadata: '{"team":"x","role_name":"root"}', token_bound_cidrs: "127.0.0.0/8" });
    expect(ids.role_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await enter(kit, ids)).toEqual({
      alias: { name: "payments", also: ids.role_id, metadata: { role_name: "payments" } },
      displayName: "",
      mapping: { resource: "roles", name: "payments" },
      metadata: { team: "x", role_name: "payments" },
      boundCidrs: ["127.0.0.0/8"],
      issuedAt: kit.clock.now(),
      // Of who asked for the secret id.
      origins: ["address/127.0.0.1"],
    });
    expect(await enter(kit, { role_id: ` ${ids.role_id}\n`, secret_id: ` ${ids.secret_id}\n` })).toBeDefined();
  });

  test("whatever is wrong, it is refused alike, after the same reads", async () => {
    const kit = await vault();
    await kit.declare("roles", "elsewhere", { secret_id_bound_cidrs: ["10.0.0.0/8"] });
    const ids = await idsOf(kit);
    await kit.call("update", "role/elsewhere/role-id", { role_id: "role-elsewhere" });
    const far = await kit.data("update", "role/elsewhere/secret-id");
    const cidr = await idsOf(kit, { cidr_list: ["10.1.0.0/16"] });
    const reads = async (role_id: string, secret_id: unknown) => {
      let count = 0;
      kit.store.onGet = () => void (count += 1);
      expect(await refused(kit.call("update", "login", { role_id, secret_id }))).toEqual(bad);
      kit.store.onGet = null;
      return count;
    };
    const counts = [
      await reads("no-such-role", ids.secret_id),
      await reads(ids.role_id, "no-such-secret-id"),
      await reads(ids.role_id, ""),
      await reads("role-elsewhere", far?.["secret_id"]),
      await reads("role-elsewhere", ids.secret_id),
      await reads(ids.role_id, cidr.secret_id),
    ];
    expect(new Set(counts).size).toBe(1);
    await kit.undeclare("roles", "payments");
    expect(await reads(ids.role_id, ids.secret_id)).toBe(counts[0]);
    expect(await refused(kit.call("update", "login", {}))).toEqual(["invalid", ["missing role_id"]]);
  });

  test("whoever is not declared any more cannot log in, whatever is left of the state", async () => {
    const kit = await vault();
    const ids = await idsOf(kit, { ttl: 60 });
    const kept = [...kit.store.entries];
    await kit.undeclare("roles", "payments");
    expect([...kit.store.entries.keys()]).toEqual([]);
    for (const [key, value] of kept) kit.store.entries.set(key, value);
    expect(await refused(enter(kit, ids))).toEqual(bad);
    await kit.declare("roles", "payments");
    expect(await enter(kit, ids)).toBeDefined();
  });

  test("an unlimited secret id logs in without a write", async () => {
    const kit = await vault();
    const ids = await idsOf(kit);
    const before = kit.store.written;
    for (let times = 0; times < 3; times++) await enter(kit, ids);
    expect(kit.store.written).toBe(before);
  });

  test("a role without secret ids is bound by addresses", async () => {
    const kit = await vault({ bind_secret_id: false, secret_id_bound_cidrs: ["127.0.0.0/8"] });
    const role_id = String((await kit.data("read", "role/payments/role-id"))?.["role_id"]);
    expect(await enter(kit, { role_id, secret_id: "" })).toBeDefined();
    expect(await refused(kit.call("update", "role/payments/secret-id"))).toEqual([
      "invalid",
      ["bind_secret_id is not set on the role"],
    ]);
    await kit.declare("roles", "payments", { bind_secret_id: false, secret_id_bound_cidrs: ["10.0.0.0/8"] });
    expect(await refused(enter(kit, { role_id, secret_id: "" }))).toEqual(bad);
  });
});

describe("secret ids", () => {
  test("of ten uses let exactly ten of fifty logins in that come at once", async () => {
    const kit = await vault();
    const ids = await idsOf(kit, { num_uses: 10, ttl: 60 });
    const tries = await Promise.allSettled(Array.from({ length: 50 }, () => enter(kit, ids)));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    expect(await kit.data("update", "role/payments/secret-id/lookup", { secret_id: ids.secret_id })).toBeNull();
    expect([...kit.store.entries.keys()].filter((key) => key.includes("/secret/") || key.includes("/due/"))).toEqual(
      [],
    );
  });

  test("count uses down, as a lookup shows", async () => {
    const kit = await vault({ secret_id_num_uses: 3 });
    const ids = await idsOf(kit);
    kit.clock.advance(5_000);
    await enter(kit, ids);
    const shown = { secret_id_accessor: ids.accessor, secret_id_num_uses: 2, last_updated_time: timeText(5) };
    expect(await kit.data("update", "role/payments/secret-id/lookup", { secret_id: ids.secret_id })).toEqual({
      ...shown,
      secret_id_ttl: 0,
      creation_time: timeText(),
      expiration_time: "0001-01-01T00:00:00Z",
      metadata: {},
      cidr_list: [],
      token_bound_cidrs: [],
    });
    const found = await kit.data("update", "role/payments/secret-id-accessor/lookup", {
      secret_id_accessor: ids.accessor,
    });
    expect(found).toMatchObject(shown);
  });

  test("end at their millisecond, without a sweep", async () => {
    const kit = await vault({ secret_id_ttl: 60 });
    const ids = await idsOf(kit);
    kit.clock.advance(59_999);
    expect(await enter(kit, ids)).toBeDefined();
    expect((await kit.data("list", "role/payments/secret-id"))?.["keys"]).toEqual([ids.accessor]);
    kit.clock.advance(1);
    expect(await refused(enter(kit, ids))).toEqual(bad);
    expect((await kit.data("list", "role/payments/secret-id"))?.["keys"]).toEqual([]);
    expect(await kit.data("update", "role/payments/secret-id/lookup", { secret_id: ids.secret_id })).toBeNull();
    for (const what of ["lookup", "destroy"]) {
      const path = `role/payments/secret-id-accessor/${what}`;
      expect((await refusal(kit.call("update", path, { secret_id_accessor: ids.accessor }))).code).toBe("not_found");
    }
  });

  test("that have ended are removed as new ones are made, and by tidy", async () => {
    const kit = await vault();
    const stored = () => [...kit.store.entries.keys()].filter((key) => /\/(secret|due)\//.test(key)).length;
    for (let count = 0; count < 10; count++) await idsOf(kit, { ttl: 10 + (count % 2) });
    expect(stored()).toBe(20);
    kit.clock.advance(20_000);
    await idsOf(kit);
    expect(stored()).toBe(5);
    const { response } = await kit.call("update", "tidy/secret-id");
    expect(response?.outcome).toBe("accepted");
    await expect.poll(stored).toBe(1);
  });

  test("have metadata within the limits of what stands in each entry of the audit", async () => {
    const kit = await vault();
    const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, "v"]));
    const most = { ...pairs(63), ["k".repeat(128)]: "v".repeat(512) };
    const ids = await idsOf(kit, { metadata: most });
    expect(await enter(kit, ids)).toMatchObject({ metadata: { ...most, role_name: "payments" } });
    const held = await kit.data("list", "role/payments/secret-id");
    for (const metadata of [pairs(65), { ["k".repeat(129)]: "v" }, { k: "v".repeat(513) }, { "": "v" }]) {
      for (const [path, more] of [
        ["secret-id", {}],
        ["custom-secret-id", { secret_id: secret }],
      ] as const) {
        const tried = kit.call("update", `role/payments/${path}`, { metadata, ...more });
        expect(await refused(tried)).toEqual([
          "invalid",
          [expect.stringMatching(/^metadata( cannot contain|: a key)/)],
        ]);
      }
    }
    expect(await kit.data("list", "role/payments/secret-id")).toEqual(held);
  });

  test("stay within their role", async () => {
    const kit = await vault({
      secret_id_num_uses: 5,
      secret_id_ttl: 60,
      secret_id_bound_cidrs: ["10.0.0.0/8", "2001:db8::/32"],
      token_bound_cidrs: ["192.168.0.0/16"],
    });
    const make = async (data: Record<string, unknown>) =>
      (await refusal(kit.call("update", "role/payments/secret-id", data))).errors.join();
    expect(await make({ num_uses: 6 })).toBe("num_uses cannot be higher than the role's secret_id_num_uses");
    expect(await make({ num_uses: 0 })).toBe("num_uses cannot be higher than the role's secret_id_num_uses");
    expect(await make({ ttl: 61 })).toBe("ttl cannot be longer than the role's secret_id_ttl");
    expect(await make({ ttl: 0 })).toBe("ttl cannot be longer than the role's secret_id_ttl");
    for (const cidr of ["11.0.0.0/8", "10.0.0.0/7", "0.0.0.0/0", "::/0"]) {
      expect(await make({ cidr_list: [cidr] })).toMatch(/subset of CIDR blocks on the role/);
    }
    expect(await make({ token_bound_cidrs: ["192.0.0.0/8"] })).toMatch(/subset/);
    expect(await make({ cidr_list: ["10.0.0.0/99"] })).toMatch(/failed to validate CIDR blocks/);
    const made = await kit.data("update", "role/payments/secret-id", {
      num_uses: 5,
      ttl: "1m",
      cidr_list: "10.2.0.0/16,2001:db8:1::/48",
      token_bound_cidrs: ["192.168.7.0/24"],
    });
    expect(made).toMatchObject({ secret_id_num_uses: 5, secret_id_ttl: 60 });
  });

  test("are looked up and destroyed in their own role only", async () => {
    const kit = await vault();
    await kit.declare("roles", "other");
    const ids = await idsOf(kit);
    expect(await kit.data("update", "role/other/secret-id/lookup", { secret_id: ids.secret_id })).toBeNull();
    const path = "role/other/secret-id-accessor/destroy";
    expect((await refusal(kit.call("update", path, { secret_id_accessor: ids.accessor }))).code).toBe("not_found");
    await kit.call("update", "role/other/secret-id/destroy", { secret_id: ids.secret_id });
    expect(await enter(kit, ids)).toBeDefined();
    await kit.call("update", "role/PAYMENTS/secret-id-accessor/destroy", { secret_id_accessor: ids.accessor });
    expect(await refused(enter(kit, ids))).toEqual(bad);
    const missing = await refused(kit.call("update", "role/nobody/secret-id"));
    expect(missing).toEqual(["not_found", ['role "nobody" does not exist']]);
  });

  test("of one's own are taken once, and not where they are short or plain", async () => {
    const kit = await vault({ secret_id_ttl: 60 });
    const take = (secret_id: string) => kit.call("update", "role/payments/custom-secret-id", { secret_id });
    for (const weak of ["short-one-1", "aaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab"]) {
      expect((await refusal(take(weak))).errors.join()).toMatch(/at least 12 bytes and 6 different characters/);
    }
    expect((await refusal(take(""))).errors).toEqual(["missing secret_id"]);
    expect((await take(secret)).response?.data).toMatchObject({ secret_id: secret, secret_id_ttl: 60 });
    expect((await refusal(take(secret))).errors.join()).toMatch(/SecretID is already registered/);
    kit.clock.advance(60_000);
    await take(secret);
    const role_id = String((await kit.data("read", "role/payments/role-id"))?.["role_id"]);
    expect(await enter(kit, { role_id, secret_id: secret })).toBeDefined();
  });

  test("stand in storage as keyed hashes only", async () => {
    const kit = await vault();
    const ids = await idsOf(kit);
    const text = [...kit.store.entries].map(([key, { bytes }]) => `${key} ${bytes.toString()}`).join("\n");
    expect(text).not.toContain(ids.secret_id);
    expect(text).toContain(ids.accessor);
  });
});

describe("role ids", () => {
  test("are made once, however many ask at once", async () => {
    const kit = await vault();
    const asked = await Promise.all(Array.from({ length: 10 }, () => kit.data("read", "role/payments/role-id")));
    expect(new Set(asked.map((data) => data?.["role_id"])).size).toBe(1);
  });

  test("belong to one role, and an old one leads nowhere", async () => {
    const kit = await vault();
    await kit.declare("roles", "other");
    const ids = await idsOf(kit);
    await kit.call("update", "role/payments/role-id", { role_id: "mine" });
    expect(await refused(enter(kit, ids))).toEqual(bad);
    expect(await enter(kit, { ...ids, role_id: "mine" })).toBeDefined();
    const error = await refusal(kit.call("update", "role/other/role-id", { role_id: "mine" }));
    expect(error.errors).toEqual(["role_id already in use"]);
    const before = [...kit.store.entries].filter(([key]) => key.includes("/role-id/"));
    await kit.call("update", "role/payments/role-id", { role_id: "new" });
    // As a crash in a store without transactions leaves it.
    for (const [key, value] of before) if (!kit.store.entries.has(key)) kit.store.entries.set(key, value);
    expect(await refused(enter(kit, { ...ids, role_id: "mine" }))).toEqual(bad);
    await kit.call("update", "role/other/role-id", { role_id: "mine" });
    expect(await refused(enter(kit, { ...ids, role_id: "mine" }))).toEqual(bad);
  });
});

describe("roles", () => {
  const [roles] = plugin.resources;

  test("need a constraint, and ranges that are some", () => {
    const faults = (spec: Record<string, unknown>) => roles?.check?.(spec).map(({ path }) => path.join("."));
    expect(faults({ bind_secret_id: true })).toEqual([]);
    expect(faults({ bind_secret_id: false })).toEqual(["bind_secret_id"]);
    expect(faults({ bind_secret_id: false, token_bound_cidrs: ["10.0.0.0/8"] })).toEqual([]);
    expect(faults({ bind_secret_id: true, secret_id_bound_cidrs: ["::1", "x/8"] })).toEqual([
      "secret_id_bound_cidrs.1",
    ]);
  });

  test("show what Vault shows, and no role id", () => {
    const shown = roles?.show?.({ role_id: "x", bind_secret_id: true, token_policies: ["a"], secret_id_ttl: 60 });
    expect(shown).toMatchObject({ bind_secret_id: true, token_policies: ["a"], policies: ["a"], secret_id_ttl: 60 });
    expect(shown).not.toHaveProperty("role_id");
    expect(shown).not.toHaveProperty("period");
    expect(roles?.show?.({ token_period: 0 })).not.toHaveProperty("period");
    expect(roles?.show?.({ token_period: 60 })).toMatchObject({ token_period: 60, period: 60 });
  });
});
