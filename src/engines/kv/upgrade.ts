// From version 1 to version 2: the first request after the change takes over what version 1 holds, path by path, and those
// that come meanwhile wait for it. There is no way back, as in Vault.
// Must hold: each path is taken over in a step that may be cut off anywhere and done again; where nothing is left of
// version 1, that is asked once in the life of a mount; a request of version 1 that was under way is not lost.
// Known gap: a mount with very many secrets answers nothing until all of them are taken over.

import { VaultError } from "../../sdk/errors.ts";
import type { MountContext } from "../../sdk/mount.ts";
import { forEach, walk } from "./lists.ts";

export const plainKey = (path: string): string => `plain/${path}`;

/** What this process knows of a mount, across the mount objects of several generations. */
interface State {
  /** It is at version 2: a request of version 1 that is still under way belongs to what was. */
  upgraded: boolean;
  /** Nothing is left of version 1. */
  done: boolean;
  /** Counts what version 1 wrote after that. */
  late: number;
}

/** By accessor. */
const states = new Map<string, State>();

function stateOf({ accessor }: MountContext): State {
  let state = states.get(accessor);
  if (state === undefined) states.set(accessor, (state = { upgraded: false, done: false, late: 0 }));
  return state;
}

export const upgrading = (): VaultError =>
  new VaultError(
    "invalid",
    "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly.",
  );

export class Upgrade {
  readonly #context: MountContext;
  readonly #adopt: (path: string) => Promise<void>;
  readonly #state: State;
  #running: Promise<void> | null = null;

  /** `adopt` takes over one path, whatever has been done of that before. */
  constructor(context: MountContext, adopt: (path: string) => Promise<void>) {
    this.#context = context;
    this.#adopt = adopt;
    this.#state = stateOf(context);
  }

  get done(): boolean {
    return this.#state.done;
  }

  run(): Promise<void> {
    this.#running ??= this.#all().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #all(): Promise<void> {
    const { view, log, path } = this.#context;
    const state = this.#state;
    let count = 0;
    for (let late = -1; late !== state.late || !state.upgraded;) {
      late = state.late;
      state.upgraded = true;
      for await (const paths of walk(view, plainKey(""))) {
        if (count === 0) log.info("kv: version 1 becomes version 2", { mount: path });
        await forEach(paths, this.#adopt);
        count += paths.length;
      }
    }
    if (count > 0) log.info("kv: version 1 has become version 2", { mount: path, paths: count });
    state.done = true;
  }
}

/** For mounts at version 1: whether the data is theirs. */
export class Plain {
  readonly #context: MountContext;
  readonly #state: State;
  #checked = false;

  constructor(context: MountContext) {
    this.#context = context;
    this.#state = stateOf(context);
  }

  get usable(): boolean {
    return this.#checked && !this.#state.upgraded;
  }

  /** Before a request, unless it is usable. Throws VaultError `invalid`. */
  async check(): Promise<void> {
    if ((await this.#context.view.list("secret/", { limit: 1 })).length > 0) {
      throw new VaultError(
        "invalid",
        "this mount holds versioned secrets, which version 1 cannot read: set its option version to 2",
      );
    }
    this.#checked = true;
    this.#state.upgraded = false;
    this.#state.done = false;
  }

  /** After a write: the mount may have become version 2 while it was under way. What was written is taken over by the next
   *  request of version 2; whoever wrote it is told to look again. */
  confirm(): void {
    if (!this.#state.upgraded) return;
    this.#state.late += 1;
    this.#state.done = false;
    throw upgrading();
  }
}
