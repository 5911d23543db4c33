// A seal turns operator input, or a key service, back into the root key.
// Must hold: every buffer that held a share or a key is overwritten once it is no longer needed; none becomes a string.

import type { Finding } from "./examine.ts";
import type { Fields } from "./fields.ts";

export interface SealProgress {
  /** Shares given so far, shares needed, shares in all. */
  readonly progress: number;
  readonly threshold: number;
  readonly shares: number;
  /** Names one attempt; empty where none is under way. */
  readonly nonce: string;
}

export interface WrappedRoot {
  /** What storage keeps, in clear but for what the seal encrypted: JSON. */
  readonly stored: Readonly<Record<string, unknown>>;
  /** To hand out once; the receiver overwrites them. */
  readonly shares: readonly Uint8Array[];
}

export interface Seal {
  readonly type: string;
  /** Only where the seal opens by itself: the root key, which the receiver overwrites. Shares are then recovery shares:
   *  they open nothing alone, they say that whoever brings enough of them may ask. */
  open?(stored: Readonly<Record<string, unknown>>): Promise<Uint8Array>;
  wrap(rootKey: Uint8Array, options: { readonly shares: number; readonly threshold: number }): Promise<WrappedRoot>;
  /** The root key (the receiver overwrites it), or null while more shares are needed. Takes over `share`. Throws
   *  VaultError `invalid` and forgets the attempt where the shares given do not open what is stored. */
  unwrap(stored: Readonly<Record<string, unknown>>, share: Uint8Array | null): Promise<Uint8Array | null>;
  progress(stored: Readonly<Record<string, unknown>>): SealProgress;
  /** Forgets and overwrites the shares given so far. */
  reset(): void;
  /** Another one with the same settings and an attempt of its own. */
  fresh(): Seal;
}

/** What a seal folder's index.ts exports as `plugin`. */
export interface SealPlugin {
  readonly type: string;
  readonly description: string;
  /** Settings below `seal:` in the server config, beside `type`. */
  readonly fields: Fields;
  /** Whether what opens it is there, for `writ doctor`; changes nothing. */
  examine?(settings: Readonly<Record<string, unknown>>): Promise<Finding>;
  create(settings: Readonly<Record<string, unknown>>): Seal;
}
