import { describe, expect, test } from "vitest";
import { mountConformance } from "../../../test/conformance/mount.ts";
import { createKit, refused } from "../../../test/conformance/kit.ts";
import { plugin, versioned } from "./index.ts";

const secrets = ["value-one-1", "value-two-2", "value-three-3", "value-four-4"] as const;
const data = (value: string): { readonly data: object } => ({ data: { password: value } });

mountConformance("kv version 2", plugin, {
  options: { version: "2" },
  steps: [
    { operation: "update", path: "data/a", data: data(secrets[0]) },
    { operation: "update", path: "data/a/b", data: { data: { deep: { x: [1, { y: secrets[1] }] } } }, after: 1 },
    { operation: "update", path: "metadata/a", data: { max_versions: 2, custom_metadata: { owner: "me" } }, after: 1 },
    { operation: "update", path: "data/a", data: { ...data(secrets[1]), options: { cas: 1 } }, after: 1 },
    { operation: "patch", path: "data/a", data: { data: { more: secrets[2] } }, after: 1 },
    { operation: "update", path: "data/a", data: data(secrets[3]), after: 1 },
    { operation: "read", path: "data/a" },
    { operation: "delete", path: "data/a", after: 1 },
    { operation: "update", path: "undelete/a", data: { versions: [4] }, after: 1 },
    { operation: "update", path: "delete/a", data: { versions: "3,4" }, after: 1 },
    { operation: "update", path: "undelete/a", data: { versions: ["3"] }, after: 1 },
    { operation: "patch", path: "metadata/a", data: { custom_metadata: { owner: null, team: "us" } }, after: 1 },
    { operation: "update", path: "destroy/a", data: { versions: [3] }, after: 1 },
    { operation: "update", path: "config", data: { max_versions: 5, delete_version_after: "1h" } },
    { operation: "update", path: "metadata/a", data: { metadata_cas_required: true, metadata_cas: 2 }, after: 1 },
    { operation: "update", path: "data/a", data: data(secrets[0]), after: 1 },
    { operation: "list", path: "metadata" },
    { operation: "delete", path: "metadata/a", after: 1 },
    { operation: "update", path: "data/a", data: data(secrets[2]), after: 1 },
    { operation: "delete", path: "metadata/a/b" },
  ],
  observe: [
    ...["a", "a/b"].flatMap((path) => [
      ...[0, 1, 2, 3, 4, 5].map((version) => ({ operation: "read", path: `data/${path}`, data: { version } }) as const),
      { operation: "read", path: `metadata/${path}` } as const,
      { operation: "read", path: `subkeys/${path}` } as const,
    ]),
    { operation: "list", path: "metadata" },
    { operation: "list", path: "metadata/a" },
    { operation: "list", path: "detailed-metadata" },
    { operation: "scan", path: "detailed-metadata" },
    { operation: "read", path: "config" },
  ],
  secrets,
  params: { path: ["a", "a/b", "none", "ä ö/ü", "x".repeat(1500)] },
});

mountConformance("kv version 1", plugin, {
  steps: [
    { operation: "update", path: "a", data: { password: secrets[0] } },
    { operation: "update", path: "a/b", data: { password: secrets[1], ttl: "1h" } },
    { operation: "update", path: "a", data: { password: secrets[2] } },
    { operation: "list", path: "" },
    { operation: "delete", path: "a" },
  ],
  observe: [
    { operation: "read", path: "a" },
    { operation: "read", path: "a/b" },
    { operation: "list", path: "" },
    { operation: "list", path: "a" },
  ],
  secrets,
  params: { path: ["a", "a/b", "none", "x".repeat(1500)] },
});

describe("version 1", () => {
  test("is what is mounted without options; kv-v2 mounts version 2", async () => {
    expect(createKit(plugin).routes.map((route) => route.path)).toEqual(["", ":path*"]);
    expect(createKit(versioned).routes.map((route) => route.path)).toContain("data/:path*");
  });

  test("keeps the fields of the request", async () => {
    const kit = createKit(plugin);
    expect((await kit.call("update", "a", { x: "1", ttl: "90s" })).operation).toBe("create");
    const { response } = await kit.call("read", "a");
    expect(response).toEqual({
      data: { x: "1", ttl: "90s" },
      shared: true,
      lease: { id: "", duration: 90, renewable: false },
    });
    await kit.call("update", "a", { y: [2] });
    expect((await kit.call("read", "a")).response).toMatchObject({ data: { y: [2] }, lease: { duration: 2_764_800 } });
    expect(await refused(kit.call("update", "a"))).toEqual(["invalid", ["missing data fields"]]);
    expect(await refused(kit.call("read", "a/"))).toMatchObject(["not_found", [expect.stringContaining("no handler")]]);
    await kit.call("delete", "a");
    expect(await refused(kit.call("read", "a"))).toEqual(["not_found", []]);
    expect(await refused(kit.call("list", ""))).toEqual(["not_found", []]);
  });
});
