import { describe, expect, it } from "vitest";
import { manualClock } from "../lib/clock.ts";
import { silent } from "../lib/log.ts";
import type { View, ViewOp } from "../sdk/view.ts";
import { Tasks } from "./tasks.ts";

/** A view over a map: enough for the queue, whose storage is proved elsewhere. */
function mapView(entries: Map<string, object>): View {
  const view: View = {
    get: async () => null,
    getJson: async (key: string) => (entries.has(key) ? { value: entries.get(key) as never, version: 1 } : null),
    peekJson: () => undefined,
    write: async (ops) =>
      ops.map(({ key, value }) => {
        if (value === null) entries.delete(key);
        else entries.set(key, value as object);
        return 1;
      }),
    list: async () => [...entries.keys()].sort(),
    sub: () => view,
  };
  return view;
}

function queue(handlers: ConstructorParameters<typeof Tasks>[1]) {
  const entries = new Map<string, object>();
  const clock = manualClock();
  const tasks = new Tasks(mapView(entries), handlers, clock, silent);
  const add = (op: ViewOp) => entries.set(op.key.slice("task/".length), op.value as object);
  return { entries, clock, tasks, add };
}

describe("tasks", () => {
  it("runs in order and forgets what is done", async () => {
    const done: unknown[] = [];
    const { tasks, add, entries } = queue({ note: async (args) => void done.push(args["n"]) });
    for (const n of [1, 2, 3]) add(tasks.put("note", `s${n}`, { n }));
    await tasks.run();
    expect(done).toEqual([1, 2, 3]);
    expect(entries.size).toBe(0);
  });

  it("tries again with backoff, keeps the order of a subject and does not hold up others", async () => {
    const done: string[] = [];
    let broken = true;
    const { tasks, add, clock } = queue({
      step: async (args) => {
        if (broken && args["name"] === "a1") throw new Error("not yet");
        done.push(args["name"] as string);
      },
    });
    add(tasks.put("step", "a", { name: "a1" }));
    add(tasks.put("step", "a", { name: "a2" }));
    add(tasks.put("step", "b", { name: "b1" }));
    await tasks.run();
    expect(done).toEqual(["b1"]);
    expect(tasks.problem("a")).toBe("not yet");
    expect(await tasks.pending()).toMatchObject([
      { task: "step a", error: "not yet" },
      { task: "step a", error: null },
    ]);
    broken = false;
    await tasks.run();
    expect(done).toEqual(["b1"]);
    clock.advance(1_000);
    await tasks.run();
    expect(done).toEqual(["b1", "a1", "a2"]);
    expect(tasks.failing).toBe(false);
  });

  it("lets a handler queue and start more without waiting for itself", async () => {
    const done: string[] = [];
    const { tasks, add } = queue({
      first: async () => {
        add(tasks.put("second", "s", {}));
        void tasks.run();
        done.push("first");
      },
      second: async () => void done.push("second"),
    });
    add(tasks.put("first", "s", {}));
    await tasks.run();
    expect(done).toEqual(["first", "second"]);
  });

  it("runs a generation's tasks once that is current, and drops those of one that never was", async () => {
    const done: unknown[] = [];
    const { tasks, add, entries } = queue({ note: async (args) => void done.push(args["n"]) });
    add(tasks.put("note", "a", { n: "free" }));
    add(tasks.put("note", "b", { n: "five" }, 5));
    add(tasks.put("note", "c", { n: "six" }, 6));
    await tasks.run();
    expect(done).toEqual(["free"]);
    tasks.advance(5);
    await tasks.run();
    expect(done).toEqual(["free", "five"]);
    expect(await tasks.settle()).toEqual([]);
    expect(entries.size).toBe(0);
    tasks.advance(6);
    await tasks.run();
    expect(done).toEqual(["free", "five"]);
  });
});
