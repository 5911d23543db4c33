// What the core offers to the outside (api): the one door for requests, and the few life-cycle calls that work without
// a token because there is nobody to ask yet.

import type { Family } from "../lib/metrics.ts";
import type { VaultError } from "../sdk/errors.ts";
import type { Request, Response } from "../sdk/request.ts";
import type { Settings } from "./settings.ts";

export interface SealStatus {
  readonly type: string;
  readonly initialized: boolean;
  readonly sealed: boolean;
  /** Threshold, shares, shares given. */
  readonly t: number;
  readonly n: number;
  readonly progress: number;
  readonly nonce: string;
  readonly version: string;
  readonly build_date: string;
  readonly migration: boolean;
  readonly recovery_seal: boolean;
  readonly storage_type: string;
  readonly cluster_name?: string;
  readonly cluster_id?: string;
}

export interface Health {
  readonly initialized: boolean;
  readonly sealed: boolean;
  readonly standby: boolean;
  readonly performance_standby: boolean;
  readonly replication_performance_mode: string;
  readonly replication_dr_mode: string;
  readonly server_time_utc: number;
  readonly version: string;
  readonly cluster_name?: string;
  readonly cluster_id?: string;
}

export interface InitOptions {
  /** Of the key that unseals; without meaning where the seal opens by itself. */
  readonly shares: number;
  readonly threshold: number;
  /** Of the recovery key, where the seal opens by itself. */
  readonly recovery?: { readonly shares: number; readonly threshold: number };
}

export interface Initialized {
  readonly shares: readonly Uint8Array[];
  /** Whether they are recovery shares, which do not unseal. */
  readonly recovery: boolean;
  readonly rootToken: string;
}

export interface Lifecycle {
  /** Once in the life of a store. The receiver overwrites the shares. Throws VaultError `invalid`. */
  initialize(options: InitOptions): Promise<Initialized>;
  /** Takes over and overwrites `share`; null with `reset` forgets the attempt. */
  unseal(share: Uint8Array | null, options: { readonly reset: boolean }): Promise<SealStatus>;
  sealStatus(): SealStatus;
  /** The answer is all there is: api chooses the status from it. */
  health(): Health;
  /** Nothing else is told without high availability. */
  leader(): { readonly ha_enabled: boolean };
  /** What there is to measure, sealed or not. */
  metrics(): Promise<readonly Family[]>;
  /** What sys/config/ says of answers; null while sealed, when nobody can know it. */
  manners(): Pick<Settings, "cors" | "pageHeaders"> | null;
}

export interface Door extends Lifecycle {
  /** Why a request of `path` is refused whatever is in it, before its body is read; null where it is not known yet. */
  crowded(path: string, address: string): VaultError | null;
  /** Route, authenticate, authorize, audit, run, audit. Throws VaultError only. */
  handle(request: Request): Promise<Response>;
  /** Whether a valid token came, which is not used by that: much is read only of those who have one. Where another one
   *  came, or it came from a blocked address, the request is refused, as `handle` refuses it. */
  knows(request: Request): Promise<boolean>;
  /** Refuses what could not be read whole of somebody who was known, so that the audit has it. */
  refuse(request: Request, error: VaultError): Promise<never>;
}
