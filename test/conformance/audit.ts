// What every audit device must do (contract: src/sdk/audit.ts). A device's own test calls `conformsAsDevice` with a way to
// open it at a place that survives closing, to kill it, and to leave half a line behind.

import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { AuditDevice, Batch, Head } from "../../src/sdk/audit.ts";
import { firstPrev, linesOf, linkText, verifyChain } from "../../src/sdk/chain.ts";

export interface Place {
  open(): Promise<AuditDevice>;
  /** Appends bytes where the device appends, as a crash in the middle of a write leaves them. The device is closed. */
  tear(bytes: Uint8Array): Promise<void>;
}

/** Makes a chain batch by batch. */
export class Chainer {
  head: Head = { seq: 0, hash: firstPrev };
  readonly lines: Buffer[] = [];
  readonly #time: () => number;

  constructor(time: () => number = () => Date.UTC(2026, 4, 5, 6, 7, 8)) {
    this.#time = time;
  }

  batch(count: number, body: (seq: number) => string = (seq) => `"type":"request","n":${seq}`): Batch {
    const first = this.head.seq + 1;
    const lines: Buffer[] = [];
    for (let at = 0; at < count; at++) {
      const seq = first + at;
      const time = `"time":"${new Date(this.#time()).toISOString().replace("Z", "000000Z")}"`;
      const text = `${linkText(seq, this.head.hash)}${time},${body(seq)}}`;
      this.head = { seq, hash: createHash("sha256").update(text).digest("hex") };
      lines.push(Buffer.from(`${text}\n`));
    }
    this.lines.push(...lines);
    return { first, head: this.head, lines, bytes: Buffer.concat(lines) };
  }
}

/** Everything a device holds from a line on, as it reads it back. */
export async function readAll(device: AuditDevice, from = 1, limit = 7): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for (;;) {
    const lines = await device.read(from + all.length, limit);
    if (lines.length === 0) return all;
    expect(lines.length).toBeLessThanOrEqual(limit);
    all.push(...lines.map((line) => Buffer.from(line)));
  }
}

const text = (lines: readonly Uint8Array[]): string[] => lines.map((line) => Buffer.from(line).toString());

/** `runs`: how many random histories; each opens and closes the device several times. */
export function conformsAsDevice(place: () => Promise<Place>, runs = 12): void {
  test("an empty device has no head and no lines", async () => {
    const device = await (await place()).open();
    expect(await device.head()).toBeNull();
    expect(await device.read(1, 10)).toEqual([]);
    await device.close();
  });

  test("lines are read back in order, whole, from anywhere", async () => {
    const device = await (await place()).open();
    const chain = new Chainer();
    for (const count of [1, 3, 50]) await device.write(chain.batch(count));
    expect(await device.head()).toEqual(chain.head);
    const all = await readAll(device);
    expect(text(all)).toEqual(text(chain.lines));
    expect(await verifyChain(linesOf("device", all))).toMatchObject({ ok: true, count: 54, head: chain.head });
    for (const from of [1, 2, 4, 5, 53, 54]) {
      expect(text(await device.read(from, 2))).toEqual(text(chain.lines.slice(from - 1, from + 1)));
    }
    expect(await device.read(55, 10)).toEqual([]);
    await device.close();
  });

  test("what was kept is there after closing, and the chain goes on", async () => {
    const at = await place();
    const chain = new Chainer();
    for (let round = 0; round < 3; round++) {
      const device = await at.open();
      expect(await device.head()).toEqual(round === 0 ? null : chain.head);
      await device.write(chain.batch(5));
      await device.close();
    }
    const device = await at.open();
    expect(text(await readAll(device))).toEqual(text(chain.lines));
    await device.close();
  });

  test.each([1, 60, 200])("half a line left by a crash (%i bytes) is never taken for a kept one", async (size) => {
    const at = await place();
    const chain = new Chainer();
    const first = await at.open();
    await first.write(chain.batch(3));
    await first.close();
    const before = chain.head;
    const next = chain.batch(2, (seq) => `"type":"request","n":${seq},"pad":"${"x".repeat(300)}"`);
    await at.tear(Buffer.from(next.bytes).subarray(0, size));
    const second = await at.open();
    expect(await second.head()).toEqual(before);
    expect(await readAll(second)).toHaveLength(3);
    await second.write(next);
    expect(text(await readAll(second))).toEqual(text(chain.lines));
    await second.close();
  });

  test("a whole line left by a crash before the answer is kept", async () => {
    const at = await place();
    const chain = new Chainer();
    const first = await at.open();
    await first.write(chain.batch(3));
    await first.close();
    await at.tear(chain.batch(1).bytes);
    const second = await at.open();
    expect(await second.head()).toEqual(chain.head);
    await second.close();
  });

  test("a batch that begins at or before the head is refused and changes nothing", async () => {
    const device = await (await place()).open();
    const chain = new Chainer();
    const batch = chain.batch(3);
    await device.write(batch);
    await expect(device.write(batch)).rejects.toThrow();
    expect(await device.head()).toEqual(chain.head);
    await device.write(chain.batch(1));
    expect(text(await readAll(device))).toEqual(text(chain.lines));
    await device.close();
  });

  test("lines that nobody has any more are left out, and what follows is found", async () => {
    const device = await (await place()).open();
    const chain = new Chainer();
    await device.write(chain.batch(3));
    chain.batch(4);
    await device.write(chain.batch(2));
    expect(await device.head()).toEqual(chain.head);
    expect(await device.read(5, 10)).toEqual([]);
    expect(text(await device.read(8, 10))).toEqual(text(chain.lines.slice(7)));
    await device.close();
  });

  test("closing while a write is under way keeps its lines, or refuses them", async () => {
    const at = await place();
    const chain = new Chainer();
    const device = await at.open();
    await device.write(chain.batch(2));
    const before = chain.head;
    const [write] = await Promise.allSettled([device.write(chain.batch(100)), device.close()]);
    const again = await at.open();
    expect(await again.head()).toEqual(write.status === "fulfilled" ? chain.head : before);
    await again.close();
    await expect(device.write(chain.batch(1))).rejects.toThrow();
  });

  test("random batches and restarts", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant("restart" as const)), { maxLength: 8 }),
        async (steps) => {
          const at = await place();
          const chain = new Chainer();
          let device = await at.open();
          for (const step of steps) {
            if (step === "restart") {
              await device.close();
              device = await at.open();
            } else await device.write(chain.batch(step, (seq) => `"type":"ü","pad":"${"y".repeat((seq * 37) % 500)}"`));
            expect((await device.head())?.seq ?? 0).toBe(chain.head.seq);
          }
          expect(text(await readAll(device))).toEqual(text(chain.lines));
          await device.close();
        },
      ),
      { numRuns: runs },
    );
  });
}
