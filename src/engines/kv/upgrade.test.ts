import { expect, test } from "vitest";
import { createKit, type Kit, refused, timeText } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";

const paths = ["a", "a/b", "c/d/e", "z"] as const;
const version2 = { version: "2" };

async function plain(atomic = true): Promise<Kit> {
  const kit = createKit(plugin, { atomic });
  for (const path of paths) await kit.call("update", path, { of: path, ttl: "1h" });
  return kit;
}

async function whole(kit: Kit): Promise<void> {
  for (const path of paths) {
    expect(await kit.data("read", `data/${path}`)).toMatchObject({
      data: { of: path, ttl: "1h" },
      metadata: { version: 1 },
    });
    expect(Object.keys((await kit.data("read", `metadata/${path}`))?.["versions"] as object)).toEqual(["1"]);
  }
  expect(await kit.data("list", "metadata")).toEqual({ keys: ["a", "a/", "c/", "z"] });
  expect([...kit.store.entries.keys()].filter((key) => key.includes("/plain/"))).toEqual([]);
  expect(kit.store.entries.size).toBe(2 * paths.length);
}

test("what version 1 holds is version 1 of each secret after the change to version 2", async () => {
  const kit = await plain();
  kit.clock.advance(5000);
  kit.restart(undefined, version2);
  // All that ask at once get an answer, and each path is taken over once.
  const [listed, read, written] = await Promise.all([
    kit.data("list", "metadata"),
    kit.data("read", "data/c/d/e"),
    kit.data("update", "data/new", { data: {} }),
  ]);
  expect(listed?.["keys"]).toEqual(expect.arrayContaining(["a", "a/", "c/", "z"]));
  expect(read).toMatchObject({ data: { of: "c/d/e" }, metadata: { version: 1, created_time: timeText(5) } });
  expect(written).toMatchObject({ version: 1 });
  await kit.call("delete", "metadata/new");
  await whole(kit);
  expect(kit.log.join("")).toContain('"paths":4');
});

test("more than one page of names, and none at all", async () => {
  const kit = createKit(plugin);
  for (let at = 0; at < 1200; at++) await kit.call("update", `f/${at}`, { at });
  kit.restart(undefined, version2);
  expect((await kit.data("list", "metadata/f"))?.["keys"]).toHaveLength(1200);
  expect(await kit.data("read", "data/f/777")).toMatchObject({ data: { at: 777 } });
  const empty = createKit(plugin);
  empty.restart(undefined, version2);
  expect(await refused(empty.call("list", "metadata"))).toEqual(["not_found", []]);
});

test.each([true, false])(
  "a crash anywhere in it is made good by the next request (transactions: %s)",
  async (atomic) => {
    for (let cut = 0; cut < 3 * paths.length; cut++) {
      const kit = await plain(atomic);
      kit.restart(undefined, version2);
      kit.store.cut(cut);
      await expect(kit.call("read", "data/a")).rejects.toThrow("died");
      kit.restart(undefined, version2);
      await whole(kit);
    }
  },
);

test("a write of version 1 that was under way becomes the newest version, and its client is told", async () => {
  const kit = await plain();
  const before = plugin.mount(kit.context).routes.find((route) => route.path === ":path*");
  const call = async (operation: "update" | "delete" | "read", path: string): Promise<unknown> =>
    before?.on[operation]?.run({ request: { path: `secret/${path}`, data: { late: 1 } }, params: { path } } as never);
  expect(await call("read", "a")).toMatchObject({ data: { of: "a" } });
  const { view } = kit.context;
  const write = view.write.bind(view);
  // It has been let in, and comes to storage only once all is taken over.
  let go = (): void => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  Object.assign(view, { write: (ops: never) => held.then(() => write(ops)) });
  const late = refused(call("update", "a"));
  kit.restart(undefined, version2);
  await whole(kit);
  go();
  expect((await late)[1].join()).toContain("Upgrading from non-versioned to versioned data.");
  expect(await kit.data("read", "data/a")).toMatchObject({ data: { late: 1 }, metadata: { version: 2 } });
  expect((await refused(call("read", "a")))[1].join()).toContain("set its option version to 2");
  expect([...kit.store.entries.keys()].filter((key) => key.includes("/plain/"))).toEqual([]);
});

test("there is no way back", async () => {
  expect(plugin.change?.({ version: "2" }, { version: "1" })).toEqual({
    refused: "cannot downgrade mount from version 2",
  });
  expect(plugin.change?.({ version: "2" }, { version: "2" })).toEqual({});
  expect(plugin.change?.({ version: "1" }, { version: "2" }).warning).toContain("version 1 to version 2");
  const kit = createKit(plugin, { options: version2 });
  await kit.call("update", "data/a", { data: {} });
  // As another process finds it, whose accessor says nothing here.
  const other = createKit(plugin);
  const { routes } = plugin.mount({ ...kit.context, accessor: other.context.accessor, options: { version: "1" } });
  for (const operation of ["read", "update", "list", "delete"] as const) {
    const entry = routes.find((route) => route.path === ":path*")?.on[operation];
    const request = { path: "secret/a", data: { x: 1 } };
    const [code, [text]] = await refused(
      Promise.resolve(entry?.run({ request, params: { path: "a" }, data: {} } as never)),
    );
    expect([code, text]).toEqual(["invalid", expect.stringContaining("set its option version to 2")]);
  }
});

test("a client of version 1 that comes while it is taken over cannot make it seem undone", async () => {
  const kit = createKit(plugin);
  await kit.call("update", "a", { x: 1 });
  const before = plugin.mount(kit.context).routes.find((route) => route.path === ":path*");
  const call = async (operation: "update" | "read"): Promise<unknown> =>
    before?.on[operation]?.run({ request: { path: "secret/a", data: { x: 2 } }, params: { path: "a" } } as never);
  kit.restart(undefined, version2);
  let asked = false;
  kit.store.onGet = async (key) => {
    if (asked || !key.endsWith("plain/a")) return;
    asked = true;
    expect(await call("read")).toMatchObject({ data: { x: 1 } });
  };
  expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 1 } });
  expect((await refused(call("update")))[1].join()).toContain("set its option version to 2");
  expect(await kit.data("read", "data/a")).toMatchObject({ data: { x: 1 }, metadata: { version: 1 } });
  expect([...kit.store.entries.keys()].filter((key) => key.includes("/plain/"))).toEqual([]);
});
