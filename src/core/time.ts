// How late it was when the vault last ran, in its encrypted storage: after a restart with a clock that was set back it goes
// on from there, so that what had expired stays expired.
// Must hold: the mark is never later than the vault's time was; a seal saves it.
// Known gap: after a crash it is up to a minute old. A clock that was ahead when the mark was saved is believed. Where the mark is
// gone or damaged, any clock is; the security log and the scan of storage say so.

import type { SteadyClock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";

interface Mark {
  /** Milliseconds since 1970. */
  readonly at: number;
}

const saveEvery = 60_000;
/** What clocks differ by when nobody has set them. */
const usual = 5_000;

export class Time {
  readonly #view: Pick<View, "getJson" | "write">;
  readonly #clock: SteadyClock;
  readonly #log: Logger;
  #saved = 0;
  #failing = false;

  constructor(view: Pick<View, "getJson" | "write">, clock: SteadyClock, log: Logger) {
    this.#view = view;
    this.#clock = clock;
    this.#log = log;
  }

  async open(): Promise<void> {
    this.#saved = await this.#marked();
    const behind = this.#saved - this.#clock.now();
    if (behind > usual) {
      this.#log.security(
        "the machine's clock is behind what this vault has seen: it goes on from there; set the clock",
        {
          behind_seconds: Math.ceil(behind / 1000),
        },
      );
    }
    this.#clock.atLeast(this.#saved);
  }

  /** 0 where the mark is damaged: whoever can damage it can delete it as well, so to stay sealed would keep nobody out but the
   *  owners of a vault whose disk has lost a bit. */
  async #marked(): Promise<number> {
    try {
      return (await this.#view.getJson<Mark>("mark"))?.value.at ?? 0;
    } catch (error) {
      if (!isVaultError(error, "storage")) throw error;
      this.#log.security(
        "how late it was when this vault last ran cannot be read: the machine's clock is believed; see that it is right",
        { error },
      );
      return 0;
    }
  }

  /** Called about once a second. */
  async tick(): Promise<void> {
    if (this.#clock.now() - this.#saved < saveEvery) return;
    try {
      await this.#save();
      this.#failing = false;
    } catch (error) {
      // Once, not at each try: the log may be on the same full disk.
      if (!this.#failing) this.#log.warn("the time could not be saved: it is tried again", { error });
      this.#failing = true;
    }
  }

  async close(): Promise<void> {
    await this.#save().catch(() => {});
  }

  async #save(): Promise<void> {
    const at = this.#clock.now();
    if (at <= this.#saved) return;
    await this.#view.write([{ key: "mark", value: { at } satisfies Mark }]);
    this.#saved = at;
  }
}
