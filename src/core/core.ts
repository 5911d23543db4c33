// Everything that exists only while the vault is unsealed. Made at unseal, gone at seal.

import { randomUUID } from "node:crypto";
import type { SteadyClock } from "../lib/clock.ts";
import type { LeveledLogger } from "../lib/log.ts";
import type { Family } from "../lib/metrics.ts";
import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { MountPlugin, Route } from "../sdk/mount.ts";
import type { Request } from "../sdk/request.ts";
import type { View } from "../sdk/view.ts";
import { AclCache } from "../policy/match.ts";
import { PolicyReader } from "../policy/worker.ts";
import type { AuditDevices } from "./auditDevices.ts";
import type { Barrier } from "./barrier/barrier.ts";
import type { Broker } from "./broker.ts";
import { originsOf } from "./blocks/origins.ts";
import { Revocations } from "./blocks/revocations.ts";
import { Census } from "./census.ts";
import { chores } from "./chores.ts";
import { Failures } from "./failures.ts";
import type { Generation } from "./generation.ts";
import { History } from "./history.ts";
import { Logins } from "./identity/logins.ts";
import { Lockouts } from "./lockouts.ts";
import { Integrity } from "./integrity.ts";
import { Keys } from "./keys.ts";
import { Leases } from "./leases.ts";
import { Ledger } from "./ledger.ts";
import { Mounts, type SystemMount } from "./mounts.ts";
import type { Rekey } from "./rekey.ts";
import type { RootGeneration } from "./rootGeneration.ts";
import { Quotas } from "./quotas.ts";
import { Sessions } from "./session.ts";
import { Settings } from "./settings.ts";
import { systemMounts } from "./sys/index.ts";
import { Tasks } from "./tasks.ts";
import { Tidy } from "./tidy.ts";
import { Time } from "./time.ts";
import { BatchTokens } from "./tokens/batch.ts";
import type { MadeToken, NewToken, TokenEntry } from "./tokens/entry.ts";
import { TokenStore } from "./tokens/store.ts";

export interface CoreOptions {
  readonly barrier: Barrier;
  readonly broker: Broker;
  readonly plugins: readonly MountPlugin[];
  /** Routes of other parts of the program below sys/ (gitops). */
  readonly sysRoutes: readonly Route[];
  readonly clock: SteadyClock;
  readonly log: LeveledLogger;
  /** Seconds. */
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  /** Seconds that a superseded generation is kept. */
  readonly keepGenerations: number;
  /** Milliseconds that a plugin has to make, renew or revoke something. */
  readonly leaseDeadline: number;
  /** Those that the API made. */
  readonly auditDevices: AuditDevices;
  /** Starts sealing: no request is taken from now on. Resolves when keys are gone. */
  seal(): Promise<void>;
  /** Of the whole program. */
  metrics(): Promise<readonly Family[]>;
  /** Requests that are being worked on. */
  inFlight(): Iterable<Request>;
  readonly rekey: Rekey;
  readonly rootGeneration: RootGeneration;
  readonly version: string;
  /** What works without a token: "rekey", "generate-root". */
  readonly unauthenticated: ReadonlySet<string>;
}

export class Core {
  readonly options: CoreOptions;
  readonly root: View;
  readonly clock: SteadyClock;
  readonly log: LeveledLogger;
  readonly broker: Broker;
  readonly tokens: TokenStore;
  readonly batch: BatchTokens;
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly logins: Logins;
  readonly lockouts: Lockouts;
  readonly mounts: Mounts;
  readonly tasks: Tasks;
  readonly #time: Time;
  readonly #failures: Failures;
  readonly keys: Keys;
  readonly ledger: Ledger;
  readonly history: History;
  readonly integrity: Integrity;
  readonly tidy: Tidy;
  readonly settings: Settings;
  readonly census: Census;
  readonly quotas: Quotas;
  readonly revocations: Revocations;
  readonly policyReader: PolicyReader;
  /** By name: of the policies that the API writes. */
  readonly policyOrder = new Mutex();
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  readonly #system: readonly SystemMount[];
  #generation: Generation | null = null;
  /** True from the moment that a seal begins. */
  closed = false;

  constructor(options: CoreOptions) {
    const { barrier, clock, log } = options;
    this.options = options;
    this.clock = clock;
    this.log = log;
    this.broker = options.broker;
    this.defaultLeaseTtl = options.defaultLeaseTtl;
    this.maxLeaseTtl = options.maxLeaseTtl;
    this.root = barrier.view("");
    const identityKey = barrier.mac("identity");
    this.#time = new Time(this.root.sub("time/"), clock, log);
    this.history = new History(this.root.sub("history/"), clock);
    this.keys = new Keys({ barrier, broker: options.broker, view: this.root.sub("keys/"), clock, log });
    this.tasks = new Tasks(
      this.root.sub("task/"),
      chores(() => this),
      clock,
      log,
    );
    this.tidy = new Tidy(() => this, log);
    this.census = new Census(this.root, clock.now);
    this.settings = new Settings(this.root.sub("config/"), (headers) => options.broker.auditHeaders(headers));
    this.integrity = new Integrity({ barrier, broker: options.broker, clock, log });
    this.tokens = new TokenStore({
      root: this.root,
      key: barrier.mac("token"),
      clock,
      tasks: () => this.tasks,
      refuses: (entry) => this.generation.blocks?.refusesMade(entry.created_at, originsOf(entry)) === true,
      onRevoked: (id) => this.sessions.forget(id),
      onDue: () => void this.leases.tick(),
      onEnded: (entries) => {
        for (const entry of entries) this.quotas.tokenEnded(entry);
      },
    });
    this.quotas = new Quotas({
      view: this.root.sub("quota/"),
      root: this.root,
      clock,
      generation: () => this.generation,
      mappingFolder: (accessor, kind, name) => this.tokens.mappingFolder(accessor, kind, name),
    });
    this.batch = new BatchTokens({
      key: barrier.mac("batch token"),
      clock,
      idOf: (token) => this.tokens.idOf(token),
    });
    this.logins = new Logins(this.root.sub("identity/"), identityKey, () => this.sessions.clear());
    this.lockouts = new Lockouts(clock, log);
    this.#failures = new Failures(this.root.sub("lockout/"), this.lockouts, clock, log);
    this.sessions = new Sessions({
      tokens: this.tokens,
      batch: this.batch,
      acls: new AclCache(),
      logins: () => this.logins,
    });
    this.leases = new Leases({ core: () => this, root: this.root, clock, log, deadline: options.leaseDeadline });
    this.revocations = new Revocations(() => this);
    this.policyReader = new PolicyReader({ log });
    this.mounts = new Mounts({
      plugins: options.plugins,
      root: this.root,
      clock,
      log,
      defaultLeaseTtl: this.defaultLeaseTtl,
      mac: (purpose) => barrier.mac(purpose),
    });
    this.ledger = new Ledger({
      root: this.root,
      mounts: this.mounts,
      tasks: this.tasks,
      identityKey,
      pageKey: barrier.mac("generation"),
      clock,
      log,
      keep: options.keepGenerations * 1000,
      scanned: () => this.integrity.state,
      activate: (generation) => {
        this.#generation = generation;
        // Those of the one before are asked for by nobody, and would keep it in memory as long as their tokens are idle.
        this.sessions.clear();
      },
    });
    this.#system = systemMounts(options.sysRoutes, options.unauthenticated);
  }

  /** The live generation. */
  get generation(): Generation {
    if (this.#generation === null) throw new VaultError("sealed", "Vault is sealed");
    return this.#generation;
  }

  async open(): Promise<void> {
    await this.#time.open();
    await this.#failures.open();
    await this.settings.open();
    await this.mounts.open(this.#system);
    await this.ledger.open();
    await this.keys.open();
    await this.history.open(this.options.version);
    await this.quotas.open();
    void this.tasks.run().catch(() => {});
  }

  /** What happens with time: expiry, and another try of what failed. Called about twice a second. */
  async tick(): Promise<void> {
    if (this.closed) return;
    this.integrity.tick();
    await this.leases.tick();
    await this.keys.tick();
    await this.#time.tick();
    await this.#failures.tick();
    await this.ledger.collect();
    if (this.tasks.failing) await this.tasks.run();
  }

  /** A batch token costs no write. */
  async issue(type: TokenEntry["type"], input: NewToken): Promise<MadeToken> {
    return type === "batch" ? this.batch.create(input) : this.tokens.create(input);
  }

  /** Takes one use of a token with a limited number. How many are left after it. */
  async useOnce(id: string): Promise<number> {
    const left = await this.tokens.use(id);
    this.sessions.forget(id);
    if (left === null) throw new VaultError("unauthenticated", ["permission denied", "invalid token"]);
    return left;
  }

  newId(): string {
    return randomUUID();
  }

  /** Everything thrown below becomes a VaultError; what nobody foresaw is logged and told as little as possible. */
  vaultError(error: unknown, requestId: string): VaultError {
    if (error instanceof VaultError) return error;
    this.log.error("a request failed unexpectedly", {
      request_id: requestId,
      error: error instanceof Error ? error.name : "unknown", // a message may quote the value that it is about
      at: error instanceof Error ? framesOf(error) : [],
    });
    return new VaultError("internal", `internal error; the server log has it under request ${requestId}`, {
      cause: error,
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([this.policyReader.close(), this.tasks.close(), this.leases.close(), this.tidy.close()]);
    await this.keys.close();
    await this.#time.close();
    await this.#failures.close();
    this.ledger.close();
    this.sessions.clear();
    this.#generation = null;
  }
}

/** Where it came from; its message may have lines of its own. */
const framesOf = ({ stack = "" }: Error): readonly string[] =>
  stack
    .split("\n")
    .filter((line) => line.startsWith("    at "))
    .slice(0, 3)
    .map((line) => line.trim());
