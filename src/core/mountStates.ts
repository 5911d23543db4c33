// What of a mount is made on first use and outlives its declaration: where its data is, and its accessor. Kept when Git removes
// the mount, so that restoring the document restores the data.
// Must hold: what is here is what storage has; after a write of which it is not known what landed it is read again.

import type { View } from "../sdk/view.ts";

export interface MountState {
  readonly class: "auth" | "secret";
  readonly name: string;
  readonly type: string;
  readonly uuid: string;
  readonly accessor: string;
}

type Named = Pick<MountState, "class" | "name">;

const nameOf = ({ class: mountClass, name }: Named): string => `${mountClass}/${name}`;

/** Below the barrier's root. */
export const stateKey = ({ class: mountClass, name }: Named): string =>
  `mounts/state/${mountClass}/${encodeURIComponent(name)}`;

export class MountStates {
  /** `mounts/` below the barrier's root. */
  readonly #view: View;
  readonly #states = new Map<string, MountState>();

  constructor(view: View) {
    this.#view = view;
  }

  async load(): Promise<void> {
    const stored = await this.#stored();
    this.#states.clear();
    for (const { state } of stored) this.#states.set(nameOf(state), state);
  }

  async #stored(): Promise<{ readonly key: string; readonly state: MountState; readonly version: number }[]> {
    const found: { key: string; state: MountState; version: number }[] = [];
    for (const folder of ["state/auth/", "state/secret/"]) {
      for (const name of await this.#view.list(folder)) {
        const entry = await this.#view.getJson<MountState>(`${folder}${name}`);
        if (entry !== null) found.push({ key: `${folder}${name}`, state: entry.value, version: entry.version });
      }
    }
    return found;
  }

  get(mount: Named): MountState | null {
    return this.#states.get(nameOf(mount)) ?? null;
  }

  /** Mounted or not. */
  byAccessor(accessor: string): MountState | null {
    for (const state of this.#states.values()) if (state.accessor === accessor) return state;
    return null;
  }

  /** After they were written. */
  adopt(states: readonly MountState[]): void {
    for (const state of states) this.#states.set(nameOf(state), state);
  }

  /** One is of no use any more, and its data is being dropped: the next mount of that name begins anew. */
  forget(uuid: string): void {
    for (const [name, state] of this.#states) if (state.uuid === uuid) this.#states.delete(name);
  }

  /** Task, after the data is dropped: ends the record, unless another mount has that name by now. */
  async drop(uuid: string): Promise<void> {
    for (const { key, state, version } of await this.#stored()) {
      if (state.uuid === uuid) await this.#view.write([{ key, value: null, expect: version }]);
    }
  }
}
