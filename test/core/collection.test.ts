// How long superseded generations stay, and what becomes of them then: each that is kept can be read whole, no page of one goes
// before, and neither a cut nor a failed edit leaves anything for good.

import { describe, expect, it } from "vitest";
import { restore } from "../../src/core/restore.ts";
import { silent } from "../../src/lib/log.ts";
import { entryFrame, headerFrame, trailerFrame } from "../../src/sdk/backup.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { apply, FaultyStore } from "../crash/store.ts";
import { type Harness, harness } from "./harness.ts";

const [folder, log] = ["generation/pages/", "generation/log/"];
const keep = 60;

interface Logged {
  readonly seq: number;
  readonly root: string;
}

const pagesOf = async ({ storage }: Harness): Promise<readonly string[]> => storage.list(folder);

/** The pages of a generation. All must be there. */
async function pagesBelow({ vault }: Harness, root: string): Promise<readonly string[]> {
  const entry = await vault.core?.root.get(`${folder}${root}`);
  const { pages } = JSON.parse(Buffer.from(entry?.value ?? []).toString()) as { pages: Record<string, string> };
  return [root, ...Object.values(pages)];
}

const livePages = async (h: Harness): Promise<readonly string[]> =>
  (await pagesBelow(h, h.vault.core?.generation.record.root ?? "")).toSorted();

async function logOf({ vault, storage }: Harness): Promise<readonly Logged[]> {
  const { core } = vault;
  if (core === null) throw new Error("sealed");
  const records = await Promise.all(
    (await storage.list(log)).map((name) => core.root.getJson<Logged>(`${log}${name}`)),
  );
  return records.flatMap((entry) => entry?.value ?? []);
}

/** That each generation of the log can be read whole, and that there is no page of none. Returns how many they are. */
async function readable(h: Harness): Promise<number> {
  const kept = await logOf(h);
  expect(kept.at(-1)?.root).toBe(h.vault.core?.generation.record.root);
  const pages = new Set((await Promise.all(kept.map(({ root }) => pagesBelow(h, root)))).flat());
  expect(await pagesOf(h)).toEqual([...pages].sort());
  return kept.length;
}

const policy = (path: string) => ({ policy: `path "${path}" { capabilities = ["read"] }` });
const write = (h: Harness, name: string, path: string) => h.ask("update", `sys/policies/acl/${name}`, policy(path));

async function scan(h: Harness): Promise<string> {
  await h.ask("update", "sys/storage/integrity");
  while (h.vault.core?.integrity.status()["running"] === true) await new Promise((resolve) => setImmediate(resolve));
  return h.vault.core?.integrity.state ?? "sealed";
}

/** All that is superseded grows old and goes, however much it is. */
async function collect(h: Harness): Promise<void> {
  h.clock.advance(keep * 1000);
  for (let tick = 0; tick < 40; tick++) await h.vault.tick();
}

async function opened(options: Parameters<typeof harness>[0] = {}): Promise<Harness> {
  const h = await harness({ keepGenerations: keep, ...options });
  expect(await scan(h)).toBe("ok");
  return h;
}

/** Pages that nobody has, as failed edits leave them under the number of the one that comes then. */
async function litter(h: Harness, seq: number, count: number): Promise<void> {
  for (let at = 0; at < count; at += 50) {
    const names = Array.from({ length: Math.min(50, count - at) }, (_, n) => String(at + n).padStart(64, "0"));
    const key = (name: string): string => `${folder}${String(seq).padStart(12, "0")}-${name}`;
    await h.vault.core?.root.write(names.map((name) => ({ key: key(name), value: Buffer.from("{}") })));
  }
}

/** Its name and all its objects. */
const generationOf = ({ vault }: Harness): unknown => [
  vault.core?.generation.id,
  Object.fromEntries([...(vault.core?.generation.table ?? [])].map((one) => [`${one.kind} ${one.name}`, one])),
];

const seqOf = ({ vault }: Harness): number => vault.core?.generation.record.seq ?? 0;

describe("superseded generations", () => {
  it("are kept for their time, each whole, also under a load that never rests and over a restart", async () => {
    const h = await opened();
    for (let at = 0; at < 160; at++) {
      h.clock.advance(1000);
      await write(h, `p${at % 40}`, `a/${at % 3}`);
      if (at % 3 === 0)
        await h.ask("update", "identity/entity", { name: `person-${at % 50}`, metadata: { at: `${at}` } });
      if (at % 50 === 49) expect(await readable(h)).toBeLessThanOrEqual(Math.min(at, keep) * (4 / 3) + 8);
    }
    const kept = await readable(h);
    expect(kept).toBeGreaterThan(keep);
    await h.vault.seal();
    const again = await h.reopen();
    expect(await scan(again)).toBe("ok");
    for (let tick = 0; tick < 5; tick++) await again.vault.tick();
    expect(await readable(again)).toBe(kept);
    const before = generationOf(again);
    await collect(again);
    expect(await readable(again)).toBe(1);
    expect(await scan(again)).toBe("ok");
    expect(generationOf(again)).toEqual(before);
  });

  it("go to the millisecond, and the live one never", async () => {
    const h = await opened();
    await write(h, "p", "a");
    await collect(h);
    expect(await readable(h)).toBe(1);
    h.clock.advance(10 * keep * 1000);
    await write(h, "p", "b");
    const before = (await logOf(h)).map(({ seq }) => seq);
    expect(before).toHaveLength(2);
    h.clock.advance(keep * 1000 - 1);
    for (let tick = 0; tick < 3; tick++) await h.vault.tick();
    expect(await readable(h)).toBe(2);
    h.clock.advance(1);
    await h.vault.tick();
    expect((await logOf(h)).map(({ seq }) => seq)).toEqual(before.slice(1));
    await collect(h);
    expect(await readable(h)).toBe(1);
  });

  it("take none with them that has the same objects again", async () => {
    const h = await opened();
    for (let round = 0; round < 30; round++) {
      for (const path of ["a", "b", "a"]) {
        h.clock.advance(1000);
        await write(h, "p", path);
        await h.vault.tick();
      }
      if (round % 5 === 0) await readable(h);
    }
    await collect(h);
    expect(await readable(h)).toBe(1);
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("read", "sys/policies/acl/p")).data?.["policy"]).toContain('"a"');
  });

  it("take with them what failed edits left, some in each write", async () => {
    const store = new FaultyStore(true);
    const h = await opened({ storage: store });
    await litter(h, seqOf(h) + 1, 700);
    await write(h, "p", "a");
    await write(h, "q", "a");
    const before = generationOf(h);
    const from = store.writes.length;
    await collect(h);
    expect(await readable(h)).toBe(1);
    const deleted = store.writes.slice(from).map(({ ops }) => ops.filter(({ value }) => value === null).length);
    expect(Math.max(...deleted)).toBe(64);
    expect(await scan(h)).toBe("ok");
    expect(generationOf(h)).toEqual(before);
  });

  it("of earlier versions of the program, which logged no pages, harm nothing", async () => {
    const h = await opened();
    const old = { format: 1, seq: 0, root: "0".repeat(64), commit: null, committed_at: 0, revision: 0, at: 0 };
    const page = { key: `${folder}${"0".repeat(64)}`, value: Buffer.from("{}") };
    await h.vault.core?.root.write([page, { key: `${log}000000000000`, value: old }]);
    await write(h, "p", "a");
    await collect(h);
    expect(await pagesOf(h)).toEqual(["0".repeat(64), ...(await livePages(h))].sort());
    expect(await logOf(h)).toHaveLength(1);
  });

  it("are not superseded by what an edit logged that failed then", async () => {
    const h = await opened();
    await write(h, "p", "a");
    await collect(h);
    const record = h.vault.core?.generation.record;
    const failed = { ...record, seq: seqOf(h) + 1, at: h.clock.now(), made: [], replaced: await livePages(h) };
    await h.vault.core?.root.write([{ key: `${log}${String(failed.seq).padStart(12, "0")}`, value: failed }]);
    await collect(h);
    expect((await logOf(h)).map(({ seq }) => seq)).toEqual([record?.seq, failed.seq]);
    await write(h, "p", "b");
    expect(await readable(h)).toBe(2);
  });

  it("have no page of the live one, whatever the log says", async () => {
    const h = await opened();
    for (const path of ["a", "b"]) await write(h, "p", path);
    const live = await livePages(h);
    const wrong = { ...h.vault.core?.generation.record, made: [], replaced: live };
    await h.vault.core?.root.write([{ key: `${log}${String(seqOf(h)).padStart(12, "0")}`, value: wrong }]);
    await collect(h);
    expect(await pagesOf(h)).toEqual(expect.arrayContaining([...live]));
  });

  it("go whole from whatever a cut in the middle left", async () => {
    for (const atomic of [true, false]) {
      const store = new FaultyStore(atomic);
      const h = await opened({ storage: store });
      for (let at = 0; at < 12; at++) await write(h, "p", `a/${at}`);
      const before = generationOf(h);
      const from = store.writes.length;
      h.clock.advance(keep * 1000);
      await h.vault.tick();
      const cut = store.writes.slice(from).find(({ ops }) => ops.some(({ key }) => key.startsWith(folder)));
      expect(cut?.ops.length).toBeGreaterThan(10);
      const [ops, start] = [cut?.ops ?? [], cut?.before ?? new Map()];
      for (const landed of atomic ? [0, ops.length] : ops.map((_, n) => n)) {
        const again = await h.reopen(new FaultyStore(atomic, apply(start, ops.slice(0, landed))));
        expect(generationOf(again)).toEqual(before);
        expect(await scan(again)).toBe("ok");
        await collect(again);
        expect(await readable(again)).toBe(1);
        await write(again, "q", "b");
        await again.vault.seal();
      }
    }
  });

  it("stay while storage is not what was written, or nobody has looked", async () => {
    const h = await opened();
    for (const name of ["p", "r"]) await write(h, name, "a");
    const old = await h.storage.get("generation/current");
    for (const path of ["b", "c"]) await write(h, "p", path);
    const newer = await livePages(h);
    await h.vault.seal();
    const newest = await h.storage.get("generation/current");
    const put = (stored: typeof old) =>
      h.storage.write([{ key: "generation/current", value: null, version: 0, ...stored }]);
    await put(old);
    const again = await h.reopen();
    const all = await pagesOf(again);
    again.clock.advance(keep * 1000);
    await again.vault.core?.ledger.collect();
    expect(await pagesOf(again)).toEqual(all);
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
    const h = await opened({ storage: store });
    for (let at = 0; at < 10; at++) await write(h, "p", `b/${at}`);
    h.clock.advance(keep * 1000);
    store.fault = { write: store.writes.length, landed: 0, stops: false };
    const [, written] = await Promise.all([h.vault.core?.ledger.collect(), write(h, "p", "c")]);
    expect(store.met).toBe(true);
    expect(written).toBeDefined();
    expect(h.log.join("")).toContain("could not be deleted");
    await collect(h);
    expect(await readable(h)).toBe(1);
    expect(await scan(h)).toBe("ok");
  });

  it("go while a backup is made, which has all that it needs", async () => {
    const h = await opened();
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
