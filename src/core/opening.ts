// Collects shares until they give the root key, for whoever asks for them: unseal, rekey, generate-root. Each has an
// attempt of its own.
// Must hold: while a rekey is not known to have handed out its shares, those from before it are taken as well; every root
// key that is given away is overwritten by the one who gets it.

import { AgeError, stanzaKey } from "../lib/age.ts";
import { decryptBound, encryptBound } from "../lib/bound.ts";
import { copyKey, equalBytes, zero } from "../lib/bytes.ts";
import { isVaultError, VaultError } from "../sdk/errors.ts";
import type { Seal, SealProgress } from "../sdk/seal.ts";
import type { FormerSeal, SealRecord } from "./sealRecords.ts";

/** What shares gave. */
export interface Opened {
  /** What they belong to, as stored. */
  readonly stored: Readonly<Record<string, unknown>>;
  /** What they are shares of. */
  readonly own: Uint8Array;
  /** The keyring is under one of these: the present root key, or `own` where a rekey was cut off before the keyring. */
  readonly roots: readonly Uint8Array[];
}

export const wipe = (opened: Opened): void => zero(opened.own, ...opened.roots);

type Part = { readonly root: Uint8Array | null; readonly error: null } | { readonly root: null; readonly error: Error };

const bridgeName = "writ-rekey 1";
const bridgePath = "core/seal";
const bridgeVersion = 2;

/** The next root key, for those who have the one before it. */
export const bridge = (from: Uint8Array, to: Uint8Array): string =>
  encryptBound(stanzaKey(bridgeName, from), bridgePath, bridgeVersion, to).toString("base64");

function cross(from: Uint8Array, former: FormerSeal): Uint8Array | null {
  const key = stanzaKey(bridgeName, from);
  try {
    const file = Buffer.from(former.bridge, "base64");
    return decryptBound((name) => (name === bridgeName ? key : null), bridgePath, bridgeVersion, file);
  } catch (error) {
    if (error instanceof AgeError) return null;
    throw error;
  }
}

async function give(seal: Seal, stored: Readonly<Record<string, unknown>>, share: Uint8Array): Promise<Part> {
  try {
    return { root: await seal.unwrap(stored, share), error: null };
  } catch (error) {
    if (isVaultError(error, "invalid")) return { root: null, error };
    throw error;
  }
}

export class Opening {
  readonly #current: Seal;
  readonly #former: Seal;

  constructor(seal: Seal) {
    this.#current = seal.fresh();
    this.#former = seal.fresh();
  }

  /** Takes over `share`. Null while more are needed. Throws VaultError `invalid` where they open nothing: the attempt is
   *  forgotten then. */
  async give(record: SealRecord, share: Uint8Array): Promise<Opened | null> {
    const { seal, former } = record;
    if (former === undefined) {
      const own = await this.#current.unwrap(seal, share);
      return own === null ? null : { stored: seal, own, roots: [own] };
    }
    const copy = copyKey(share);
    const now = await give(this.#current, seal, share);
    const before = await give(this.#former, former.seal, copy);
    if (now.root !== null) {
      zero(before.root);
      this.#former.reset();
      return { stored: seal, own: now.root, roots: [now.root] };
    }
    if (before.root !== null) {
      this.#current.reset();
      const next = cross(before.root, former);
      return { stored: former.seal, own: before.root, roots: next === null ? [before.root] : [next, before.root] };
    }
    // Shares of one set are wrong for the other: they are only wrong where they are for both.
    if (now.error !== null && before.error !== null) throw now.error;
    return null;
  }

  progress({ seal, former }: SealRecord): SealProgress {
    const now = this.#current.progress(seal);
    if (former === undefined || now.progress > 0) return now;
    const before = this.#former.progress(former.seal);
    return before.progress > 0 ? before : now;
  }

  reset(): void {
    this.#current.reset();
    this.#former.reset();
  }
}

export function checkNonce(given: string | undefined, nonce: string): void {
  if (given !== undefined && equalBytes(Buffer.from(given), Buffer.from(nonce))) return;
  throw new VaultError("invalid", "the nonce is not that of the attempt under way: ask for its status, and start over");
}
