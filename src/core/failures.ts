// What failed logins have left, in the vault's encrypted storage: a restart or a seal gives nobody new tries.
// Must hold: a seal saves it; however many guess, that is one write of bounded size in ten seconds.
// Known gap: after a crash it is up to ten seconds old. Of very many names it has the newest, those that are locked first.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { Failure, Lockouts } from "./lockouts.ts";

const saveEvery = 10_000;
const key = "failures";
/** Characters of names and what is said of them. */
const mostText = 512 * 1024;

export class Failures {
  readonly #view: View;
  readonly #lockouts: Lockouts;
  readonly #clock: Clock;
  readonly #log: Logger;
  #savedAt = 0;
  #saved = 0;

  constructor(view: View, lockouts: Lockouts, clock: Clock, log: Logger) {
    this.#view = view;
    this.#lockouts = lockouts;
    this.#clock = clock;
    this.#log = log;
  }

  async open(): Promise<void> {
    this.#lockouts.restore(await this.#stored());
    this.#saved = this.#lockouts.changes;
  }

  /** None where the entry is damaged: whoever can damage it can delete it as well, and a few tries more are less than a vault
   *  that nobody can unseal. */
  async #stored(): Promise<readonly Failure[]> {
    try {
      return (await this.#view.getJson<{ readonly failures: readonly Failure[] }>(key))?.value.failures ?? [];
    } catch (error) {
      if (!isVaultError(error, "storage")) throw error;
      this.#log.security("failed logins from before cannot be read: every name has all its tries again", { error });
      return [];
    }
  }

  /** Called about twice a second. */
  async tick(): Promise<void> {
    if (this.#clock.now() - this.#savedAt < saveEvery) return;
    await this.#save().catch((error: unknown) => {
      this.#log.warn("failed logins could not be saved", { error: error instanceof Error ? error.message : "failed" });
    });
  }

  async close(): Promise<void> {
    await this.#save().catch(() => {});
  }

  /** Writes nothing where nobody failed: an idle vault stays idle. */
  async #save(): Promise<void> {
    const { changes } = this.#lockouts;
    if (changes === this.#saved) return;
    this.#savedAt = this.#clock.now();
    const failures: Failure[] = [];
    let text = 0;
    for (const failure of this.#lockouts.failures()) {
      text += JSON.stringify(failure).length;
      if (text > mostText) break;
      failures.push(failure);
    }
    await this.#view.write([{ key, value: { failures } }]);
    this.#saved = changes;
  }
}
