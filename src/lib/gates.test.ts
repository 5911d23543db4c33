import { expect, test } from "vitest";
import { Gates } from "./gates.ts";

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

test("many share at once, one holds alone, and who comes later waits", async () => {
  const gates = new Gates();
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const sharing = ["a", "b"].map((name) =>
    gates.share("key", async () => {
      order.push(name);
      await first.promise;
      order.push(`${name} left`);
    }),
  );
  const holding = gates.hold(["key", "other"], async () => {
    order.push("alone");
    await held.promise;
    order.push("open");
  });
  const late = gates.share("key", async () => void order.push("late"));
  const second = gates.hold(["key"], async () => void order.push("second"));
  await gates.share("free", async () => void order.push("free"));
  await turns();
  expect(order).toEqual(["a", "b", "free"]);
  first.resolve();
  await Promise.all(sharing);
  await turns();
  expect(order.slice(3)).toEqual(["a left", "b left", "alone"]);
  held.resolve();
  await Promise.all([holding, late, second]);
  expect(order.slice(6, 7)).toEqual(["open"]);
  expect(order.slice(7).sort()).toEqual(["late", "second"]);
  expect(gates.size).toBe(0);
});

test("what throws leaves the gate open", async () => {
  const gates = new Gates();
  const fail = (): Promise<never> => Promise.reject(new Error("no"));
  await expect(gates.share("key", fail)).rejects.toThrow("no");
  await expect(gates.hold(["key", "key", "other"], fail)).rejects.toThrow("no");
  expect(await gates.hold(["other", "key"], async () => 1)).toBe(1);
  expect(await gates.share("key", async () => 2)).toBe(2);
  expect(gates.size).toBe(0);
});

test("nobody is inside with whoever holds, however they come", async () => {
  const gates = new Gates();
  const inside = new Map([
    ["a", 0],
    ["b", 0],
  ]);
  const add = (key: string, by: number): void => void inside.set(key, (inside.get(key) ?? 0) + by);
  let most = 0;
  await Promise.all(
    Array.from({ length: 300 }, (_, at) => {
      const key = at % 2 === 0 ? "a" : "b";
      if (at % 7 === 0) {
        return gates.hold(["a", "b"], async () => {
          expect([...inside.values()]).toEqual([0, 0]);
          await turns();
          expect([...inside.values()]).toEqual([0, 0]);
        });
      }
      return gates.share(key, async () => {
        add(key, 1);
        most = Math.max(most, inside.get(key) ?? 0);
        await turns();
        add(key, -1);
      });
    }),
  );
  expect(most).toBeGreaterThan(1);
  expect(gates.size).toBe(0);
});
