// The audit broker: formats each entry once, hashes what is secret, chains the lines and hands them to all devices.
// Must hold: an entry is kept when the first device, and every required one, has it; what cannot be kept in time is a
// VaultError `audit`, and where the request entry failed the response entry fails too, whoever waited for what; without a
// device nothing is kept.

import type { KeyObject } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { systemTimer, type Timer } from "../lib/flight.ts";
import type { AuditDevice, Head } from "../sdk/audit.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Shared } from "./broker/draft.ts";
import { Format, type Outcome } from "./broker/entry.ts";
import { type Chain, Feed, type FeedStatus, noHead } from "./broker/feed.ts";
import { Hasher } from "./broker/hasher.ts";
import { chooseStart, type Standing } from "./broker/heads.ts";
import { Trail, type Wait, within } from "./broker/trail.ts";
import type { Bounds } from "./broker/window.ts";
import type { Exchange } from "./exchange.ts";
import type { AuditedHeaders } from "./settings.ts";

export interface BrokerOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Milliseconds that a device may take to keep a batch. */
  readonly deadlineMs: number;
  readonly timer?: Timer;
  /** Milliseconds that only go forward, from anywhere. */
  readonly steady?: () => number;
  readonly bounds?: Bounds;
}

/** The vault's own record of the chain's head, in its encrypted storage. */
export interface HeadRecord {
  load(): Promise<Head | null>;
  save(head: Head): Promise<void>;
}

export interface BrokerSources {
  readonly devices: readonly { readonly device: AuditDevice; readonly required: boolean }[];
  /** HMAC-SHA-256, at most 64 bytes; the same for the life of the vault. */
  readonly hashKey: KeyObject;
  /** Finds a log that was cut or rewritten while the vault was down. Nothing is found without it. */
  readonly record?: HeadRecord;
}

interface Live {
  readonly hasher: Hasher;
  readonly format: Format;
  readonly trail: Trail;
  readonly chain: Chain;
  readonly record: HeadRecord | null;
  /** Stops the timer of the next save. */
  cancel: () => void;
  saved: number;
}

/** A request entry, and what its response entry needs of it. The door holds it: a map by exchange would cost each request
 *  more than the object, and keep it alive longer. */
export interface Begun {
  /** Need not be waited for: the response entry fails where it did. */
  readonly kept: Promise<void>;
  readonly entry: {
    readonly live: Live;
    readonly exchange: Exchange;
    readonly shared: Shared;
    readonly wait: Wait;
  } | null;
}

const bounds: Bounds = { spare: 8 * 1024 * 1024, most: 64 * 1024 * 1024 };
const saveEvery = 60_000;

const closed = (): VaultError =>
  new VaultError("audit", "the audit log is closed: the vault is sealed or shutting down");

const unwritten = (cause: unknown): VaultError =>
  new VaultError("audit", "the audit entry of this request could not be written", { cause });

const rejected = (error: VaultError): Promise<void> => {
  const promise = Promise.reject(error);
  promise.catch(() => {}); // as with every entry: who does not wait is told by the next one
  return promise;
};

export class Broker {
  readonly #options: Required<BrokerOptions>;
  #live: Live | null = null;

  constructor(options: BrokerOptions) {
    this.#options = { timer: systemTimer, steady: () => performance.now(), bounds, ...options };
  }

  /** At unseal. Every device must answer: one that holds more than the others would be contradicted by what is written
   *  next. Throws VaultError `audit` naming the device; the devices are then the caller's to close. */
  async open(sources: BrokerSources): Promise<void> {
    if (this.#live !== null) throw new VaultError("internal", "the audit broker is open already");
    const { devices, record = null } = sources;
    if (devices.length === 0) {
      throw new VaultError("audit", "no audit device is configured: add one under `audit:` in the server config");
    }
    const standings = await Promise.all(devices.map((one) => this.#ask(one)));
    const remembered = (await record?.load()) ?? null;
    const start = await chooseStart(standings, remembered, this.#options.log);
    const { log, timer, deadlineMs: deadline } = this.#options;
    const trail = new Trail(start.head ?? noHead, { ...this.#options, deadline });
    const hasher = new Hasher(sources.hashKey);
    const format = new Format(hasher);
    const chain: Chain = {
      window: trail.window,
      log,
      timer,
      sources: (except, seq) => trail.sources(except, seq),
      hashOf: (except, seq) => trail.hashOf(except, seq),
      advanced: () => trail.advanced(),
    };
    const live: Live = {
      hasher,
      format,
      trail,
      chain,
      record,
      cancel: () => {},
      saved: remembered?.seq ?? 0,
    };
    this.#live = live;
    const good = standings.filter((one) => !start.refused.has(one.device));
    trail.start(good.map(({ device, required, head }) => new Feed(device, required, head, chain)));
    this.#schedule(live);
  }

  /** The request entry. */
  request(exchange: Exchange): Begun {
    const live = this.#live;
    if (live === null) return { kept: rejected(closed()), entry: null };
    try {
      const shared = live.format.shared(exchange);
      const wait = live.trail.add(live.format.request(this.#options.clock.now(), shared));
      return { kept: wait.kept, entry: { live, exchange, shared, wait } };
    } catch (error) {
      return { kept: rejected(unwritten(error)), entry: null };
    }
  }

  /** The response entry. Resolves once both are kept. */
  response({ kept, entry }: Begun, outcome: Outcome): Promise<void> {
    if (entry === null) return kept;
    const { live, exchange, shared, wait: before } = entry;
    // One that was opened since has another chain.
    if (live !== this.#live) return rejected(closed());
    try {
      const wait = live.trail.add(live.format.response(this.#options.clock.now(), shared, exchange, outcome));
      return before.failed ? before.kept : wait.kept;
    } catch (error) {
      return rejected(unwritten(error));
    }
  }

  /** An attempt to apply a commit: what, whose, and how it ended. Stands in clear; holds no secret. */
  reconcile(entry: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#plain("reconcile", entry);
  }

  /** From now on entries have these headers of their requests. */
  auditHeaders(headers: AuditedHeaders): void {
    this.#live?.format.auditHeaders(headers);
  }

  /** What the vault did by itself ("unseal", "seal"), in clear. */
  event(name: string, facts: Readonly<Record<string, unknown>> = {}): Promise<void> {
    return this.#plain("event", { name, ...facts });
  }

  /** As `sys/audit-hash`: what stands in the log in place of `text`. Throws VaultError `audit` while closed. */
  hash(text: string): string {
    if (this.#live === null) throw closed();
    return this.#live.hasher.hash(text);
  }

  /** The furthest line that a device keeps; null where there is none, or while closed. */
  head(): Head | null {
    const kept = this.#live?.trail.kept;
    return kept === undefined || kept.seq === 0 ? null : kept;
  }

  status(): readonly FeedStatus[] {
    return this.#live?.trail.status ?? [];
  }

  /** One more device while the log is open, which is sent what it lacks from the first line on. Throws VaultError `invalid`
   *  where it holds lines that are not known to be this chain's. */
  async add(device: AuditDevice): Promise<void> {
    const live = this.#live;
    if (live === null) throw closed();
    const head = await within(this.#options.timer, this.#options.deadlineMs, device.head());
    const feed = new Feed(device, false, head, live.chain);
    const { trail } = live;
    const known = head === null ? null : (trail.window.hashOf(head.seq) ?? (await trail.hashOf(feed, head.seq)));
    if (head !== null && known !== head.hash)
      throw new VaultError("invalid", "what it holds is not known to be of this vault's audit: choose another file");
    if (this.#live !== live) throw closed();
    trail.attach(feed);
  }

  /** Lets go of a device. Throws VaultError `invalid` while it is the only one that keeps the newest lines. */
  async remove(name: string): Promise<void> {
    const live = this.#live;
    if (live === null) throw closed();
    const feed = live.trail.feeds.find((one) => one.device.name === name);
    if (feed === undefined || (await live.trail.detach(feed))) return;
    throw new VaultError("invalid", "the other audit devices do not keep yet what this one does: try again later");
  }

  /** After an outside rotation of log files. A device that cannot goes on with the file that it has. */
  async reopen(): Promise<void> {
    for (const { device } of this.#live?.trail.feeds ?? []) {
      await device.reopen?.().catch((error: unknown) => {
        this.#options.log.error("audit device could not open its file again", { device: device.name, error });
      });
    }
  }

  /** At seal. Entries under way are still kept, up to the deadline; later ones are refused. Closes the devices. */
  async close(): Promise<void> {
    const live = this.#live;
    if (live === null) return;
    this.#live = null;
    live.cancel();
    await live.trail.close();
    await this.#save(live);
    live.hasher.wipe();
  }

  #plain(type: string, facts: Readonly<Record<string, unknown>>): Promise<void> {
    const live = this.#live;
    if (live === null) return rejected(closed());
    return live.trail.add(live.format.plain(this.#options.clock.now(), type, facts)).kept;
  }

  async #ask(one: { readonly device: AuditDevice; readonly required: boolean }): Promise<Standing> {
    try {
      const head = await within(this.#options.timer, this.#options.deadlineMs, one.device.head());
      return { ...one, head };
    } catch (error) {
      this.#options.log.error("audit device does not answer", { device: one.device.name, error });
      throw new VaultError(
        "audit",
        `audit device "${one.device.name}" does not answer: mend it, or take it out of the server config, and try again`,
        { cause: error },
      );
    }
  }

  #schedule(live: Live): void {
    live.cancel = this.#options.timer.after(saveEvery, () => {
      void this.#save(live).then(() => {
        if (this.#live === live) this.#schedule(live);
      });
    });
  }

  async #save(live: Live): Promise<void> {
    const head = live.trail.kept;
    if (live.record === null || head.seq <= live.saved) return;
    try {
      await live.record.save(head);
      live.saved = head.seq;
    } catch (error) {
      this.#options.log.warn("the audit head could not be recorded", { seq: head.seq, error });
    }
  }
}
