// A store as its own thread sees it: synchronous calls, many writes in one step and one sync.
// Must hold: `commit` returns only after the sync; a write whose expectation fails leaves no trace and does not disturb its
// neighbours; an error says whether the writes are known not to have landed (NotWritten) or nothing can be trusted any
// more (StoreLost): a failed fsync may have dropped the pages, so that asking again proves nothing.

import type { Op, Stored } from "../storage.ts";

export type Outcome = "done" | "conflict";

export interface ThreadStore {
  get(key: string): Stored | null;
  /** Names one level below `prefix` that come after `after` ("" for all), in byte order. */
  list(prefix: string, after: string, limit: number): string[];
  /** Each write is whole or not at all. Throws NotWritten or StoreLost. */
  commit(writes: readonly (readonly Op[])[]): Outcome[];
  /** The next epoch, on the medium. */
  lead(): number;
  close(): void;
  /** What the operator should know of how it was found. */
  readonly notes?: readonly string[];
  /** Where writes must wait at times: whether now is one, and who is to be told of the end of it. */
  readonly pressed?: boolean;
  onRelief?: () => void;
}

/** Nothing was written and later calls may work. */
export class NotWritten extends Error {
  override readonly name = "NotWritten";
}

/** The outcome is unknown, or the medium can no longer be trusted. Every later call throws the same. */
export class StoreLost extends Error {
  override readonly name = "StoreLost";
}

/** Another process has the store. */
export class StoreHeld extends Error {
  override readonly name = "StoreHeld";
}

/** Why a call failed, without the paths that node's own messages carry. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? error.message : `${syscall}: ${code ?? "failed"}`;
}
