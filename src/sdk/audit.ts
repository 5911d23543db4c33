// Audit devices keep finished lines; the chain, the hashing and the deadlines live in the broker.

import type { KeyObject } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Finding } from "./examine.ts";
import type { Fields } from "./fields.ts";

/** Consecutive entries: `first` is the sequence number of the first line. Each line ends in "\n". */
export interface Batch {
  readonly first: number;
  readonly lines: readonly Uint8Array[];
  /** The same lines, one after the other: one write. */
  readonly bytes: Uint8Array;
  /** The last of them. */
  readonly head: Head;
}

/** The last line that a device has kept. */
export interface Head {
  readonly seq: number;
  /** SHA-256 of the line without its newline, lower-case hex. */
  readonly hash: string;
}

export interface AuditDevice {
  readonly type: string;
  /** Its name in config and in logs. */
  readonly name: string;
  /** Where this device stands; null where it holds nothing. Asked at unseal, and again after a write that failed: what it
   *  then names is kept, and nothing behind it is. */
  head(): Promise<Head | null>;
  /** Lines with their newlines from sequence number `from` on, at most `limit` (fewer where they are large), for a device
   *  that fell behind; none where it does not hold line `from`. */
  read(from: number, limit: number): Promise<Uint8Array[]>;
  /** Resolves once kept, in this device's sense. One call at a time; batches are consecutive, but for lines that no device
   *  has any more. A batch that begins at or before the head is refused. Once this has settled, the memory of the batch is
   *  used again: what a device wants longer, it copies. */
  write(batch: Batch): Promise<void>;
  /** After an outside rotation of its file. */
  reopen?(): Promise<void>;
  /** What operators should know of it beside its head: lag, alarms, the key that verifies what it publishes. */
  status?(): object;
  /** Flushes what it holds. */
  close(): Promise<void>;
}

/** What a device gets at unseal, and gives up at seal. */
export interface AuditKeys {
  /** Ed25519 private key of this vault, for signing what a device publishes. Never leaves the process. */
  readonly signing: KeyObject;
}

/** Where the API may make devices, and what it must leave alone. */
export interface ApiBounds {
  /** Absolute paths from the server config. */
  readonly folders: readonly string[];
  /** `path` of every other device. */
  readonly taken: readonly string[];
}

/** What an audit folder's index.ts exports as `plugin`. */
export interface AuditPlugin {
  readonly type: string;
  readonly description: string;
  /** Settings of one entry of `audit:` in the server config, beside `type`, `name` and `required`. */
  readonly fields: Fields;
  /** Where its lines are to be and to go, for `writ doctor`; changes nothing. */
  examine?(settings: Readonly<Record<string, unknown>>): Promise<readonly Finding[]>;
  /** The settings that Vault's options for such a device mean, if they keep to `bounds`; without it the API makes no device
   *  of this type. Throws VaultError `invalid`. Asked again at each unseal. */
  fromApi?(
    options: Readonly<Record<string, string>>,
    bounds: ApiBounds,
  ): Promise<{ readonly path: string } & Readonly<Record<string, unknown>>>;
  /** Called at each unseal. */
  open(
    name: string,
    settings: Readonly<Record<string, unknown>>,
    keys: AuditKeys,
    log: Logger,
    clock: Clock,
  ): Promise<AuditDevice>;
}
