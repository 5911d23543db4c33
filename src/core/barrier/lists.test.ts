import { describe, expect, test } from "vitest";
import { Lists } from "./lists.ts";

describe("lists that are kept", () => {
  test("are the same until a name comes or goes below them", async () => {
    const lists = new Lists(10_000);
    let asked = 0;
    const get = (prefix: string): Promise<readonly string[]> => lists.get(prefix, async () => [`${++asked}`]);
    const [top, a, ab, b] = [await get(""), await get("a/"), await get("a/b/"), await get("b/")];
    lists.changed("a/x");
    expect(await get("b/")).toBe(b);
    expect(await get("a/b/")).toBe(ab);
    expect(await get("a/")).not.toBe(a);
    expect(await get("")).not.toBe(top);
    lists.changed("a/b/c/d");
    expect(await get("a/b/")).not.toBe(ab);
    expect(Object.isFrozen(ab)).toBe(true);
  });

  test("are not kept where a name came while they were asked for, or the question failed", async () => {
    const lists = new Lists(10_000);
    let answer: (names: string[]) => void = () => {};
    const first = lists.get("a/", () => new Promise((resolve) => (answer = resolve)));
    const joined = lists.get("a/", async () => ["not asked"]);
    lists.changed("a/new");
    answer(["old"]);
    expect([await first, await joined]).toEqual([["old"], ["old"]]);
    expect(await lists.get("a/", async () => ["new", "old"])).toEqual(["new", "old"]);
    await expect(lists.get("b/", () => Promise.reject(new Error("lost")))).rejects.toThrow("lost");
    expect(await lists.get("b/", async () => ["there"])).toEqual(["there"]);
  });

  test("weigh no more than they may", async () => {
    const lists = new Lists(1_000);
    const many = Array.from({ length: 100 }, (_, at) => `name-${at}`);
    expect(await lists.get("big/", async () => many)).toHaveLength(100);
    expect(await lists.get("big/", async () => [])).toEqual([]);
  });
});
