// A map that never changes: a change makes another one, which shares all but the few shards that it touches, so that one of a
// hundred thousand entries follows its predecessor in microseconds. Reads are those of a Map behind a hash of the key.
// Must hold: no shard that a map was handed out with is ever changed.
// Known gap: keys that hardly differ where the hash looks, by chance or by choice, share shards: a change then costs up to a
// copy of them all. Reads stay as they are.

import type { Work } from "./slices.ts";

type Shard<V> = Map<string, V>;

/** Entries of a shard, on average, before there are four times as many shards. */
const full = 64;

/** FNV-1a over the last characters and some of the others, as reading a long key costs more than finding it. */
function hashOf(key: string): number {
  const { length } = key;
  const near = Math.max(0, length - 8);
  let hash = length;
  for (let at = near; at < length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  const step = 1 + (near >>> 3);
  for (let at = 0; at < near; at += step) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  // The lowest bits know least of the rest.
  return hash ^ (hash >>> 15);
}

export class Shards<V> {
  readonly size: number;
  /** A power of two. */
  readonly #shards: readonly Shard<V>[];

  /** Not to be called: `Draft` makes all but the empty one. */
  constructor(shards: readonly Shard<V>[] = [new Map()], size = 0) {
    this.#shards = shards;
    this.size = size;
  }

  get(key: string): V | undefined {
    return shardOf(this.#shards, key)?.get(key);
  }

  has(key: string): boolean {
    return shardOf(this.#shards, key)?.has(key) === true;
  }

  *keys(): Generator<string> {
    for (const shard of this.#shards) yield* shard.keys();
  }

  *values(): Generator<V> {
    for (const shard of this.#shards) yield* shard.values();
  }

  /** Keys of which `after` has something else, or nothing, or which only it has. */
  *changed(after: Shards<V>): Work<readonly string[]> {
    const keys: string[] = [];
    if (this.#shards.length !== after.#shards.length) {
      for (const shard of this.#shards) {
        for (const [key, value] of shard) if (after.get(key) !== value) keys.push(key);
        yield;
      }
      for (const shard of after.#shards) {
        for (const key of shard.keys()) if (!this.has(key)) keys.push(key);
        yield;
      }
      return keys;
    }
    for (const [at, before] of this.#shards.entries()) {
      const now = after.#shards[at];
      if (now === before || now === undefined) continue;
      for (const [key, value] of before) if (now.get(key) !== value) keys.push(key);
      for (const key of now.keys()) if (!before.has(key)) keys.push(key);
      yield;
    }
    return keys;
  }

  draft(): Draft<V> {
    return new Draft(this, this.#shards);
  }
}

const indexOf = (shards: readonly unknown[], key: string): number =>
  shards.length === 1 ? 0 : hashOf(key) & (shards.length - 1);

const shardOf = <V>(shards: readonly Shard<V>[], key: string): Shard<V> | undefined => shards[indexOf(shards, key)];

/** A map in the making: each shard is copied once, when it is first touched. */
export class Draft<V> {
  readonly #base: Shards<V>;
  #shards: Shard<V>[];
  /** Those that are this draft's own. */
  #own = new Set<number>();
  #size: number;
  #changed = false;

  constructor(base: Shards<V>, shards: readonly Shard<V>[]) {
    this.#base = base;
    this.#shards = [...shards];
    this.#size = base.size;
  }

  get(key: string): V | undefined {
    return shardOf(this.#shards, key)?.get(key);
  }

  set(key: string, value: V): void {
    const at = indexOf(this.#shards, key);
    const before = this.#shards[at]?.get(key);
    if (before === value) return;
    this.#open(at).set(key, value);
    if (before === undefined) this.#size += 1;
    if (this.#size > full * this.#shards.length) this.#grow();
  }

  delete(key: string): void {
    const at = indexOf(this.#shards, key);
    if (this.#shards[at]?.has(key) !== true) return;
    this.#open(at).delete(key);
    this.#size -= 1;
  }

  /** Ends the draft. The map that it came from where nothing has changed. */
  done(): Shards<V> {
    const result = this.#changed ? new Shards(this.#shards, this.#size) : this.#base;
    this.#shards = [];
    return result;
  }

  #open(at: number): Shard<V> {
    this.#changed = true;
    let shard = this.#shards[at];
    if (shard === undefined || !this.#own.has(at)) {
      shard = new Map(shard);
      this.#shards[at] = shard;
      this.#own.add(at);
    }
    return shard;
  }

  #grow(): void {
    const before = this.#shards;
    const shards = Array.from({ length: before.length * 4 }, (): Shard<V> => new Map());
    for (const shard of before) for (const [key, value] of shard) shardOf(shards, key)?.set(key, value);
    this.#shards = shards;
    this.#own = new Set(shards.keys());
  }
}
