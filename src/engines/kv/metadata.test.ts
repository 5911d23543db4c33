import { describe, expect, test } from "vitest";
import { createKit, type Kit, refused, timeText } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";

const vault = (): Kit => createKit(plugin, { options: { version: "2" } });
const start = timeText();

describe("metadata", () => {
  test("stands before the first version, and goes with everything", async () => {
    const kit = vault();
    await kit.call("update", "metadata/a", { max_versions: "3", custom_metadata: { owner: "me" } });
    expect(await kit.data("read", "metadata/a")).toEqual({
      cas_required: false,
      created_time: start,
      current_version: 0,
      custom_metadata: { owner: "me" },
      delete_version_after: "0s",
      max_versions: 3,
      oldest_version: 0,
      updated_time: start,
      versions: {},
    });
    expect(await refused(kit.call("read", "data/a"))).toEqual(["not_found", []]);
    await kit.call("update", "data/a", { data: { x: 1 } });
    await kit.call("delete", "metadata/a");
    expect(kit.store.entries.size).toBe(0);
    expect(await refused(kit.call("read", "metadata/a"))).toEqual(["not_found", []]);
    expect((await kit.call("delete", "metadata/a")).response).toBeNull();
    expect(await kit.data("update", "data/a", { data: {} })).toMatchObject({ version: 1, custom_metadata: null });
  });

  test("an update without fields changes nothing", async () => {
    const kit = vault();
    const { response, warnings } = await kit.call("update", "metadata/a", { other: 1 });
    expect([response, warnings]).toEqual([null, ["Endpoint ignored these unrecognized parameters: [other]"]]);
    expect(kit.store.entries.size).toBe(0);
  });

  test("a patch changes what it names, and null takes away", async () => {
    const kit = vault();
    expect(await refused(kit.call("patch", "metadata/a", { max_versions: 1 }))).toEqual(["not_found", []]);
    await kit.call("update", "metadata/a", {
      max_versions: 3,
      cas_required: true,
      custom_metadata: { a: "1", b: "2" },
    });
    const patch = { max_versions: null, custom_metadata: { a: null, c: "3" } };
    expect((await kit.call("patch", "metadata/a", patch)).response).toBeNull();
    const metadata = await kit.data("read", "metadata/a");
    expect(metadata).toMatchObject({ max_versions: 0, cas_required: true, custom_metadata: { b: "2", c: "3" } });
    await kit.call("patch", "metadata/a", { custom_metadata: null });
    expect(await kit.data("read", "metadata/a")).toMatchObject({ custom_metadata: null });
  });

  test.each([
    [{ custom_metadata: "a" }, "expected an object"],
    [{ custom_metadata: { "": "v" } }, "length of key"],
    [{ custom_metadata: { ["ä".repeat(65)]: "v" } }, "but must be 0 < len(key) <= 128"],
    [{ custom_metadata: { k: "" } }, "length of value"],
    [{ custom_metadata: { k: "x".repeat(513) } }, "but must be 0 < len(value) <= 512"],
    [{ custom_metadata: { k: 1 } }, "must be a string"],
    [{ custom_metadata: { k: "a\u0007" } }, "unprintable"],
    [
      { custom_metadata: Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`k${at}`, "v"])) },
      "at most 64 keys, provided 65",
    ],
    [{ max_versions: -1 }, "max_versions"],
  ])("%j is refused", async (body, text) => {
    const kit = vault();
    await kit.call("update", "data/a", { data: {} });
    for (const operation of ["update", "patch"] as const) {
      const [code, errors] = await refused(kit.call(operation, "metadata/a", body));
      expect([code, errors.join()]).toEqual(["invalid", expect.stringContaining(text)]);
    }
    const most = Object.fromEntries(
      Array.from({ length: 64 }, (_, at) => [`k${at}`.padEnd(128, "x"), "v".repeat(512)]),
    );
    await kit.call("update", "metadata/a", { custom_metadata: most });
    expect(await kit.data("read", "metadata/a")).toMatchObject({ custom_metadata: most });
  });

  test("lists have one level, in order, and pages", async () => {
    const kit = vault();
    expect(await refused(kit.call("list", "metadata"))).toEqual(["not_found", []]);
    for (const path of ["a", "a/b", "a/c/d", "b/ü x", "b/.hidden", "Z"])
      await kit.call("update", `data/${path}`, { data: {} });
    const keys = async (path: string, page = {}): Promise<unknown> => (await kit.data("list", path, page))?.["keys"];
    expect(await keys("metadata")).toEqual(["Z", "a", "a/", "b/"]);
    expect(await keys("metadata/a")).toEqual(["b", "c/"]);
    expect(await keys("metadata/b/")).toEqual([".hidden", "ü x"]);
    expect(await keys("metadata", { after: "a", limit: 1 })).toEqual(["a/"]);
    expect(await refused(kit.call("list", "metadata/a/b"))).toEqual(["not_found", []]);
  });
});
