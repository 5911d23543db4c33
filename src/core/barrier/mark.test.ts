// Marks: entries whose key is all there is.

import { createSecretKey, randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { hmacOf } from "../../lib/hmac.ts";
import { createLogger, silent } from "../../lib/log.ts";
import type { StorageBackend, Stored } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";
import { createMark, isMark } from "./mark.ts";

const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;

describe("a mark", () => {
  const mac = hmacOf(createSecretKey(randomBytes(32)));
  const version = 2 ** 40 + 7;
  const value = createMark(mac, "a/b", version);

  test("stands for its key and version, and for no other", () => {
    expect(isMark(mac, "a/b", { value, version })).toBe(true);
    expect(isMark(mac, "a/b", { value, version: version + 1 })).toBe(false);
    expect(isMark(mac, "a/b", { value, version: version - 2 ** 32 })).toBe(false);
    expect(isMark(mac, "a/c", { value, version })).toBe(false);
    expect(isMark(mac, "a", { value, version })).toBe(false);
    expect(isMark(hmacOf(createSecretKey(randomBytes(32))), "a/b", { value, version })).toBe(false);
  });

  test("is none with a bit changed, cut short or made longer", () => {
    for (let at = 0; at < value.length; at++) {
      const changed = Buffer.from(value);
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(isMark(mac, "a/b", { value: changed, version }), `byte ${at}`).toBe(false);
    }
    expect(isMark(mac, "a/b", { value: value.subarray(0, -1), version })).toBe(false);
    expect(isMark(mac, "a/b", { value: Buffer.concat([value, Buffer.alloc(1)]), version })).toBe(false);
  });

  test("is never the same bytes twice", () => {
    expect(createMark(mac, "a/b", version).equals(value)).toBe(false);
  });
});

describe("in a store", () => {
  const rootKey = randomBytes(32);
  let storage: StorageBackend;
  let barrier: Barrier;
  let lines: string[];
  const scan = () => barrier.scan({ pause: async () => {} });
  const stored = async (key: string): Promise<Stored> => {
    const found = await storage.get(key);
    if (found === null) throw new Error(`${key} is not there`);
    return found;
  };
  const reopen = async (): Promise<void> => {
    barrier.seal();
    await barrier.unseal(rootKey);
  };

  beforeEach(async () => {
    storage = await memory.open({}, silent);
    lines = [];
    barrier = new Barrier({ storage, log: createLogger({ write: (line) => void lines.push(line) }) });
    await barrier.initialize(rootKey);
    await barrier.unseal(rootKey);
    const view = barrier.view("x/");
    await view.write([
      { key: "a", value: true },
      { key: "b", value: true, expect: "absent" },
      { key: "c", value: { n: 1 } },
    ]);
  });

  test("reads as an empty object, is listed, overwritten and deleted like an entry", async () => {
    const view = barrier.view("x/");
    for (const open of [async () => {}, reopen]) {
      await open();
      expect((await view.getJson("a"))?.value).toEqual({});
      expect(Buffer.from((await view.get("b"))?.value ?? []).toString()).toBe("{}");
    }
    expect(await view.list("")).toEqual(["a", "b", "c"]);
    expect((await stored("x/a")).value).toHaveLength(49);
    await expect(view.write([{ key: "a", value: true, expect: "absent" }])).rejects.toEqual(code("conflict"));
    const [version = 0] = await view.write([{ key: "a", value: { n: 2 } }]);
    await view.write([{ key: "a", value: true, expect: version }]);
    await view.write([{ key: "b", value: null }]);
    await reopen();
    expect((await view.getJson("a"))?.value).toEqual({});
    expect(await view.list("")).toEqual(["a", "c"]);
    expect(await scan()).toMatchObject({ damagedEntries: 0, sum: { holds: true } });
  });

  test("stays as it is when the term changes", async () => {
    const before = await stored("x/a");
    await barrier.rotate();
    expect(await barrier.renew("x/a")).toBe("left");
    expect(await barrier.renew("x/c")).toBe("renewed");
    expect(await stored("x/a")).toEqual(before);
    await reopen();
    expect((await barrier.view("x/").getJson("a"))?.value).toEqual({});
    expect(await scan()).toMatchObject({ damagedEntries: 0, sum: { holds: true } });
  });

  test.each<[string, () => Promise<{ key: string } & Stored>]>([
    ["moved to the place of another", async () => ({ key: "x/b", ...(await stored("x/a")) })],
    ["put in the place of a value", async () => ({ key: "x/c", ...(await stored("x/a")) })],
    ["forged", async () => ({ key: "x/b", value: Buffer.alloc(49, 1), version: (await stored("x/b")).version })],
    ["replaced by a value", async () => ({ key: "x/b", ...(await stored("x/c")) })],
  ])("%s, it is an error and a line in the security log", async (_, make) => {
    const { key, value, version } = await make();
    await storage.write([{ key, value, version }]);
    await reopen();
    const view = barrier.view("");
    await expect(view.getJson(key)).rejects.toEqual(code("storage"));
    expect(lines.join()).toContain(key);
    expect((await view.getJson("x/a"))?.value).toEqual({});
    expect(await scan()).toMatchObject({ damaged: [key], sum: { holds: false } });
  });

  test("deleted or put back, it is found by the sum", async () => {
    const old = await stored("x/a");
    await barrier.view("x/").write([{ key: "a", value: true }]);
    await storage.write([{ key: "x/a", ...old }]);
    await reopen();
    expect(await scan()).toMatchObject({ damagedEntries: 0, sum: { holds: false, expected: 5, found: 5 } });
    await storage.write([{ key: "x/b", value: null, version: 0 }]);
    expect(await scan()).toMatchObject({ sum: { holds: false, expected: 5, found: 4 } });
  });
});
