// A storage whose writes are timed.

import { counter, type Family, Histogram } from "../lib/metrics.ts";
import { type StorageBackend, storageWith } from "../sdk/storage.ts";

export interface Metered {
  readonly storage: StorageBackend;
  readonly families: () => readonly Family[];
}

export function metered(inner: StorageBackend): Metered {
  const writes = new Histogram();
  let failures = 0;
  const storage = storageWith(inner, {
    write: async (ops) => {
      const since = performance.now();
      try {
        await inner.write(ops);
      } catch (error) {
        failures += 1;
        throw error;
      } finally {
        writes.observe((performance.now() - since) / 1000);
      }
    },
  });
  const families = (): readonly Family[] => [
    {
      name: "writ_storage_write_duration_seconds",
      help: "How long a write takes until it is durable",
      type: "histogram",
      series: [{ labels: { storage: inner.type }, histogram: writes }],
    },
    counter("writ_storage_write_failures_total", "Writes that failed, lost compare-and-swaps among them", failures),
  ];
  return { storage, families };
}
