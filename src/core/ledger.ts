// The one writer of generations. An edit by the API and a commit from Git go the same way: draft the next table, build the
// generation, write what is new together with `generation/current` by compare-and-swap, then make it live by one
// assignment. Edits that wait are folded into one step, and one that fails fails alone.
// Must hold: the live generation is the one storage calls current; nothing is live that was not written, and none takes the
// place of a later one, whatever storage says while the vault runs. After a write of which it is not known what landed, storage
// is asked before anything else is written. Operations stand in an order of which every prefix is safe: nothing before
// `generation/current` counts without it (pages and states are found by nobody, tasks carry the generation's number), and
// nothing stands behind it.

import type { KeyObject } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Exact } from "../lib/exact.ts";
import type { Logger } from "../lib/log.ts";
import { sliced, type Work } from "../lib/slices.ts";
import { ApplyError, type Commit, type Declaration } from "../sdk/kind.ts";
import { VaultError } from "../sdk/errors.ts";
import type { View, ViewOp } from "../sdk/view.ts";
import { following } from "./aftermath.ts";
import { Collection, logKey } from "./collection.ts";
import { compiling } from "../policy/compile.ts";
import { building, type CurrentRecord, type Generation } from "./generation.ts";
import type { State } from "./integrity.ts";
import type { Mounts } from "./mounts.ts";
import { addressesOf, noPages, type Pages, PageStore } from "./pages.ts";
import { identified } from "./identity/ids.ts";
import { dated } from "./since.ts";
import { keyOf, Table } from "./table.ts";
import type { Tasks } from "./tasks.ts";

export interface Edit {
  readonly put: readonly Declaration[];
  readonly remove: readonly Declaration[];
  /** Written in the same transaction. */
  readonly ops?: readonly ViewOp[];
  /** Only for edits from Git. */
  readonly commit?: Commit;
}

interface Waiting {
  /** Sees the table as the edits before it leave it. Throws to refuse. */
  readonly draft: (table: Table) => Edit | Work<Edit>;
  readonly resolve: (generation: Generation) => void;
  readonly reject: (error: unknown) => void;
}

export interface LedgerOptions {
  readonly root: View;
  readonly mounts: Mounts;
  readonly tasks: Tasks;
  readonly identityKey: KeyObject;
  readonly pageKey: KeyObject;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that a superseded generation is kept. */
  readonly keep: number;
  /** What the scan of the storage last found. */
  readonly scanned: () => State;
  /** The one assignment that makes a generation live. */
  activate(generation: Generation): void;
}

const currentKey = "generation/current";
const pagesAtOnce = 8;
const sealedError = (): VaultError => new VaultError("sealed", "Vault is sealed");
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #store: PageStore;
  readonly #collection: Collection;
  readonly #waiting: Waiting[] = [];
  #pages: Pages = noPages;
  #version: number | "absent" = "absent";
  #live: Generation | null = null;
  #busy = false;
  /** Whether a write failed of which some may have landed. */
  #unclear = false;
  #closed = false;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#store = new PageStore(options.root.sub("generation/"), options.pageKey);
    this.#collection = new Collection(options);
  }

  /** Makes live what storage calls current, by the same steps as a change. */
  async open(): Promise<void> {
    const entry = await this.#options.root.getJson<CurrentRecord>(currentKey);
    const none: CurrentRecord = { format: 1, seq: 0, root: "", commit: null, committed_at: 0, revision: 0, at: 0 };
    const record = entry?.value ?? none;
    if (record.format !== 1)
      throw new VaultError("storage", `generation format ${String(record.format)} is newer than this program`);
    if (record.seq < (this.#live?.record.seq ?? 0)) {
      this.#options.log.security(
        "the current generation was removed or put back to an earlier one while the vault was running",
      );
      throw new VaultError(
        "storage",
        "storage: generation/current was changed by somebody else; nothing is changed until a restart",
      );
    }
    let table = new Table();
    if (entry !== null && record.root !== "") ({ pages: this.#pages, table } = await this.#store.read(record.root));
    this.#version = entry?.version ?? "absent";
    await sliced(compilingAll(table));
    const { tasks, mounts } = this.#options;
    tasks.advance(record.seq);
    for (const { type, args } of await tasks.settle()) {
      if (type === "drop-data" && typeof args["uuid"] === "string") mounts.states.forget(args["uuid"]);
    }
    this.#activate(await this.#build(record, table, []));
  }

  /** What storage has after a failed write is what is live from then on. */
  async #recover(): Promise<void> {
    if (!this.#unclear || this.#closed) return;
    await this.#options.mounts.states.load();
    await this.open();
    this.#unclear = false;
    void this.#options.tasks.run().catch(() => {});
  }

  /** Work is done in slices; no other edit comes in between. */
  edit<E extends Edit>(draft: (table: Table) => E | Work<E>, ..._exact: Exact<E, Edit>): Promise<Generation> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ draft, resolve, reject });
      if (!this.#busy) void this.#drain();
    });
  }

  /** Called with time: deletes some of what is kept no longer. Never rejects. */
  async collect(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    await this.#collect();
    this.#busy = false;
    if (this.#waiting.length > 0) void this.#drain();
  }

  /** At seal. What is under way is not written, and nothing is deleted, also where the vault is open again by then: storage is
   *  another ledger's. */
  close(): void {
    this.#closed = true;
    this.#live = null;
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    try {
      while (this.#waiting.length > 0) {
        await this.#step(this.#waiting.splice(0));
        await this.#collect();
      }
    } finally {
      this.#busy = false;
    }
  }

  async #collect(): Promise<void> {
    if (!this.#collection.due || this.#unclear || this.#live === null) return;
    await this.#collection.step(this.#live.record, addressesOf(this.#pages));
  }

  /** One generation for all of `batch`; where that fails and there are several, one for each. */
  async #step(batch: readonly Waiting[]): Promise<void> {
    const taken: Waiting[] = [];
    try {
      await this.#recover();
      const live = this.#live;
      if (live === null) throw sealedError();
      let table = live.table;
      let draft: Draft = { put: [], remove: [], ops: [], revisions: 0 };
      for (const [at, waiting] of batch.entries()) {
        try {
          const work = waiting.draft(table);
          const drafted = "next" in work ? await sliced(work) : work;
          const put = identified(table, dated(table, drafted.put, live.record.seq + 1), this.#options.clock.now());
          const edit = { ...drafted, put };
          // What goes and comes again goes in one step and comes in the next: what follows its end must not be skipped.
          const gone = new Set(draft.remove.map(keyOf));
          if (gone.size > 0 && edit.put.some((one) => gone.has(keyOf(one)))) {
            this.#waiting.unshift(...batch.slice(at));
            break;
          }
          table = table.with(edit.put, edit.remove);
          draft = fold(draft, edit);
          if ("next" in work) await breathe();
          taken.push(waiting);
        } catch (error) {
          waiting.reject(error);
        }
      }
      if (taken.length === 0) return;
      const next = await this.#commit(live, table, draft);
      for (const waiting of taken) waiting.resolve(next);
    } catch (error) {
      await this.#recover().catch(() => {}); // tried again before the next step
      if (taken.length === 0) for (const waiting of batch) waiting.reject(error);
      else if (taken.length === 1 || this.#live === null) for (const waiting of taken) waiting.reject(error);
      else for (const waiting of taken) await this.#step([waiting]);
    }
  }

  async #commit(live: Generation, drafted: Table, edits: Draft): Promise<Generation> {
    // What is known of blocked people is written before this step can take it apart.
    const learned = live.blocks?.learned(drafted) ?? [];
    const table = learned.length === 0 ? drafted : drafted.with(learned, []);
    const draft = learned.length === 0 ? edits : { ...edits, put: [...edits.put, ...learned] };
    const { mounts, tasks, clock } = this.#options;
    await sliced(compilingAll(draft.put));
    const { ops: stateOps, states } = mounts.prepare(draft.put, live.mounts, refuse);
    const seq = live.record.seq + 1;
    const change = await sliced(this.#store.change(this.#pages, draft.put, draft.remove, seq));
    const { pages, ops: pageOps, made, replaced } = change;
    const now = clock.now();
    const record: CurrentRecord = {
      format: 1,
      seq,
      root: pages.root,
      commit: draft.commit ?? live.record.commit,
      committed_at: draft.commit ? now : live.record.committed_at,
      revision: live.record.revision + draft.revisions,
      at: now,
    };
    const next = await this.#build(record, table, states);
    const after = await sliced(following(live, next, draft.remove, draft.put, mounts, tasks));
    while (pageOps.length > pagesAtOnce) {
      await this.#write(pageOps.splice(0, pagesAtOnce));
      await breathe();
    }
    const ops: ViewOp[] = [
      ...pageOps,
      ...stateOps,
      { key: logKey(seq), value: { ...record, made, replaced } },
      ...(draft.ops ?? []),
      ...after.ops,
      { key: currentKey, value: { ...record }, expect: this.#version },
    ];
    const versions = await this.#write(ops).catch((error: unknown) => {
      this.#unclear = true;
      throw error;
    });
    this.#version = versions.at(-1) ?? "absent";
    this.#pages = pages;
    mounts.states.adopt(states);
    for (const state of after.forgotten) mounts.states.forget(state.uuid);
    this.#activate(next);
    tasks.advance(record.seq);
    void tasks.run().catch(() => {});
    return next;
  }

  async #write(ops: readonly ViewOp[]): Promise<readonly number[]> {
    if (this.#closed) throw sealedError();
    return this.#options.root.write(ops);
  }

  #build(record: CurrentRecord, table: Table, states: Parameters<Mounts["build"]>[1]): Promise<Generation> {
    const { mounts, identityKey } = this.#options;
    return sliced(building({ record, table, mounts, states, identityKey, previous: this.#live, fail: refuse }));
  }

  #activate(generation: Generation): void {
    if (this.#closed) return;
    this.#live = generation;
    this.#options.activate(generation);
  }
}

function* compilingAll(declarations: Iterable<Declaration>): Work<void> {
  for (const declaration of declarations) {
    if (declaration.kind === "Policy") yield* compiling(declaration);
    yield;
  }
}

type Draft = Edit & { readonly revisions: number };

function fold(draft: Draft, edit: Edit): Draft {
  const commit = edit.commit ?? draft.commit;
  const more = {
    ops: [...(draft.ops ?? []), ...(edit.ops ?? [])],
    revisions: draft.revisions + (edit.commit ? 0 : 1),
    ...(commit && { commit }),
  };
  if (draft.put.length + draft.remove.length === 0) return { ...more, put: edit.put, remove: edit.remove };
  const touched = new Set([...edit.put, ...edit.remove].map(keyOf));
  const keep = (one: Declaration): boolean => !touched.has(keyOf(one));
  return {
    ...more,
    put: [...draft.put.filter(keep), ...edit.put],
    remove: [...draft.remove.filter(keep), ...edit.remove],
  };
}

function refuse(declaration: Declaration, message: string): never {
  if (declaration.source === null) throw new VaultError("invalid", message);
  throw new ApplyError([{ ...declaration.source, message: `${declaration.kind} ${declaration.name}: ${message}` }]);
}
