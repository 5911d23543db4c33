// Leases: what somebody got for a time, and what ends it. The parts: store (what is kept), issue (making one), lanes
// (revoking them), expiry (what time does).
// Must hold: a lease never outlives its token; what was answered as revoked is revoked, sooner or later, whatever happens
// to this process.

import type { Clock } from "../lib/clock.ts";
import { systemTimer } from "../lib/flight.ts";
import type { Logger } from "../lib/log.ts";
import { isVaultError, VaultError } from "../sdk/errors.ts";
import type { LeaseCall, LeaseType } from "../sdk/mount.ts";
import { pagesOf, type View, type ViewOp } from "../sdk/view.ts";
import { within } from "./broker/trail.ts";
import type { Core } from "./core.ts";
import { Expiry } from "./leases/expiry.ts";
import { idKey, leaseOf, mountKey, tokenOf } from "./leases/keys.ts";
import { Lanes } from "./leases/lanes.ts";
import { Outside } from "./leases/outside.ts";
import { endingNow, type LeaseEntry, LeaseStore } from "./leases/store.ts";
import { noObjects, reader } from "./reader.ts";
import { deniedError } from "./session.ts";

const atOnce = 64;
const namesAtOnce = 256;
/** That a removed mount's leases have before its task lets others go first. */
const grace = 1_000;

export interface LeasesOptions {
  readonly core: () => Core;
  readonly root: View;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that a plugin has to make, renew or revoke something. */
  readonly deadline: number;
}

/** `sync` waits for the first attempt; `force` drops what cannot be revoked. */
export interface Manner {
  readonly sync: boolean;
  readonly force?: boolean;
}

export class Leases {
  readonly store: LeaseStore;
  readonly outside: Outside;
  readonly deadline: number;
  readonly #options: LeasesOptions;
  readonly #lanes: Lanes;
  readonly #expiry: Expiry;

  constructor(options: LeasesOptions) {
    const { core, root, clock, log, deadline } = options;
    this.#options = options;
    this.deadline = deadline;
    this.store = new LeaseStore(root);
    this.#lanes = new Lanes({
      store: this.store,
      now: clock.now,
      log,
      deadline,
      undo: async (entry) => {
        const { type, call } = this.typeOf(entry);
        await type.revoke(entry.undo, call);
      },
      ended: (entry) => core().quotas.leaseEnded(entry),
    });
    const end = (ids: readonly string[]): Promise<unknown> => this.revoke(ids, { sync: false });
    this.outside = new Outside({ root, store: this.store, clock, log, end });
    this.#expiry = new Expiry({ root, tokens: core().tokens, store: this.store, lanes: this.#lanes, clock, log });
  }

  /** Ends what is due. */
  tick(): Promise<void> {
    return this.#expiry.scan();
  }

  async close(): Promise<void> {
    await Promise.all([this.outside.close(), this.#expiry.close()]);
    await this.#lanes.close();
  }

  /** Takes a lease in hand: nobody else ends or renews it meanwhile. False where another has it. */
  take(id: string): boolean {
    return this.#lanes.hold(id);
  }

  /** What is to end of it ends now. */
  letGo(id: string): void {
    this.#lanes.release(id);
    void this.tick();
  }

  /** Writes what makes a lease live, or longer, unless its token has ended. What the token's end says of the lease comes
   *  after this then, and is not lost where both name the same time. */
  keep(token: string | null, ops: readonly ViewOp[]): Promise<number[]> {
    if (token === null) return this.store.write(ops);
    const { tokens } = this.#options.core();
    return tokens.whileThere(token, async () => {
      if ((await tokens.get(token)) === null) throw deniedError();
      return this.store.write(ops);
    });
  }

  /** For an undo that ran too early, perhaps: it runs again. */
  async again(entry: LeaseEntry): Promise<void> {
    if ((await this.store.get(entry.id)) === null) await this.store.write(this.store.add(entry));
    else await this.#mark([entry.id]);
    void this.tick();
  }

  /** After the answer that carries it could not be given. Never throws. */
  async revokeFresh(id: string): Promise<void> {
    await this.revoke([id], { sync: false }).catch((error: unknown) => {
      this.#options.log.error("a lease that nobody was told of stays until it expires", {
        lease_id: id,
        error: error instanceof Error ? error.message : "failed",
      });
    });
  }

  /** Ends leases, tokens among them. What is not there is ended already. Returns why some could not be ended. */
  async revoke(ids: readonly string[], { sync, force = false }: Manner): Promise<ReadonlyMap<string, string>> {
    const failures = new Map<string, string>();
    const waiting: Promise<void>[] = [];
    for (let at = 0; at < ids.length; at += atOnce) {
      const some = ids.slice(at, at + atOnce);
      await this.#endTokens(some.filter((id) => tokenOf(id) !== null));
      const entries = await this.#mark(some.filter((id) => tokenOf(id) === null));
      for (const entry of force ? await this.#giveUp(entries) : entries) {
        // Before it is offered: it cannot be over then.
        const outcome = sync || force ? this.#lanes.outcome(entry.id) : null;
        if (force) this.#lanes.force(entry.id);
        this.#lanes.offer(entry.accessor, entry.id);
        if (outcome !== null) waiting.push(outcome.then((error) => void (error && failures.set(entry.id, error))));
      }
    }
    await Promise.all(waiting);
    return failures;
  }

  async #endTokens(places: readonly string[]): Promise<void> {
    if (places.length === 0) return;
    await this.#options.core().tokens.revokeMany(places.map((id) => tokenOf(id)?.id ?? ""));
    // A place without a token, after a crash on a store without transactions.
    await this.store.write(places.map((id) => ({ key: idKey(id), value: null })));
  }

  /** Drops those that have failed before: they are not tried once more. Returns the others. */
  async #giveUp(entries: readonly LeaseEntry[]): Promise<readonly LeaseEntry[]> {
    const lost = new Set(entries.filter(({ ending, id }) => (ending?.attempts ?? 0) > 0 && this.#lanes.hold(id)));
    if (lost.size === 0) return entries;
    try {
      await this.store.write([...lost].flatMap((entry) => this.store.drop(entry)));
      for (const entry of lost) this.#options.core().quotas.leaseEnded(entry);
    } finally {
      for (const { id } of lost) this.#lanes.release(id);
    }
    return entries.filter((entry) => !lost.has(entry));
  }

  /** Says durably that they are to end now. Returns them as they are then. */
  async #mark(ids: readonly string[]): Promise<LeaseEntry[]> {
    const found = (await Promise.all(ids.map((id) => this.store.get(id)))).filter((entry) => entry !== null);
    if (found.length === 0) return [];
    const now = this.#options.clock.now();
    const marked = found.map(({ value }) => endingNow(value, now));
    const ops = found.flatMap(({ value, version }, at) =>
      this.store.change(value, marked[at] ?? value, { expect: version }),
    );
    try {
      await this.store.write(ops);
      return marked;
    } catch (error) {
      // One of them was renewed, or has ended: each by itself, as it is now.
      if (!isVaultError(error, "conflict")) throw error;
      if (ids.length === 1) return this.#mark(ids);
      const each: LeaseEntry[] = [];
      for (const id of ids) each.push(...(await this.#mark([id])));
      return each;
    }
  }

  /** Ids below a folder of the request path that made them, or this one lease, in order. */
  async *below(prefix: string): AsyncGenerator<readonly string[]> {
    if (prefix === "") return;
    if (tokenOf(prefix) !== null || (await this.store.get(prefix)) !== null) yield [prefix];
    yield* this.#walk(`${prefix}/`);
  }

  async *#walk(folder: string): AsyncGenerator<readonly string[]> {
    for await (const names of pagesOf(this.#options.root, idKey(folder), namesAtOnce)) {
      const ids = names.filter((name) => !name.endsWith("/")).map((name) => `${folder}${name}`);
      if (ids.length > 0) yield ids;
      for (const name of names) if (name.endsWith("/")) yield* this.#walk(`${folder}${name}`);
    }
  }

  /** One level of `lease/id/`; `folder` is "" or ends in "/". */
  list(folder: string, page?: { readonly after?: string; readonly limit?: number }): Promise<readonly string[]> {
    return this.#options.root.list(idKey(folder), page);
  }

  /** Those that cannot be revoked. */
  async stuck(): Promise<LeaseEntry[]> {
    const names = await this.#options.root.list("lease/stuck/");
    const found = await Promise.all(names.map((name) => this.store.get(leaseOf(name))));
    return found.flatMap((entry) => (entry?.value.ending?.stuck ? [entry.value] : []));
  }

  /** Task: ends the leases of a mount that is not there any more. Rejects while some are left. */
  async endMount(accessor: string): Promise<void> {
    const { core, root } = this.#options;
    const folder = mountKey(accessor, "");
    const ending: Promise<unknown>[] = [];
    for (let after = ""; core().generation.mounts.byAccessor(accessor) === null;) {
      const names = await root.list(folder, { after, limit: namesAtOnce });
      const found = await Promise.all(names.map((name) => this.store.get(leaseOf(name))));
      const gone = names.filter((_, at) => found[at] === null);
      if (gone.length > 0) await root.write(gone.map((name) => ({ key: `${folder}${name}`, value: null })));
      const live = found.flatMap((entry) => (entry && entry.value.state !== "revoking" ? [entry.value.id] : []));
      if (live.length > 0) ending.push(this.revoke(live, { sync: true }));
      if (names.length < namesAtOnce) break;
      after = names.at(-1) ?? "";
    }
    if (ending.length > 0) await within(systemTimer, grace, Promise.all(ending)).catch(() => {});
    if (core().generation.mounts.byAccessor(accessor) !== null) return;
    if ((await root.list(folder, { limit: 1 })).length > 0) {
      throw new VaultError("upstream", "the leases of this mount are not all revoked yet");
    }
  }

  /** What ends and renews it. Throws VaultError `upstream` where that is gone. */
  typeOf(entry: LeaseEntry): { readonly type: LeaseType; readonly call: LeaseCall } {
    const { mounts, generation } = this.#options.core();
    const mounted = generation.mounts.byAccessor(entry.accessor);
    const type = (mounted?.leases ?? mounts.leasesOf(entry.accessor))?.[entry.type];
    if (type === undefined) {
      throw new VaultError("upstream", "what made this lease is not there any more; sys/leases/revoke-force drops it");
    }
    const resource: LeaseCall["resource"] = (name) =>
      mounted === null ? noObjects : reader(generation, mounted, name);
    return { type, call: { id: entry.id, resource } };
  }
}
