// Password hashing with scrypt (RFC 7914). The hash says how it was made, so that stronger parameters may come later
// while old hashes go on to verify.
// Must hold: at most two hashes are computed at a time (32 MiB and a thread each) and the wait for them is bounded;
// verifying against no hash takes the time of verifying against one.
// Known gap: a password comes as a string, which JavaScript cannot wipe.

import { randomFillSync, scrypt, timingSafeEqual } from "node:crypto";

/** Too many are waiting; try again later. */
export class BusyError extends Error {
  override readonly name = "BusyError";
}

/** Cost as in RFC 7914: memory is 128 * N * r bytes, work grows with N * r * p. */
export interface Cost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

const standard: Cost = { N: 2 ** 15, r: 8, p: 1 };
/** What a stored hash may ask for: a forged one must not take all memory. */
const most = { N: 2 ** 20, r: 32, p: 16, memory: 256 * 1024 * 1024 };
const saltSize = 16;
const hashSize = 32;
const running = 2;
const waiting = 64;

const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replaceAll("=", "");

const phc =
  /^\$scrypt\$ln=([1-9]\d?),r=([1-9]\d{0,2}),p=([1-9]\d{0,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

interface Stored {
  readonly cost: Cost;
  readonly salt: Buffer;
  readonly key: Buffer;
}

function parse(stored: string): Stored | null {
  const [, ln, r, p, salt, key] = phc.exec(stored) ?? [];
  if (salt === undefined || key === undefined) return null;
  const parsed = { N: 2 ** Number(ln), r: Number(r), p: Number(p) };
  const fits = parsed.N <= most.N && parsed.r <= most.r && parsed.p <= most.p;
  if (!fits || 128 * parsed.N * parsed.r > most.memory) return null;
  return { cost: parsed, salt: Buffer.from(salt, "base64"), key: Buffer.from(key, "base64") };
}

/** One for a process: the limits are its. */
export class Passwords {
  readonly #cost: Cost;
  /** Stands in where there is no hash. */
  readonly #nobody: Stored;
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(cost: Cost = standard) {
    this.#cost = cost;
    this.#nobody = { cost, salt: Buffer.alloc(saltSize), key: Buffer.alloc(hashSize) };
  }

  /** As a PHC string: `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, base64 without padding. Rejects with BusyError. */
  async hash(password: string): Promise<string> {
    const { N, r, p } = this.#cost;
    const salt = randomFillSync(Buffer.alloc(saltSize));
    const key = await this.#derive(password, salt, this.#cost, hashSize);
    return `$scrypt$ln=${Math.log2(N)},r=${r},p=${p}$${encode(salt)}$${encode(key)}`;
  }

  /** False too, and after the same work, where there is no hash. Rejects with BusyError, and with an Error where `stored`
   *  is no hash that this code could have made. */
  async verify(stored: string | null, password: string): Promise<boolean> {
    const wanted = stored === null ? this.#nobody : parse(stored);
    if (wanted === null) throw new Error("a stored password hash cannot be read");
    const key = await this.#derive(password, wanted.salt, wanted.cost, wanted.key.length);
    return timingSafeEqual(key, wanted.key) && stored !== null;
  }

  async #derive(password: string, salt: Uint8Array, { N, r, p }: Cost, size: number): Promise<Buffer> {
    if (this.#active >= running) {
      if (this.#queue.length >= waiting) throw new BusyError("too many passwords are being checked");
      // Whoever ends hands its place on, so that `#active` stays.
      await new Promise<void>((resolve) => void this.#queue.push(resolve));
    } else {
      this.#active += 1;
    }
    try {
      // RFC 8265 section 4.2: one password typed on two keyboards may come in two Unicode forms.
      const text = password.normalize("NFC");
      return await new Promise((resolve, reject) => {
        scrypt(text, salt, size, { N, r, p, maxmem: 128 * r * (N + p + 2) + 2 ** 20 }, (error, key) => {
          if (error === null) resolve(key);
          else reject(error);
        });
      });
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#active -= 1;
      else next();
    }
  }
}
