// Backup by the API, restore into an empty storage: the same vault, or none.

import { Decrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { beforeAll, describe, expect, it } from "vitest";
import { restore } from "../../src/core/restore.ts";
import type { SealRecord } from "../../src/core/sealRecords.ts";
import { silent } from "../../src/lib/log.ts";
import { type BackupFrame, entryFrame, headerFrame, readFrames, trailerFrame } from "../../src/sdk/backup.ts";
import type { StorageBackend } from "../../src/sdk/storage.ts";
import { plugin as shamir } from "../../src/seals/shamir/index.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness, refusal } from "./harness.ts";

let identity: string;
let recipient: string;
let h: Harness;
let frames: BackupFrame[];

async function backupOf(of: Harness): Promise<BackupFrame[]> {
  const { stream } = await of.ask("update", "sys/storage/backup", { recipients: [recipient] });
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  const content = await decrypter.decrypt((await stream?.()) ?? new ReadableStream<Uint8Array>());
  const found: BackupFrame[] = [];
  for await (const frame of readFrames(content)) found.push(copyOf(frame));
  return found;
}

/** Of its own: the frames share the buffers of their stream. */
function copyOf(frame: BackupFrame): BackupFrame {
  if (frame.kind !== "entry") return frame;
  const { key, stored } = frame.entry;
  return { kind: "entry", entry: { key, stored: { version: stored.version, value: Buffer.from(stored.value) } } };
}

const bytesOf = (frame: BackupFrame): Buffer =>
  frame.kind === "header"
    ? headerFrame(frame.header)
    : frame.kind === "entry"
      ? entryFrame(frame.entry)
      : trailerFrame(frame.entries);

/** In pieces that have nothing to do with the frames. */
async function* pieces(of: readonly BackupFrame[]): AsyncGenerator<Uint8Array> {
  const whole = Buffer.concat(of.map(bytesOf));
  for (let at = 0; at < whole.length; at += 777) yield whole.subarray(at, at + 777);
}

async function rootKeyOf(record: SealRecord): Promise<Uint8Array> {
  const key = await shamir.create({}).unwrap(record.seal, Uint8Array.from(h.shares[0] ?? []));
  return key ?? new Uint8Array(0);
}

async function restored(of: readonly BackupFrame[], verified = true): Promise<StorageBackend> {
  const storage = await memory.open({}, silent);
  const into = restore({ storage, content: pieces(of), rootKeyOf: verified ? rootKeyOf : null, log: silent });
  await into.catch(async (error: unknown) => {
    expect(await storage.list("")).toEqual([]);
    throw error;
  });
  return storage;
}

beforeAll(async () => {
  identity = await generateX25519Identity();
  recipient = await identityToRecipient(identity);
  h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  for (const n of [1, 2, 3]) await h.ask("update", "secret/data/a", { data: { n } });
  for (let n = 0; n < 200; n++) await h.ask("update", `secret/data/many/${n}`, { data: { n } });
  frames = await backupOf(h);
});

const edited = (change: (entries: Map<string, BackupFrame & { kind: "entry" }>) => void): BackupFrame[] => {
  const entries = new Map(
    frames.flatMap((frame) => (frame.kind === "entry" ? [[frame.entry.key, copyOf(frame) as typeof frame]] : [])),
  );
  change(entries);
  const [header] = frames;
  return [...(header ? [header] : []), ...entries.values(), { kind: "trailer", entries: entries.size }];
};

describe("sys/storage/backup", () => {
  it("is for sudo alone, and for recipients that are some", async () => {
    await h.ask("update", "sys/policies/acl/all", { policy: 'path "*" { capabilities = ["read", "update"] }' });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["all"] });
    const token = auth?.client_token ?? "";
    expect(await refusal(h.ask("update", "sys/storage/backup", { recipients: [recipient] }, token))).toMatch(/^denied/);
    for (const recipients of [[], ["age1nonsense"], [identity]]) {
      const said = await refusal(h.ask("update", "sys/storage/backup", { recipients }));
      expect(said).toMatch(/^invalid: .*recipient/);
      expect(said).not.toContain("AGE-SECRET-KEY");
    }
  });

  it("has the seal record, the keyring, the sum and all entries, and says what the audit was", () => {
    const keys = frames.flatMap((frame) => (frame.kind === "entry" ? [frame.entry.key] : []));
    expect(keys).toEqual(expect.arrayContaining(["core/keyring", "core/seal", "core/sum", "core/versions"]));
    expect(frames[0]).toMatchObject({
      kind: "header",
      header: { backup: 1, format: 2, audit: { seq: expect.any(Number) as number } },
    });
    expect(frames.at(-1)).toEqual({ kind: "trailer", entries: keys.length });
  });
});

describe("restore", () => {
  it("gives the same vault to the same shares", async () => {
    const storage = await restored(frames);
    const again = await harness({ storage, known: { root: h.root, shares: h.shares } });
    expect((await again.ask("read", "secret/data/a")).data).toMatchObject({ data: { n: 3 } });
    expect((await again.ask("read", "secret/data/many/77")).data).toMatchObject({ data: { n: 77 } });
    await again.ask("update", "secret/data/a", { data: { n: 4 } });
    const findings = await again.vault.core?.options.barrier.scan({ pause: async () => {} });
    expect(findings).toMatchObject({ damaged: [], sum: { holds: true } });
    expect(again.log.filter((line) => line.includes('"security":true'))).toEqual([]);
  });

  it("refuses a storage that has anything, and leaves it as it is", async () => {
    const storage = await memory.open({}, silent);
    await storage.write([{ key: "mine", value: new Uint8Array(1), version: 1 }]);
    const into = restore({ storage, content: pieces(frames), rootKeyOf, log: silent });
    expect(await refusal(into)).toMatch(/^invalid: the storage is not empty/);
    expect(await storage.list("")).toEqual(["mine"]);
  });

  it("refuses what is not whole", async () => {
    for (const part of [frames.slice(0, -1), frames.slice(1), frames.slice(0, 1), [], [...frames, ...frames]]) {
      expect(await refusal(restored(part))).toMatch(/^invalid: (the backup is not whole|this is no backup)/);
    }
    const cut = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.concat(frames.map(bytesOf)).subarray(0, -3);
    };
    const storage = await memory.open({}, silent);
    expect(await refusal(restore({ storage, content: cut(), rootKeyOf, log: silent }))).toMatch(/^invalid: this is no/);
    const [header] = frames;
    const newer = header?.kind === "header" ? { ...header, header: { ...header.header, format: 99 } } : header;
    expect(await refusal(restored([...(newer ? [newer] : []), ...frames.slice(1)]))).toMatch(/run a newer one/);
  });

  it("refuses entries that were left out, put back, changed or added by whoever knows the recipient", async () => {
    const before = await backupOf(h);
    await h.ask("update", "secret/data/a", { data: { n: "later" } });
    const old = new Map(before.flatMap((frame) => (frame.kind === "entry" ? [[frame.entry.key, frame]] : [])));
    frames = await backupOf(h);
    const key =
      frames.flatMap((f) => (f.kind === "entry" && f.entry.key.endsWith("/secret/a") ? [f.entry.key] : []))[0] ?? "";
    const cases: [string, BackupFrame[], RegExp][] = [
      ["left out", edited((entries) => entries.delete(key)), /not those that the vault wrote/],
      ["put back", edited((entries) => entries.set(key, old.get(key) as never)), /not those that the vault wrote/],
      ["sum left out", edited((entries) => entries.delete("core/sum")), /not those that the vault wrote/],
      ["sum put back", edited((entries) => entries.set("core/sum", old.get("core/sum") as never)), /not those/],
      [
        "changed",
        edited((entries) => {
          const value = entries.get(key)?.entry.stored.value ?? new Uint8Array(0);
          value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
        }),
        /1 entries of the backup do not open/,
      ],
      [
        "added",
        edited((entries) => {
          const entry = entries.get(key)?.entry;
          if (entry) entries.set("zz", { kind: "entry", entry: { ...entry, key: "zz" } });
        }),
        /1 entries of the backup do not open/,
      ],
    ];
    for (const [name, changed, said] of cases) expect(await refusal(restored(changed)), name).toMatch(said);
    // Left to the first unseal, the scan tells.
    const storage = await restored(
      edited((entries) => entries.delete(key)),
      false,
    );
    const again = await harness({ storage, known: { root: h.root, shares: h.shares } });
    expect(await again.vault.core?.options.barrier.scan({ pause: async () => {} })).toMatchObject({
      sum: { holds: false },
    });
  });

  it("is nothing for other keys", async () => {
    const storage = await memory.open({}, silent);
    const other = async (): Promise<Uint8Array> => Buffer.alloc(32);
    expect(await refusal(restore({ storage, content: pieces(frames), rootKeyOf: other, log: silent }))).toMatch(
      /^invalid: the key does not open this vault/,
    );
    expect(await storage.list("")).toEqual([]);
  });
});
