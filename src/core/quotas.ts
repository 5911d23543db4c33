// Quotas: how often an address may ask, and how many leases there may be. Defined by the API, kept in the barrier; what is
// counted is kept in memory alone.
// Must hold: where no quota is defined a request is asked for nothing (`rates` and `leases` are null); a definition counts
// once it is stored.

import type { Clock } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { Generation } from "./generation.ts";
import type { LeaseEntry } from "./leases/store.ts";
import type { Mounted } from "./mounts.ts";
import { type Index, type LeaseCount, LeaseLimits } from "./quotas/leases.ts";
import { type RateLimit, Rates, type Taken } from "./quotas/rate.ts";
import { type Place, sameTarget, type Target, Targets } from "./quotas/target.ts";
import type { TokenEntry } from "./tokens/entry.ts";

export interface QuotaConfig {
  readonly enable_rate_limit_audit_logging: boolean;
  readonly enable_rate_limit_response_headers: boolean;
  readonly rate_limit_exempt_paths: readonly string[];
}

/** Paths that Vault leaves out, where nobody says otherwise. */
const standard: QuotaConfig = {
  enable_rate_limit_audit_logging: false,
  enable_rate_limit_response_headers: false,
  rate_limit_exempt_paths: [
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
  ],
};

export const quotaTypes = ["rate-limit", "lease-count"] as const;
export type QuotaType = (typeof quotaTypes)[number];
interface QuotaOf {
  readonly "rate-limit": RateLimit;
  readonly "lease-count": LeaseCount;
}
export type Quota<T extends QuotaType> = QuotaOf[T];

/** Rate limits that are in force. */
export interface LiveRates {
  readonly targets: Targets<RateLimit>;
  readonly rates: ReadonlyMap<RateLimit, Rates>;
}

export interface QuotasOptions {
  /** `quota/` below the barrier's root. */
  readonly view: View;
  readonly root: View;
  readonly clock: Clock;
  readonly generation: () => Generation;
  /** Where the tokens stand that logins of a mapping, or of a whole mount, made. */
  readonly mappingFolder: (accessor: string, kind?: string, name?: string) => string;
}

export class Quotas {
  readonly #options: QuotasOptions;
  readonly #lock = new Mutex();
  #defined: { readonly [T in QuotaType]: Map<string, Quota<T>> } = {
    "rate-limit": new Map(),
    "lease-count": new Map(),
  };
  #config = standard;
  /** Whether a write failed of which it is not known what landed. */
  #unclear = false;
  /** Null where there is no rate limit. */
  rates: LiveRates | null = null;
  /** Null where there is no lease count. */
  leases: LeaseLimits | null = null;

  constructor(options: QuotasOptions) {
    this.#options = options;
  }

  /** What is stored is what counts. */
  async open(): Promise<void> {
    const { view } = this.#options;
    const config = (await view.getJson<QuotaConfig>("config"))?.value ?? standard;
    const [rates, leases] = [
      await this.#stored<RateLimit>("rate-limit"),
      await this.#stored<LeaseCount>("lease-count"),
    ];
    this.#config = config;
    this.#defined = { "rate-limit": rates, "lease-count": leases };
    for (const type of quotaTypes) this.#arm(type);
    this.#unclear = false;
  }

  async #stored<Q extends object>(type: QuotaType): Promise<Map<string, Q>> {
    const { view } = this.#options;
    const found = new Map<string, Q>();
    for (const name of await view.list(`${type}/`)) {
      const entry = await view.getJson<Q>(`${type}/${name}`);
      if (entry !== null) found.set(name, entry.value);
    }
    return found;
  }

  get config(): QuotaConfig {
    return this.#config;
  }

  configure(config: QuotaConfig): Promise<void> {
    return this.#change(async () => {
      await this.#write("config", { ...config });
      this.#config = config;
    });
  }

  /** One change at a time, of what is stored. */
  #change(task: () => Promise<void>): Promise<void> {
    return this.#lock.run("quotas", async () => {
      if (this.#unclear) await this.open();
      await task();
    });
  }

  /** Where it is not known what landed, storage is asked. */
  async #write(key: string, value: object | null): Promise<void> {
    try {
      await this.#options.view.write([{ key, value }]);
    } catch (error) {
      this.#unclear = true;
      await this.open().catch(() => {}); // tried again before the next change
      throw error;
    }
  }

  get<T extends QuotaType>(type: T, name: string): Quota<T> | null {
    return this.#defined[type].get(name) ?? null;
  }

  names(type: QuotaType): readonly string[] {
    return [...this.#defined[type].keys()].sort();
  }

  /** Throws VaultError `invalid` where another one is about the same. */
  put<T extends QuotaType>(type: T, quota: Quota<T>): Promise<void> {
    return this.#change(async () => {
      const defined: Map<string, Quota<T>> = this.#defined[type];
      for (const other of defined.values()) {
        if (other.name === quota.name || !sameTarget(other, quota)) continue;
        throw new VaultError(
          "invalid",
          `quota rule with similar properties exists under the name ${JSON.stringify(other.name)}`,
        );
      }
      await this.#write(`${type}/${quota.name}`, { ...quota });
      defined.set(quota.name, quota);
      this.#arm(type);
    });
  }

  remove(type: QuotaType, name: string): Promise<void> {
    return this.#change(async () => {
      if (!this.#defined[type].has(name)) return;
      await this.#write(`${type}/${name}`, null);
      this.#defined[type].delete(name);
      this.#arm(type);
    });
  }

  /** The path that a quota is about, as it is now. */
  pathOf({ accessor, suffix, path }: Target & { readonly path: string }): string {
    const mounted = accessor === null ? null : this.#options.generation().mounts.byAccessor(accessor);
    return mounted === null ? path : `${mounted.path}${suffix}`;
  }

  /** Whether rate limits leave a path alone. */
  isExempt(path: string): boolean {
    return this.#config.rate_limit_exempt_paths.some((exempt) =>
      exempt.endsWith("*") ? path.startsWith(exempt.slice(0, -1)) : path === exempt || path.startsWith(`${exempt}/`),
    );
  }

  /** Counts a request; null where none of the limits is about it. */
  take({ targets, rates }: LiveRates, place: Place, address: string, now: number): Taken | null {
    const quota = targets.find(place);
    return quota === null ? null : (rates.get(quota)?.take(address, now) ?? null);
  }

  /** The same without counting; null too where it could be let through. */
  peek({ targets, rates }: LiveRates, place: Place, address: string, now: number): Taken | null {
    const quota = targets.find(place);
    return quota === null ? null : (rates.get(quota)?.peek(address, now) ?? null);
  }

  /** Runs `make`, which makes one lease at a path below a mount. */
  leased<T>(mounted: Mounted | null, path: string, role: string | null, make: () => Promise<T>): Promise<T> {
    return this.leases === null ? make() : this.leases.within(placeOf(mounted, path, role), path, make);
  }

  tokenEnded({ expires_at: end, mapping, path, wrapping }: TokenEntry): void {
    if (this.leases === null || end === 0) return;
    const { mounts } = this.#options.generation();
    const mounted = wrapping ? null : mapping === null ? mounts.route(path) : mounts.byAccessor(mapping.accessor);
    this.leases.ended(placeOf(mounted, path, mapping?.name ?? null));
  }

  leaseEnded({ accessor, id }: LeaseEntry): void {
    if (this.leases === null) return;
    const path = id.slice(0, id.lastIndexOf("/"));
    this.leases.ended(placeOf(this.#options.generation().mounts.byAccessor(accessor), path, null));
  }

  #arm(type: QuotaType): void {
    if (type === "rate-limit") {
      const quotas = [...this.#defined[type].values()];
      // What was counted of the others goes on.
      const before = this.rates?.rates;
      const rates = new Map(quotas.map((quota) => [quota, before?.get(quota) ?? new Rates(quota)]));
      this.rates = quotas.length === 0 ? null : { targets: new Targets(quotas), rates };
      return;
    }
    const quotas = [...this.#defined[type].values()];
    const { root, clock } = this.#options;
    const indexes = (quota: LeaseCount): readonly Index[] => this.#indexes(quota);
    this.leases = quotas.length === 0 ? null : new LeaseLimits(quotas, { root, clock, indexes });
  }

  #indexes({ accessor, suffix, role }: LeaseCount): readonly Index[] {
    const all = (folder: string): Index => ({ folder, head: "", deep: true });
    if (accessor === null) return [all("lease/id/")];
    const { generation, mappingFolder } = this.#options;
    const mounted = generation().mounts.byAccessor(accessor);
    if (mounted === null) return [];
    if (role !== "")
      return (mounted.plugin?.resources ?? []).map(({ kind }) => all(mappingFolder(accessor, kind, role)));
    const at = `lease/id/${mounted.path}`;
    if (suffix === "") {
      // Wherever the mount was before.
      if (mounted.class === "auth") return [all(mappingFolder(accessor))];
      return [all(mounted.class === "secret" ? `lease/mount/${accessor}/` : at)];
    }
    if (!suffix.endsWith("*")) return [{ ...all(`${at}${suffix}/`), deep: false }];
    const path = `${at}${suffix.slice(0, -1)}`;
    const cut = path.lastIndexOf("/") + 1;
    return [{ ...all(path.slice(0, cut)), head: path.slice(cut) }];
  }
}

export const placeOf = (mounted: Mounted | null, path: string, role: string | null): Place => ({
  accessor: mounted?.accessor ?? null,
  // A path from before a move is below no mount.
  below: mounted === null || !path.startsWith(mounted.path) ? "" : path.slice(mounted.path.length),
  role,
});
