// What becomes of the pages of superseded generations: they go, no page that is needed does, and a crash leaves nothing behind.

import { describe, expect, it } from "vitest";
import { restore } from "../../src/core/restore.ts";
import { silent } from "../../src/lib/log.ts";
import { entryFrame, headerFrame, trailerFrame } from "../../src/sdk/backup.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { apply, FaultyStore } from "../crash/store.ts";
import { type Harness, harness } from "./harness.ts";

const folder = "generation/pages/";

/** A multiple of what goes in one write. */
const bound = 200;

const pagesOf = async ({ storage }: Harness): Promise<readonly string[]> => storage.list(folder);

/** The pages of the live generation, as storage has them. */
async function livePages({ vault }: Harness): Promise<readonly string[]> {
  const root = vault.core?.generation.record.root ?? "";
  const entry = await vault.core?.root.get(`${folder}${root}`);
  const { pages } = JSON.parse(Buffer.from(entry?.value ?? []).toString()) as { pages: Record<string, string> };
  return [root, ...Object.values(pages)].sort();
}

const policy = (path: string) => ({ policy: `path "${path}" { capabilities = ["read"] }` });
const write = (h: Harness, name: string, path: string) => h.ask("update", `sys/policies/acl/${name}`, policy(path));

async function scan(h: Harness): Promise<string> {
  await h.ask("update", "sys/storage/integrity");
  while (h.vault.core?.integrity.status()["running"] === true) await new Promise((resolve) => setImmediate(resolve));
  return h.vault.core?.integrity.state ?? "sealed";
}

/** Until there is nothing left to do, however much there was. */
async function collect(h: Harness): Promise<void> {
  for (let tick = 0; tick < 40; tick++) await h.vault.tick();
}

/** Pages that nobody needs, as a crash may leave them. */
async function litter(h: Harness, count: number, under = folder): Promise<void> {
  for (let at = 0; at < count; at += 50) {
    const names = Array.from({ length: Math.min(50, count - at) }, (_, n) => String(at + n).padStart(64, "0"));
    await h.vault.core?.root.write(names.map((name) => ({ key: `${under}${name}`, value: Buffer.from("{}") })));
  }
}

/** Its name and all its objects. */
const generationOf = ({ vault }: Harness): unknown => [
  vault.core?.generation.id,
  Object.fromEntries([...(vault.core?.generation.table ?? [])].map((one) => [`${one.kind} ${one.name}`, one])),
];

describe("pages of superseded generations", () => {
  it("are not more than a bound under a load that never rests, and none once it does", async () => {
    const h = await harness();
    for (let at = 0; at < 160; at++) {
      await write(h, `p${at % 40}`, `a/${at}`);
      if (at % 3 === 0)
        await h.ask("update", "identity/entity", { name: `person-${at % 50}`, metadata: { at: `${at}` } });
      if (at % 50 === 0) expect((await pagesOf(h)).length).toBeLessThan(bound);
    }
    const live = await livePages(h);
    expect((await pagesOf(h)).length).toBeLessThan(live.length + 130);
    await collect(h);
    expect(await pagesOf(h)).toEqual(live);
    expect(await h.storage.list("generation/log/")).toEqual([]);
    expect(await scan(h)).toBe("ok");
    const before = generationOf(h);
    await h.vault.seal();
    expect(generationOf(await h.reopen())).toEqual(before);
  });

  it("stay where a later change needs them again", async () => {
    const h = await harness();
    for (let round = 0; round < 30; round++) {
      for (const path of ["a", "b", "a"]) await write(h, "p", path);
      if (round % 7 === 0) await h.vault.tick();
    }
    await collect(h);
    expect(await pagesOf(h)).toEqual(await livePages(h));
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("read", "sys/policies/acl/p")).data?.["policy"]).toContain('"a"');
  });

  it("that a crash left are found after the restart, some in each write, with what earlier versions logged", async () => {
    const store = new FaultyStore(true);
    const h = await harness({ storage: store });
    await write(h, "p", "a");
    await litter(h, 700);
    await litter(h, 300, "generation/log/");
    const before = generationOf(h);
    await h.vault.seal();
    const again = await h.reopen();
    const from = store.writes.length;
    await again.vault.tick();
    expect((await pagesOf(again)).length).toBeGreaterThan(700); // the scan has not come by
    expect(await scan(again)).toBe("ok");
    await collect(again);
    expect(await pagesOf(again)).toEqual(await livePages(again));
    expect(await again.storage.list("generation/log/")).toEqual([]);
    const deleted = store.writes.slice(from).map(({ ops }) => ops.filter(({ value }) => value === null).length);
    expect(Math.max(...deleted)).toBeLessThanOrEqual(64);
    expect(await scan(again)).toBe("ok");
    expect(generationOf(again)).toEqual(before);
  });

  it("are collected from whatever a cut in the middle of collecting left", async () => {
    for (const atomic of [true, false]) {
      const store = new FaultyStore(atomic);
      const h = await harness({ storage: store });
      for (let at = 0; at < 12; at++) await write(h, "p", `a/${at}`);
      const before = generationOf(h);
      const from = store.writes.length;
      await h.vault.tick();
      const cut = store.writes.slice(from).find(({ ops }) => ops.some(({ key }) => key.startsWith(folder)));
      expect(cut?.ops.length).toBeGreaterThan(10);
      const [ops, start] = [cut?.ops ?? [], cut?.before ?? new Map()];
      for (const landed of atomic ? [0, ops.length] : ops.map((_, n) => n)) {
        const again = await h.reopen(new FaultyStore(atomic, apply(start, ops.slice(0, landed))));
        expect(generationOf(again)).toEqual(before);
        expect(await scan(again)).toBe("ok");
        await collect(again);
        expect(await pagesOf(again)).toEqual(await livePages(again));
        await write(again, "q", "b");
        await again.vault.seal();
      }
    }
  });

  it("stay while storage is not what was written", async () => {
    const h = await harness();
    for (const name of ["p", "r"]) await write(h, name, "a");
    await litter(h, 3);
    const old = await h.storage.get("generation/current");
    for (const path of ["b", "c"]) await write(h, "p", path);
    const newer = await livePages(h);
    await h.vault.seal();
    const newest = await h.storage.get("generation/current");
    const put = (stored: typeof old) =>
      h.storage.write([{ key: "generation/current", value: null, version: 0, ...stored }]);
    await put(old);
    const again = await h.reopen();
    expect(await scan(again)).toBe("tampered");
    for (let at = 0; at < 100; at++) await write(again, "r", `a/${at}`);
    await collect(again);
    expect(await pagesOf(again)).toEqual(expect.arrayContaining([...newer]));
    await again.vault.seal();
    await put(newest);
    const right = await h.reopen();
    expect((await right.ask("read", "sys/policies/acl/p")).data?.["policy"]).toContain('"c"');
  });

  it("are left for later where storage fails, which fails no edit", async () => {
    const store = new FaultyStore(true);
    const h = await harness({ storage: store });
    for (let at = 0; at < 10; at++) await write(h, "p", `a/${at}`);
    await h.vault.tick();
    for (let at = 0; at < 10; at++) await write(h, "p", `b/${at}`);
    store.fault = { write: store.writes.length, landed: 0, stops: false };
    const [, written] = await Promise.all([h.vault.tick(), write(h, "p", "c")]);
    expect(store.met).toBe(true);
    expect(written).toBeDefined();
    expect(h.log.join("")).toContain("could not be deleted");
    await collect(h);
    expect(await pagesOf(h)).toEqual(await livePages(h));
    expect(await scan(h)).toBe("ok");
  });

  it("go while a backup is made, which has all that it needs", async () => {
    const h = await harness();
    for (let at = 0; at < 25; at++) await write(h, `p${at}`, `a/${at}`);
    const before = generationOf(h);
    const snapshot = await h.vault.core?.options.barrier.snapshot();
    if (snapshot === undefined) throw new Error("sealed");
    for (let at = 0; at < 25; at++) await write(h, `p${at}`, `b/${at}`);
    await collect(h);
    const frames: Uint8Array[] = [headerFrame({ backup: 1, format: 2, created: "2026-01-01T00:00:00Z", audit: null })];
    for await (const entry of snapshot.read()) frames.push(entryFrame(entry));
    frames.push(trailerFrame(snapshot.entries));
    expect(snapshot.holds).toBe(true);
    const storage = await memory.open({}, silent);
    await restore({
      storage,
      content: (async function* () {
        yield* frames;
      })(),
      rootKeyOf: null,
      log: silent,
    });
    const again = await h.reopen(storage);
    expect(generationOf(again)).toEqual(before);
    expect(await scan(again)).toBe("ok");
  });
});
