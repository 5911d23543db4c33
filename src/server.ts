// Wires config → vault → api → reconciler, and takes them down in the opposite order. Never initialises or unseals by
// itself: that is for people, or for the quickstart.

import { randomInt } from "node:crypto";
import { join } from "node:path";
import { createApp } from "./api/app.ts";
import { listen, type Listener } from "./api/listener.ts";
import type { Config as AnyConfig } from "./config.ts";
import { createTarget } from "./core/target.ts";
import { Vault } from "./core/vault.ts";
import { holding, planning } from "./gitops/plan.ts";
import { Reconciler } from "./gitops/reconciler.ts";
import { gitopsRoutes } from "./gitops/routes.ts";
import { type gitopsFields, openSettings } from "./gitops/settings.ts";
import { createWebhook, type Delivery, maxDelivery, type Receipt } from "./gitops/webhook.ts";
import { openWorkshop } from "./gitops/worker.ts";
import { systemClock } from "./lib/clock.ts";
import { systemTimer } from "./lib/flight.ts";
import type { Logger } from "./lib/log.ts";
import { audits, mounts, seals, storages } from "./registry.ts";
import type { StorageBackend } from "./sdk/storage.ts";
import { version } from "./version.ts";

export type Config = AnyConfig<typeof gitopsFields>;

export interface Running {
  /** As listened on: "http://127.0.0.1:8200", or the path of a socket. */
  readonly addresses: readonly string[];
  readonly vault: Vault;
  /** Null where config has no `gitops`. */
  readonly reconciler: Reconciler | null;
  /** Ends listeners, reconciler and vault; at most five seconds. */
  close(): Promise<void>;
}

/** What is due ends at most this much late, and the time that ending takes. */
const tickMs = 500;
const auditDeadline = 5_000;
const graceMs = 3_000;

/** The plugin of a type that the config was checked to name. */
export function one<T extends { readonly type: string }>(what: string, plugins: readonly T[], type: string): T {
  const plugin = plugins.find((each) => each.type === type);
  if (plugin === undefined) throw new Error(`no ${what} of type ${type}`);
  return plugin;
}

interface Sync {
  readonly reconciler: Reconciler;
  readonly webhook: ((delivery: Delivery) => Promise<Receipt>) | null;
}

async function openSync(config: Config, vault: () => Vault, log: Logger): Promise<Sync | null> {
  if (config.gitops === null) return null;
  if (config.cachePath === null) throw new Error("gitops needs cache_path");
  const settings = await openSettings(config.gitops);
  const suffix = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const reconciler = new Reconciler({
    target: createTarget(() => vault().core),
    workshop: openWorkshop({
      settings,
      folder: join(config.cachePath, "gitops"),
      kindsModule: new URL(`./registry.${suffix}`, import.meta.url),
    }),
    planning,
    holding,
    settings,
    clock: systemClock,
    timer: systemTimer,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    log,
  });
  const webhook =
    settings.webhook === null
      ? null
      : createWebhook({
          webhook: settings.webhook,
          branch: settings.branch,
          wake: () => reconciler.wake(),
          clock: systemClock,
          log,
        });
  return { reconciler, webhook };
}

async function openVault(
  config: Config,
  storage: StorageBackend,
  sync: () => Sync | null,
  log: Logger,
): Promise<Vault> {
  const seal = one("seal", seals, config.seal.type).create(config.seal.settings);
  return Vault.open({
    storage,
    seal,
    plugins: mounts,
    audit: config.audit.map((device) => ({ ...device, plugin: one("audit device", audits, device.type) })),
    sysRoutes: () => {
      const open = sync();
      return open === null ? [] : gitopsRoutes(open.reconciler, systemTimer);
    },
    clock: systemClock,
    log,
    defaultLeaseTtl: config.defaultLeaseTtl,
    maxLeaseTtl: config.maxLeaseTtl,
    auditDeadline,
    clusterName: config.clusterName,
    allowUnauthenticated: config.allowUnauthenticated,
    version,
    onUnsealed: () => sync()?.reconciler.resume(),
  });
}

export async function startServer(config: Config, options: { readonly log: Logger }): Promise<Running> {
  const { log } = options;
  const storage = await one("storage", storages, config.storage.type).open(config.storage.settings, log);
  const listening: Listener[] = [];
  let vault: Vault | null = null;
  let sync: Sync | null = null;
  const opened = (): Vault => {
    if (vault === null) throw new Error("the vault is not open yet");
    return vault;
  };
  const close = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(listening.map((each) => each.close(graceMs)));
    await sync?.reconciler.close();
    await vault?.seal();
    await leadership?.release();
    await storage.close();
  };
  const timer = setInterval(() => void vault?.tick().catch(() => {}), tickMs);
  timer.unref();
  const leadership = await storage.lead(() => {
    log.error("the storage is lost: sealing");
    void vault?.seal().catch(() => {});
  });
  try {
    sync = await openSync(config, opened, log);
    vault = await openVault(config, storage, () => sync, log);
    await vault.unsealAlone();
    const app = createApp({
      door: vault,
      log,
      clock: systemClock,
      allowInit: config.allowRemoteInit ? "any" : "local",
      ...(sync?.webhook && { webhook: { receive: sync.webhook, maxBytes: maxDelivery } }),
    });
    for (const listener of config.listeners) {
      listening.push(await listen({ app, log, address: listener.address, purpose: listener.serves }));
    }
    sync?.reconciler.start();
    return { addresses: listening.map((each) => each.address), vault, reconciler: sync?.reconciler ?? null, close };
  } catch (error) {
    await close();
    throw error;
  }
}
