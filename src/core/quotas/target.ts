// What a quota is about, and which of several is meant: as in Vault, a role's before a path's, an equal path's before the
// longest beginning, then the mount's, then the one that is about everything.
// Must hold: a mount is meant by its accessor, so that its quotas move with it.

export interface Target {
  /** Null for everything. */
  readonly accessor: string | null;
  /** Below the mount; "" for all of it, and with `*` at the end for what begins so. */
  readonly suffix: string;
  /** Name of a login's role; "" for all. */
  readonly role: string;
}

export interface Place {
  readonly accessor: string | null;
  /** Path below the mount. */
  readonly below: string;
  readonly role: string | null;
}

interface Shelf<T> {
  whole: T | null;
  readonly roles: Map<string, T>;
  readonly paths: Map<string, T>;
  /** Longest first. */
  globs: { readonly head: string; readonly quota: T }[];
}

export const sameTarget = (one: Target, other: Target): boolean =>
  one.accessor === other.accessor && one.suffix === other.suffix && one.role === other.role;

/** Which quota is meant by a place. */
export class Targets<T extends Target> {
  #global: T | null = null;
  readonly #mounts = new Map<string, Shelf<T>>();

  constructor(quotas: Iterable<T>) {
    for (const quota of quotas) this.#add(quota);
  }

  find({ accessor, below, role }: Place): T | null {
    const shelf = accessor === null ? undefined : this.#mounts.get(accessor);
    if (shelf === undefined) return this.#global;
    const own = role === null ? undefined : shelf.roles.get(role);
    if (own !== undefined) return own;
    const path = below.endsWith("/") ? below.slice(0, -1) : below;
    const exact = shelf.paths.get(path);
    if (exact !== undefined) return exact;
    const glob = shelf.globs.find(({ head }) => path.startsWith(head));
    return glob?.quota ?? shelf.whole ?? this.#global;
  }

  /** Whether it matters who logs in. */
  hasRoles(accessor: string): boolean {
    return (this.#mounts.get(accessor)?.roles.size ?? 0) > 0;
  }

  #add(quota: T): void {
    const { accessor, suffix, role } = quota;
    if (accessor === null) {
      this.#global = quota;
      return;
    }
    let shelf = this.#mounts.get(accessor);
    if (shelf === undefined) {
      this.#mounts.set(accessor, (shelf = { whole: null, roles: new Map(), paths: new Map(), globs: [] }));
    }
    if (role !== "") shelf.roles.set(role, quota);
    else if (suffix === "") shelf.whole = quota;
    else if (!suffix.endsWith("*")) shelf.paths.set(suffix, quota);
    else {
      shelf.globs.push({ head: suffix.slice(0, -1), quota });
      shelf.globs.sort((a, b) => b.head.length - a.head.length);
    }
  }
}
