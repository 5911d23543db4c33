// A whole vault in one process for the core's tests: memory storage, real barrier, seal, broker and plugins, an audit
// device that keeps its lines in an array, and a clock that stands still.

import { randomUUID } from "node:crypto";
import { plugin as approle } from "../../src/auth/approle/index.ts";
import { createUserpass } from "../../src/auth/userpass/index.ts";
import { Passwords } from "../../src/lib/password.ts";
import { createTarget } from "../../src/core/target.ts";
import { Vault, type VaultOptions } from "../../src/core/vault.ts";
import { plugin as kv } from "../../src/engines/kv/index.ts";
import { manualClock, type SteadyClock } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import type { AuditDevice, AuditPlugin, Batch } from "../../src/sdk/audit.ts";
import type { VaultError } from "../../src/sdk/errors.ts";
import type { Commit, CommitSet, Declaration, Target } from "../../src/sdk/kind.ts";
import type { MountPlugin } from "../../src/sdk/mount.ts";
import type { Operation, Request, Response } from "../../src/sdk/request.ts";
import type { Seal } from "../../src/sdk/seal.ts";
import type { StorageBackend } from "../../src/sdk/storage.ts";
import { plugin as shamir } from "../../src/seals/shamir/index.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";

/** Whose hashes cost nothing. */
const userpass = createUserpass(new Passwords({ N: 16, r: 1, p: 1 }));

export interface AuditTape {
  readonly lines: string[];
  /** While set, writes wait for what it gives. */
  block: (() => Promise<void>) | null;
  fail: boolean;
}

export function tapePlugin(tape: AuditTape): AuditPlugin {
  const device: AuditDevice = {
    type: "tape",
    name: "tape",
    head: async () => null,
    read: async () => [],
    write: async (batch: Batch) => {
      if (tape.block !== null) await tape.block();
      if (tape.fail) throw new Error("the tape is broken");
      tape.lines.push(...batch.lines.map((line) => Buffer.from(line).toString("utf8").trimEnd()));
    },
    close: async () => {},
  };
  return { type: "tape", description: "lines in memory", fields: {}, open: async () => device };
}

export interface Ask {
  (
    operation: Operation,
    path: string,
    data?: Record<string, unknown>,
    token?: string | null,
    more?: Partial<Request>,
  ): Promise<Response>;
}

export interface Harness {
  readonly vault: Vault;
  readonly target: Target;
  readonly ask: Ask;
  readonly root: string;
  readonly shares: readonly Uint8Array[];
  readonly clock: ReturnType<typeof manualClock>;
  readonly tape: AuditTape;
  readonly log: string[];
  readonly storage: StorageBackend;
  unseal(): Promise<void>;
  /** The vault as another process finds it, unsealed; in `storage` if that is a copy. */
  reopen(storage?: StorageBackend, clock?: SteadyClock): Promise<Harness>;
}

export interface HarnessOptions {
  /** One of one unless given; more leave the vault sealed. */
  readonly shares?: number;
  readonly threshold?: number;
  readonly storage?: StorageBackend;
  readonly address?: string;
  /** In place of the harness's own, which is then of no use. */
  readonly clock?: SteadyClock;
  /** Beside those of the program. */
  readonly plugins?: readonly MountPlugin[];
  /** Milliseconds. */
  readonly leaseDeadline?: number;
  readonly auditDeadline?: number;
  /** Of a vault that is in `storage` already. */
  readonly known?: { readonly root: string; readonly shares: readonly Uint8Array[] };
  readonly allowUnauthenticated?: readonly string[];
  readonly apiAudit?: VaultOptions["apiAudit"];
  /** Seconds; 400 days unless given. */
  readonly keepGenerations?: number;
  /** Shamir's unless given; made anew for each process. */
  readonly seal?: () => Seal;
}

async function openVault(
  options: HarnessOptions,
  manual: ReturnType<typeof manualClock>,
  storage: StorageBackend,
  known?: HarnessOptions["known"],
): Promise<Harness> {
  const clock = options.clock ?? manual;
  const tape: AuditTape = { lines: [], block: null, fail: false };
  const log: string[] = [];
  const settings: VaultOptions = {
    storage,
    seal: options.seal?.() ?? shamir.create({}),
    plugins: [kv, approle, userpass, ...(options.plugins ?? [])],
    audit: [{ plugin: tapePlugin(tape), name: "tape", required: false, settings: {} }],
    sysRoutes: () => [],
    clock,
    log: createLogger({ level: "debug", write: (line) => void log.push(line), now: clock.now }),
    defaultLeaseTtl: 3600,
    maxLeaseTtl: 86_400,
    keepGenerations: options.keepGenerations ?? 400 * 86_400,
    auditDeadline: options.auditDeadline ?? 200,
    leaseDeadline: options.leaseDeadline ?? 5_000,
    clusterName: "test",
    allowUnauthenticated: options.allowUnauthenticated ?? [],
    ...(options.apiAudit && { apiAudit: options.apiAudit }),
    version: "2.0.0",
  };
  const vault = await Vault.open(settings);
  let { root, shares } = known ?? { root: "", shares: [] };
  if (known === undefined) {
    const counts = { shares: options.shares ?? 1, threshold: options.threshold ?? 1 };
    const recovery = settings.seal.open !== undefined;
    const made = await vault.initialize(recovery ? { shares: 0, threshold: 0, recovery: counts } : counts);
    root = made.rootToken;
    shares = made.shares.map((share) => Uint8Array.from(share));
  }
  const ask: Ask = (operation, path, data = {}, token = root, more = {}) =>
    vault.handle({
      id: randomUUID(),
      operation,
      path,
      data: Object.assign(Object.create(null) as Record<string, unknown>, data),
      token,
      connection: { remoteAddress: options.address ?? "127.0.0.1", remotePort: 4711, local: true },
      headers: {},
      time: clock.now(),
      ...more,
    });
  const harness: Harness = {
    vault,
    ask,
    root,
    shares,
    clock: manual,
    tape,
    log,
    storage,
    target: createTarget(() => vault.core),
    unseal: async () => void (await vault.unseal(Uint8Array.from(shares[0] ?? []), { reset: false })),
    reopen: (other = storage, set = options.clock) =>
      openVault({ ...options, ...(set && { clock: set }) }, manual, other, { root, shares }),
  };
  if (options.shares === undefined) await harness.unseal();
  return harness;
}

export async function harness(options: HarnessOptions = {}): Promise<Harness> {
  const clock = manualClock();
  const storage = options.storage ?? (await memory.open({}, createLogger({ write: () => {} })));
  return openVault(options, clock, storage, options.known);
}

/** Code and first error of what must fail. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    const { code, errors } = error as VaultError;
    return `${code}: ${errors.join("; ")}`;
  }
  throw new Error("was allowed");
}

export const commitOf = (id: string, at = 0): Commit => ({
  id: id.padEnd(40, "0"),
  parents: [],
  author: "Ada <ada@example.com>",
  time: at,
  subject: "test",
});

export function declare(
  kind: string,
  name: string,
  spec: Record<string, unknown>,
  more: Partial<Declaration> = {},
): Declaration {
  return {
    kind,
    mount: null,
    name,
    metadata: { name, ...more.metadata },
    spec: spec as Declaration["spec"],
    secrets: {},
    source: { file: "policies/all.yaml", line: 3, column: 1 },
    ...more,
  };
}

const untuned = { default_lease_ttl: 0, max_lease_ttl: 0, listing_visibility: "" };

/** A mount as its document's schema would fill it in. */
export const mountOf = (
  kind: "SecretEngine" | "AuthMethod",
  name: string,
  type: string,
  more: Record<string, unknown> = {},
): Declaration =>
  declare(kind, name, { type, description: "", options: {}, config: untuned, on_remove: "retain", ...more });

/** A login at auth/userpass/, likewise. */
/** What a mapping says of its tokens where it says nothing. */
export const tokenDefaults = {
  token_policies: [],
  token_ttl: 0,
  token_max_ttl: 0,
  token_explicit_max_ttl: 0,
  token_period: 0,
  token_num_uses: 0,
  token_no_default_policy: false,
  token_bound_cidrs: [],
} as const;

/** The same for an AppRole. */
export const roleDefaults = {
  ...tokenDefaults,
  bind_secret_id: true,
  secret_id_bound_cidrs: [],
  secret_id_num_uses: 0,
  secret_id_ttl: 0,
  local_secret_ids: false,
} as const;

export const userOf = (name: string, policies: readonly string[], more: Partial<Declaration> = {}): Declaration =>
  declare("UserpassUser", name, { ...tokenDefaults, token_policies: policies }, { mount: "userpass", ...more });

export const setOf = (id: string, ...declarations: Declaration[]): CommitSet => ({
  commit: commitOf(id),
  declarations,
  externals: [],
});
