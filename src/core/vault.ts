// The life of a vault: initialised once, sealed at every start, unsealed by its shares, sealed again on demand. The one
// Door that the outside knows.
// Must hold: keys exist only between unseal and seal; the answer to seal is given after they are gone; a request that
// runs meanwhile ends whole or with `sealed`.
// Known gap: root key and shares pass through buffers that V8 and the kernel may have copied (see SECURITY.md).

import { randomUUID } from "node:crypto";
import { randomKey, zero } from "../lib/bytes.ts";
import type { SteadyClock } from "../lib/clock.ts";
import { systemTimer } from "../lib/flight.ts";
import type { LeveledLogger } from "../lib/log.ts";
import type { Family } from "../lib/metrics.ts";
import { Mutex } from "../lib/mutex.ts";
import type { AuditDevice, AuditPlugin, Head } from "../sdk/audit.ts";
import { isVaultError, VaultError } from "../sdk/errors.ts";
import type { MountPlugin, Route } from "../sdk/mount.ts";
import type { Request, Response } from "../sdk/request.ts";
import type { Seal } from "../sdk/seal.ts";
import type { StorageBackend } from "../sdk/storage.ts";
import { type ApiAudit, AuditDevices } from "./auditDevices.ts";
import { Barrier } from "./barrier/barrier.ts";
import { storageFormat } from "./barrier/versions.ts";
import { Broker } from "./broker.ts";
import { within } from "./broker/trail.ts";
import { Core } from "./core.ts";
import type { Door, Health, Initialized, InitOptions, SealStatus } from "./door.ts";
import { handle, refusalOfAsker } from "./handle.ts";
import { InFlight } from "./inFlight.ts";
import { collect } from "./metrics.ts";
import { migrate } from "./migrations.ts";
import { crowded } from "./quotas/limited.ts";
import { Rekey } from "./rekey.ts";
import { RootGeneration } from "./rootGeneration.ts";
import { SealRecords } from "./sealRecords.ts";
import { createRoot } from "./tokens/root.ts";
import { Unsealing } from "./unsealing.ts";

export interface AuditEntry {
  readonly plugin: AuditPlugin;
  readonly name: string;
  readonly required: boolean;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface VaultOptions {
  readonly storage: StorageBackend;
  readonly seal: Seal;
  readonly plugins: readonly MountPlugin[];
  readonly audit: readonly AuditEntry[];
  /** What the API may do about audit devices; nothing unless given. */
  readonly apiAudit?: ApiAudit;
  readonly sysRoutes: () => readonly Route[];
  readonly clock: SteadyClock;
  readonly log: LeveledLogger;
  /** Seconds. */
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  readonly keepGenerations: number;
  /** Milliseconds that an audit device has to keep an entry. */
  readonly auditDeadline: number;
  /** Milliseconds that a plugin has to make, renew or revoke something; half a minute unless given. */
  readonly leaseDeadline?: number;
  readonly clusterName: string;
  readonly version: string;
  /** "rekey", "generate-root": works without a token, as whoever does it proves himself by shares. None unless given. */
  readonly allowUnauthenticated?: readonly string[];
  /** What other parts of the program measure. */
  readonly metrics?: () => readonly Family[];
  /** After each unseal, when requests are served. */
  readonly onUnsealed?: () => void;
  readonly onSealed?: () => void;
}

const drainMs = 5_000;
const closeMs = 2_000;
const leaseMs = 30_000;
const rootKeyBytes = 32;

export class Vault implements Door {
  readonly #options: VaultOptions;
  readonly #barrier: Barrier;
  readonly #lock = new Mutex();
  readonly #records: SealRecords;
  readonly #unsealing: Unsealing;
  readonly #rekey: Rekey;
  readonly #rootGeneration: RootGeneration;
  #core: Core | null = null;
  #sealing: Promise<void> | null = null;
  readonly #inFlight = new InFlight();
  #auditFailures = 0;
  #onIdle: (() => void) | null = null;

  private constructor(options: VaultOptions) {
    this.#options = options;
    this.#records = new SealRecords(options.storage, options.log);
    this.#barrier = new Barrier({
      storage: options.storage,
      log: options.log,
      clock: options.clock,
      format: () => this.#records.current?.format ?? storageFormat,
    });
    const { seal, log, clock } = options;
    const parts = { barrier: this.#barrier, records: this.#records, seal, log, clock };
    this.#unsealing = new Unsealing(parts);
    this.#rekey = new Rekey(parts);
    this.#rootGeneration = new RootGeneration(parts);
  }

  static async open(options: VaultOptions): Promise<Vault> {
    const vault = new Vault(options);
    await vault.#records.load();
    return vault;
  }

  get initialized(): boolean {
    return this.#records.current !== null && !this.#records.current.pending;
  }

  /** Null while sealed. */
  get core(): Core | null {
    return this.#core === null || this.#core.closed ? null : this.#core;
  }

  initialize(options: InitOptions): Promise<Initialized> {
    return this.#lock.run("life", async () => {
      if (this.initialized) throw new VaultError("invalid", "Vault is already initialized");
      const { seal, log } = this.#options;
      const recovery = seal.open !== undefined;
      const counts = recovery ? options.recovery : options.recovery === undefined ? options : undefined;
      if (counts === undefined) {
        const [right, wrong] = recovery ? ["recovery", "secret"] : ["secret", "recovery"];
        throw new VaultError(
          "invalid",
          `a ${seal.type} seal takes ${right}_shares and ${right}_threshold, not ${wrong}_shares`,
        );
      }
      const rootKey = randomKey(rootKeyBytes);
      let unused: readonly Uint8Array[] = [];
      try {
        const wrapped = await seal.wrap(rootKey, counts);
        unused = wrapped.shares;
        await this.#records.wipeUnfinished();
        const record = { format: storageFormat, cluster_id: randomUUID(), seal: wrapped.stored };
        await this.#records.save({ ...record, pending: true });
        await this.#barrier.initialize(rootKey);
        await this.#barrier.unseal(rootKey);
        const rootToken = await this.#firstToken();
        await this.#records.save({ ...record, pending: false });
        log.info("vault initialised", { shares: counts.shares, threshold: counts.threshold });
        unused = [];
        this.#unsealing.expect();
        return { shares: wrapped.shares, recovery, rootToken };
      } finally {
        zero(rootKey, ...unused);
        this.#barrier.seal();
      }
    });
  }

  async #firstToken(): Promise<string> {
    const broker = this.#newBroker();
    const core = this.#newCore(broker, this.#auditDevices(broker));
    await core.open();
    const token = await createRoot(core.tokens);
    await core.close();
    return token;
  }

  unseal(share: Uint8Array | null, options: { readonly reset: boolean }): Promise<SealStatus> {
    return this.#lock.run("life", async () => {
      const record = this.#records.current;
      // Until the seal takes it over.
      let own = share;
      try {
        if (record === null || record.pending) throw new VaultError("uninitialized", "Vault is not initialized");
        if (options.reset) this.#unsealing.reset();
        if (this.#core !== null || options.reset || share === null) return this.sealStatus();
        own = null;
        if (await this.#unsealing.give(record, share)) await this.#openCore();
        return this.sealStatus();
      } finally {
        zero(own);
      }
    });
  }

  /** Where the seal opens by itself, and it is time to try. Called at start, and once a second. Never rejects. */
  async unsealAlone(): Promise<void> {
    if (!this.#unsealing.due) return;
    await this.#lock.run("life", async () => {
      const record = this.#records.current;
      if (!this.#unsealing.due || this.#core !== null || record === null || record.pending) return;
      if (!(await this.#unsealing.alone(record, () => this.#openCore()))) await this.seal();
    });
  }

  async #openCore(): Promise<void> {
    const { log, clock, audit, onUnsealed } = this.#options;
    const broker = this.#newBroker();
    const devices: { device: AuditDevice; required: boolean }[] = [];
    try {
      await migrate({ barrier: this.#barrier, records: this.#records }, log);
      const keys = { signing: this.#barrier.signingKey("audit") };
      for (const { plugin, name, settings, required } of audit) {
        devices.push({ device: await plugin.open(name, settings, keys, log, clock), required });
      }
      const more = this.#auditDevices(broker);
      for (const device of await more.open()) devices.push({ device, required: false });
      const view = this.#barrier.view("audit/");
      const record = {
        load: async () => (await view.getJson<Head>("head"))?.value ?? null,
        save: async (head: Head) => void (await view.write([{ key: "head", value: { ...head } }])),
      };
      await broker.open({ devices, hashKey: this.#barrier.mac("audit"), record });
      const core = this.#newCore(broker, more);
      await core.open();
      await broker.event("unseal", { generation: core.generation.id });
      this.#core = core;
    } catch (error) {
      for (const { device } of devices) await device.close().catch(() => {});
      this.#barrier.seal();
      log.error("unseal failed", { error: error instanceof Error ? error.message : "failed" });
      throw isVaultError(error)
        ? error
        : new VaultError("internal", "unseal failed; the server log says why", { cause: error });
    }
    log.info("vault unsealed", { generation: this.#core.generation.id });
    onUnsealed?.();
  }

  #newBroker(): Broker {
    const { log, clock, auditDeadline } = this.#options;
    return new Broker({ log, clock, deadlineMs: auditDeadline });
  }

  #auditDevices(broker: Broker): AuditDevices {
    const { log, clock, audit, apiAudit } = this.#options;
    return new AuditDevices({
      view: this.#barrier.view("audit/device/"),
      configured: audit,
      api: apiAudit ?? { plugins: [], folders: [] },
      broker,
      keys: { signing: this.#barrier.signingKey("audit") },
      log,
      clock,
    });
  }

  #newCore(broker: Broker, auditDevices: AuditDevices): Core {
    const { plugins, sysRoutes, clock, log, leaseDeadline, version } = this.#options;
    return new Core({
      barrier: this.#barrier,
      broker,
      plugins,
      sysRoutes: sysRoutes(),
      clock,
      log,
      defaultLeaseTtl: this.#options.defaultLeaseTtl,
      maxLeaseTtl: this.#options.maxLeaseTtl,
      keepGenerations: this.#options.keepGenerations,
      leaseDeadline: leaseDeadline ?? leaseMs,
      auditDevices,
      seal: () => this.seal(),
      metrics: () => this.metrics(),
      inFlight: () => this.#inFlight,
      rekey: this.#rekey,
      rootGeneration: this.#rootGeneration,
      version,
      unauthenticated: new Set(this.#options.allowUnauthenticated),
    });
  }

  /** Refuses requests from now on, lets those in flight end for at most five seconds, then drops every key. */
  seal(): Promise<void> {
    this.#unsealing.stop();
    if (this.#sealing !== null) return this.#sealing;
    const core = this.#core;
    if (core === null) return Promise.resolve();
    core.closed = true;
    this.#sealing = this.#finishSeal(core).finally(() => {
      this.#sealing = null;
    });
    return this.#sealing;
  }

  async #finishSeal(core: Core): Promise<void> {
    if (this.#inFlight.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, drainMs);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#onIdle = null;
    this.#core = null;
    this.#rekey.reset();
    this.#rootGeneration.reset();
    await core.close();
    // The last entries and the head are written while there are keys, but a stuck device does not hold up the seal.
    await within(
      systemTimer,
      closeMs,
      core.broker.event("seal").then(() => core.broker.close()),
    ).catch((error: unknown) => {
      this.#options.log.error("the audit was not closed in order", {
        error: error instanceof Error ? error.message : "failed",
      });
    });
    this.#barrier.seal();
    void core.broker.close().catch(() => {});
    this.#options.log.info("vault sealed");
    this.#options.onSealed?.();
  }

  handle(request: Request): Promise<Response> {
    return this.#handle(request, null);
  }

  async #handle(request: Request, refusal: VaultError | null): Promise<Response> {
    const core = this.#core;
    if (core === null || core.closed) throw new VaultError("sealed", "Vault is sealed");
    const slot = this.#inFlight.enter(request);
    try {
      return await handle(core, request, refusal);
    } catch (error) {
      if (isVaultError(error, "audit")) this.#auditFailures += 1;
      throw error;
    } finally {
      this.#inFlight.leave(slot);
      if (this.#inFlight.size === 0) this.#onIdle?.();
      if (this.#sealing !== null) await this.#sealing;
    }
  }

  async knows(request: Request): Promise<boolean> {
    const core = this.#core;
    if (core === null || core.closed) throw new VaultError("sealed", "Vault is sealed");
    const refusal = await refusalOfAsker(core, request);
    if (refusal === null) return true;
    if (request.token === null && isVaultError(refusal, "unauthenticated")) return false;
    return this.refuse(request, refusal);
  }

  async refuse(request: Request, error: VaultError): Promise<never> {
    await this.#handle(request, error);
    throw error;
  }

  sealStatus(): SealStatus {
    const record = this.#records.current;
    const { seal, storage, version, clusterName } = this.#options;
    const progress = record === null ? null : this.#unsealing.progress(record);
    const sealed = this.core === null;
    return {
      type: seal.type,
      initialized: this.initialized,
      sealed,
      t: progress?.threshold ?? 0,
      n: progress?.shares ?? 0,
      progress: sealed ? (progress?.progress ?? 0) : 0,
      nonce: sealed ? (progress?.nonce ?? "") : "",
      version,
      build_date: "",
      migration: false,
      recovery_seal: seal.open !== undefined,
      storage_type: storage.type,
      ...(!sealed && { cluster_name: clusterName, cluster_id: record?.cluster_id ?? "" }),
    };
  }

  health(): Health {
    const { clock, version, clusterName } = this.#options;
    const sealed = this.core === null;
    return {
      initialized: this.initialized,
      sealed,
      standby: sealed,
      performance_standby: false,
      replication_performance_mode: sealed ? "unknown" : "disabled",
      replication_dr_mode: sealed ? "unknown" : "disabled",
      server_time_utc: Math.floor(clock.now() / 1000),
      version,
      ...(!sealed && { cluster_name: clusterName, cluster_id: this.#records.current?.cluster_id ?? "" }),
    };
  }

  leader(): { readonly ha_enabled: boolean } {
    return { ha_enabled: false };
  }

  metrics(): Promise<readonly Family[]> {
    const { version, clock, metrics } = this.#options;
    return collect({
      core: this.core,
      initialized: this.initialized,
      inFlight: this.#inFlight.size,
      auditFailures: this.#auditFailures,
      version,
      now: clock.now(),
      others: metrics?.() ?? [],
    });
  }

  crowded(path: string, address: string): VaultError | null {
    return this.core === null ? null : crowded(this.core, path, address);
  }

  manners(): Core["settings"] | null {
    return this.core?.settings ?? null;
  }

  /** What happens with time; called about twice a second. */
  async tick(): Promise<void> {
    await this.unsealAlone();
    await this.core?.tick();
  }
}
