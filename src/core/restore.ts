// Puts the content of a backup into an empty storage.
// Must hold: nothing is written into a storage that has anything; the seal record, without which a storage is no vault,
// comes last, after everything was checked; what was written of a backup that is not whole or not right goes again.

import { zero } from "../lib/bytes.ts";
import type { Logger } from "../lib/log.ts";
import { type BackupEntry, type BackupHeader, readFrames } from "../sdk/backup.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Op, StorageBackend, Stored } from "../sdk/storage.ts";
import { Barrier } from "./barrier/barrier.ts";
import { sumKey } from "./barrier/sum.ts";
import { storageFormat, summedFormat } from "./barrier/versions.ts";
import { keysAfter } from "./barrier/walk.ts";
import { sealKey, type SealRecord, SealRecords } from "./sealRecords.ts";

export interface Restored {
  readonly header: BackupHeader;
  readonly entries: number;
}

export interface RestoreSources {
  readonly storage: StorageBackend;
  readonly content: AsyncIterable<Uint8Array>;
  /** Gives the vault's root key, which is then wiped here; null leaves the check to the first unseal. */
  readonly rootKeyOf: ((record: SealRecord) => Promise<Uint8Array>) | null;
  readonly log: Logger;
}

interface Content extends Restored {
  readonly seal: Stored;
  readonly sum: Stored | null;
}

const batchOps = 256;
const batchBytes = 1024 * 1024;

const wrong = (text: string): VaultError => new VaultError("invalid", text);

/** Throws VaultError `invalid` where the storage is not empty, or the backup not whole or not what the vault wrote. */
export async function restore(sources: RestoreSources): Promise<Restored> {
  const { storage } = sources;
  if ((await storage.list("", { limit: 1 })).length > 0)
    throw wrong("the storage is not empty: restore into a new one");
  try {
    const content = await new Filling(storage).run(sources.content);
    const { seal, sum } = content;
    if (sources.rootKeyOf !== null) await verify(sources, sources.rootKeyOf, content);
    const last: Op[] = [{ key: sealKey, ...seal }];
    if (sum !== null && storage.atomic) last.unshift({ key: sumKey, ...sum });
    await storage.write(last);
    return content;
  } catch (error) {
    await wipe(storage);
    throw error;
  }
}

/** Writes all entries but the seal's record and the sum's. */
class Filling {
  readonly #storage: StorageBackend;
  readonly #held = new Map<string, Stored>();
  #entries = 0;
  #ops: Op[] = [];
  #size = 0;

  constructor(storage: StorageBackend) {
    this.#storage = storage;
  }

  async run(content: AsyncIterable<Uint8Array>): Promise<Content> {
    let header: BackupHeader | null = null;
    let whole = false;
    for await (const frame of readFrames(content)) {
      if (whole || (header === null) !== (frame.kind === "header")) throw wrong("this is no backup of a Writ vault");
      if (frame.kind === "header") header = checked(frame.header);
      else if (frame.kind === "entry") await this.#put(frame.entry);
      else whole = frame.entries === this.#entries;
    }
    await this.#flush();
    const seal = this.#held.get(sealKey);
    if (header === null || !whole || seal === undefined) throw wrong("the backup is not whole");
    return { header, entries: this.#entries, seal, sum: this.#held.get(sumKey) ?? null };
  }

  async #put({ key, stored }: BackupEntry): Promise<void> {
    this.#entries += 1;
    if (key === sealKey || key === sumKey) {
      this.#held.set(key, { version: stored.version, value: Uint8Array.from(stored.value) });
      return;
    }
    this.#ops.push({ key, value: stored.value, version: stored.version, expect: "absent" });
    this.#size += stored.value.length;
    if (this.#ops.length >= batchOps || this.#size >= batchBytes) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#ops.length > 0) await this.#storage.write(this.#ops);
    this.#ops = [];
    this.#size = 0;
  }
}

function checked(header: BackupHeader): BackupHeader {
  if (header.backup === 1 && header.format >= 1 && header.format <= storageFormat) return header;
  throw wrong(`the backup has format ${header.format}, which this version does not know; run a newer one`);
}

/** Opens the vault under its own keys, and holds everything against its sum. */
async function verify(
  { storage, log }: RestoreSources,
  rootKeyOf: (record: SealRecord) => Promise<Uint8Array>,
  { header, seal, sum }: Content,
): Promise<void> {
  const record = SealRecords.parse(seal);
  if (record.format !== header.format) throw wrong("the backup names two formats");
  const rootKey = await rootKeyOf(record);
  // The sum is not there yet: this one is only to open what is.
  const barrier = new Barrier({ storage, log, format: () => header.format, summed: false });
  try {
    await barrier.unseal(rootKey);
    const { damaged, damagedEntries } = await barrier.scan({ pause: async () => {} });
    if (damagedEntries > 0)
      throw wrong(`${damagedEntries} entries of the backup do not open, ${damaged[0]} among them`);
    if (sum === null ? header.format >= summedFormat : !(await barrier.verify(sum)))
      throw wrong(
        "the entries of the backup are not those that the vault wrote: some were left out, added or put back",
      );
  } finally {
    zero(rootKey);
    barrier.seal();
  }
}

async function wipe(storage: StorageBackend): Promise<void> {
  for (;;) {
    const keys = await keysAfter(storage, "", batchOps);
    if (keys.length === 0) return;
    await storage.write(keys.map((key) => ({ key, value: null, version: 0 })));
  }
}
