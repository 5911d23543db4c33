// What a seal whose key is held in shares must do (src/sdk/seal.ts), as tests that a seal's own test file registers.

import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Seal, WrappedRoot } from "../../src/sdk/seal.ts";

const invalid = expect.objectContaining({ name: "VaultError", code: "invalid" }) as unknown;
const wiped = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
/** Shares are taken over: a test that needs one again copies it. */
const copy = (share: Uint8Array | undefined): Uint8Array => Uint8Array.from(share ?? []);

export function sealConformance(name: string, create: () => Seal): void {
  const wrap = (rootKey: Uint8Array, shares: number, threshold: number): Promise<WrappedRoot> =>
    create().wrap(rootKey, { shares, threshold });
  const give = async (seal: Seal, made: WrappedRoot, indices: readonly number[]): Promise<Uint8Array | null> => {
    let result: Uint8Array | null = null;
    for (const index of indices) {
      expect(result).toBeNull();
      result = await seal.unwrap(made.stored, copy(made.shares[index]));
    }
    return result;
  };

  describe(`${name} keeps the seal contract`, () => {
    test("any threshold of shares gives the root key, in any order", async () => {
      const rootKey = randomBytes(32);
      const made = await wrap(rootKey, 5, 3);
      // What is stored goes through JSON.
      const stored = JSON.parse(JSON.stringify(made.stored)) as Record<string, unknown>;
      expect(stored["type"]).toBe(create().type);
      for (const indices of [
        [0, 1, 2],
        [4, 2, 0],
        [1, 4, 3],
      ]) {
        expect([...((await give(create(), { ...made, stored }, indices)) ?? [])]).toEqual([...rootKey]);
      }
    });

    test("one share of one unseals at once and is the key itself", async () => {
      const rootKey = randomBytes(32);
      const made = await wrap(rootKey, 1, 1);
      expect(made.shares.map((share) => share.length)).toEqual([32]);
      expect([...((await give(create(), made, [0])) ?? [])]).toEqual([...rootKey]);
    });

    test("stores neither the root key nor a share", async () => {
      const rootKey = randomBytes(32);
      const made = await wrap(rootKey, 1, 1);
      const text = Buffer.from(String(made.stored["wrapped"]), "base64");
      for (const secret of [rootKey, ...made.shares]) expect(text.includes(secret)).toBe(false);
    });

    test("tells how far it is, names the attempt, and forgets it on reset", async () => {
      const made = await wrap(randomBytes(32), 5, 3);
      const seal = create();
      expect(seal.progress(made.stored)).toEqual({ progress: 0, threshold: 3, shares: 5, nonce: "" });
      await give(seal, made, [0]);
      const { nonce } = seal.progress(made.stored);
      expect(nonce).not.toBe("");
      await give(seal, made, [1]);
      expect(seal.progress(made.stored)).toEqual({ progress: 2, threshold: 3, shares: 5, nonce });
      seal.reset();
      expect(seal.progress(made.stored)).toEqual({ progress: 0, threshold: 3, shares: 5, nonce: "" });
      expect(await give(seal, made, [2])).toBeNull();
      expect(seal.progress(made.stored).nonce).not.toBe(nonce);
      expect(await give(seal, made, [3, 4])).toHaveLength(32);
      expect(seal.progress(made.stored).progress).toBe(0);
      expect(await seal.unwrap(made.stored, null)).toBeNull();
    });

    test("a share given again counts once", async () => {
      const made = await wrap(randomBytes(32), 5, 3);
      const seal = create();
      await give(seal, made, [0, 1]);
      const before = seal.progress(made.stored);
      for (const index of [0, 1, 1]) {
        const again = copy(made.shares[index]);
        expect(await seal.unwrap(made.stored, again)).toBeNull();
        expect(wiped(again)).toBe(true);
        expect(seal.progress(made.stored)).toEqual(before);
      }
      expect(await give(seal, made, [3])).toHaveLength(32);
    });

    test("another one of the same settings has an attempt of its own", async () => {
      const made = await wrap(randomBytes(32), 3, 2);
      const [one, two] = [create(), create().fresh()];
      await give(one, made, [0]);
      expect(two.progress(made.stored)).toMatchObject({ progress: 0, nonce: "" });
      expect(await give(two, made, [2, 1])).toHaveLength(32);
      expect(one.fresh().progress(made.stored).progress).toBe(0);
      expect(await give(one, made, [1])).toHaveLength(32);
    });

    test("what does not open is invalid, and the attempt forgotten", async () => {
      const made = await wrap(randomBytes(32), 5, 3);
      const other = await wrap(randomBytes(32), 5, 3);
      const flipped = copy(made.shares[2]);
      flipped[7] = (flipped[7] ?? 0) ^ 1;
      const double = copy(made.shares[1]);
      double[7] = (double[7] ?? 0) ^ 1;
      const outside = copy(made.shares[2]);
      outside[32] = 0;
      const bad: readonly (readonly [string, Uint8Array])[] = [
        ["another share of the same number", double],
        ["a share of another set", copy(other.shares[2])],
        ["a changed share", flipped],
        ["x coordinate 0", outside],
        ["too short", copy(made.shares[2]).subarray(0, 32)],
        ["too long", Buffer.concat([copy(made.shares[2]), Buffer.from([1])])],
        ["empty", new Uint8Array(0)],
      ];
      for (const [what, share] of bad) {
        const seal = create();
        await give(seal, made, [0, 1]);
        await expect(seal.unwrap(made.stored, share), what).rejects.toEqual(invalid);
        expect(seal.progress(made.stored), what).toMatchObject({ progress: 0, nonce: "" });
        expect(wiped(share), what).toBe(true);
        expect(await give(seal, made, [0, 1, 2]), what).toHaveLength(32);
      }
    });

    test("overwrites the shares it took over", async () => {
      const made = await wrap(randomBytes(32), 3, 2);
      const taken = [copy(made.shares[0]), copy(made.shares[1])] as const;
      const seal = create();
      await seal.unwrap(made.stored, taken[0]);
      await seal.unwrap(made.stored, taken[1]);
      expect(taken.every(wiped)).toBe(true);
      const left = copy(made.shares[0]);
      await seal.unwrap(made.stored, left);
      seal.reset();
      expect(wiped(left)).toBe(true);
    });

    test("refuses counts outside the limits", async () => {
      const counts = [
        [0, 0],
        [256, 2],
        [3, 0],
        [3, 1],
        [3, 4],
        [1, 2],
        [2.5, 2],
        [3, Number.NaN],
      ] as const;
      for (const [shares, threshold] of counts) {
        await expect(wrap(randomBytes(32), shares, threshold), `${shares} ${threshold}`).rejects.toEqual(invalid);
      }
    });

    test("a stored record that was changed does not open", async () => {
      const made = await wrap(randomBytes(32), 3, 3);
      const file = Buffer.from(String(made.stored["wrapped"]), "base64");
      file[file.length - 1] = (file.at(-1) ?? 0) ^ 1;
      const changes = [
        { wrapped: file.toString("base64") },
        { wrapped: "" },
        { threshold: 2 },
        { threshold: 1, shares: 1 },
        { threshold: 300 },
        { type: "other" },
        { shares: undefined },
      ];
      for (const change of changes) {
        const seal = create();
        const stored = { ...made.stored, ...change };
        const attempt = async (): Promise<void> => {
          for (const share of made.shares) await seal.unwrap(stored, copy(share));
        };
        await expect(attempt(), JSON.stringify(change)).rejects.toEqual(invalid);
      }
    });
  });
}
