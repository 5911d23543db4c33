// A new root token for whoever brings enough shares, encoded with a one-time password: the token is in no answer in clear,
// and the one who asked for it alone can decode it.
// Must hold: no token is made before enough shares that open this vault were given; the attempt ends with it.

import { randomUUID } from "node:crypto";
import { zero } from "../lib/bytes.ts";
import type { Logger } from "../lib/log.ts";
import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Seal } from "../sdk/seal.ts";
import type { Barrier } from "./barrier/barrier.ts";
import { checkNonce, Opening, wipe } from "./opening.ts";
import type { SealRecord, SealRecords } from "./sealRecords.ts";
import { randomText, tokenLength } from "./tokens/store.ts";

/** As sys/generate-root/attempt answers. */
export interface RootStatus {
  readonly nonce: string;
  readonly started: boolean;
  readonly progress: number;
  readonly required: number;
  readonly complete: boolean;
  /** The token XOR the password, base64 without padding. */
  readonly encoded_token: string;
  readonly encoded_root_token: string;
  readonly pgp_fingerprint: "";
  /** Only in the answer to the start, and only where the server made it. */
  readonly otp: string;
  readonly otp_length: number;
}

interface Attempt {
  readonly nonce: string;
  readonly otp: string;
  readonly opening: Opening;
}

export interface RootGenerationOptions {
  readonly barrier: Barrier;
  readonly records: SealRecords;
  readonly seal: Seal;
  readonly log: Logger;
}

const invalid = (text: string): VaultError => new VaultError("invalid", text);

function encode(token: string, otp: string): string {
  const [a, b] = [Buffer.from(token), Buffer.from(otp)];
  const mixed = a.map((byte, at) => byte ^ (b[at] ?? 0));
  return Buffer.from(mixed).toString("base64").replace(/=+$/, "");
}

export class RootGeneration {
  readonly #options: RootGenerationOptions;
  readonly #lock = new Mutex();
  #attempt: Attempt | null = null;

  constructor(options: RootGenerationOptions) {
    this.#options = options;
  }

  status(answer: { readonly token?: string; readonly otp?: string } = {}): RootStatus {
    const record = this.#record();
    const progress = this.#attempt?.opening.progress(record);
    const encoded = answer.token ?? "";
    return {
      nonce: this.#attempt?.nonce ?? "",
      started: this.#attempt !== null,
      progress: progress?.progress ?? 0,
      required: (progress ?? this.#options.seal.progress(record.seal)).threshold,
      complete: false,
      encoded_token: encoded,
      encoded_root_token: encoded,
      pgp_fingerprint: "",
      otp: answer.otp ?? "",
      otp_length: tokenLength,
    };
  }

  /** Makes a password where none is given. */
  start(given: string): Promise<RootStatus> {
    return this.#lock.run("root", async () => {
      if (this.#attempt !== null) throw invalid("a root generation is in progress: finish or cancel it first");
      if (given !== "" && !(given.length === tokenLength && /^[\x21-\x7e]+$/.test(given))) {
        throw invalid(`otp must be ${tokenLength} printable characters; leave it out to get one`);
      }
      const otp = given === "" ? randomText(tokenLength) : given;
      this.#attempt = { nonce: randomUUID(), otp, opening: new Opening(this.#options.seal) };
      return this.status(given === "" ? { otp } : {});
    });
  }

  async cancel(): Promise<void> {
    await this.#lock.run("root", async () => this.reset());
  }

  /** At seal. */
  reset(): void {
    this.#attempt?.opening.reset();
    this.#attempt = null;
  }

  /** Takes over `share`. */
  update(nonce: string | undefined, share: Uint8Array, create: () => Promise<string>): Promise<RootStatus> {
    return this.#lock.run("root", async () => {
      const attempt = this.#attempt;
      try {
        if (attempt === null) throw invalid("no root generation is in progress: start one first");
        checkNonce(nonce, attempt.nonce);
      } catch (error) {
        zero(share);
        throw error;
      }
      const { barrier, records } = this.#options;
      const record = this.#record();
      const opened = await attempt.opening.give(record, share);
      if (opened === null) return this.status();
      const holds = opened.roots.some((root) => barrier.holds(root));
      wipe(opened);
      if (!holds) throw invalid("the shares are not those of this vault");
      if (opened.stored === record.seal) await records.confirm();
      const token = encode(await create(), attempt.otp);
      this.#attempt = null;
      this.#options.log.security("a root token was generated with the shares of the vault");
      return { ...this.status({ token }), nonce: attempt.nonce, complete: true, progress: this.status().required };
    });
  }

  #record(): SealRecord {
    const { current } = this.#options.records;
    if (current === null) throw new VaultError("uninitialized", "Vault is not initialized");
    return current;
  }
}
