// A thousand random changes by somebody who has the storage: every one is found, none gives a plaintext that was not written
// under its key, and what was not touched stays readable.

import { randomBytes } from "node:crypto";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { Barrier } from "../../src/core/barrier/barrier.ts";
import type { Findings } from "../../src/core/barrier/scan.ts";
import { encryptBound } from "../../src/lib/bound.ts";
import { stanzaKey } from "../../src/lib/age.ts";
import { silent } from "../../src/lib/log.ts";
import { isVaultError } from "../../src/sdk/errors.ts";
import type { Op, StorageBackend, StoragePlugin, Stored } from "../../src/sdk/storage.ts";
import { plugin as file } from "../../src/storage/file/index.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { plugin as sqlite } from "../../src/storage/sqlite/index.ts";

const rootKey = randomBytes(32);
const names = Array.from({ length: 24 }, (_, n) => `k${n}`);
const keys = names.map((name) => `s/${name}`);
const core = ["core/sum", "core/versions", "core/keyring"];

/** A linear congruential generator: every failure can be run again from its seed. */
function dice(seed: number): (below: number) => number {
  let state = seed * 7919 + 13;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const textOf = (name: string, version: number): string => `secret of ${name}, version ${version}, ${"x".repeat(1_000)}`;

/** Three versions of each entry; what there was before goes to `old`. */
async function fill(storage: StorageBackend, old: Map<string, Stored>): Promise<void> {
  const barrier = new Barrier({ storage, log: silent });
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
  for (const version of [1, 2, 3]) {
    for (const name of names) {
      const value = Buffer.from(textOf(name, version));
      await barrier.view("s/").write([{ key: name, value }]);
    }
    if (version === 3) break;
    for (const key of [...keys, ...core]) {
      const stored = await storage.get(key);
      if (stored !== null) old.set(key, stored);
    }
  }
  barrier.seal();
}

interface Seen {
  /** "right", "older", "absent" or "refused", by key. */
  readonly reads: ReadonlyMap<string, string>;
  readonly findings: Findings | null;
}

/** What a vault on this storage gives: null where it does not even unseal. */
async function look(storage: StorageBackend): Promise<Seen | null> {
  const barrier = new Barrier({ storage, log: silent });
  try {
    await barrier.unseal(rootKey);
  } catch (error) {
    if (!isVaultError(error)) throw error;
    return null;
  }
  const reads = new Map<string, string>();
  for (const name of names) {
    const read = await barrier
      .view("s/")
      .get(name)
      .catch((error: unknown) => {
        if (isVaultError(error, "storage")) return "refused" as const;
        throw error;
      });
    if (read === null || read === "refused") reads.set(`s/${name}`, read ?? "absent");
    else {
      const text = Buffer.from(read.value).toString();
      const known = [1, 2, 3].find((version) => text === textOf(name, version));
      // The one thing that must never be.
      expect(known, `${name} reads as ${text.slice(0, 40)}`).toBeDefined();
      reads.set(`s/${name}`, known === 3 ? "right" : "older");
    }
  }
  const findings = await barrier.scan({ pause: async () => {} }).catch((error: unknown) => {
    if (isVaultError(error, "storage")) return null;
    throw error;
  });
  barrier.seal();
  return { reads, findings };
}

const found = ({ findings }: Seen): boolean =>
  findings === null || findings.damagedEntries > 0 || findings.sum?.holds === false;

type Change = (
  pick: (below: number) => number,
  all: ReadonlyMap<string, Stored>,
  old: ReadonlyMap<string, Stored>,
) => Promise<Op[]>;

const some = <T>(pick: (below: number) => number, from: readonly T[]): T => from[pick(from.length)] as T;
const at = (from: ReadonlyMap<string, Stored>, key: string): Stored => {
  const stored = from.get(key);
  if (stored === undefined) throw new Error(`nothing at ${key}`);
  return stored;
};
const put = (key: string, { value, version }: Stored): Op => ({ key, value, version });
const remove = (key: string): Op => ({ key, value: null, version: 0 });

const changes: Readonly<Record<string, Change>> = {
  flip: async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const value = Buffer.from(at(all, key).value);
    const index = pick(value.length);
    value[index] = (value[index] ?? 0) ^ (1 << pick(8));
    return [put(key, { value, version: at(all, key).version })];
  },
  truncate: async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const { value, version } = at(all, key);
    return [put(key, { value: value.subarray(0, pick(value.length)), version })];
  },
  extend: async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const { value, version } = at(all, key);
    return [put(key, { value: Buffer.concat([value, randomBytes(1 + pick(40))]), version })];
  },
  "change the version": async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const { value, version } = at(all, key);
    return [put(key, { value, version: version + 1 + pick(5) })];
  },
  "swap values": async (pick, all) => {
    const [a, b] = two(pick);
    return [put(a, { ...at(all, a), value: at(all, b).value }), put(b, { ...at(all, b), value: at(all, a).value })];
  },
  "swap entries": async (pick, all) => {
    const [a, b] = two(pick);
    return [put(a, at(all, b)), put(b, at(all, a))];
  },
  copy: async (pick, all) => {
    const [a, b] = two(pick);
    return [put(a, at(all, b))];
  },
  move: async (pick, all) => {
    const key = some(pick, keys);
    return [remove(key), put(`s/n${pick(100)}`, at(all, key))];
  },
  splice: async (pick, all) => {
    const [a, b] = two(pick);
    const cut = 100 + pick(100);
    const value = Buffer.concat([at(all, a).value.subarray(0, cut), at(all, b).value.subarray(cut)]);
    return [put(a, { value, version: at(all, a).version })];
  },
  "forge to a recipient": async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const encrypter = new Encrypter();
    encrypter.addRecipient(await identityToRecipient(await generateX25519Identity()));
    return [put(key, { value: await encrypter.encrypt(textOf(key.slice(2), 9)), version: at(all, key).version })];
  },
  "forge a term": async (pick, all) => {
    const key = some(pick, [...keys, ...core]);
    const { version } = at(all, key);
    const own = stanzaKey("writ-keyring 1", randomBytes(32));
    return [put(key, { value: encryptBound(own, key, version, Buffer.from("forged")), version })];
  },
  delete: async (pick) => [remove(some(pick, [...keys, "core/sum", "core/versions", "core/keyring"]))],
  "put back": async (pick, _all, old) => {
    // The keyring is written once here: there is no earlier one.
    const key = some(pick, [...keys, "core/sum"]);
    return [put(key, at(old, key))];
  },
};

function two(pick: (below: number) => number): [string, string] {
  const a = pick(keys.length);
  return [keys[a] ?? "", keys[(a + 1 + pick(keys.length - 1)) % keys.length] ?? ""];
}

test("880 changes of single entries", async () => {
  const storage = await memory.open({}, silent);
  const old = new Map<string, Stored>();
  await fill(storage, old);
  const all = new Map<string, Stored>();
  for (const key of [...keys, ...core]) all.set(key, (await storage.get(key)) as Stored);
  const kinds = Object.entries(changes);
  const counts = new Map<string, number>();
  for (let round = 0; round < 880; round++) {
    const pick = dice(round);
    const [kind, change] = kinds[round % kinds.length] as [string, Change];
    const ops = await change(pick, all, old);
    await storage.write(ops);
    const seen = await look(storage);
    const what = `round ${round}: ${kind} ${ops.map(({ key }) => key).join(", ")}`;
    if (seen === null)
      expect(
        ops.some(({ key }) => key === "core/keyring"),
        what,
      ).toBe(true);
    else {
      expect(found(seen), what).toBe(true);
      const touched = new Set(ops.map(({ key }) => key));
      for (const [key, read] of seen.reads) {
        if (!touched.has(key)) expect(read, `${what}: ${key}`).toBe("right");
        else if (kind === "delete" || kind === "move") expect(read, what).toBe("absent");
        else if (kind === "put back") expect(read, what).toBe("older");
        else expect(read, what).toBe("refused");
      }
    }
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    // As it was.
    await storage.write(ops.map(({ key }) => (all.has(key) ? put(key, at(all, key)) : remove(key))));
    if (round % 100 === 0) expect(await look(storage).then((good) => good !== null && !found(good))).toBe(true);
  }
  console.log([...counts].map(([kind, count]) => `${kind} ${count}`).join(", "));
});

/** Every file below a folder. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name));
}

function damage(pick: (below: number) => number, folder: string, earlier: string): string {
  const files = filesIn(folder).filter(
    (each) => !each.includes("lock") && !each.endsWith(".pid") && statSync(each).size > 0,
  );
  const entries = files.filter((each) => each.includes("entries"));
  const target = some(pick, entries.length > 0 && pick(3) > 0 ? entries : files);
  const kind = some(pick, ["flip", "truncate", "delete", "swap", "put back"]);
  const name = target.slice(folder.length + 1);
  if (kind === "flip") {
    const bytes = readFileSync(target);
    const index = pick(bytes.length);
    bytes[index] = (bytes[index] ?? 0) ^ (1 << pick(8));
    writeFileSync(target, bytes);
  } else if (kind === "truncate") truncateSync(target, pick(statSync(target).size));
  else if (kind === "delete") rmSync(target);
  else if (kind === "swap") {
    const other = some(pick, files);
    renameSync(target, `${target}.x`);
    if (other !== target) renameSync(other, target);
    renameSync(`${target}.x`, other);
  } else {
    const before = filesIn(earlier).find((each) => each.slice(earlier.length + 1) === name);
    if (before !== undefined) cpSync(before, target);
  }
  return `${kind} ${name}`;
}

test.each([
  ["sqlite", sqlite, 40],
  ["file", file, 80],
] as const)("changes of the files of %s", async (type, plugin: StoragePlugin, rounds) => {
  const folder = mkdtempSync(join(tmpdir(), "writ-tamper-"));
  const outcomes = new Map<string, number>();
  try {
    const [path, good, earlier] = [join(folder, "now"), join(folder, "good"), join(folder, "earlier")];
    const first = await plugin.open({ path }, silent);
    await fill(first, new Map());
    await first.close();
    cpSync(path, earlier, { recursive: true });
    // One more write of everything: the copy from before is older in every file.
    const second = await plugin.open({ path }, silent);
    const barrier = new Barrier({ storage: second, log: silent });
    await barrier.unseal(rootKey);
    for (const name of names) await barrier.view("s/").write([{ key: name, value: Buffer.from(textOf(name, 3)) }]);
    // So that a journal has been spread into files.
    for (let n = 0; n < 100; n++) await barrier.view("f/").write([{ key: `k${n % 4}`, value: randomBytes(100_000) }]);
    barrier.seal();
    await second.close();
    cpSync(path, good, { recursive: true });
    for (let round = 0; round < rounds; round++) {
      rmSync(path, { recursive: true });
      cpSync(good, path, { recursive: true });
      const what = `round ${round}: ${damage(dice(round), path, earlier)}`;
      const storage = await plugin.open({ path }, silent).catch((error: unknown) => {
        if (isVaultError(error)) return null;
        throw error;
      });
      let outcome = "does not open";
      if (storage !== null) {
        const seen = await look(storage);
        await storage.close();
        const right = seen !== null && [...seen.reads.values()].every((read) => read === "right");
        if (seen === null) outcome = "does not unseal";
        else if (found(seen)) outcome = "found by the scan";
        else if (right) outcome = "nothing was changed by it";
        else {
          // What a client would notice, the scan has noticed, but for one thing: a journal that is cut between two writes is
          // the whole store of an earlier moment, which only the audit's head tells (SECURITY.md).
          outcome = "the whole store of an earlier moment";
          expect(what).toMatch(/ journal-/);
        }
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    console.log(`${type}: ${[...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(", ")}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
