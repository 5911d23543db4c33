import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { openKeyring } from "../../src/core/barrier/keyring.ts";
import { silent } from "../../src/lib/log.ts";
import { type StorageBackend, storageWith } from "../../src/sdk/storage.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness, refusal } from "./harness.ts";

/** The term that an entry in storage is under. */
async function termOf(storage: StorageBackend, key: string): Promise<string> {
  const head = Buffer.from((await storage.get(key))?.value ?? []).toString("latin1", 0, 80);
  return /-> writ-keyring (\d+) /.exec(head)?.[1] ?? "none";
}

const status = async (h: Harness): Promise<Record<string, unknown>> =>
  (await h.ask("read", "sys/key-status")).data ?? {};

describe("sys/rotate", () => {
  it("makes a term in which everything new is written, and old terms stay readable", async () => {
    const h = await harness();
    await h.ask("update", "sys/policy/one", { policy: 'path "a" { capabilities = ["read"] }' });
    const before = await status(h);
    expect(before).toMatchObject({ term: 1, install_time: "2026-01-01T00:00:00.000000000Z" });
    h.clock.set(h.clock.now() + 3_600_000);
    for (const [at, path] of ["sys/rotate", "sys/rotate/keyring"].entries()) {
      expect(await h.ask("update", path)).toMatchObject({});
      expect(await status(h)).toMatchObject({ term: at + 2, install_time: "2026-01-01T01:00:00.000000000Z" });
    }
    await h.ask("update", "sys/policy/two", { policy: 'path "b" { capabilities = ["read"] }' });
    const after = await h.reopen();
    await after.unseal();
    expect(await status(after)).toMatchObject({ term: 3 });
    for (const [name, path] of [
      ["one", "a"],
      ["two", "b"],
    ] as const) {
      expect((await after.ask("read", `sys/policy/${name}`)).data?.["rules"]).toContain(`"${path}"`);
    }
    expect(await termOf(h.storage, "keys/count")).toBe("3");
  });

  it("needs sudo", async () => {
    const h = await harness();
    const policy = 'path "sys/*" { capabilities = ["read", "update"] }';
    await h.ask("update", "sys/policy/sys", { policy });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["sys"] });
    const token = auth?.client_token ?? "";
    for (const path of ["sys/rotate", "sys/rotate/keyring", "sys/rotate/config"]) {
      expect(await refusal(h.ask("update", path, {}, token))).toMatch(/^denied/);
    }
    expect((await h.ask("read", "sys/key-status", {}, token)).data).toMatchObject({ term: 1 });
  });

  it("counts encryptions over seals", async () => {
    const h = await harness();
    const first = Number((await status(h))["encryptions"]);
    for (let at = 0; at < 5; at++)
      await h.ask("update", `sys/policy/p${at}`, { policy: 'path "a" { policy = "read" }' });
    const second = Number((await status(h))["encryptions"]);
    expect(second).toBeGreaterThanOrEqual(first + 5);
    await h.vault.seal();
    await h.unseal();
    expect(Number((await status(h))["encryptions"])).toBeGreaterThanOrEqual(second);
    h.clock.set(h.clock.now() + 61_000);
    await h.vault.tick();
    const killed = await h.reopen();
    await killed.unseal();
    expect(Number((await status(killed))["encryptions"])).toBeGreaterThanOrEqual(second);
    await h.ask("update", "sys/rotate");
    expect(Number((await status(h))["encryptions"])).toBeLessThan(5);
  });

  it("comes by itself, by age", async () => {
    const h = await harness();
    expect((await h.ask("read", "sys/rotate/config")).data).toEqual({
      enabled: true,
      max_operations: 3_865_470_566,
      interval: 0,
    });
    await h.ask("update", "sys/rotate/config", { interval: "24h" });
    const { data } = await h.ask("read", "sys/rotate/config");
    expect(data).toMatchObject({ interval: "24h0m0s" });
    await h.ask("update", "sys/rotate/config", { ...data });
    await h.vault.tick();
    expect(await status(h)).toMatchObject({ term: 1 });
    h.clock.set(h.clock.now() + 24 * 3_600_000);
    await Promise.all([h.vault.tick(), h.vault.tick()]);
    expect(await status(h)).toMatchObject({ term: 2 });
    expect(h.tape.lines.some((line) => line.includes('"event":{"name":"rotate","term":2}'))).toBe(true);
    await h.ask("update", "sys/rotate/config", { enabled: false });
    h.clock.set(h.clock.now() + 48 * 3_600_000);
    await h.vault.tick();
    expect(await status(h)).toMatchObject({ term: 2 });
    expect((await h.ask("read", "sys/rotate/config")).data).toMatchObject({ enabled: false, interval: "24h0m0s" });
  });

  it.each([{ max_operations: 999_999 }, { max_operations: 3_865_470_567 }, { interval: 3600 }, { interval: "x" }])(
    "refuses %j",
    async (config) => {
      const h = await harness();
      expect(await refusal(h.ask("update", "sys/rotate/config", config))).toMatch(/^invalid/);
    },
  );

  it("is whole or not at all, and a write that fails but lands is one that landed", async () => {
    const inner = await memory.open({}, silent);
    let fault: "fails" | "lands" | null = null;
    const storage = storageWith(inner, {
      write: async (ops) => {
        const keyring = ops.some(({ key }) => key === "core/keyring");
        if (keyring && fault === "fails") throw new Error("no");
        await inner.write(ops);
        if (keyring && fault === "lands") throw new Error("landed all the same");
      },
    });
    const h = await harness({ storage });
    fault = "fails";
    expect(await refusal(h.ask("update", "sys/rotate"))).toMatch(/^internal/);
    expect(await status(h)).toMatchObject({ term: 1 });
    // One that comes by itself fails for nobody else, and is tried again.
    await h.ask("update", "sys/rotate/config", { interval: "24h" });
    h.clock.set(h.clock.now() + 24 * 3_600_000);
    await h.vault.tick();
    expect(await status(h)).toMatchObject({ term: 1 });
    await h.ask("update", "sys/rotate/config", { interval: 0 });
    fault = "lands";
    await h.ask("update", "sys/rotate");
    fault = null;
    expect(await status(h)).toMatchObject({ term: 2 });
    await h.ask("update", "sys/rotate");
    expect(await status(h)).toMatchObject({ term: 3 });
    const again = await h.reopen();
    await again.unseal();
    expect(await status(again)).toMatchObject({ term: 3 });
  });

  it("never makes two keyrings of one: who finds another keyring than the one it read writes none", async () => {
    const h = await harness();
    const other = await h.reopen();
    await other.unseal();
    await h.ask("update", "sys/rotate");
    expect(await refusal(other.ask("update", "sys/rotate"))).toMatch(
      /^(conflict|storage: storage: core\/sum was changed)/,
    );
    expect(await status(other)).toMatchObject({ term: 1 });
    const stored = await h.storage.get("core/keyring");
    expect(() => openKeyring(randomBytes(32), stored?.version ?? 0, stored?.value ?? new Uint8Array())).toThrow();
  });
});
