// A device that tests can block, fail and look into; and time that they move by hand.

import type { Timer } from "../../src/lib/flight.ts";
import type { AuditDevice, Batch, Head } from "../../src/sdk/audit.ts";
import { lineHash, linkOf } from "../../src/sdk/chain.ts";

export class Probe implements AuditDevice {
  readonly type = "probe";
  readonly name: string;
  lines: Buffer[] = [];
  writes = 0;
  closed = false;
  /** What the next writes do: keep, hang until `release`, fail, or keep half of the batch and fail. */
  mode: "keep" | "hang" | "fail" | "half" = "keep";
  #release: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  head(): Promise<Head | null> {
    const line = this.lines.at(-1);
    return Promise.resolve(line === undefined ? null : { seq: linkOf(line)?.seq ?? 0, hash: lineHash(line) });
  }

  read(from: number, limit: number): Promise<Uint8Array[]> {
    const at = this.lines.findIndex((line) => linkOf(line)?.seq === from);
    return Promise.resolve(at < 0 ? [] : this.lines.slice(at, at + limit));
  }

  async write(batch: Batch): Promise<void> {
    this.writes++;
    if (this.mode === "hang") await new Promise<void>((resolve) => void this.#release.push(resolve));
    if (this.mode === "fail") throw new Error("disk full");
    const lines = batch.lines.map((line) => Buffer.from(line));
    if (this.mode === "half") lines.length = Math.floor(lines.length / 2);
    this.lines.push(...lines);
    if (this.mode === "half") throw new Error("disk full");
  }

  release(): void {
    this.mode = "keep";
    for (const go of this.#release.splice(0)) go();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  get entries(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(line.toString()) as Record<string, unknown>);
  }
}

/** Runs what is due when it is moved. */
export class Hand implements Timer {
  #now = 0;
  #due: { at: number; run: () => void }[] = [];

  after(ms: number, run: () => void): () => void {
    const entry = { at: this.#now + ms, run };
    this.#due.push(entry);
    return () => void (this.#due = this.#due.filter((one) => one !== entry));
  }

  async move(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await turns();
      const next = this.#due.filter((one) => one.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((one) => one !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
    await turns();
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function turns(count = 12): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
