import { describe, expect, test } from "vitest";
import { createKit, type Kit, refusal, refused, timeText } from "../../../test/conformance/kit.ts";
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
      current_metadata_version: 1,
      current_version: 0,
      custom_metadata: { owner: "me" },
      delete_version_after: "0s",
      max_versions: 3,
      metadata_cas_required: false,
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
    [{ custom_metadata: { k: [1] } }, "must be a string"],
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
    expect(await keys("metadata", { limit: 0 })).toEqual(["Z", "a", "a/", "b/"]);
    expect(await refused(kit.call("list", "metadata/a/b"))).toEqual(["not_found", []]);
    const all = (await kit.data("scan", "metadata"))?.["keys"] as string[];
    expect(all.toSorted()).toEqual(["Z", "a", "a/b", "a/c/d", "b/.hidden", "b/ü x"]);
    expect((await kit.data("scan", "metadata/a"))?.["keys"]).toEqual(["b", "c/d"]);
    expect(await refused(kit.call("scan", "metadata/none"))).toEqual(["not_found", []]);
  });

  test("detailed lists tell what is known of each secret, and nothing of folders", async () => {
    const kit = vault();
    expect(await refused(kit.call("list", "detailed-metadata"))).toEqual(["not_found", []]);
    for (const path of ["f/a", "f/a/b", "f/__proto__"]) await kit.call("update", `data/${path}`, { data: { s: "t" } });
    const { response } = await kit.call("list", "detailed-metadata/f");
    expect(response?.data?.["keys"]).toEqual(["__proto__", "a", "a/"]);
    const info = response?.data?.["key_info"] as object;
    expect(Object.keys(info).toSorted()).toEqual(["__proto__", "a", "a/"]);
    expect(Object.entries(info).find(([name]) => name === "a/")?.[1]).toEqual({});
    for (const name of ["a", "__proto__"]) {
      const known = Object.entries(info).find(([key]) => key === name)?.[1];
      expect(known).toEqual(await kit.data("read", `metadata/f/${name}`));
    }
    expect(await kit.data("list", "detailed-metadata/f", { after: "__proto__", limit: 1 })).toMatchObject({
      keys: ["a"],
    });
    expect((await kit.data("scan", "detailed-metadata"))?.["key_info"]).toMatchObject({
      "f/a/b": { oldest_version: 0 },
    });
    for (let at = 0; at < 1001; at++) await kit.call("update", `metadata/many/${at}`, { max_versions: 1 });
    const many = await kit.call("list", "detailed-metadata/many");
    expect(many.response?.data?.["keys"]).toHaveLength(1000);
    expect(many.warnings).toEqual(['only the first 1000 of the names are told; ask for more with "after"']);
  });

  test("metadata_cas names the change that is followed", async () => {
    const kit = vault();
    const required = ["invalid", ["metadata check-and-set parameter required for this call"]];
    const wrong = ["invalid", ["metadata check-and-set parameter does not match the current version"]];
    const absent = ["invalid", ["metadata_cas must be 0 when creating new metadata"]];
    const max_versions = 5;
    expect(await refused(kit.call("update", "metadata/a", { max_versions, metadata_cas: 1 }))).toEqual(absent);
    await kit.call("update", "metadata/a", { max_versions, metadata_cas: 0, metadata_cas_required: true });
    await kit.call("update", "data/a", { data: {} });
    for (const operation of ["update", "patch"] as const) {
      expect(await refused(kit.call(operation, "metadata/a", { max_versions }))).toEqual(required);
      expect(await refused(kit.call(operation, "metadata/a", { max_versions, metadata_cas: 0 }))).toEqual(wrong);
    }
    await kit.call("patch", "metadata/a", { metadata_cas: 1 });
    await kit.call("patch", "metadata/a", { max_versions: 6, metadata_cas: 1 });
    await kit.call("update", "metadata/a", { metadata_cas_required: false, metadata_cas: "2" });
    expect(await kit.data("read", "metadata/a")).toMatchObject({ current_metadata_version: 3, max_versions: 6 });
    await kit.call("update", "config", { metadata_cas_required: true });
    expect(await refused(kit.call("update", "metadata/b", { max_versions }))).toEqual(required);
    const { warnings } = await kit.call("update", "metadata/a", { metadata_cas_required: false, metadata_cas: 3 });
    expect(warnings).toEqual([
      '"metadata_cas_required" set to false, but is mandated by backend config. This value will be ignored.',
    ]);
  });

  test("numbers and truths become texts in custom metadata", async () => {
    const kit = vault();
    await kit.call("update", "metadata/a", { custom_metadata: { n: 1.5, yes: true, no: false } });
    const custom_metadata = { n: "1.5", yes: "1", no: "0" };
    expect(await kit.data("read", "metadata/a")).toMatchObject({ custom_metadata });
  });

  test("paths of version 1 get Vault's hint", async () => {
    const kit = vault();
    const hinted = async (operation: "read" | "update" | "list" | "delete", path: string): Promise<unknown> => {
      const { code, errors, warnings } = await refusal(kit.call(operation, path, { x: 1 }));
      return [code, errors, warnings?.join()];
    };
    const use = (command: string): unknown => ["not_found", [], expect.stringContaining(`'vault kv ${command}'`)];
    expect(await hinted("read", "a/b")).toEqual(use("get"));
    expect(await hinted("update", "a")).toEqual(use("put"));
    expect(await hinted("list", "")).toEqual(use("list"));
    expect(await hinted("delete", "detailed")).toEqual(use("delete"));
    const root = "Non-listing operations on the root of a K/V v2 mount are not supported.";
    for (const path of ["data", "metadata", "undelete"])
      expect(await hinted("update", path)).toEqual(["not_found", [], root]);
    expect(kit.store.entries.size).toBe(0);
  });
});
