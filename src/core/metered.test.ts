import { expect, test } from "vitest";
import { exposition } from "../lib/metrics.ts";
import { createLogger } from "../lib/log.ts";
import { plugin as memory } from "../storage/memory/index.ts";
import { metered } from "./metered.ts";

test("a metered storage is the same storage, and counts its writes and their failures", async () => {
  const inner = await memory.open({}, createLogger({ write: () => {} }));
  const { storage, families } = metered(inner);
  expect(storage).toMatchObject({ type: inner.type, atomic: inner.atomic, maxValue: inner.maxValue });
  const op = { key: "a/b", value: Uint8Array.of(1), version: 1 };
  await storage.write([op]);
  await expect(storage.write([{ ...op, version: 2, expect: "absent" }])).rejects.toMatchObject({ code: "conflict" });
  expect(await storage.get("a/b")).toEqual({ value: Uint8Array.of(1), version: 1 });
  expect(await storage.list("a/", { limit: 1 })).toEqual(["b"]);
  const lines = exposition(families()).split("\n");
  expect(lines).toContain(`writ_storage_write_duration_seconds_count{storage="${inner.type}"} 2`);
  expect(lines).toContain("writ_storage_write_failures_total 1");
  await (await storage.lead(() => {})).release();
  await storage.close();
});
