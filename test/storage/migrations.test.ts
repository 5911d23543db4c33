// Storage as earlier versions left it, brought to the current format at unseal.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { storageFormat } from "../../src/core/barrier/versions.ts";
import { silent } from "../../src/lib/log.ts";
import { type Op, type StorageBackend, storageWith } from "../../src/sdk/storage.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness, refusal } from "../core/harness.ts";

interface Fixture {
  readonly share: string;
  readonly root: string;
  readonly time: number;
  readonly entries: readonly { readonly key: string; readonly version: number; readonly value: string }[];
}

/** Written by the program when it had that format. */
const fixtureOf = (format: number): Fixture =>
  JSON.parse(readFileSync(new URL(`format${format}.json`, import.meta.url), "utf8")) as Fixture;

async function storageOf(fixture: Fixture): Promise<StorageBackend> {
  const storage = await memory.open({}, silent);
  await storage.write(
    fixture.entries.map(({ key, version, value }) => ({ key, version, value: Buffer.from(value, "base64") })),
  );
  return storage;
}

/** Fails the write with this number, before it lands or after. */
function failing(storage: StorageBackend, number: number, lands: boolean): StorageBackend {
  let writes = 0;
  return storageWith(storage, {
    write: async (ops: readonly Op[]) => {
      const fails = ++writes === number;
      if (!fails || lands) await storage.write(ops);
      if (fails) throw new Error("cut off");
    },
  });
}

const open = (fixture: Fixture, storage: StorageBackend): Promise<Harness> =>
  harness({ storage, known: { root: fixture.root, shares: [Buffer.from(fixture.share, "base64")] } });

const formatIn = async (storage: StorageBackend): Promise<unknown> => {
  const record = JSON.parse(Buffer.from((await storage.get("core/seal"))?.value ?? []).toString()) as object;
  return (record as { format?: unknown }).format;
};

async function works(h: Harness): Promise<void> {
  const read = await h.ask("read", "secret/data/payments/db");
  expect(read.data).toMatchObject({ data: { password: "hunter3" }, metadata: { version: 3 } });
  const old = await h.ask("read", "secret/data/payments/db", { version: 1 });
  expect(old.data).toMatchObject({ data: { password: "hunter1" } });
  expect((await h.ask("read", "plain/a/b")).data).toEqual({ c: "d" });
  const login = await h.ask("update", "auth/userpass/login/alice", { password: "correct horse" }, null);
  const token = login.auth?.client_token ?? "";
  expect((await h.ask("read", "secret/data/payments/db", {}, token)).data).toMatchObject({ data: {} });
  await h.ask("update", "secret/data/new", { data: { n: 1 } });
  const findings = await h.vault.core?.options.barrier.scan({ pause: async () => {} });
  expect(findings).toMatchObject({ damaged: [], sum: { holds: true } });
}

describe("from format 1", () => {
  const fixture = fixtureOf(1);

  test("everything is still there, and the sum from now on", async () => {
    const storage = await storageOf(fixture);
    const h = await open(fixture, storage);
    expect(await formatIn(storage)).toBe(storageFormat);
    await works(h);
    const again = await h.reopen();
    await again.unseal();
    await works(again);
  });

  test.each([1, 2].flatMap((number) => [false, true].map((lands) => [number, lands] as const)))(
    "cut off at write %i, landed: %s, the next start goes on",
    async (number, lands) => {
      const storage = await storageOf(fixture);
      await open(fixture, failing(storage, number, lands)).catch(() => {});
      const landed = await formatIn(storage);
      expect(landed === 1).toBe((await storage.get("core/sum")) === null);
      await works(await open(fixture, storage));
      expect(await formatIn(storage)).toBe(storageFormat);
    },
  );

  test("a record that was put back to the old format does not hide what was done to the entries", async () => {
    const storage = await storageOf(fixture);
    const old = await storage.get("core/seal");
    const h = await open(fixture, storage);
    await h.vault.seal();
    await storage.write([
      { key: "core/seal", value: old?.value ?? null, version: old?.version ?? 1 },
      { key: "core/sum", value: null, version: 0 },
    ]);
    expect(await refusal(open(fixture, storage))).toMatch(/^storage: storage: core\/seal says format 1/);
  });

  test("a program that knows less refuses a newer format, and says what to do", async () => {
    const storage = await storageOf(fixture);
    const record = await storage.get("core/seal");
    const text = Buffer.from(record?.value ?? [])
      .toString()
      .replace('"format":1', `"format":${storageFormat + 1}`);
    await storage.write([{ key: "core/seal", value: Buffer.from(text), version: record?.version ?? 1 }]);
    expect(await refusal(open(fixture, storage))).toMatch(
      /^storage: storage has format \d+, which .*; run a newer one$/,
    );
  });
});

test("a new vault has the current format from the beginning", async () => {
  const h = await harness();
  expect(await formatIn(h.storage)).toBe(storageFormat);
  expect(h.log.filter((line) => line.includes('"security":true'))).toEqual([]);
});
