import { createHmac, randomBytes, sign, verify, createPublicKey } from "node:crypto";
import { Encrypter } from "age-encryption";
import { beforeEach, describe, expect, test } from "vitest";
import { stanzaKey } from "../../lib/age.ts";
import { encryptBound } from "../../lib/bound.ts";
import { createLogger, silent } from "../../lib/log.ts";
import type { Op, StorageBackend } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";
import { encryptKeyring } from "./keyring.ts";
import { firstMark, Versions, versionsKey } from "./versions.ts";

const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);

const rootKey = randomBytes(32);
let storage: StorageBackend;
let lines: string[];
let barrier: Barrier;

const make = (on: StorageBackend = storage): Barrier =>
  new Barrier({ storage: on, log: createLogger({ write: (line) => void lines.push(line) }) });

beforeEach(async () => {
  lines = [];
  storage = await memory.open({}, silent);
  barrier = make();
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
});

describe("life", () => {
  test("initialises once, and opens with its root key alone", async () => {
    await expect(barrier.initialize(randomBytes(32))).rejects.toEqual(code("invalid"));
    const other = make();
    expect([other.sealed, await other.initialized()]).toEqual([true, true]);
    await expect(other.unseal(randomBytes(32))).rejects.toEqual(code("invalid"));
    await expect(other.unseal(randomBytes(31))).rejects.toEqual(code("invalid"));
    expect(lines.filter((line) => line.includes('"security":true'))).not.toEqual([]);
    await other.unseal(rootKey);
    await expect(other.unseal(rootKey)).rejects.toEqual(code("invalid"));
    const empty = make(await memory.open({}, silent));
    expect(await empty.initialized()).toBe(false);
    await expect(empty.unseal(rootKey)).rejects.toEqual(code("uninitialized"));
  });

  test("two initialisations at once make one keyring", async () => {
    const fresh = await memory.open({}, silent);
    const keys = [randomBytes(32), randomBytes(32)];
    const results = await Promise.allSettled(keys.map((key) => make(fresh).initialize(key)));
    const won = results.findIndex((result) => result.status === "fulfilled");
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
    const opened = make(fresh);
    await opened.unseal(keys[won] ?? rootKey);
    await opened.view("a/").write([{ key: "b", value: { c: 1 } }]);
  });

  test("begins anew where an initialisation stopped before the keyring", async () => {
    const inner = await memory.open({}, silent);
    const fresh: StorageBackend = {
      type: "plain",
      atomic: false,
      maxValue: inner.maxValue,
      get: (key) => inner.get(key),
      write: (ops) => inner.write(ops),
      list: (prefix) => inner.list(prefix),
      lead: (onLost) => inner.lead(onLost),
      close: () => inner.close(),
    };
    const stored = await storage.get("core/versions");
    await fresh.write([{ key: "core/versions", value: stored?.value ?? null, version: stored?.version ?? 0 }]);
    const again = make(fresh);
    await again.initialize(rootKey);
    await again.unseal(rootKey);
    expect(await again.view("").write([{ key: "a", value: { b: 1 } }])).toHaveLength(1);
  });

  test("a keyring forged to its public recipient does not open", async () => {
    // Whoever reads storage may learn the recipient of the keyring, and write a well-formed one to it.
    const stored = await storage.get("core/keyring");
    const { createKeyring } = await import("./keyring.ts");
    const { Decrypter, identityToRecipient } = await import("age-encryption");
    const { hkdfSync, webcrypto } = await import("node:crypto");
    const scalar = Buffer.from(hkdfSync("sha256", rootKey, "", "writ keyring identity 1", 32));
    const der = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), scalar]);
    const identity = await webcrypto.subtle.importKey("pkcs8", der, { name: "X25519" }, false, ["deriveBits"]);
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    const content = await decrypter.decrypt(stored?.value ?? new Uint8Array(0));
    const forge = async (change: (content: Uint8Array) => void): Promise<Uint8Array> => {
      const copy = Uint8Array.from(content);
      change(copy);
      const encrypter = new Encrypter();
      encrypter.addRecipient(await identityToRecipient(identity));
      return encrypter.encrypt(copy);
    };
    const unsealWith = async (value: Uint8Array, version = 1): Promise<void> => {
      await storage.write([{ key: "core/keyring", value, version }]);
      await make().unseal(rootKey);
    };
    await unsealWith(await forge(() => {}));
    for (let at = 0; at < content.length; at++) {
      const forged = await forge((copy) => copy.set([(copy[at] ?? 0) ^ 1], at));
      await expect(unsealWith(forged), `byte ${at}`).rejects.toEqual(code("invalid"));
    }
    await expect(unsealWith(createKeyring(randomBytes(32), 1, 0))).rejects.toEqual(code("invalid"));
    await expect(unsealWith(await forge(() => {}), 2)).rejects.toEqual(code("invalid"));
  });

  test("a keyring with several terms reads them all and writes in the active one", async () => {
    const store = await memory.open({}, silent);
    const secret = randomBytes(32);
    const terms = [1, 2, 3].map((id) => ({ id, created: id, key: randomBytes(32) }));
    const unsealIn = async (active: number, upTo: number): Promise<Barrier> => {
      const value = encryptKeyring(rootKey, 1, { active, terms: terms.slice(0, upTo), secret });
      await store.write([{ key: "core/keyring", value, version: 1 }]);
      const opened = make(store);
      await opened.unseal(rootKey);
      return opened;
    };
    const mark = encryptBound(stanzaKey("writ-keyring 1", terms[0]?.key ?? secret), versionsKey, 2, bytes(""));
    await store.write([{ key: versionsKey, value: mark, version: 2 }]);
    await (await unsealIn(1, 1)).view("x/").write([{ key: "one", value: { n: 1 } }]);
    const later = await unsealIn(3, 3);
    await later.view("x/").write([{ key: "three", value: { n: 3 } }]);
    const names = ["one", "three"].map(async (key) =>
      Buffer.from((await store.get(`x/${key}`))?.value ?? []).toString("latin1", 22, 41),
    );
    expect(await Promise.all(names)).toEqual(
      ["-> writ-keyring 1 ", "-> writ-keyring 3 "].map((text) => expect.stringContaining(text) as unknown),
    );
    const both = await unsealIn(3, 3);
    expect((await both.view("x/").getJson("one"))?.value).toEqual({ n: 1 });
    expect((await both.view("x/").getJson("three"))?.value).toEqual({ n: 3 });
    await expect((await unsealIn(1, 1)).view("x/").get("three")).rejects.toEqual(code("storage"));
  });

  test("derived keys are the same for the life of the vault, and one a purpose", async () => {
    const macOf = (of: Barrier, purpose: string): string =>
      createHmac("sha256", of.mac(purpose)).update("x").digest("hex");
    const other = make();
    await other.unseal(rootKey);
    expect(macOf(other, "tokens")).toBe(macOf(barrier, "tokens"));
    expect(macOf(other, "tokens")).not.toBe(macOf(barrier, "audit"));
    const signature = sign(null, bytes("x"), barrier.signingKey("audit"));
    expect(verify(null, bytes("x"), createPublicKey(other.signingKey("audit")), signature)).toBe(true);
    expect(verify(null, bytes("x"), createPublicKey(other.signingKey("other")), signature)).toBe(false);
  });
});

describe("views", () => {
  test("give bytes and JSON, versions that grow, and relative names", async () => {
    const view = barrier.view("logical/m1/");
    const [first] = await view.write([{ key: "a", value: bytes("one"), expect: "absent" }]);
    const [second, none] = await view.write([
      { key: "dir/b", value: { n: 1, list: [{ x: null }] } },
      { key: "a", value: null, expect: first ?? 0 },
    ]);
    expect([none, (second ?? 0) > (first ?? 0)]).toEqual([0, true]);
    expect(await view.get("a")).toBeNull();
    expect(await view.sub("dir/").getJson("b")).toEqual({ value: { n: 1, list: [{ x: null }] }, version: second });
    expect(text((await view.get("dir/b"))?.value)).toBe('{"n":1,"list":[{"x":null}]}');
    expect(await view.list("")).toEqual(["dir/"]);
    expect(await barrier.view("").list("logical/m1/dir/")).toEqual(["b"]);
    await expect(view.write([{ key: "dir/b", value: {}, expect: 1 }])).rejects.toEqual(code("conflict"));
    await expect(view.write([{ key: "dir/b", value: {}, expect: "absent" }])).rejects.toEqual(code("conflict"));
  });

  test("hand out one frozen object, whether written or read", async () => {
    const view = barrier.view("x/");
    const value = { a: { b: [1] } };
    await view.write([{ key: "k", value }]);
    expect((await view.getJson("k"))?.value).toBe(value);
    const other = make();
    await other.unseal(rootKey);
    const read = await other.view("x/").getJson<typeof value>("k");
    expect(read?.value).toEqual(value);
    expect((await other.view("x/").getJson("k"))?.value).toBe(read?.value);
    expect(Object.isFrozen(read?.value.a.b) && Object.isFrozen(value.a.b)).toBe(true);
  });

  test("keep their bytes to themselves", async () => {
    const view = barrier.view("x/");
    const value = bytes("mine");
    await view.write([{ key: "k", value }]);
    value.fill(0);
    (await view.get("k"))?.value.fill(0);
    expect(text((await view.get("k"))?.value)).toBe("mine");
  });

  test("refuse what JSON would not give back, keys of the barrier, and wrong keys", async () => {
    const view = barrier.view("x/");
    const bad = [
      { a: new Date(0) },
      { a: Number.NaN },
      { a: () => 1 },
      { a: 1n },
      { a: new Map() },
      { a: [undefined] },
      { a: bytes("") },
    ];
    for (const value of bad) await expect(view.write([{ key: "k", value }])).rejects.toEqual(code("internal"));
    const garbling = view.write([{ key: "k", value: { a: [{ "\\": 1 }] } }]);
    await expect(garbling).rejects.toEqual(code("invalid"));
    for (const key of ["core/keyring", "core/versions"]) {
      await expect(barrier.view("").write([{ key, value: null }])).rejects.toEqual(code("internal"));
      await expect(barrier.view("core/").get(key.slice(5))).rejects.toEqual(code("internal"));
    }
    for (const key of ["", "/a", "a//b", "a/"])
      await expect(view.write([{ key, value: {} }]), key).rejects.toEqual(code("invalid"));
    await view.write([
      { key: "text", value: bytes("no json") },
      { key: "number", value: bytes("1") },
    ]);
    await expect(view.getJson("text")).rejects.toEqual(code("storage"));
    await expect(view.getJson("number")).rejects.toEqual(code("storage"));
  });

  test("what storage sees is no plaintext", async () => {
    await barrier.view("x/").write([{ key: "k", value: bytes("a plain secret") }]);
    const stored = Buffer.from((await storage.get("x/k"))?.value ?? []);
    expect(stored.toString("latin1")).toMatch(/^age-encryption\.org\/v1\n-> writ-keyring 1 [A-Za-z0-9+/]{22}\n/);
    expect(stored.includes("plain")).toBe(false);
    expect(stored.includes("x/k")).toBe(false);
  });

  test("versions never come again, over seals and many writers", async () => {
    const seen: number[] = [];
    for (let round = 0; round < 4; round++) {
      const view = barrier.view("v/");
      const written = await Promise.all(
        Array.from({ length: 50 }, (_, at) =>
          view.write([
            { key: `a${at}`, value: { round } },
            { key: `b${at}`, value: { round } },
          ]),
        ),
      );
      seen.push(...written.flat());
      barrier.seal();
      await barrier.unseal(rootKey);
    }
    expect(new Set(seen).size).toBe(400);
    expect(seen.every((version) => version > 2)).toBe(true);
    expect(Math.min(...seen.slice(300))).toBeGreaterThan(Math.max(...seen.slice(0, 100)));
  });

  test("without its mark, or with another's, nothing is written and everything is read", async () => {
    await barrier.view("x/").write([{ key: "k", value: bytes("kept") }]);
    const mark = await storage.get("core/versions");
    const other = await storage.get("x/k");
    const broken: readonly Op[] = [
      { key: "core/versions", value: null, version: 0 },
      { key: "core/versions", value: other?.value ?? null, version: other?.version ?? 1 },
      { key: "core/versions", value: mark?.value ?? null, version: (mark?.version ?? 0) - 1 },
    ];
    for (const op of broken) {
      await storage.write([op]);
      const after = make();
      await after.unseal(rootKey);
      expect(text((await after.view("x/").get("k"))?.value)).toBe("kept");
      await expect(after.view("x/").write([{ key: "k", value: bytes("new") }])).rejects.toEqual(code("storage"));
    }
  });
});

describe("versions", () => {
  const crypt = { seal: () => new Uint8Array(0), open: () => {} };

  test("are below a durable mark, for blocks of any size and many at once", async () => {
    await storage.write([{ key: versionsKey, value: new Uint8Array(0), version: firstMark }]);
    const versions = new Versions(storage, crypt);
    expect(versions.take(1)).toBeNull();
    const counts = [1, 2 ** 20, 3, 2 ** 20 - 2, 2 ** 21, 5, 1];
    const firsts = await Promise.all(counts.map((count) => versions.reserve(count)));
    const ranges = firsts.map((first, at) => [first, first + (counts[at] ?? 0)] as const).sort(([a], [b]) => a - b);
    const mark = (await storage.get(versionsKey))?.version ?? 0;
    for (const [at, [first, end]] of ranges.entries()) {
      expect(first).toBeGreaterThanOrEqual(ranges[at - 1]?.[1] ?? firstMark + 1);
      expect(end).toBeLessThanOrEqual(mark);
    }
  });

  test("a mark that goes back under way stops writing", async () => {
    const old = await storage.get(versionsKey);
    const versions = new Versions(storage, crypt);
    await versions.reserve(1);
    await storage.write([{ key: versionsKey, value: old?.value ?? null, version: old?.version ?? 0 }]);
    await expect(versions.reserve(2 ** 20)).rejects.toEqual(code("storage"));
  });

  test("one that moved the mark makes the other start over", async () => {
    const [one, two] = [new Versions(storage, crypt), new Versions(storage, crypt)];
    const results = await Promise.allSettled([one.reserve(1), two.reserve(1)]);
    expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"]);
  });
});
