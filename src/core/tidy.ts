// auth/token/tidy and sys/leases/tidy: looks at every index for what leads nowhere, and ends what should have ended. Nothing
// depends on it: it is for stores whose entries somebody lost or put back.
// Must hold: what is alive stays; one run at a time of each kind; nothing is written after `close`.

import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { Core } from "./core.ts";
import { childKey, idKey, isLease, isToken, leaseOf, tokenOf } from "./leases/keys.ts";
import { dropAll } from "./subtree.ts";

const atOnce = 256;

/** What was found, by name; for the log. */
type Counts = Record<string, number>;

interface Kind {
  readonly what: "tokens" | "leases";
  readonly run: (tidy: Tidy, counts: Counts) => Promise<void>;
}

export class Tidy {
  readonly #core: () => Core;
  readonly #log: Logger;
  readonly #running = new Map<string, Promise<void>>();
  #closed = false;

  constructor(core: () => Core, log: Logger) {
    this.#core = core;
    this.#log = log;
  }

  /** False where it is under way already. */
  start({ what, run }: Kind): boolean {
    if (this.#closed || this.#running.has(what)) return false;
    const counts: Counts = {};
    const running = run(this, counts)
      .then(() => this.#log.info(`tidied ${what}`, counts))
      .catch((error: unknown) => {
        if (this.#closed || isVaultError(error, "sealed")) return;
        this.#log.error(`tidying ${what} stopped`, { error: error instanceof Error ? error.message : "failed" });
      })
      .finally(() => this.#running.delete(what));
    this.#running.set(what, running);
    return true;
  }

  /** Resolves once nothing runs. */
  async idle(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  get core(): Core {
    return this.#core();
  }

  /** Names one level below, a page at a time. */
  async *pages(folder: string): AsyncGenerator<readonly string[]> {
    for (let after = ""; !this.#closed;) {
      const names = await this.core.root.list(folder, { after, limit: atOnce });
      if (names.length > 0) yield names;
      if (names.length < atOnce) return;
      after = names.at(-1) ?? "";
    }
  }

  /** Keys at every depth. */
  async *keys(folder: string): AsyncGenerator<readonly string[]> {
    for await (const names of this.pages(folder)) {
      const keys = names.filter((name) => !name.endsWith("/")).map((name) => `${folder}${name}`);
      if (keys.length > 0) yield keys;
      for (const name of names) if (name.endsWith("/")) yield* this.keys(`${folder}${name}`);
    }
  }

  /** Deletes those of `keys` for which there is nothing any more. */
  async dropUnless(keys: readonly string[], there: (key: string) => Promise<boolean>): Promise<number> {
    const alive = await Promise.all(keys.map(there));
    const stale = keys.filter((_, at) => alive[at] === false);
    if (stale.length > 0) await this.core.root.write(stale.map((key) => ({ key, value: null })));
    return stale.length;
  }
}

const add = (counts: Counts, name: string, more: number): void => void (counts[name] = (counts[name] ?? 0) + more);
const lastOf = (key: string): string => key.slice(key.lastIndexOf("/") + 1);

export const tokenTidy: Kind = {
  what: "tokens",
  run: async (tidy, counts) => {
    const { tokens, leases, root, clock } = tidy.core;
    const isThere = async (id: string): Promise<boolean> => (await tokens.get(id)) !== null;
    for await (const ids of tidy.pages("token/id/")) {
      add(counts, "tokens", ids.length);
      const found = await Promise.all(ids.map((id) => tokens.get(id)));
      const now = clock.now();
      const over: string[] = [];
      for (const entry of found) {
        if (entry === null) continue;
        const { id, parent, expires_at: end, num_uses: left } = entry.value;
        if ((end !== 0 && end <= now) || left < 0 || (parent !== null && !(await isThere(parent)))) over.push(id);
      }
      await tokens.revokeMany(over);
      add(counts, "ended", over.length);
    }
    for await (const folders of tidy.pages("token/child/")) {
      for (const parent of folders.map((name) => name.slice(0, -1))) {
        if (!(await isThere(parent))) {
          await tokens.revokeChildren(parent);
          add(counts, "parents", 1);
          continue;
        }
        for await (const names of tidy.pages(childKey(parent, ""))) {
          const keys = names.filter((name) => isToken(name) || isLease(name)).map((name) => childKey(parent, name));
          const dropped = await tidy.dropUnless(keys, async (key) => {
            const name = lastOf(key);
            return isToken(name) ? isThere(name) : (await leases.store.get(leaseOf(name))) !== null;
          });
          add(counts, "children", dropped);
        }
      }
    }
    for await (const keys of tidy.keys("token/by/")) {
      add(counts, "mappings", await tidy.dropUnless(keys, (key) => isThere(lastOf(key))));
    }
    for await (const folders of tidy.pages("cubbyhole/")) {
      for (const folder of folders) {
        if (await isThere(folder.slice(0, -1))) continue;
        await dropAll(root, `cubbyhole/${folder}`);
        add(counts, "cubbyholes", 1);
      }
    }
  },
};

export const leaseTidy: Kind = {
  what: "leases",
  run: async (tidy, counts) => {
    const { tokens, leases } = tidy.core;
    const prefix = idKey("");
    for await (const keys of tidy.keys(prefix)) {
      const ids = keys.map((key) => key.slice(prefix.length));
      add(counts, "leases", ids.length);
      const places = ids.filter((id) => tokenOf(id) !== null).map(idKey);
      const dropped = await tidy.dropUnless(places, async (key) => {
        const token = tokenOf(key.slice(prefix.length));
        return token !== null && (await tokens.get(token.id)) !== null;
      });
      add(counts, "places", dropped);
      const over: string[] = [];
      for (const id of ids.filter((one) => tokenOf(one) === null)) {
        const lease = (await leases.store.get(id))?.value;
        if (lease && lease.state === "active" && lease.token !== null && (await tokens.get(lease.token)) === null)
          over.push(id);
      }
      await leases.revoke(over, { sync: false });
      add(counts, "ended", over.length);
    }
    for (const folder of ["lease/mount/", "lease/stuck/"]) {
      for await (const keys of tidy.keys(folder)) {
        const dropped = await tidy.dropUnless(
          keys,
          async (key) => (await leases.store.get(leaseOf(lastOf(key)))) !== null,
        );
        add(counts, "indexes", dropped);
      }
    }
  },
};

/** Started or not, as Vault tells it. */
export const tidyAnswer = (
  started: boolean,
): { readonly outcome: "accepted"; readonly warnings: readonly string[] } => ({
  outcome: "accepted",
  warnings: [
    started
      ? "Tidy operation successfully started. Any information from the operation will be printed to the server's log."
      : "Tidy operation already in progress.",
  ],
});
