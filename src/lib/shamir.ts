// Shamir's secret sharing over GF(2^8) with the AES polynomial, byte by byte, in Vault's format: a share is one byte for
// each byte of the secret, then its x coordinate.
// Must hold: no branch and no table index depends on a secret byte, so that time and cache tell nothing about it.

import { keyBytes, randomBuffer, zero } from "./bytes.ts";

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = a;
  for (let bit = 0; bit < 8; bit++) {
    product ^= -((b >>> bit) & 1) & factor;
    factor = ((factor << 1) ^ (-(factor >>> 7) & 0x11b)) & 0xff;
  }
  return product;
}

/** a^254, which is 1/a, and 0 for 0. */
function invert(a: number): number {
  let result = 1;
  let power = a;
  for (let bit = 1; bit < 8; bit++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

/** `count` different values of 1..255 in random order (Fisher-Yates, by rejection without bias). Not secret. */
function coordinates(count: number): Uint8Array {
  const all = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
  for (let last = 254; last > 0; last--) {
    const range = 256 - (256 % (last + 1));
    let pick = range;
    while (pick >= range) pick = randomBuffer(1)[0] ?? range;
    pick %= last + 1;
    const value = all[last] ?? 0;
    all[last] = all[pick] ?? 0;
    all[pick] = value;
  }
  return all.subarray(0, count);
}

/** Any `threshold` of the `shares` give the secret; fewer give nothing. 2 <= threshold <= shares <= 255. The caller wipes
 *  what it gets. */
export function split(secret: Uint8Array, shares: number, threshold: number): Uint8Array[] {
  const xs = coordinates(shares);
  const out = Array.from(xs, (x) => {
    const share = keyBytes(secret.length + 1);
    share[secret.length] = x;
    return share;
  });
  for (let at = 0; at < secret.length; at++) {
    const polynomial = randomBuffer(threshold);
    polynomial[0] = secret[at] ?? 0;
    for (const [index, share] of out.entries()) share[at] = evaluate(polynomial, xs[index] ?? 0);
    zero(polynomial);
  }
  return out;
}

/** Horner's rule. */
function evaluate(polynomial: Uint8Array, x: number): number {
  let y = 0;
  for (let power = polynomial.length - 1; power >= 0; power--) y = multiply(y, x) ^ (polynomial[power] ?? 0);
  return y;
}

/** The secret, or any other bytes where the shares do not belong together. All have one length and different, non-zero x
 *  coordinates. The caller wipes what it gets. */
export function combine(shares: readonly Uint8Array[]): Uint8Array {
  const size = (shares[0]?.length ?? 1) - 1;
  const xs = shares.map((share) => share[size] ?? 0);
  // Lagrange at 0: the product of x_j / (x_j - x_i) over all others; subtraction is XOR.
  const weights = xs.map((xi, i) =>
    xs.reduce((weight, xj, j) => (i === j ? weight : multiply(weight, multiply(xj, invert(xi ^ xj)))), 1),
  );
  const secret = keyBytes(size);
  for (const [index, share] of shares.entries()) {
    for (let at = 0; at < size; at++) secret[at] = (secret[at] ?? 0) ^ multiply(share[at] ?? 0, weights[index] ?? 0);
  }
  return secret;
}
