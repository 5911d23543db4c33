// What follows a block: what was got before it ends. Requests are refused from the moment that the block is live; this is what
// is done about all that is stored: tokens with all that hangs on them, leases, secret ids.
// Must hold: it is found whatever was in flight when the block came (whoever makes something looks at the live generation
// once it is written); it can be cut off anywhere and begun again; what was got before a block is lifted ends although it
// is; memory does not grow with what there is; a mount that hangs holds up nothing but its own leases, which are due until they have ended.
// Known gap: numbers are what a process counted: cut off, up to a page of them is counted twice or not at all.

import { Mutex } from "../../lib/mutex.ts";
import { VaultError } from "../../sdk/errors.ts";
import { type Json, pagesOf, type ViewOp } from "../../sdk/view.ts";
import type { Core } from "../core.ts";
import { isLease, isToken, leaseOf, nameOf } from "../leases/keys.ts";
import type { LeaseEntry } from "../leases/store.ts";
import { dropAll } from "../subtree.ts";
import type { Tasks } from "../tasks.ts";
import type { TokenEntry } from "../tokens/entry.ts";
import type { About } from "./block.ts";
import type { Block } from "./blocks.ts";
import { originsOf } from "./origins.ts";

const atOnce = 64;
const namesAtOnce = 1_000;
/** Failures that are told. */
const told = 20;
/** Chains of tokens are not longer. */
const depthLimit = 64;

/** Counts. */
interface Tally {
  /** Tokens looked at. */
  examined: number;
  tokens: number;
  leases: number;
  secret_ids: number;
}

export interface Failing {
  readonly lease_id: string;
  readonly error: string;
  readonly attempts: number;
}

export interface Progress extends Tally {
  /** Whether all has been gone through since the block was asked for last. */
  readonly whole: boolean;
  /** Leases that have not ended yet, and some of those that could not be ended so far. */
  readonly left: number;
  readonly failing: readonly Failing[];
}

const none: Tally = { examined: 0, tokens: 0, leases: 0, secret_ids: 0 };

const folderOf = (id: string): string => `block/${id}/`;
const recordKey = (id: string): string => `${folderOf(id)}record`;
const leaseFolder = (id: string): string => `${folderOf(id)}lease/`;
const subjectOf = (id: string): string => `block ${id}`;

const revokeType = "revoke-blocked";
const endType = "end-block";

/** Nothing that was got before ends. */
const keeps = (about: About): boolean => about.type === "address" && about.keeps === true;

/** The block is there no more, and nothing from before it either. */
class Over extends Error {}

export class Revocations {
  readonly #core: () => Core;
  readonly #running = new Map<string, Tally>();
  readonly #lock = new Mutex();

  constructor(core: () => Core) {
    this.#core = core;
  }

  /** An operation that begins it, or begins it again, with the generation `seq`. */
  begin(tasks: Tasks, id: string, seq: number): ViewOp {
    return tasks.put(revokeType, subjectOf(id), { id }, seq);
  }

  /** An operation that forgets it, once its block is lifted. */
  end(tasks: Tasks, id: string, seq: number): ViewOp {
    return tasks.put(endType, subjectOf(id), { id }, seq);
  }

  async #stored(id: string): Promise<Tally> {
    return (await this.#core().root.getJson<Tally>(recordKey(id)))?.value ?? none;
  }

  async progress(id: string): Promise<Progress> {
    const whole = !(await this.#core().tasks.waiting(subjectOf(id)));
    const left = await this.#lock.run(id, () => this.#left(id));
    // Last: a lease is counted before it can be left.
    const tally = this.#running.get(id) ?? (await this.#stored(id));
    return { ...tally, whole, ...left };
  }

  /** Forgets those that have ended. */
  async #left(id: string): Promise<Pick<Progress, "left" | "failing">> {
    const { root, leases } = this.#core();
    const folder = leaseFolder(id);
    const names = await root.list(folder, { limit: namesAtOnce });
    const found = await Promise.all(names.map((name) => leases.store.get(leaseOf(name))));
    const gone = names.filter((_, at) => found[at] === null);
    if (gone.length > 0) await root.write(gone.map((name) => ({ key: `${folder}${name}`, value: null })));
    const failing = found.flatMap((entry): readonly Failing[] => {
      const ending = entry?.value.ending ?? null;
      if (entry === null || ending === null || ending.error === null) return [];
      return [{ lease_id: entry.value.id, error: ending.error, attempts: ending.attempts }];
    });
    let left = names.length - gone.length;
    for (let last = names; last.length === namesAtOnce;) {
      last = await root.list(folder, { after: last.at(-1) ?? "", limit: namesAtOnce });
      left += last.length;
    }
    return { left, failing: failing.slice(0, told) };
  }

  /** Task. */
  async run(id: string): Promise<void> {
    const core = this.#core();
    const tally = { ...(await this.#stored(id)), examined: 0 };
    this.#running.set(id, tally);
    try {
      const time = core.clock.now();
      await this.#endTokens(id, tally);
      await this.#endLeases(id, tally);
      await this.#endIssued(id, tally);
      await core.root.write([{ key: recordKey(id), value: { ...tally } }]);
      if (this.#mayIssue(time))
        throw new VaultError("conflict", "requests from before the block are still being worked on");
    } catch (error) {
      if (!(error instanceof Over)) throw error;
    } finally {
      this.#running.delete(id);
    }
  }

  /** Task. */
  async forget(id: string): Promise<void> {
    await dropAll(this.#core().root, folderOf(id));
  }

  /** The block as it is now. Throws where it is over, or the vault is being sealed. */
  #block(id: string): Block {
    const core = this.#core();
    if (core.closed) throw new VaultError("sealed", "Vault is sealed");
    const block = core.generation.blocks?.byId(id) ?? null;
    if (block === null) throw new Over("the block is over");
    return block;
  }

  async #endTokens(id: string, tally: Tally): Promise<void> {
    const { tokens } = this.#core();
    const { about, accessors } = this.#block(id);
    // No token comes from a secret engine.
    if (keeps(about) || (about.type === "mount" && !about.mounts[0]?.path.startsWith("auth/"))) return;
    // What an index leads to goes first.
    for (const accessor of accessors) await this.#sift(id, tally, tokens.madeBy(accessor));
    if (about.type === "mapping") {
      for (const { accessor, name } of about.places) {
        await this.#sift(id, tally, tokens.madeBy(accessor, about.kind, name));
      }
    }
    tally.examined = 0;
    await this.#sift(id, tally, tokens.all());
  }

  async #sift(id: string, tally: Tally, pages: AsyncGenerator<readonly TokenEntry[]>): Promise<void> {
    for await (const page of pages) {
      const block = this.#block(id);
      const mine = page.filter((entry) => block.ends(entry.created_at) && block.covers(originsOf(entry)));
      await this.#endAll(
        id,
        tally,
        mine.map((entry) => entry.id),
        0,
      );
      tally.examined += page.length;
    }
  }

  /** Ends tokens, and before them what hangs on them, so that it is counted. */
  async #endAll(id: string, tally: Tally, tokens: readonly string[], depth: number): Promise<void> {
    if (tokens.length === 0 || depth > depthLimit) return;
    const core = this.#core();
    for (const token of tokens) {
      for await (const names of core.tokens.below(token)) {
        await this.#take(id, tally, names.filter(isLease));
        await this.#endAll(id, tally, names.filter(isToken), depth + 1);
      }
    }
    this.#block(id);
    tally.tokens += await core.tokens.revokeMany(tokens);
    await core.root.write([{ key: recordKey(id), value: { ...tally } }]);
  }

  /** Has leases end, and keeps in mind which. */
  async #take(id: string, tally: Tally, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { root, leases } = this.#core();
    const keys = names.map((name) => `${leaseFolder(id)}${name}`);
    const known = await Promise.all(keys.map((key) => root.get(key)));
    const fresh = keys.filter((_, at) => known[at] === null);
    tally.leases += fresh.length;
    const index = fresh.map((key): ViewOp => ({ key, value: true }));
    if (fresh.length > 0) await root.write([...index, { key: recordKey(id), value: { ...tally } }]);
    await leases.revoke(names.map(leaseOf), { sync: false });
  }

  /** Those of the mount, and those that hang on no token that is stored. */
  async #endLeases(id: string, tally: Tally): Promise<void> {
    const { root, leases } = this.#core();
    const { accessors, about } = this.#block(id);
    if (keeps(about)) return;
    const engine = about.type === "mount" && !about.mounts[0]?.path.startsWith("auth/");
    const folders = engine ? [...accessors].map((accessor) => `${accessor}/`) : await root.list("lease/mount/");
    for (const folder of folders) {
      for await (const names of pagesOf(root, `lease/mount/${folder}`, atOnce)) {
        const block = this.#block(id);
        const found = await Promise.all(names.map((name) => leases.store.get(leaseOf(name))));
        const mine = (entry: LeaseEntry): boolean =>
          block.ends(entry.issued_at) && (engine || block.covers(entry.origins ?? []));
        await this.#take(
          id,
          tally,
          found.flatMap((entry) => (entry !== null && mine(entry.value) ? nameOf(entry.value.id) : [])),
        );
      }
    }
  }

  async #endIssued(id: string, tally: Tally): Promise<void> {
    const { generation } = this.#core();
    for (const { accessor, endIssued } of generation.mounts) {
      const { about } = this.#block(id);
      if (endIssued === null || keeps(about)) continue;
      const places = about.type === "mapping" ? about.places : [];
      const of = places.find((place) => place.accessor === accessor)?.name ?? null;
      tally.secret_ids += await endIssued({
        of,
        before: () => this.#block(id).spec.lifted?.at ?? Infinity,
        by: (origins) => {
          const block = this.#block(id);
          return block.accessors.has(accessor) || block.covers(origins);
        },
      });
    }
  }

  /** Whether a request that began before `time` may still leave something with a mount. */
  #mayIssue(time: number): boolean {
    const core = this.#core();
    const { mounts } = core.generation;
    return [...core.options.inFlight()].some(
      (request) => request.time <= time && (mounts.route(request.path)?.endIssued ?? null) !== null,
    );
  }
}

type Args = Readonly<Record<string, Json>>;

export const blockChores = (core: () => Core) => ({
  [revokeType]: ({ id }: Args): Promise<void> => core().revocations.run(id as string),
  [endType]: ({ id }: Args): Promise<void> => core().revocations.forget(id as string),
});
