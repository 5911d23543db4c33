// Somebody else's reader of Prometheus' text format, with types.

import { createRequire } from "node:module";

export interface Metric {
  readonly value?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Of a histogram. */
  readonly buckets?: Readonly<Record<string, string>>;
  readonly count?: string;
  readonly sum?: string;
}

export interface ParsedFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly Metric[];
}

export const parsed = createRequire(import.meta.url)("parse-prometheus-text-format") as (
  text: string,
) => readonly ParsedFamily[];
