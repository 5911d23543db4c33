// One call's lease: kept as pending with its undo record, made, then active.
// Must hold: nothing is made before its undo record is durable, nor below a token or a mount that has ended; what is pending
// and in nobody's hands is revoked, so that a crash at any point leaves a lease to end and never an orphan.
// Known gap: what a `create` makes that outlives its deadline is ended when it comes back, or after ten deadlines; in
// between it exists, although nobody has been told of it.

import { VaultError } from "../../sdk/errors.ts";
import { ofAddress } from "../../sdk/origin.ts";
import { systemTimer } from "../../lib/flight.ts";
import type { Call, Granted, LeaseTerms, Undo } from "../../sdk/mount.ts";
import type { Request, Response } from "../../sdk/request.ts";
import { mountError } from "../blocks/bars.ts";
import { within } from "../broker/trail.ts";
import type { Core } from "../core.ts";
import { ttlsOf } from "../login.ts";
import type { Mounted } from "../mounts.ts";
import { deniedError, type Session } from "../session.ts";
import { randomText } from "../tokens/store.ts";
import { checkPath } from "./keys.ts";
import { stoppedError } from "./outside.ts";
import { endingNow, type LeaseEntry } from "./store.ts";

/** Deadlines after which what still is being made is taken for lost. */
const patience = 10;

export const capped = (asked: number, max: number): string =>
  `TTL of "${asked}s" exceeded the effective max_ttl of "${max}s"; TTL value is capped accordingly`;

/** For calls of mounts that lease nothing. */
export const noLease: Call["lease"] = () =>
  Promise.reject(new VaultError("internal", "the plugin leases what it does not say how to end"));

export interface IssueOptions {
  readonly core: Core;
  readonly mounted: Mounted;
  readonly request: Request;
  readonly session: Session | null;
  /** Whether the handler runs only after its audit entry is kept. */
  readonly mutates: boolean;
  readonly warn: (text: string) => void;
}

export class Issue {
  readonly #options: IssueOptions;
  #begun = false;
  #lease: NonNullable<Response["lease"]> | null = null;

  constructor(options: IssueOptions) {
    this.#options = options;
  }

  /** What the answer carries; null where nothing was leased. */
  get lease(): NonNullable<Response["lease"]> | null {
    return this.#lease;
  }

  /** Ends what was leased: the answer will not be given. */
  async revoke(): Promise<void> {
    if (this.#lease !== null) await this.#options.core.leases.revokeFresh(this.#lease.id);
  }

  async make<T>(terms: LeaseTerms, undo: Undo, create: (granted: Granted) => Promise<T>): Promise<T> {
    const { core } = this.#options;
    core.leases.outside.admit();
    const pending = this.#draft(terms, undo);
    const { id } = pending;
    const { mounted, request } = this.#options;
    const version = await core.quotas.leased(mounted, request.path, null, () => this.#keep(pending));
    const ttl = Math.floor((pending.expires_at - pending.issued_at) / 1000);
    let ended = false;
    const creating = start(() => create({ id, ttl, expiresAt: pending.expires_at })).finally(() => {
      ended = true;
    });
    let value: T;
    try {
      value = await within(systemTimer, core.leases.deadline, creating);
    } catch (error) {
      if (ended) {
        core.leases.letGo(id);
        throw error;
      }
      this.#abandon(pending, creating);
      throw new VaultError("upstream", `what was asked for was not made within ${core.leases.deadline} ms`);
    }
    try {
      const active: LeaseEntry = { ...pending, state: "active" };
      await core.leases.keep(pending.token, core.leases.store.change(pending, active, { expect: version }));
    } finally {
      // Where that failed it is pending in nobody's hands, or revoking already.
      core.leases.letGo(id);
    }
    this.#lease = { id, duration: ttl, renewable: pending.renewable };
    return value;
  }

  #draft(terms: LeaseTerms, undo: Undo): LeaseEntry {
    const { core, mounted, request, session, mutates, warn } = this.#options;
    const type = mounted.leases?.[terms.type];
    if (type === undefined) throw new VaultError("internal", "the plugin leases what it does not say how to end");
    if (!mutates) throw new VaultError("internal", "a handler that leases must say that it mutates");
    if (this.#begun) throw new VaultError("internal", "one call makes one lease");
    if (session === null) throw new VaultError("internal", "a lease needs a token that it ends with");
    this.#begun = true;
    checkPath(request.path);
    const now = core.clock.now();
    const wanted = { ttl: terms.ttl, max_ttl: terms.max_ttl, explicit_max_ttl: 0, period: 0 };
    const { ttl: granted, max } = ttlsOf(core, mounted, wanted);
    if (terms.ttl > granted) warn(capped(terms.ttl, max));
    const left = session.expiresAt === 0 ? Infinity : Math.floor((session.expiresAt - now) / 1000);
    if (left <= 0) throw deniedError();
    if (left < granted) warn(`TTL of "${granted}s" is capped to "${left}s", which its token has left`);
    const batch = session.principal.tokenType === "batch";
    const origins = [...(batch ? session.principal.origins : []), ...ofAddress(request.connection)];
    return {
      id: `${request.path}/${randomText(24)}`,
      state: "pending",
      accessor: mounted.accessor,
      type: terms.type,
      undo,
      token: batch ? session.entry.parent : session.entry.id,
      ...(origins.length > 0 && { origins }),
      issued_at: now,
      expires_at: now + Math.min(granted, left) * 1000,
      last_renewal: 0,
      until: batch ? session.expiresAt : 0,
      default_ttl: terms.ttl,
      max_ttl: terms.max_ttl,
      renewable: type.renew !== undefined,
      ending: null,
    };
  }

  /** Returns its version, in our hands. */
  async #keep(pending: LeaseEntry): Promise<number> {
    const { core } = this.#options;
    const { leases } = core;
    leases.take(pending.id);
    try {
      const [version = 0] = (await leases.keep(pending.token, leases.store.add(pending))).slice(-1);
      // A mount that is removed from here on finds it, and so do a block and who ends all before a seal.
      const { mounts, blocks } = core.generation;
      const { origins: whose = [] } = this.#options.session?.principal ?? {};
      const isShut = blocks?.refusesMount(pending.accessor) === true;
      const isRefused = blocks?.refuses([...whose, ...(pending.origins ?? [])]) === true;
      const isStopped = leases.outside.stoppedUntil !== null;
      if (mounts.byAccessor(pending.accessor) !== null && !isShut && !isRefused && !isStopped) return version;
      await leases.store.write(leases.store.drop(pending));
      if (isRefused) throw deniedError();
      if (isShut) throw mountError(this.#options.mounted.path);
      if (isStopped) throw stoppedError();
      throw new VaultError("not_found", `no handler for route "${this.#options.request.path}". route entry not found.`);
    } catch (error) {
      leases.letGo(pending.id);
      throw error;
    }
  }

  /** `creating` has not ended in time: it is ended when it does. */
  #abandon(pending: LeaseEntry, creating: Promise<unknown>): void {
    const { leases, clock } = this.#options.core;
    let gone = false;
    const cancel = systemTimer.after(leases.deadline * patience, () => {
      gone = true;
      leases.letGo(pending.id);
    });
    const end = async (): Promise<void> => {
      cancel();
      // It may have been revoked before there was anything to revoke.
      if (gone) await leases.again(endingNow(pending, clock.now()));
      else leases.letGo(pending.id);
    };
    creating.then(end, end).catch(() => {});
  }
}

async function start<T>(create: () => Promise<T>): Promise<T> {
  return create();
}
