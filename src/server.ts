// Wires config → vault → api → reconciler, and takes them down in the opposite order. Never initialises or unseals by
// itself: that is for people, or for the quickstart.

import { randomInt } from "node:crypto";
import { join } from "node:path";
import { type App, type AppOptions, createApp } from "./api/app.ts";
import { Intake } from "./api/intake.ts";
import { defaultLimits } from "./api/limits.ts";
import { listen, type Listener } from "./api/listener.ts";
import { Meter } from "./api/meter.ts";
import { Outbox } from "./api/outbox.ts";
import { readTls } from "./lib/tls.ts";
import type { Config as AnyConfig } from "./config.ts";
import type { Listener as Listened } from "./configListener.ts";
import { createTarget } from "./core/target.ts";
import { Vault } from "./core/vault.ts";
import { gitopsFamilies } from "./gitops/metrics.ts";
import { holding, planning } from "./gitops/plan.ts";
import { Reconciler } from "./gitops/reconciler.ts";
import { gitopsRoutes } from "./gitops/routes.ts";
import { type gitopsFields, openSettings, type Settings } from "./gitops/settings.ts";
import { createWebhook, type Delivery, maxDelivery, type Receipt } from "./gitops/webhook.ts";
import { openWorkshop } from "./gitops/worker.ts";
import { compileCidrs } from "./lib/cidr.ts";
import { systemClock } from "./lib/clock.ts";
import { systemTimer } from "./lib/flight.ts";
import type { LeveledLogger, Logger } from "./lib/log.ts";
import { openFiles } from "./lib/process.ts";
import type { Family } from "./lib/metrics.ts";
import { audits, mounts, seals, storages } from "./registry.ts";
import type { StorageBackend } from "./sdk/storage.ts";
import { metered } from "./core/metered.ts";
import { version } from "./version.ts";

export type Config = AnyConfig<typeof gitopsFields>;

export interface Running {
  /** As listened on: "http://127.0.0.1:8200", or the path of a socket. */
  readonly addresses: readonly string[];
  readonly vault: Vault;
  /** Null where config has no `gitops`. */
  readonly reconciler: Reconciler | null;
  /** Takes over of `fresh` what can change while it runs, and opens again what was replaced: certificates, secrets of
   *  the webhook, audit files. What cannot be taken over stays as it was, and the log says so. */
  reload(fresh: Config): Promise<void>;
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
  readonly webhook: {
    readonly receive: (delivery: Delivery) => Promise<Receipt>;
    /** From the next delivery on these secrets count, and no others. */
    renew(secrets: readonly string[]): void;
  } | null;
}

async function openSync(config: Config, vault: () => Vault, log: LeveledLogger): Promise<Sync | null> {
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
  return { reconciler, webhook: openWebhook(settings, reconciler, log) };
}

function openWebhook({ webhook, branch }: Settings, reconciler: Reconciler, log: LeveledLogger): Sync["webhook"] {
  if (webhook === null) return null;
  let { secrets } = webhook;
  const receive = createWebhook({
    webhook: {
      ...webhook,
      get secrets() {
        return secrets;
      },
    },
    branch,
    wake: () => reconciler.wake(),
    clock: systemClock,
    log,
  });
  return { receive, renew: (fresh) => void (secrets = fresh) };
}

async function openVault(
  config: Config,
  storage: StorageBackend,
  sync: () => Sync | null,
  log: LeveledLogger,
  measured: () => readonly Family[],
): Promise<Vault> {
  const seal = one("seal", seals, config.seal.type).create(config.seal.settings);
  return Vault.open({
    storage,
    seal,
    plugins: mounts,
    audit: config.audit.map((device) => ({ ...device, plugin: one("audit device", audits, device.type) })),
    apiAudit: { plugins: audits, folders: config.auditFolders },
    sysRoutes: () => {
      const open = sync();
      return open === null ? [] : gitopsRoutes(open.reconciler, systemTimer);
    },
    clock: systemClock,
    log,
    defaultLeaseTtl: config.defaultLeaseTtl,
    maxLeaseTtl: config.maxLeaseTtl,
    keepGenerations: config.keepGenerations,
    auditDeadline,
    clusterName: config.clusterName,
    allowUnauthenticated: config.allowUnauthenticated,
    version,
    metrics: () => [...measured(), ...gitopsMeasured(sync())],
    onUnsealed: () => sync()?.reconciler.resume(),
  });
}

const gitopsMeasured = (sync: Sync | null): readonly Family[] =>
  sync === null ? [] : gitopsFamilies(sync.reconciler.standing());

interface Open {
  readonly setting: Listened;
  readonly listener: Listener;
}

/** Files that everything but connections has open: storage, audit, Git. */
const otherFiles = 512;

/** How many connections each of so many listeners takes: where files ran out, audit and storage would fail with them. */
function connectionsFor(listeners: number, log: Logger): number {
  const files = openFiles();
  if (files === null) return defaultLimits.connections;
  const each = Math.max(16, Math.floor((files - otherFiles) / listeners));
  if (each >= defaultLimits.connections) return defaultLimits.connections;
  log.warn("the limit of open files allows few connections: raise it (ulimit -n, or LimitNOFILE in systemd)", {
    open_files: files,
    connections: each,
  });
  return each;
}

async function open(app: App, setting: Listened, connections: number, log: Logger): Promise<Open> {
  const { address, serves, proxies } = setting;
  const tls = setting.tls === null ? null : await readTls(setting.tls, systemClock.now(), log);
  const isProxy = proxies.length === 0 ? null : compileCidrs(proxies);
  return {
    setting,
    listener: await listen({ app, log, address, purpose: serves, tls, isProxy, limits: { connections } }),
  };
}

const text = (value: unknown): string => JSON.stringify(value);

/** Reads the files with the webhook's secrets again. */
async function renewWebhook(sync: Sync | null, fresh: Config, log: LeveledLogger): Promise<void> {
  if (!sync?.webhook || fresh.gitops?.webhook === undefined) return;
  try {
    const { webhook } = await openSettings(fresh.gitops);
    if (webhook === null) return;
    sync.webhook.renew(webhook.secrets);
    log.info("deliveries of the forge may be signed by these files", { files: fresh.gitops.webhook.secret_files });
  } catch (error) {
    log.error("the webhook goes on with the secrets that it has", { error });
  }
}

/** What only a start takes over. */
const fixed = ({ listeners, log: { format }, gitops, ...others }: Config): Readonly<Record<string, unknown>> => ({
  ...others,
  log: format,
  listeners: listeners.map(({ tls, ...rest }) => [rest, tls === null]),
  gitops: gitops?.webhook === undefined ? gitops : { ...gitops, webhook: { ...gitops.webhook, secret_files: [] } },
});

async function reload(
  before: Config,
  fresh: Config,
  { opened, vault, sync }: { readonly opened: readonly Open[]; readonly vault: Vault; readonly sync: Sync | null },
  log: LeveledLogger,
): Promise<void> {
  for (const { setting, listener } of opened) {
    const now = fresh.listeners.find(({ address }) => address === setting.address);
    if (setting.tls === null || now === undefined || now.tls === null) continue;
    try {
      listener.renew(await readTls(now.tls, systemClock.now(), log));
    } catch (error) {
      log.error("the listener goes on with the certificate that it has", { address: setting.address, error });
    }
  }
  await renewWebhook(sync, fresh, log);
  await vault.core?.broker.reopen();
  log.configure(fresh.log.level);
  const [then, now] = [fixed(before), fixed(fresh)];
  const changed = Object.keys(now).filter((name) => text(then[name]) !== text(now[name]));
  // As they are written in the file.
  const settings = changed.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  if (settings.length > 0) log.warn("these settings changed and act from the next start on", { settings });
  log.info("configuration and files read again");
}

export async function startServer(config: Config, options: { readonly log: LeveledLogger }): Promise<Running> {
  const { log } = options;
  const inner = await one("storage", storages, config.storage.type).open(config.storage.settings, log);
  const { storage, families } = metered(inner);
  const meter = new Meter();
  const [intake, outbox] = [new Intake(defaultLimits), new Outbox(defaultLimits)];
  const opened: Open[] = [];
  let vault: Vault | null = null;
  let sync: Sync | null = null;
  const theVault = (): Vault => {
    if (vault === null) throw new Error("the vault is not open yet");
    return vault;
  };
  const close = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(opened.map(({ listener }) => listener.close(graceMs)));
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
    sync = await openSync(config, theVault, log);
    vault = await openVault(
      config,
      storage,
      () => sync,
      log,
      () => [...meter.families(), ...families()],
    );
    await vault.unsealAlone();
    const appOptions: AppOptions = {
      door: vault,
      meter,
      intake,
      outbox,
      log,
      clock: systemClock,
      allowInit: config.allowRemoteInit ? "any" : "local",
      ...(sync?.webhook && { webhook: { receive: sync.webhook.receive, maxBytes: maxDelivery } }),
    };
    const connections = connectionsFor(config.listeners.length, log);
    for (const setting of config.listeners) {
      const app = createApp({ ...appOptions, openMetrics: setting.openMetrics });
      opened.push(await open(app, setting, connections, log));
    }
    sync?.reconciler.start();
    const held = { opened, vault, sync };
    return {
      addresses: opened.map(({ listener }) => listener.address),
      vault,
      reconciler: sync?.reconciler ?? null,
      reload: (fresh) => reload(config, fresh, held, log),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
