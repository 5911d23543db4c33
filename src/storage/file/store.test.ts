// The file store beside its threads: journal, spreading and files in one process, small files of the journal so that all of
// it happens often, and system calls that fail or are the last ones that the process made.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import type { Op } from "../../sdk/storage.ts";
import { NotWritten, StoreLost } from "../../sdk/thread/store.ts";
import { Damaged } from "./entry.ts";
import { journals, journalPath } from "./journal.ts";
import { entryPath } from "./names.ts";
import { entriesFolder, Spreader } from "./spread.ts";
import { FileStore, mostWaiting } from "./store.ts";

/** Asked before each system call that changes something; may throw in its place. */
let before: (name: string) => void = () => {};
/** Asked after it; may throw although it is done. */
let after: (name: string) => void = () => {};

vi.mock("node:fs", async (original) => {
  const real = await original<typeof fs>();
  const names = [
    "fdatasyncSync",
    "fsyncSync",
    "mkdirSync",
    "openSync",
    "renameSync",
    "rmdirSync",
    "rmSync",
    "unlinkSync",
    "writeSync",
  ] as const;
  const watched = names.map((name) => [
    name,
    (...args: unknown[]) => {
      before(name);
      const result = (real[name] as (...all: unknown[]) => unknown)(...args);
      after(name);
      return result;
    },
  ]);
  return { ...real, ...Object.fromEntries(watched) };
});

const small = 2048;
// No power is cut here: memory will do, and its syncs cost nothing.
const parent = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "writ-files-"));
afterAll(() => rmSync(parent, { recursive: true }));
afterEach(() => {
  before = () => {};
  after = () => {};
});

const lock = { next: () => 1, release: () => {} };
const put = (key: string, version = 1, size = 20): Op => ({ key, version, value: Buffer.alloc(size, version % 251) });
const del = (key: string): Op => ({ key, value: null, version: 0 });

interface Opened {
  readonly folder: string;
  readonly store: FileStore;
  /** Files of the journal that are to be spread. */
  readonly waiting: number[];
  /** Spreads the oldest of them, as the thread does. */
  spread(): void;
}

function open(folder = mkdtempSync(join(parent, "store-"))): Opened {
  mkdirSync(entriesFolder(folder), { recursive: true });
  const waiting: number[] = [];
  const store = new FileStore(folder, lock, (first) => void waiting.push(first), small);
  const spreader = new Spreader(folder, small);
  return {
    folder,
    store,
    waiting,
    spread: () => {
      const first = waiting[0];
      if (first === undefined) return;
      spreader.spread(first);
      waiting.shift();
      store.hear({ kind: "done", first });
    },
  };
}

/** Everything in the store, by walking its lists. */
function all(store: FileStore, prefix = ""): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of store.list(prefix, "", Number.MAX_SAFE_INTEGER)) {
    if (name.endsWith("/")) for (const [key, version] of all(store, prefix + name)) found.set(key, version);
    else found.set(prefix + name, store.get(prefix + name)?.version ?? -1);
  }
  return found;
}
const sorted = (map: ReadonlyMap<string, number>): [string, number][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe("a store of files", () => {
  const key = fc.constantFrom("a", "a/b", "a/b/c", "a/B", "A", "x/y/z", "x/y", "é/~/=+", `long/${"K".repeat(300)}/e`);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("put" as const), key, fc.integer({ min: 0, max: 900 })) },
    // Larger than a file of the journal usually is.
    { weight: 1, arbitrary: fc.tuple(fc.constant("put" as const), key, fc.integer({ min: 2000, max: 9000 })) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("del" as const), key, fc.constant(0)) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("spread" as const), key, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("reopen" as const), key, fc.constant(0)) },
  );

  test("holds what was written and no more, wherever it is by then", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        let at = open();
        const model = new Map<string, number>();
        let version = 0;
        for (const [what, name, size] of steps) {
          version += 1;
          if (what === "spread") at.spread();
          else if (what === "reopen") {
            at.store.close();
            at = open(at.folder);
          } else {
            const expect_ = model.get(name) ?? ("absent" as const);
            const op = what === "put" ? put(name, version, size) : del(name);
            const wrong = typeof expect_ === "number" ? expect_ + 1 : 7;
            expect(at.store.commit([[{ ...op, expect: wrong }], [{ ...op, expect: expect_ }]])).toEqual([
              "conflict",
              "done",
            ]);
            if (what === "put") model.set(name, version);
            else model.delete(name);
          }
          expect(sorted(all(at.store))).toEqual(sorted(model));
        }
        at.store.close();
      }),
      { numRuns: 150 },
    );
  });

  test("keeps each entry in a file of its own once it is spread, and nothing else", () => {
    const at = open();
    for (let version = 1; version <= 40; version++) at.store.commit([[put(`k/${version % 8}`, version, 200)]]);
    while (at.waiting.length > 0) at.spread();
    const files = readdirSync(join(entriesFolder(at.folder), "+k"));
    expect(files.every((name) => /^=[0-7]$/.test(name)) && files.length).toBe(8);
    const left = readdirSync(at.folder).sort();
    expect(left).toEqual(["entries", expect.stringMatching(/^journal-\d{16}$/), "journal-spare"]);
    at.store.close();
  });
});

test.each([0o000, 0o022, 0o277])("files and folders are for the owner alone under umask %o", (umask) => {
  const mask = process.umask(umask);
  try {
    const at = open();
    for (let version = 1; version <= 20; version++) at.store.commit([[put(`k/${version % 8}/x`, version, 300)]]);
    while (at.waiting.length > 0) at.spread();
    for (const name of readdirSync(at.folder, { recursive: true, encoding: "utf8" })) {
      const stat = statSync(join(at.folder, name));
      if (name !== "entries") expect(stat.mode & 0o777, name).toBe(stat.isDirectory() ? 0o700 : 0o600);
    }
    at.store.close();
  } finally {
    process.umask(mask);
  }
});

describe("a journal", () => {
  /** Five records in one file; the offsets at which each begins. */
  function five(): { readonly at: Opened; readonly path: string; readonly offsets: number[] } {
    const at = open();
    for (let version = 1; version <= 5; version++) at.store.commit([[put(`k${version}`, version), put("n", version)]]);
    at.store.close();
    const path = journalPath(at.folder, 1);
    const file = readFileSync(path);
    const offsets: number[] = [];
    for (let from = file.indexOf("WJR1"); from >= 0; from = file.indexOf("WJR1", from + 1)) offsets.push(from);
    return { at, path, offsets };
  }
  const keysUpTo = (last: number): [string, number][] =>
    sorted(new Map([...Array.from({ length: last }, (_, n) => [`k${n + 1}`, n + 1] as const), ["n", last]]));

  test("whose last record is cut anywhere has none of it, and goes on", () => {
    const { at, path, offsets } = five();
    const whole = readFileSync(path);
    const [begin = 0] = offsets.slice(-1);
    const end = begin + 32 + whole.readUInt32BE(begin + 4);
    for (let cut = begin; cut < end; cut++) {
      const torn = Buffer.from(whole);
      torn.fill(0, cut, end);
      if (torn.equals(whole)) continue;
      writeFileSync(path, torn);
      const again = open(at.folder);
      expect(sorted(all(again.store)), `cut at ${cut - begin}`).toEqual(keysUpTo(4));
      // Less than its number is no record to speak of.
      if (cut - begin >= 16) expect(again.store.notes).toEqual([expect.stringContaining("record 5 of the journal")]);
      again.store.commit([[put("after", 9)]]);
      again.store.close();
      const third = open(at.folder);
      expect(third.store.get("after")?.version).toBe(9);
      expect(third.store.get("k5")).toBeNull();
      third.store.close();
    }
  });

  test("that is damaged before its last record, in any byte, is an error", () => {
    const { at, path, offsets } = five();
    const whole = readFileSync(path);
    for (let byte = 0; byte < (offsets[4] ?? 0); byte++) {
      const damaged = Buffer.from(whole);
      damaged[byte] = (damaged[byte] ?? 0) ^ 0x10;
      writeFileSync(path, damaged);
      expect(() => open(at.folder), `byte ${byte}`).toThrow(Damaged);
    }
  });

  test("of which a file is missing, or all are, is an error", () => {
    const at = open();
    for (let version = 1; version <= 30; version++) at.store.commit([[put(`k${version}`, version, 300)]]);
    at.spread();
    at.store.close();
    const firsts = journals(at.folder);
    expect(firsts.length).toBeGreaterThan(3);
    const without = (gone: readonly number[]): string => {
      const copy = mkdtempSync(join(parent, "copy-"));
      cpSync(at.folder, copy, { recursive: true });
      for (const first of gone) rmSync(journalPath(copy, first));
      return copy;
    };
    expect(() => open(without([firsts[1] ?? 0]))).toThrow(Damaged);
    expect(() => open(without(firsts))).toThrow(Damaged);
    expect(all(open(without([])).store).size).toBe(30);
  });
});

test("a file of an entry that is cut, changed or moved is an error, not data", () => {
  const at = open();
  at.store.commit([[put("one", 1, 40)], [put("two", 2, 40)]]);
  for (let version = 3; version <= 12; version++) at.store.commit([[put("fill", version, 600)]]);
  while (at.waiting.length > 0) at.spread();
  const path = join(entriesFolder(at.folder), entryPath("one"));
  const whole = readFileSync(path);
  for (let byte = 0; byte < whole.length; byte++) {
    const changed = Buffer.from(whole);
    changed[byte] = (changed[byte] ?? 0) ^ 1;
    for (const file of [changed, whole.subarray(0, byte)]) {
      writeFileSync(path, file);
      expect(() => at.store.get("one")).toThrow(Damaged);
    }
  }
  writeFileSync(path, readFileSync(join(entriesFolder(at.folder), entryPath("two"))));
  expect(() => at.store.get("one")).toThrow(Damaged);
  writeFileSync(path, whole);
  expect(at.store.get("one")?.version).toBe(1);
  at.store.close();
});

const failure = (code: string): Error => Object.assign(new Error(`${code}: /secret/path`), { code, syscall: "call" });

describe("when a system call fails", () => {
  test("a failed sync of the journal ends everything; what it was for may be there after a restart", () => {
    const at = open();
    at.store.commit([[put("a", 1)]]);
    before = (name) => {
      if (name === "fdatasyncSync") throw failure("EIO");
    };
    expect(() => at.store.commit([[put("b", 2)]])).toThrow(StoreLost);
    before = () => {};
    // The medium works again: nothing is tried again all the same.
    expect(() => at.store.commit([[put("c", 3)]])).toThrow(StoreLost);
    expect(() => at.store.get("a")).toThrow(StoreLost);
    expect(() => at.store.list("", "", 9)).toThrow(StoreLost);
    const again = open(at.folder);
    expect(again.store.get("a")?.version).toBe(1);
    expect(again.store.get("c")).toBeNull();
  });

  test("a full disk fails the write that met it, without a path, and nothing else", () => {
    const at = open();
    at.store.commit([[put("a", 1)]]);
    for (const call of ["writeSync", "openSync", "renameSync"]) {
      let told = "";
      let failed = false;
      before = (name) => {
        if (name !== call || failed) return;
        failed = true;
        throw failure("ENOSPC");
      };
      // Until a new file is needed nothing but the record is written.
      try {
        for (let version = 10; version < 30; version++) at.store.commit([[put("big", version, 500)]]);
      } catch (error) {
        expect(error).toBeInstanceOf(NotWritten);
        told = String(error);
      }
      expect(told).toContain("nothing was written: call: ENOSPC");
      expect(told).not.toContain("/");
      before = () => {};
      const there = all(at.store);
      at.store.commit([[put("b", 2)]]);
      expect(sorted(all(open(at.folder).store))).toEqual(sorted(new Map([...there, ["b", 2]])));
    }
  });

  test("a record that was written but reported as failed is not there after a restart", () => {
    const at = open();
    at.store.commit([[put("a", 1)]]);
    let failed = false;
    after = (name) => {
      if (name !== "writeSync" || failed) return;
      failed = true;
      throw failure("ENOSPC");
    };
    expect(() => at.store.commit([[put("b", 2)]])).toThrow(NotWritten);
    expect(all(open(at.folder).store).size).toBe(1);
  });

  test("a failed sync of an entry's file ends everything, and the journal still has it", () => {
    const at = open();
    for (let version = 1; version <= 8; version++) at.store.commit([[put(`k${version}`, version, 500)]]);
    before = (name) => {
      if (name === "fsyncSync") throw failure("EIO");
    };
    expect(() => at.spread()).toThrow(StoreLost);
    before = () => {};
    expect(all(open(at.folder).store).size).toBe(8);
  });

  test("where files cannot be written any more, writes are refused once the journal is long", () => {
    const at = open();
    let version = 0;
    const write = (): unknown => at.store.commit([[put(`k${(version += 1)}`, version, 900)]]);
    while (at.waiting.length < mostWaiting) write();
    expect(at.store.pressed).toBe(true);
    at.store.hear({ kind: "again", first: at.waiting[0] ?? 0, text: "write: ENOSPC" });
    expect(at.store.pressed).toBe(false);
    expect(() => [write(), write(), write()]).toThrow(
      /nothing was written: entries cannot be put into files \(write: E/,
    );
    version -= 1;
    at.spread();
    for (let more = 0; more < 3; more++) write();
    expect(all(open(at.folder).store).size).toBe(version);
  });
});

test("a process that ends before any system call leaves every answered write, whole, and no other's half", () => {
  class Killed extends Error {}
  /** Writes and spreads until the system call after `calls` others; what is known to be there, and what may be. */
  const run = (folder: string, calls: number): { known: Map<string, number>; maybe: Op[]; ended: boolean } => {
    const known = new Map<string, number>();
    let maybe: Op[] = [];
    let left = calls;
    try {
      const at = open(folder);
      before = () => {
        if (left-- <= 0) throw new Killed();
      };
      for (let version = 1; version <= 12; version++) {
        const gone = version > 4 ? [del(`d/${version - 4}/x`)] : [];
        maybe = [put(`k/${version % 3}`, version, 250), put(`d/${version}/x`, version, 250), ...gone];
        at.store.commit([maybe]);
        for (const op of maybe) {
          if (op.value === null) known.delete(op.key);
          else known.set(op.key, op.version);
        }
        maybe = [];
        if (version % 3 === 0) at.spread();
      }
      return { known, maybe, ended: true };
    } catch {
      return { known, maybe, ended: false };
    } finally {
      before = () => {};
    }
  };
  let rounds = 0;
  for (let ended = false; !ended; rounds++) {
    const folder = mkdtempSync(join(parent, "killed-"));
    const result = run(folder, rounds);
    ({ ended } = result);
    const withMaybe = new Map(result.known);
    for (const op of result.maybe) {
      if (op.value === null) withMaybe.delete(op.key);
      else withMaybe.set(op.key, op.version);
    }
    const again = open(folder);
    const found = JSON.stringify(sorted(all(again.store)));
    expect(
      [result.known, withMaybe].map((one) => JSON.stringify(sorted(one))),
      `after ${rounds} calls`,
    ).toContain(found);
    while (again.waiting.length > 0) again.spread();
    expect(JSON.stringify(sorted(all(again.store)))).toBe(found);
    again.store.close();
    rmSync(folder, { recursive: true });
  }
  expect(rounds).toBeGreaterThan(100);
});
