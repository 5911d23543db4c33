// Which versions of the program have served this vault, and since when: each is written once, at its first unseal.

import type { Clock } from "../lib/clock.ts";
import type { View } from "../sdk/view.ts";

export interface Installed {
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export class History {
  readonly #view: View;
  readonly #clock: Clock;
  #versions: readonly Installed[] = [];

  constructor(view: View, clock: Clock) {
    this.#view = view;
    this.#clock = clock;
  }

  /** In the order in which they came. */
  get versions(): readonly Installed[] {
    return this.#versions;
  }

  async open(version: string): Promise<void> {
    const found: Installed[] = [];
    for (const name of await this.#view.list("")) {
      const entry = await this.#view.getJson<Installed>(name);
      if (entry !== null) found.push(entry.value);
    }
    if (!found.some((known) => known.version === version)) {
      const installed: Installed = { version, at: this.#clock.now() };
      await this.#view.write([{ key: encodeURIComponent(version), value: installed }]);
      found.push(installed);
    }
    this.#versions = found.sort((a, b) => a.at - b.at);
  }
}
