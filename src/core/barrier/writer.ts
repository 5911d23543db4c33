// The one writer of a store. Writes that arrive while one is under way are joined into the next: one transaction and one
// new sum for all of them.
// Must hold:
//  - one write of the store is under way at a time, and writes land in the order in which they came;
//  - an expectation that fails, fails its own write alone: it is checked here first, against what is stored now, and again
//    by the storage, as are all states on which the sum is based;
//  - on stores with transactions the sum is written with the entries it covers, or nothing is; while it cannot be trusted,
//    nothing is written at all.
// Known gap: a store that lies while the vault runs (that there is nothing, when an entry is overwritten that is not in
// the cache) can later undo the deletion of this entry unnoticed.

import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { conflict } from "../../sdk/keys.ts";
import type { Op, Stored } from "../../sdk/storage.ts";
import { counted, type Sum } from "./sum.ts";
import { Sums, type SumsOptions } from "./sums.ts";

/** What is stored under a key. */
export interface State {
  readonly version: number;
  /** 0 where there is no sum. */
  readonly element: bigint;
}

/** What one operation of a write changes. */
export interface Change {
  readonly key: string;
  /** Null: nothing; undefined: not known, and nobody needs to. */
  readonly before: State | null | undefined;
  readonly after: State | null;
}

/** Follows the writes, such as a scan that walks over the store meanwhile. */
export interface Observer {
  /** Before a write goes to storage. */
  begins(changes: readonly Change[]): void | Promise<void>;
  /** After it has landed. */
  landed(changes: readonly Change[]): void;
  /** In place of `landed`: whether it has, nobody knows. */
  lost(): void;
}

export interface WriterOptions extends SumsOptions {
  /** What the cache knows; undefined where nothing. */
  readonly known: (key: string) => State | null | undefined;
  /** What the cache knows is wrong. */
  readonly forget: (key: string) => void;
}

interface Write {
  readonly ops: readonly Op[];
  readonly after: readonly (State | null)[];
  /** Called once, in the same turn in which the write landed (null) or failed. */
  readonly end: (error: unknown) => void;
}

/** Writes that go to storage together; no two name the same key. */
class Group {
  readonly writes: Write[] = [];
  readonly keys = new Set<string>();
  #bytes = 0;

  takes({ ops }: Write): boolean {
    if (this.keys.size + ops.length > maxOps || this.#bytes > maxBytes) return false;
    return !ops.some((op) => this.keys.has(op.key));
  }

  add(write: Write): void {
    this.writes.push(write);
    for (const { key, value } of write.ops) {
      this.keys.add(key);
      this.#bytes += value?.length ?? 0;
    }
  }
}

const maxOps = 1024;
const maxBytes = 4 * 1024 * 1024;
const attempts = 4;
/** Writes that set off without those that come in the same turn. */
const early = 8;

export class Writer {
  readonly sums: Sums;
  readonly #options: WriterOptions;
  readonly #observers = new Set<Observer>();
  readonly #queue: Group[] = [];
  /** Reads begun when a write arrived, of keys that no earlier write under way names. */
  readonly #ahead = new Map<string, Promise<State | null>>();
  #flying: Group | null = null;
  #running = false;
  /** Whether it will run before long. */
  #due = false;
  #closed: VaultError | null = null;
  #changes: readonly Change[] | null = null;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.sums = new Sums(options);
  }

  /** Calls that wait reject with `reason`, and so do later ones. What is under way is on its way. */
  close(reason: VaultError): void {
    this.#closed = reason;
    this.#observers.clear();
    for (const group of this.#queue.splice(0)) for (const write of group.writes) write.end(reason);
    this.#ahead.clear();
  }

  /** Makes `found` the sum in place of what is the sum now. */
  correct(found: Sum): Promise<void> {
    this.sums.correct(found);
    return this.write([]);
  }

  /** Tells the observer of what is under way, too. */
  observe(observer: Observer): () => void {
    this.#observers.add(observer);
    if (this.#changes !== null) void observer.begins(this.#changes);
    return () => void this.#observers.delete(observer);
  }

  /** Operations whose values are files already. Resolves once they are durable. */
  write(ops: readonly Op[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.add(ops, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** The same with a callback, in the same turn in which the write ends. Gives what will then be stored. */
  add(ops: readonly Op[], end: (error: unknown) => void): readonly (State | null)[] {
    const { maxValue } = this.#options.storage;
    const after = ops.map((op) => (op.value === null ? null : this.stateOf(op.key, op as Stored)));
    const large = ops.some(({ value }) => value !== null && value.length > maxValue);
    const twice = ops.length > 1 && new Set(ops.map((op) => op.key)).size < ops.length;
    if (this.#closed !== null) end(this.#closed);
    else if (large) end(new VaultError("invalid", `storage: a value is larger than ${maxValue} bytes`));
    else if (twice) end(new VaultError("invalid", "storage: one write names a key twice"));
    else this.#join({ ops, after, end });
    return after;
  }

  stateOf(key: string, stored: Stored): State {
    return { version: stored.version, element: this.sums.kept && counted(key) ? this.sums.elementOf(key, stored) : 0n };
  }

  #join(write: Write): void {
    for (const op of write.ops) if (this.#asks(op) && !this.#pending(op.key)) this.#readAhead(op.key);
    let group = this.#queue.at(-1);
    // The first do not wait until those of this turn behind them are ready: the store works meanwhile.
    if (group !== undefined && group.writes.length >= early) this.#start();
    group = this.#queue.at(-1);
    if (group === undefined || !group.takes(write)) this.#queue.push((group = new Group()));
    group.add(write);
    if (this.#running || this.#due) return;
    this.#due = true;
    // The other writes of this turn come along.
    setImmediate(() => {
      this.#due = false;
      this.#start();
    });
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Whether storage must be asked what is under the key. That there is nothing is left to storage to check, where a
   *  write that fails leaves no trace. */
  #asks({ key, expect }: Op): boolean {
    const leave = this.sums.kept
      ? expect === "absent" || (expect === undefined && !counted(key))
      : expect === undefined;
    return !leave && this.#options.known(key) === undefined;
  }

  #pending(key: string): boolean {
    return this.#flying?.keys.has(key) === true || this.#queue.some((group) => group.keys.has(key));
  }

  #readAhead(key: string): void {
    if (this.#ahead.has(key)) return;
    const read = this.#state(key);
    // Whoever needs it will ask again.
    read.catch(() => this.#ahead.delete(key));
    this.#ahead.set(key, read);
  }

  async #state(key: string): Promise<State | null> {
    const stored = await this.#options.storage.get(key);
    return stored === null ? null : this.stateOf(key, stored);
  }

  async #run(): Promise<void> {
    for (let group = this.#queue.shift(); group !== undefined; group = this.#queue.shift()) {
      this.#flying = group;
      await this.#land(group);
      this.#flying = null;
      for (const key of group.keys) this.#ahead.delete(key);
    }
    this.#running = false;
  }

  /** Never rejects: every write of the group is told its own end. */
  async #land(group: Group): Promise<void> {
    let writes: readonly Write[] = group.writes;
    let fresh = false;
    for (let left = attempts; writes.length > 0; left--) {
      try {
        // No turn is given away where nothing is to be waited for.
        const known = fresh ? null : this.#known(writes);
        const states = known ?? (await this.#states(writes, fresh));
        writes = refuse(writes, states);
        if (writes.length === 0) return;
        if (fresh || !this.sums.settled) await this.sums.settle(fresh);
        await this.#store(writes, states);
        for (const write of writes) write.end(null);
        return;
      } catch (error) {
        fresh = true;
        if (left > 1 && isVaultError(error, "conflict")) continue;
        // The failed write may have changed what was read ahead of it.
        this.#ahead.clear();
        for (const write of writes) write.end(error);
        return;
      }
    }
  }

  /** What is stored under the keys, as far as it must be known; null where storage is to be asked. */
  #known(writes: readonly Write[]): Map<string, State | null> | null {
    const states = new Map<string, State | null>();
    for (const { ops } of writes) {
      for (const op of ops) {
        const state = this.#options.known(op.key);
        if (state !== undefined) states.set(op.key, state);
        else if (this.#asks(op)) return null;
      }
    }
    return states;
  }

  /** The same with what storage says. With `fresh` it is asked for all. */
  async #states(writes: readonly Write[], fresh: boolean): Promise<Map<string, State | null>> {
    const { known, forget } = this.#options;
    const states = new Map<string, State | null>();
    const asked: string[] = [];
    for (const { ops } of writes) {
      for (const op of ops) {
        const state = fresh ? undefined : known(op.key);
        if (state !== undefined) states.set(op.key, state);
        else if (fresh || this.#asks(op)) asked.push(op.key);
      }
    }
    if (asked.length > 0) {
      const found = await Promise.all(asked.map((key) => (fresh ? null : this.#ahead.get(key)) ?? this.#state(key)));
      for (const [at, key] of asked.entries()) states.set(key, found[at] ?? null);
    }
    if (fresh) {
      for (const [key, state] of states) if (known(key)?.version !== state?.version) forget(key);
    }
    return states;
  }

  /** One write of the store. Throws what storage throws. */
  async #store(writes: readonly Write[], states: ReadonlyMap<string, State | null>): Promise<void> {
    const { storage } = this.#options;
    const changes: Change[] = [];
    const ops: Op[] = [];
    for (const write of writes) {
      for (const [at, op] of write.ops.entries()) {
        const state = states.get(op.key);
        const before = state === undefined && op.expect === "absent" ? null : state;
        const after = write.after[at] ?? null;
        if (state === null && after === null) continue;
        changes.push({ key: op.key, before, after });
        ops.push(before === undefined ? op : { ...op, expect: before?.version ?? "absent" });
      }
    }
    if (ops.length === 0 && !this.sums.waits) return;
    const sum = this.sums.next(changes);
    if (sum !== null) ops.push(sum.op);
    this.#changes = changes;
    for (const observer of this.#observers) await observer.begins(changes);
    try {
      await storage.write(ops);
    } catch (error) {
      this.#changes = null;
      // Where it was no conflict, it may have landed all the same.
      if (!isVaultError(error, "conflict")) this.sums.doubt();
      for (const observer of this.#observers) observer.lost();
      throw error;
    }
    this.#changes = null;
    sum?.landed();
    for (const observer of this.#observers) observer.landed(changes);
  }
}

/** The writes whose expectations hold; the others are told. */
function refuse(writes: readonly Write[], states: ReadonlyMap<string, State | null>): readonly Write[] {
  const failed = writes.filter(({ ops }) =>
    ops.some(({ key, expect }) => {
      const state = states.get(key);
      return expect !== undefined && state !== undefined && (state?.version ?? "absent") !== expect;
    }),
  );
  if (failed.length === 0) return writes;
  for (const write of failed) write.end(conflict());
  return writes.filter((write) => !failed.includes(write));
}
