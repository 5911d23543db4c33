// What every storage backend must do (src/sdk/storage.ts), as tests that a backend's own test file registers.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VaultError } from "../../src/sdk/errors.ts";
import type { StorageBackend } from "../../src/sdk/storage.ts";

export interface StorageSetup {
  /** A store without entries. */
  open(): Promise<StorageBackend>;
  /** The same store, after it was closed; left out where nothing outlives a close. */
  reopen?(): Promise<StorageBackend>;
  /** After close. */
  remove?(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);
const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;

/** `durable`: what was written comes back through `reopen`. */
export function storageConformance(name: string, setup: () => StorageSetup, durable: boolean): void {
  describe(`${name} keeps the storage contract`, () => {
    let at: StorageSetup;
    let store: StorageBackend;
    const put = (...keys: readonly string[]): Promise<void> =>
      store.write(keys.map((key) => ({ key, value: bytes(key), version: 1 })));
    const versionOf = async (key: string): Promise<number | undefined> => (await store.get(key))?.version;

    beforeEach(async () => {
      at = setup();
      store = await at.open();
    });
    afterEach(async () => {
      await store.close();
      await at.remove?.();
    });

    values();
    expectations();
    lists();
    lives();

    function values(): void {
      test("gives back what was put, with its version", async () => {
        expect(await store.get("a/b")).toBeNull();
        await store.write([{ key: "a/b", value: bytes("one"), version: 7 }]);
        const stored = await store.get("a/b");
        expect([text(stored?.value), stored?.version]).toEqual(["one", 7]);
        await store.write([{ key: "a/b", value: bytes("two"), version: 2 ** 53 - 1 }]);
        expect(await versionOf("a/b")).toBe(2 ** 53 - 1);
        await store.write([{ key: "a/b", value: null, version: 0 }]);
        expect(await store.get("a/b")).toBeNull();
      });

      test("keeps any bytes, none and a large value", async () => {
        const all = Uint8Array.from({ length: 256 }, (_, index) => index);
        const large = new Uint8Array(5 * 1024 * 1024).fill(0xa5);
        await store.write([
          { key: "all", value: all, version: 1 },
          { key: "empty", value: new Uint8Array(0), version: 2 },
          { key: "large", value: large, version: 3 },
        ]);
        expect([...((await store.get("all"))?.value ?? [])]).toEqual([...all]);
        expect((await store.get("empty"))?.value).toHaveLength(0);
        expect(Buffer.compare((await store.get("large"))?.value ?? new Uint8Array(0), large)).toBe(0);
      });

      test("keeps its own copy", async () => {
        const value = bytes("mine");
        await store.write([{ key: "k", value, version: 1 }]);
        value.fill(0);
        const first = await store.get("k");
        first?.value.fill(0);
        expect(text((await store.get("k"))?.value)).toBe("mine");
      });

      test("refuses wrong keys, values and versions before anything is written", async () => {
        const bad = ["", "/a", "a/", "a//b", "a\0b", "\ud800", "k".repeat(1025), "ä".repeat(513)];
        for (const key of bad) {
          await expect(store.get(key), JSON.stringify(key)).rejects.toThrow(VaultError);
          await expect(
            store.write([
              { key: "good", value: bytes("x"), version: 1 },
              { key, value: null, version: 1 },
            ]),
          ).rejects.toEqual(code("invalid"));
        }
        for (const version of [0, -1, 1.5, 2 ** 53, Number.NaN]) {
          await expect(store.write([{ key: "good", value: bytes("x"), version }])).rejects.toEqual(code("invalid"));
        }
        const twice = { key: "good", value: bytes("x"), version: 1 };
        await expect(store.write([twice, twice])).rejects.toEqual(code("invalid"));
        const huge = new Uint8Array(store.maxValue + 1);
        await expect(store.write([twice, { key: "huge", value: huge, version: 1 }])).rejects.toEqual(code("invalid"));
        expect(await store.get("good")).toBeNull();
        await put("k".repeat(1024), "ä".repeat(512));
      });
    }

    function expectations(): void {
      test("an expectation that fails changes nothing", async () => {
        await put("there");
        const wrong = [
          { key: "there", value: bytes("x"), version: 9, expect: 2 },
          { key: "there", value: bytes("x"), version: 9, expect: "absent" as const },
          { key: "missing", value: bytes("x"), version: 9, expect: 1 },
          { key: "there", value: null, version: 0, expect: 2 },
          { key: "missing", value: null, version: 0, expect: 1 },
        ];
        for (const op of wrong) {
          const before = { key: "before", value: bytes("x"), version: 3 };
          const after = { key: "after", value: bytes("x"), version: 4 };
          await expect(store.write([op])).rejects.toEqual(code("conflict"));
          if (store.atomic) await expect(store.write([before, op, after])).rejects.toEqual(code("conflict"));
        }
        expect(await store.list("")).toEqual(["there"]);
        expect(await versionOf("there")).toBe(1);
      });

      test("an expectation that holds lets the write through", async () => {
        await store.write([{ key: "k", value: bytes("1"), version: 1, expect: "absent" }]);
        await store.write([{ key: "k", value: bytes("2"), version: 2, expect: 1 }]);
        await store.write([{ key: "k", value: null, version: 0, expect: 2 }]);
        await store.write([{ key: "k", value: null, version: 0, expect: "absent" }]);
        expect(await store.get("k")).toBeNull();
      });

      test("of many writers that expect the same version one wins each round", async () => {
        await store.write([{ key: "n", value: bytes("0"), version: 1 }]);
        for (let round = 1; round <= 5; round++) {
          const writes = Array.from({ length: 40 }, (_, writer) =>
            store
              .write([
                { key: "n", value: bytes(`${round}`), version: round * 100 + writer, expect: round === 1 ? 1 : last },
                { key: `won/${round}-${writer}`, value: bytes("x"), version: round * 100 + writer },
              ])
              .then(
                () => round * 100 + writer,
                (error: unknown) => {
                  expect(error).toEqual(code("conflict"));
                  return 0;
                },
              ),
          );
          const others = Array.from({ length: 20 }, (_, writer) => put(`other/${round}-${writer}`));
          const won = (await Promise.all(writes)).filter((version) => version > 0);
          await Promise.all(others);
          expect(won).toHaveLength(1);
          last = won[0] ?? 0;
          expect(await versionOf("n")).toBe(last);
        }
        expect(await store.list("won/")).toHaveLength(5);
        expect(await store.list("other/")).toHaveLength(100);
      });
      let last = 0;

      test("sees a write that has resolved, whatever else is under way", async () => {
        const rounds = Array.from({ length: 200 }, async (_, index) => {
          await store.write([{ key: `k/${index % 17}/${index}`, value: bytes(`${index}`), version: index + 1 }]);
          expect(await versionOf(`k/${index % 17}/${index}`)).toBe(index + 1);
        });
        await Promise.all(rounds);
      });
    }

    function lists(): void {
      test("lists one level in byte order, folders once", async () => {
        // U+FF5E sorts before U+1F600 in UTF-8 and after it in UTF-16.
        await put("a", "a/b", "a/c/d", "a-b", "a0", "ab/x", "ab/y", "Z", "ä", "\u{ff5e}", "\u{1f600}", "b/c/d/e");
        expect(await store.list("")).toEqual(["Z", "a", "a-b", "a/", "a0", "ab/", "b/", "ä", "\u{ff5e}", "\u{1f600}"]);
        expect(await store.list("a/")).toEqual(["b", "c/"]);
        expect(await store.list("ab/")).toEqual(["x", "y"]);
        expect(await store.list("b/c/")).toEqual(["d/"]);
        expect(await store.list("nothing/")).toEqual([]);
        await expect(store.list("a")).rejects.toEqual(code("invalid"));
        await expect(store.list("/")).rejects.toEqual(code("invalid"));
      });

      test("treats no character of a key as a pattern", async () => {
        await put("p%/x", "pq/y", "p_/z", "P%/w", "p*/v", "p?/u");
        expect(await store.list("p%/")).toEqual(["x"]);
        expect(await store.list("p_/")).toEqual(["z"]);
        expect(await store.list("p*/")).toEqual(["v"]);
      });

      test("pages without gaps or repeats", async () => {
        const names = ["a", "a-", "a/", "a0", "b/", "c", "d/", "ä/", "\u{ff5e}", "\u{1f600}/"];
        await put(
          ...names.map((each) => `in/${each}${each.endsWith("/") ? "x/y" : ""}`),
          "in/d/z",
          "im",
          "in0",
          "io/x",
        );
        for (const limit of [1, 2, 3, 100]) {
          const seen: string[] = [];
          for (let after: string | undefined; ; after = seen.at(-1)) {
            const page = await store.list("in/", { limit, ...(after !== undefined && { after }) });
            expect(page.length).toBeLessThanOrEqual(limit);
            seen.push(...page);
            if (page.length < limit) break;
          }
          expect(seen).toEqual(names);
        }
        expect(await store.list("in/", { after: "a.x" })).toEqual(names.slice(2));
        expect(await store.list("in/", { after: "a/zzz" })).toEqual(names.slice(3));
        expect(await store.list("in/", { after: "zzz" })).toEqual(names.slice(7));
        expect(await store.list("in/", { limit: 0 })).toEqual([]);
      });

      test("lists 10,000 names beside folders with 10,000 entries", async () => {
        const keys = Array.from({ length: 10_000 }, (_, index) => `big/n${String(index).padStart(5, "0")}`);
        await put(...keys);
        await put(...keys.map((key) => `deep/folder/${key}`), "deep/z");
        expect(await store.list("big/")).toEqual(keys.map((key) => key.slice(4)));
        expect(await store.list("deep/")).toEqual(["folder/", "z"]);
        expect(await store.list("")).toEqual(["big/", "deep/"]);
      });
    }

    function lives(): void {
      test("has one leader at a time, and epochs that grow", async () => {
        const first = await store.lead(() => {});
        await expect(store.lead(() => {})).rejects.toEqual(code("conflict"));
        await expect(store.lead(() => {})).rejects.toThrow(String(process.pid));
        await first.release();
        const second = await store.lead(() => {});
        expect(second.epoch).toBe(first.epoch + 1);
        await first.release();
        await expect(store.lead(() => {})).rejects.toEqual(code("conflict"));
        await second.release();
      });

      test("refuses everything once closed, and closes twice", async () => {
        const pending = put("last");
        await store.close();
        await pending;
        await store.close();
        await expect(store.get("last")).rejects.toEqual(code("storage"));
        await expect(put("x")).rejects.toEqual(code("storage"));
        await expect(store.list("")).rejects.toEqual(code("storage"));
        await expect(store.lead(() => {})).rejects.toEqual(code("storage"));
      });

      if (durable)
        test("comes back whole after a close", async () => {
          await put("kept/a", "kept/b");
          await store.write([{ key: "kept/b", value: null, version: 0 }]);
          const { epoch } = await store.lead(() => {});
          await store.close();
          store = (await at.reopen?.()) ?? store;
          expect(await store.list("kept/")).toEqual(["a"]);
          expect(text((await store.get("kept/a"))?.value)).toBe("kept/a");
          expect((await store.lead(() => {})).epoch).toBe(epoch + 1);
        });
    }
  });
}
