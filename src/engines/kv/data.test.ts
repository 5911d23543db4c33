import { describe, expect, test } from "vitest";
import { createKit, type Kit, refusal, refused, timeText } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";

const vault = (): Kit => createKit(plugin, { options: { version: "2" } });
const start = timeText();
/** Too large for the entry of its secret. */
const long = "x".repeat(1100);
const storedText = (kit: Kit): string => [...kit.store.entries.values()].map(({ bytes }) => String(bytes)).join("\n");

describe("data", () => {
  test("a write answers with its version, a read with data and metadata", async () => {
    const kit = vault();
    const first = await kit.call("update", "data/a/b", { data: { x: 1 } });
    expect(first.operation).toBe("create");
    const info = { created_time: start, custom_metadata: null, deletion_time: "", destroyed: false, version: 1 };
    expect(first.response).toEqual({ data: info });
    expect((await kit.call("update", "data/a/b", { data: {} })).operation).toBe("update");
    expect(await kit.data("read", "data/a/b", { version: "1" })).toEqual({ data: { x: 1 }, metadata: info });
    expect(await kit.data("read", "data/a/b")).toMatchObject({ data: {}, metadata: { version: 2 } });
    for (const [path, version] of [
      ["data/a/b", 3],
      ["data/a", 0],
      ["data/a/b/c", 0],
    ] as const) {
      expect(await refused(kit.call("read", path, { version }))).toEqual(["not_found", []]);
    }
  });

  test("any JSON is kept as it came", async () => {
    const kit = vault();
    const text =
      '{"":"","__proto__":{"a":1},"n":null,"l":[1,[2.5,-0.0],{}],"ü":"\\u0000\\ud83d\\ude00","constructor":"c"}';
    await kit.call("update", "data/a", { data: JSON.parse(text) });
    kit.restart();
    const answer = (await kit.data("read", "data/a")) as { data: unknown };
    expect(JSON.stringify(answer.data)).toBe(JSON.stringify(JSON.parse(text)));
  });

  test("a secret of 1 MiB is kept, a larger one is refused, also where a patch would make it", async () => {
    const kit = vault();
    const most = 1024 * 1024;
    await kit.call("update", "data/a", { data: { a: "x".repeat(most - 1) } });
    await kit.call("update", "data/a", { data: { a: "é".repeat(most / 2 - 1) } });
    for (const data of [
      { a: "x".repeat(most) },
      { a: "é".repeat(most / 2) },
      { a: [{ [long]: "x".repeat(most - 500) }] },
    ]) {
      const [code, errors] = await refused(kit.call("update", "data/a", { data }));
      expect([code, errors]).toEqual(["too_large", [expect.stringContaining("at most 1048576 bytes")]]);
    }
    expect((await refused(kit.call("patch", "data/a", { data: { b: "xxxx" } })))[0]).toBe("too_large");
    expect(await kit.data("read", "data/a")).toMatchObject({ metadata: { version: 2 } });
    const plain = createKit(plugin, { options: { version: "1" } });
    expect((await refused(plain.call("update", "a", { a: "x".repeat(most) })))[0]).toBe("too_large");
  });

  test("a read is answered by one object until the secret changes, and again by another", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { x: 1 } });
    const read = async (): Promise<unknown> => (await kit.call("read", "data/a")).response;
    const first = await read();
    expect(await read()).toBe(first);
    await kit.call("update", "metadata/a", { custom_metadata: { k: "v" } });
    const second = await read();
    expect(second).not.toBe(first);
    expect(second).toMatchObject({ data: { metadata: { custom_metadata: { k: "v" } } }, shared: true });
    kit.store.evict();
    expect(await read()).toEqual(second);
  });

  test.each([
    [{}, "no data provided"],
    [{ data: null }, "no data provided"],
    [{ data: "text" }, 'error converting input for field "data": expected an object'],
    [{ data: [1] }, 'error converting input for field "data": expected an object'],
    [{ data: {}, options: 7 }, 'error converting input for field "options": expected an object'],
    [{ data: {}, options: { cas: "x" } }, "error parsing check-and-set parameter"],
    [{ data: {}, options: { cas: 2 } }, "check-and-set parameter did not match the current version"],
    [{ data: {}, options: { cas: 0 } }, "check-and-set parameter did not match the current version"],
  ])("%j is refused: %s", async (body, text) => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { x: 1 } });
    const before = kit.store.written;
    for (const operation of ["update", "patch"] as const) {
      expect(await refused(kit.call(operation, "data/a", body))).toEqual(["invalid", [text]]);
    }
    expect(kit.store.written).toBe(before);
  });

  test("cas names the version that is followed, as a number or as text", async () => {
    const kit = vault();
    expect(await kit.data("update", "data/a", { data: {}, options: { cas: 0 } })).toMatchObject({ version: 1 });
    expect(await kit.data("update", "data/a", { data: {}, options: { cas: "1" } })).toMatchObject({ version: 2 });
    await kit.call("update", "metadata/a", { cas_required: true });
    const required = ["invalid", ["check-and-set parameter required for this call"]];
    expect(await refused(kit.call("update", "data/a", { data: {} }))).toEqual(required);
    expect(await refused(kit.call("patch", "data/a", { data: {} }))).toEqual(required);
    await kit.call("update", "config", { cas_required: "true" });
    expect(await refused(kit.call("update", "data/new", { data: {}, options: {} }))).toEqual(required);
    const { response, warnings } = await kit.call("update", "metadata/a", { cas_required: false });
    expect([response, warnings]).toEqual([
      null,
      ['"cas_required" set to false, but is mandated by backend config. This value will be ignored.'],
    ]);
  });

  test("a patch merges as RFC 7396 says, and needs a version to follow", async () => {
    const kit = vault();
    expect(await refused(kit.call("patch", "data/a", { data: { x: 1 } }))).toEqual(["not_found", []]);
    await kit.call("update", "data/a", { data: { a: "b", c: { d: "e", f: "g" }, l: [1, { x: null }] } });
    const patch = JSON.parse('{"a":"z","c":{"f":null},"l":[null],"n":{"x":null,"y":{}},"__proto__":{"q":1}}') as object;
    expect(await kit.data("patch", "data/a", { data: patch, options: { cas: 1 } })).toMatchObject({ version: 2 });
    const answer = (await kit.data("read", "data/a")) as { data: unknown };
    expect(JSON.stringify(answer.data)).toBe('{"a":"z","c":{"d":"e"},"l":[null],"n":{"y":{}},"__proto__":{"q":1}}');
    await kit.call("delete", "data/a");
    const info = { created_time: start, custom_metadata: null, deletion_time: start, destroyed: false, version: 2 };
    expect(await refused(kit.call("patch", "data/a", { data: {} }))).toEqual(["not_found", [], info]);
  });

  test("a path with a slash at its end is another path than the one without", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: {} });
    for (const operation of ["read", "update", "delete"] as const) {
      const [code] = await refused(kit.call(operation, "data/a/", { data: { x: 2 } }));
      expect(code).toBe("not_found");
    }
    expect(await kit.data("read", "data/a")).toMatchObject({ metadata: { version: 1, deletion_time: "" } });
  });

  test("a path that is too long, or no text, is refused before anything is written", async () => {
    const kit = vault();
    const longest = "ä".repeat(450);
    expect(await kit.data("update", `data/${longest}`, { data: {} })).toMatchObject({ version: 1 });
    for (const path of [`${longest}x`, "a\0b", "a//b"]) {
      const before = kit.store.written;
      expect((await refused(kit.call("update", `data/${path}`, { data: {} })))[0]).toBe("invalid");
      expect((await refused(kit.call("update", `metadata/${path}`, { max_versions: 1 })))[0]).toBe("invalid");
      expect(kit.store.written).toBe(before);
    }
    const [, errors] = await refused(kit.call("update", `data/${longest}x`, { data: {} }));
    expect(errors).toEqual(["the path is 901 bytes long; at most 900 are possible"]);
  });

  test("subkeys are the names alone", async () => {
    const kit = vault();
    await kit.call("update", "data/a", { data: { a: { b: { c: "s" }, e: {} }, l: [{ x: 1 }], n: null } });
    expect(await kit.data("read", "subkeys/a")).toMatchObject({
      subkeys: { a: { b: { c: null }, e: null }, l: null, n: null },
      metadata: { version: 1 },
    });
    const names = async (depth: number): Promise<unknown> =>
      (await kit.data("read", "subkeys/a", { depth }))?.["subkeys"];
    expect(await names(1)).toEqual({ a: null, l: null, n: null });
    expect(await names(2)).toEqual({ a: { b: null, e: null }, l: null, n: null });
    await kit.call("delete", "data/a");
    expect((await refusal(kit.call("read", "subkeys/a"))).data).toMatchObject({
      subkeys: null,
      metadata: { version: 1 },
    });
  });
});

describe("versions", () => {
  async function three(more: object = {}): Promise<Kit> {
    const kit = vault();
    for (const x of [1, 2, 3]) await kit.call("update", "data/a", { data: { x, ...more } });
    kit.clock.advance(1000);
    return kit;
  }

  test("a deleted version is not found, with its metadata, and comes back whole", async () => {
    const kit = await three();
    expect((await kit.call("delete", "data/a")).response).toBeNull();
    const info = {
      created_time: start,
      custom_metadata: null,
      deletion_time: timeText(1),
      destroyed: false,
      version: 3,
    };
    expect(await refused(kit.call("read", "data/a"))).toEqual(["not_found", [], { data: null, metadata: info }]);
    kit.clock.advance(1000);
    await kit.call("delete", "data/a");
    await kit.call("update", "delete/a", { versions: [1, 3, 9] });
    expect(await kit.data("read", "metadata/a")).toMatchObject({
      updated_time: start,
      versions: { 1: { deletion_time: timeText(2) }, 2: { deletion_time: "" }, 3: { deletion_time: timeText(1) } },
    });
    await kit.call("update", "undelete/a", { versions: "1, 3" });
    expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 3 }, metadata: { deletion_time: "" } });
  });

  test.each([
    ["a small one, in its secret", "", 0],
    ["a large one, in an entry of its own", long, 1],
  ])("a destroyed version is gone for good, in storage too: %s", async (_name, text, own) => {
    const kit = await three({ text });
    const entries = kit.store.entries.size;
    const stored = (): string => storedText(kit);
    expect(stored()).toContain('"x":2');
    await kit.call("update", "destroy/a", { versions: [2, 2] });
    expect(stored()).not.toContain('"x":2');
    expect(kit.store.entries.size).toBe(entries - own);
    await kit.call("update", "delete/a", { versions: [1] });
    await kit.call("update", "destroy/a", { versions: [1] });
    await kit.call("update", "undelete/a", { versions: [1, 2] });
    expect(await kit.data("read", "metadata/a")).toMatchObject({
      versions: { 1: { deletion_time: timeText(1), destroyed: true }, 2: { deletion_time: "", destroyed: true } },
    });
    const error = await refusal(kit.call("read", "data/a", { version: 2 }));
    expect(error.data).toMatchObject({ data: null, metadata: { destroyed: true, deletion_time: "" } });
    expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 3 } });
  });

  test.each(["delete", "undelete", "destroy"])("%s needs version numbers", async (verb) => {
    const kit = await three();
    for (const versions of [undefined, [], "", " "]) {
      expect(await refused(kit.call("update", `${verb}/a`, { versions }))).toEqual([
        "invalid",
        ["No version number provided"],
      ]);
    }
    expect((await refused(kit.call("update", `${verb}/a`, { versions: ["x"] })))[0]).toBe("invalid");
    expect((await kit.call("update", `${verb}/none`, { versions: [1] })).response).toBeNull();
    expect((await kit.call("update", `${verb}/a`, { versions: 3 })).response).toBeNull();
  });

  test.each([
    ["small", "", 0],
    ["large", long, 1],
  ])("the oldest versions go once there are more than are kept: %s ones", async (_name, text, own) => {
    const kit = vault();
    for (let x = 1; x <= 12; x++) await kit.call("update", "data/a", { data: { x, text } });
    const stored = storedText(kit);
    expect([stored.includes('"x":2,'), stored.includes('"x":3,')]).toEqual([false, true]);
    expect(await kit.data("read", "metadata/a")).toMatchObject({ current_version: 12, oldest_version: 3 });
    expect(await refused(kit.call("read", "data/a", { version: 2 }))).toEqual(["not_found", []]);
    expect(kit.store.entries.size).toBe(1 + own * 10);
    await kit.call("update", "metadata/a", { max_versions: 3 });
    await kit.call("update", "data/a", { data: { x: 13, text } });
    const metadata = await kit.data("read", "metadata/a");
    expect(metadata).toMatchObject({ current_version: 13, oldest_version: 11, max_versions: 3 });
    expect(Object.keys(metadata?.["versions"] as object)).toEqual(["11", "12", "13"]);
    expect(kit.store.entries.size).toBe(1 + own * 3);
  });

  test("versions stand in the secret as long as they are small, and all together are", async () => {
    const kit = vault();
    const sizes = [900, 1100, 900, 900, 900, 900, 900, 900, 900, 900, 900, 10];
    for (const [x, size] of sizes.entries())
      await kit.call("update", "data/a", { data: { x, text: "y".repeat(size) } });
    // The second was, too, until it was pushed out; the tenth came when eight of 900 stood there, the next when one had gone.
    const own = [...kit.store.entries.keys()].flatMap((key) => /version\/a\/(\d+)-/.exec(key)?.[1] ?? []);
    expect(own.map(Number).sort((a, b) => a - b)).toEqual([10]);
    kit.restart();
    for (let version = 3; version <= 12; version++) {
      expect(await kit.data("read", "data/a", { version })).toMatchObject({ data: { x: version - 1 } });
    }
    await kit.call("delete", "metadata/a");
    expect(kit.store.entries.size).toBe(0);
  });

  test("versions end by age where a lifetime is set, the shorter one counting", async () => {
    const kit = vault();
    await kit.call("update", "config", { delete_version_after: "1h" });
    await kit.call("update", "metadata/a", { delete_version_after: 90 });
    expect(await kit.data("update", "data/a", { data: {} })).toMatchObject({ deletion_time: timeText(90) });
    expect(await kit.data("read", "metadata/a")).toMatchObject({ delete_version_after: "1m30s" });
    expect(await kit.data("read", "config")).toEqual({
      cas_required: false,
      delete_version_after: "1h0m0s",
      max_versions: 0,
      metadata_cas_required: false,
    });
    kit.clock.advance(89_999);
    expect(await kit.data("read", "data/a")).toMatchObject({ data: {} });
    kit.clock.advance(1);
    expect((await refused(kit.call("read", "data/a")))[0]).toBe("not_found");
    await kit.call("update", "undelete/a", { versions: [1] });
    expect(await kit.data("read", "data/a")).toMatchObject({ metadata: { deletion_time: timeText(180) } });
    await kit.call("update", "config", { delete_version_after: "-1s" });
    expect(await kit.data("update", "data/a", { data: {} })).toMatchObject({ deletion_time: "" });
    for (const wrong of ["-1s", "soon"]) {
      const [code, errors] = await refused(kit.call("update", "metadata/a", { delete_version_after: wrong }));
      expect([code, errors[0]]).toEqual(["invalid", expect.stringContaining("delete_version_after")]);
    }
  });
});
