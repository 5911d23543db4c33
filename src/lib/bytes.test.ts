import { expect, test } from "vitest";
import { compareUtf8, equalBytes, randomBuffer, zero } from "./bytes.ts";
import { Lru } from "./lru.ts";
import { Mutex } from "./mutex.ts";

test("compareUtf8 sorts as the bytes do", () => {
  const texts = [
    "",
    "a",
    "a/",
    "a-",
    "a0",
    "ab",
    "ä",
    "\u{7ff}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
  ];
  for (const a of texts) {
    for (const b of texts) {
      expect(Math.sign(compareUtf8(a, b)), `${a} ${b}`).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }
  }
});

test("random buffers differ and have memory of their own", () => {
  const seen = new Set<string>();
  for (let round = 0; round < 2000; round++) {
    const buffer = randomBuffer(16);
    expect(buffer.buffer.byteLength).toBe(16);
    seen.add(buffer.toString("hex"));
  }
  expect(seen.size).toBe(2000);
  expect(randomBuffer(10_000)).toHaveLength(10_000);
});

test("equalBytes and zero", () => {
  const a = Buffer.from([1, 2]);
  expect(equalBytes(a, Buffer.from([1, 2]))).toBe(true);
  expect(equalBytes(a, Buffer.from([1, 3]))).toBe(false);
  expect(equalBytes(a, Buffer.from([1, 2, 0]))).toBe(false);
  zero(a, null, undefined);
  expect([...a]).toEqual([0, 0]);
});

test("a mutex runs tasks of one key in order, those of others at once, and goes on after an error", async () => {
  const mutex = new Mutex();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = mutex.run("a", async () => {
    await gate.promise;
    log.push("a1");
    throw new Error("a1 fails");
  });
  const second = mutex.run("a", async () => log.push("a2"));
  await mutex.run("b", async () => log.push("b1"));
  expect(log).toEqual(["b1"]);
  gate.resolve();
  await expect(first).rejects.toThrow("a1 fails");
  await second;
  expect(log).toEqual(["b1", "a1", "a2"]);
  await expect(
    mutex.run("a", () => {
      throw new Error("at once");
    }),
  ).rejects.toThrow("at once");
  await Promise.resolve();
  expect(mutex.size).toBe(0);
});

test("an LRU keeps to its weight and drops the longest unused", () => {
  const lru = new Lru<string>(10);
  lru.set("a", "A", 4);
  lru.set("b", "B", 4);
  expect(lru.get("a")).toBe("A");
  lru.set("c", "C", 4);
  expect([lru.get("a"), lru.get("b"), lru.get("c")]).toEqual(["A", undefined, "C"]);
  lru.set("a", "A2", 6);
  expect([lru.weight, lru.size, [...lru.values()]]).toEqual([10, 2, ["C", "A2"]]);
  lru.set("huge", "H", 11);
  lru.set("a", "too large now", 11);
  expect([lru.get("huge"), lru.get("a"), lru.weight]).toEqual([undefined, undefined, 4]);
  lru.clear();
  expect([lru.weight, lru.size]).toEqual([0, 0]);
});

test("an LRU agrees with a list that does the same slowly", () => {
  const lru = new Lru<number>(40);
  let slow: { key: string; value: number; weight: number; used: boolean }[] = [];
  let state = 1;
  const pick = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let step = 0; step < 5000; step++) {
    const key = `k${pick(12)}`;
    const found = slow.find((each) => each.key === key);
    const rest = slow.filter((each) => each !== found);
    const action = pick(10);
    if (action < 5) {
      expect(lru.get(key)).toBe(found?.value);
      if (found !== undefined) found.used = true;
    } else if (action < 9) {
      const weight = pick(45);
      lru.set(key, step, weight);
      slow = weight > 40 ? rest : [...rest, { key, value: step, weight, used: false }];
      while (slow.reduce((sum, each) => sum + each.weight, 0) > 40) {
        const oldest = slow.shift();
        if (oldest?.used === true) slow.push({ ...oldest, used: false });
      }
    } else {
      lru.delete(key);
      slow = rest;
    }
    expect(lru.size).toBe(slow.length);
    expect(lru.weight).toBe(slow.reduce((sum, each) => sum + each.weight, 0));
  }
});
