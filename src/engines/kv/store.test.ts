import { describe, expect, test } from "vitest";
import { createKit, type Kit, refused, timeText } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";

const vault = (): Kit => createKit(plugin, { options: { version: "2" } });

/** Too large for the entry of its secret. */
const text = "x".repeat(1100);

describe("faults", () => {
  test("another writer in between is seen, and never lost", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { x: 1 } });
    kit.store.conflict(3);
    expect(await kit.data("update", "data/a", { data: { x: 2 }, options: { cas: 1 } })).toMatchObject({ version: 2 });
    kit.store.conflict(8);
    expect((await refused(kit.call("update", "data/a", { data: {} })))[0]).toBe("conflict");
    kit.store.conflict(7);
    expect(await kit.data("update", "data/a", { data: {} })).toMatchObject({ version: 3 });
  });

  test("a version that goes between the two reads of one read is not half seen", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { x: 1, text } });
    let once = true;
    kit.store.onGet = async (key) => {
      if (!once || !key.includes("version/")) return;
      once = false;
      kit.clock.advance(1000);
      await kit.call("delete", "metadata/a");
      await kit.call("update", "data/a", { data: { x: 2, text } });
    };
    expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 2 }, metadata: { created_time: timeText(1) } });
  });

  test("data that is missing from storage is an error with a security line, not an absent secret", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { x: 1, text } });
    for (const key of kit.store.entries.keys()) if (key.includes("version/")) kit.store.entries.delete(key);
    expect((await refused(kit.call("read", "data/a")))[0]).toBe("storage");
    expect(kit.log.join("")).toContain('"security":true');
  });

  test("what a crash left behind goes with the metadata", async () => {
    const kit = createKit(plugin, { options: { version: "2" }, atomic: false });
    await kit.call("update", "data/a", { data: { x: 1, text } });
    kit.store.cut(1);
    await expect(kit.call("update", "data/a", { data: { x: 2, text } })).rejects.toThrow("died");
    kit.restart();
    expect(kit.store.entries.size).toBe(3);
    await kit.call("update", "data/a", { data: { x: 3 } });
    expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 3 }, metadata: { version: 2 } });
    await kit.call("delete", "metadata/a");
    expect(kit.store.entries.size).toBe(0);
  });
});
