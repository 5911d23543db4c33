// How a storage of an older format becomes one of the current: step by step at unseal, before anything is served.
// Must hold: each step is one write, or can be done again after a crash anywhere in it; the seal's record names the format
// that the storage has, so that a program that does not know it refuses it before it is unsealed.
// To add one: raise `storageFormat`, add the step that leads to it, and a storage of the format before it to the tests.

import type { Logger } from "../lib/log.ts";
import type { Barrier } from "./barrier/barrier.ts";
import { storageFormat } from "./barrier/versions.ts";
import type { SealRecord, SealRecords } from "./sealRecords.ts";

interface Parts {
  readonly barrier: Barrier;
  readonly records: SealRecords;
}

/** By the format that a step begins with. */
const steps: Readonly<Record<number, (parts: Parts, record: SealRecord) => Promise<void>>> = {
  // The first sum over all entries, and the format inside the mark of the versions.
  1: ({ barrier, records }, record) => records.replace({ ...record, format: 2 }, (op) => barrier.adopt(op)),
};

/** The barrier is unsealed. */
export async function migrate(parts: Parts, log: Logger): Promise<void> {
  for (;;) {
    const record = parts.records.current;
    const step = record === null || record.format >= storageFormat ? undefined : steps[record.format];
    if (record === null || step === undefined) return;
    log.info("bringing the storage to a newer format", { format: record.format });
    await step(parts, record);
    log.info("the storage has a newer format", { format: parts.records.current?.format ?? 0 });
  }
}
