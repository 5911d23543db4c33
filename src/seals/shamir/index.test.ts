import { randomBytes } from "node:crypto";
import { combine as otherCombine, split as otherSplit } from "shamir-secret-sharing";
import { expect, test } from "vitest";
import { sealConformance } from "../../../test/conformance/seal.ts";
import { plugin } from "./index.ts";
import { combine, split } from "../../lib/shamir.ts";

sealConformance("shamir", () => plugin.create({}));

const cases = [
  [2, 2],
  [3, 2],
  [5, 3],
  [10, 10],
  [255, 2],
  [255, 20],
] as const;

test.each(cases)("another implementation combines what split made: %i shares, %i needed", async (shares, threshold) => {
  const secret = randomBytes(32);
  const made = split(secret, shares, threshold);
  expect(new Set(made.map((share) => share[32])).size).toBe(shares);
  expect(made.every((share) => share.length === 33 && share[32] !== 0)).toBe(true);
  expect(Buffer.from(await otherCombine(made.slice(-threshold))).equals(secret)).toBe(true);
  expect(Buffer.from(combine(made.slice(0, threshold))).equals(secret)).toBe(true);
  if (threshold > 2) expect(Buffer.from(combine(made.slice(0, threshold - 1))).equals(secret)).toBe(false);
});

test.each(cases)("combine reads what another implementation made: %i shares, %i needed", async (shares, threshold) => {
  const secret = randomBytes(32);
  const made = await otherSplit(new Uint8Array(secret), shares, threshold);
  expect(Buffer.from(combine(made.slice(0, threshold))).equals(secret)).toBe(true);
});

test("every byte value and every x coordinate survives", () => {
  const secret = Uint8Array.from({ length: 256 }, (_, index) => index);
  const made = split(secret, 255, 2);
  for (let first = 0; first < 254; first++) {
    expect(Buffer.from(combine(made.slice(first, first + 2))).equals(secret)).toBe(true);
  }
});
