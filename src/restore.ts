// Wires config → storage and seal → restore, without a server.

import { restore, type Restored } from "./core/restore.ts";
import type { Logger } from "./lib/log.ts";
import { seals, storages } from "./registry.ts";
import { VaultError } from "./sdk/errors.ts";
import type { SealProgress } from "./sdk/seal.ts";
import { type Config, one } from "./server.ts";

/** One share of the unseal key, which is wiped here. */
export type AskShare = (progress: SealProgress) => Promise<Uint8Array>;

/** `askShare` is null where the check under the vault's own keys is left to the first unseal. */
export async function restoreBackup(
  config: Pick<Config, "storage" | "seal">,
  content: AsyncIterable<Uint8Array>,
  askShare: AskShare | null,
  log: Logger,
): Promise<Restored> {
  const seal = one("seal", seals, config.seal.type).create(config.seal.settings);
  const storage = await one("storage", storages, config.storage.type).open(config.storage.settings, log);
  try {
    const leadership = await storage.lead(() => log.error("another process took the storage"));
    const rootKeyOf = async (record: { readonly seal: Readonly<Record<string, unknown>> }): Promise<Uint8Array> => {
      if (askShare === null) throw new VaultError("internal", "nobody is to be asked");
      // Some seals open by themselves.
      if (seal.open !== undefined) return seal.open(record.seal);
      for (;;) {
        const key = await seal.unwrap(record.seal, await askShare(seal.progress(record.seal)));
        if (key !== null) return key;
      }
    };
    const restored = await restore({ storage, content, rootKeyOf: askShare === null ? null : rootKeyOf, log });
    await leadership.release();
    return restored;
  } finally {
    seal.reset();
    await storage.close();
  }
}
