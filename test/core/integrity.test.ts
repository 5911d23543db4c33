// The scan as operators see it: sys/storage/integrity, the log and the audit.

import { describe, expect, it } from "vitest";
import { type Harness, harness, refusal } from "./harness.ts";

async function scanned(h: Harness): Promise<Record<string, unknown>> {
  for (;;) {
    const { data } = await h.ask("read", "sys/storage/integrity");
    if (data?.["running"] === false && data["state"] !== "not_run") return data;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

describe("sys/storage/integrity", () => {
  it("is for sudo alone, and says that nothing is wrong", async () => {
    const h = await harness();
    await h.ask("update", "sys/policies/acl/all", { policy: 'path "*" { capabilities = ["read", "update"] }' });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["all"] });
    expect(await refusal(h.ask("read", "sys/storage/integrity", {}, auth?.client_token ?? ""))).toMatch(/^denied/);
    expect((await h.ask("read", "sys/storage/integrity")).data).toMatchObject({ state: "not_run", running: false });
    expect(await h.ask("update", "sys/storage/integrity")).toMatchObject({
      outcome: "accepted",
      data: { running: true },
    });
    expect(await scanned(h)).toMatchObject({ state: "ok", sum: "holds", damaged: [] });
  });

  it("tells of a deletion by itself after the unseal, in log and audit, until it is accepted", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "1" } });
    await h.ask("update", "secret/a", { b: "c" });
    await h.vault.seal();
    const [mount = ""] = await h.storage.list("mount/");
    await h.storage.write([{ key: `mount/${mount}plain/a`, value: null, version: 0 }]);
    await h.unseal();
    await h.vault.tick();
    await h.ask("update", "sys/storage/integrity");
    const found = await scanned(h);
    expect(found).toMatchObject({ state: "tampered", sum: "differs", damaged: [] });
    expect(Number(found["entries_expected"]) - Number(found["entries_found"])).toBe(1);
    expect(h.log.join("")).toContain("deleted, added or put back");
    expect(h.tape.lines.find((line) => line.includes("storage-integrity"))).toContain('"sum":"differs"');
    await h.ask("update", "sys/storage/integrity", { accept: true });
    expect(await scanned(h)).toMatchObject({ state: "tampered" });
    await h.ask("update", "sys/storage/integrity");
    expect(await scanned(h)).toMatchObject({ state: "ok" });
  });

  it("names entries that do not open", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "1" } });
    await h.ask("update", "secret/a", { b: "c" });
    await h.vault.seal();
    const [mount = ""] = await h.storage.list("mount/");
    const key = `mount/${mount}plain/a`;
    const stored = await h.storage.get(key);
    const value = Buffer.from(stored?.value ?? []);
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    await h.storage.write([{ key, value, version: stored?.version ?? 1 }]);
    await h.unseal();
    await h.ask("update", "sys/storage/integrity");
    expect(await scanned(h)).toMatchObject({ state: "tampered", damaged: [key], damaged_entries: 1 });
    expect(h.log.some((line) => line.includes('"security":true') && line.includes(key))).toBe(true);
  });
});
