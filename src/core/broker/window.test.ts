import fc from "fast-check";
import { expect, test } from "vitest";
import { firstPrev, linesOf, verifyChain } from "../../sdk/chain.ts";
import { type Piece, Shared } from "./draft.ts";
import type { Entry } from "./entry.ts";
import { Window } from "./window.ts";

const bounds = { spare: 1 << 30, most: 1 << 30 };
/** JSON strings of every width, some longer than a new draft has room for. */
const text = fc
  .tuple(fc.string({ unit: "binary", maxLength: 40 }), fc.constantFrom(1, 1, 1, 1, 1, 2000))
  .map(([unit, times]) => JSON.stringify(unit.repeat(times)));
const piece: fc.Arbitrary<Piece> = fc
  .tuple(text, fc.boolean())
  .map(([value, encoded]) => (encoded ? Buffer.from(value) : value));
const member = (name: string, value: readonly Piece[]): Piece[] =>
  value.flatMap((each, at): Piece[] => [`,"${name}${at}":`, each]);

test("lines are the same bytes however they are grouped, and whether or not what they share was written before", async () => {
  const pairs = fc.array(fc.tuple(fc.array(piece, { maxLength: 4 }), fc.array(piece, { maxLength: 3 })), {
    minLength: 1,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(pairs, fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }), async (given, sizes) => {
      const entries = given.flatMap(([common, rest]): Entry[] => {
        const shared = new Shared(member("s", common));
        return [
          { opening: '"n":1', shared, rest: ["}"] },
          { opening: '"n":2', shared, rest: [...member("r", rest), "}"] },
        ];
      });
      const fresh = entries.map((entry) => ({ ...entry, shared: new Shared(entry.shared?.pieces ?? []) }));
      const whole = new Window({ seq: 0, hash: firstPrev }, bounds);
      const parts = new Window({ seq: 0, hash: firstPrev }, bounds);
      whole.append(entries);
      for (let at = 0, turn = 0; at < fresh.length; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        parts.append(fresh.slice(at, at + size));
        at += size;
      }
      const [one, other] = [whole.batch(1), parts.batch(1)];
      expect(one?.batch.bytes).toEqual(other?.batch.bytes);
      expect(Buffer.concat(one?.batch.lines ?? [])).toEqual(one?.batch.bytes);
      expect(one?.head).toEqual(other?.head);
      const lines = linesOf("window", [one?.batch.bytes ?? new Uint8Array(0)]);
      expect(await verifyChain(lines)).toMatchObject({ ok: true, count: entries.length, head: one?.head });
      for (const line of one?.batch.lines ?? []) JSON.parse(Buffer.from(line).toString());
    }),
    { numRuns: 40 },
  );
});

test("memory is used again when a batch is let go of, and no other memory than its own", () => {
  const window = new Window({ seq: 0, hash: firstPrev }, bounds);
  const send = (size: number, done: boolean): ArrayBufferLike | undefined => {
    const first = window.head.seq + 1;
    window.append([{ opening: '"n":1', shared: null, rest: [`,"text":"`, Buffer.alloc(size, "x"), `"}`] }]);
    const loan = window.batch(first);
    if (done) loan?.done();
    window.trim(first, first);
    return loan?.batch.bytes.buffer;
  };
  for (const size of [10_000, 100_000, 900_000, 1_200_000, 1_900_000]) {
    const memory = send(size, true);
    expect(send(size, false), `${size}`).toBe(memory);
    expect(send(size, true), `${size}`).not.toBe(memory);
  }
  // What one huge entry took is let go of.
  const huge = send(3_000_000, true);
  expect(send(3_000_000, true)).not.toBe(huge);
  // A small batch is copied into a memory that is parted among all small buffers of the process.
  const small = Buffer.from("small");
  for (let turn = 0; turn < 20; turn++) send(100, true);
  for (let size = 4_000; size < small.buffer.byteLength; size += 4_000) send(size, true);
  expect(small.toString()).toBe("small");
});
