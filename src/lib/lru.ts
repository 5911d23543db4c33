// Values by key, bounded by the sum of their weights. What has not been asked for longest goes first, roughly: those that
// were asked for since they last were the oldest are spared once (second chance). Asking then writes one flag in one node,
// where moving it would touch four that are not in the processor's cache.
// The order is a ring of nodes and not the order of the Map: moving a key to the end of a Map leaves a hole at its front,
// and finding the oldest key then means stepping over all holes.

interface Node<V> {
  readonly key: string;
  value: V;
  weight: number;
  used: boolean;
  older: Node<V>;
  newer: Node<V>;
}

export class Lru<V> {
  readonly #nodes = new Map<string, Node<V>>();
  readonly #limit: number;
  /** The newest; its `newer` is the oldest, since the nodes form a ring. */
  #newest: Node<V> | null = null;
  #weight = 0;

  /** `limit` in the unit of the weights, bytes by custom. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): V | undefined {
    const node = this.#nodes.get(key);
    if (node === undefined) return undefined;
    if (!node.used) node.used = true;
    return node.value;
  }

  /** Replaces what is there. A value heavier than the whole limit is not kept. */
  set(key: string, value: V, weight: number): void {
    this.delete(key);
    if (weight > this.#limit) return;
    const node = { key, value, weight, used: false } as Node<V>;
    this.#nodes.set(key, node);
    this.#append(node);
    this.#weight += weight;
    while (this.#weight > this.#limit && this.#newest !== null) this.#turn(this.#newest.newer);
  }

  delete(key: string): void {
    const node = this.#nodes.get(key);
    if (node === undefined) return;
    this.#nodes.delete(key);
    this.#unlink(node);
    this.#weight -= node.weight;
  }

  clear(): void {
    this.#nodes.clear();
    this.#newest = null;
    this.#weight = 0;
  }

  *values(): Iterable<V> {
    for (const node of this.#nodes.values()) yield node.value;
  }

  get size(): number {
    return this.#nodes.size;
  }

  get weight(): number {
    return this.#weight;
  }

  /** Ends the oldest, or spares it. */
  #turn(oldest: Node<V>): void {
    if (!oldest.used) {
      this.delete(oldest.key);
      return;
    }
    oldest.used = false;
    this.#unlink(oldest);
    this.#append(oldest);
  }

  #append(node: Node<V>): void {
    const newest = this.#newest;
    if (newest === null) {
      node.older = node;
      node.newer = node;
    } else {
      node.older = newest;
      node.newer = newest.newer;
      newest.newer.older = node;
      newest.newer = node;
    }
    this.#newest = node;
  }

  #unlink(node: Node<V>): void {
    if (node.newer === node) {
      this.#newest = null;
      return;
    }
    node.older.newer = node.newer;
    node.newer.older = node.older;
    if (this.#newest === node) this.#newest = node.older;
  }
}
