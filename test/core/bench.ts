// A vault on SQLite with the engine of accounts, for measuring; and, run by itself, a start on what another one left:
// `node bench.ts FOLDER SHARE ROOT` prints what it took.

import { randomUUID } from "node:crypto";
import { Vault } from "../../src/core/vault.ts";
import { plugin as kv } from "../../src/engines/kv/index.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import type { AuditDevice } from "../../src/sdk/audit.ts";
import type { Response } from "../../src/sdk/request.ts";
import type { StorageBackend } from "../../src/sdk/storage.ts";
import { plugin as shamir } from "../../src/seals/shamir/index.ts";
import { plugin as sqlite } from "../../src/storage/sqlite/index.ts";
import { accounts, World } from "./accounts.ts";

export interface Bench {
  readonly vault: Vault;
  readonly world: World;
  readonly storage: StorageBackend;
  readonly root: string;
  readonly share: string;
  ask(operation: "read" | "update" | "list", path: string, data?: object, token?: string): Promise<Response>;
  list(folder: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

const device: AuditDevice = {
  type: "none",
  name: "none",
  head: async () => null,
  read: async () => [],
  write: async () => {},
  close: async () => {},
};

export async function startBench(
  path: string,
  known?: { readonly share: string; readonly root: string },
): Promise<Bench> {
  const log = createLogger({ level: "warn" });
  const storage = await sqlite.open({ path }, log);
  const world = new World();
  const vault = await Vault.open({
    storage,
    seal: shamir.create({}),
    plugins: [kv, accounts(world)],
    audit: [
      {
        plugin: { type: "none", description: "keeps nothing", fields: {}, open: async () => device },
        name: "none",
        required: false,
        settings: {},
      },
    ],
    sysRoutes: () => [],
    clock: systemClock,
    log,
    defaultLeaseTtl: 3600,
    maxLeaseTtl: 86_400,
    keepGenerations: 400 * 86_400,
    auditDeadline: 100_000,
    clusterName: "bench",
    version: "2.0.0",
  });
  let { share, root } = known ?? { share: "", root: "" };
  if (known === undefined) {
    const made = await vault.initialize({ shares: 1, threshold: 1 });
    share = Buffer.from(made.shares[0] ?? []).toString("hex");
    root = made.rootToken;
  }
  await vault.unseal(Uint8Array.from(Buffer.from(share, "hex")), { reset: false });
  const ask: Bench["ask"] = (operation, where, data = {}, token = root) =>
    vault.handle({
      id: randomUUID(),
      operation,
      path: where,
      data: Object.assign(Object.create(null) as Record<string, unknown>, data),
      token,
      connection: { remoteAddress: "127.0.0.1", remotePort: 1, local: true },
      headers: {},
      time: Date.now(),
    });
  if (known === undefined) {
    await ask("update", "sys/mounts/kv", { type: "kv" });
    await ask("update", "sys/mounts/db", { type: "accounts" });
    await ask("update", "db/roles/long", { ttl: "10h" });
    await ask("update", "sys/policies/acl/reader", { policy: 'path "kv/*" { capabilities = ["read"] }' });
    await ask("update", "sys/policies/acl/all", {
      policy: 'path "db/*" { capabilities = ["read"] } path "auth/token/create" { capabilities = ["update"] }',
    });
  }
  return {
    vault,
    world,
    storage,
    root,
    share,
    ask,
    list: async (folder) => (await vault.core?.root.list(folder)) ?? [],
    close: async () => {
      await vault.seal();
      await storage.close();
    },
  };
}

async function measureStart(path: string, share: string, root: string): Promise<void> {
  const bench = await startBench(path, { share, root });
  await bench.ask("read", "sys/mounts");
  await bench.vault.tick();
  // Since the process began, Node's own start included.
  const served = Math.round(performance.now());
  const rss = Math.round(process.memoryUsage().rss / 2 ** 20);
  const [name = ""] = (await bench.vault.core?.root.list("lease/id/db/creds/long/", { limit: 1 })) ?? [];
  const due = (await bench.vault.core?.root.list("lease/due/", { limit: 10 }))?.length ?? 0;
  let looked = 0;
  const get = bench.storage.get.bind(bench.storage);
  bench.storage.get = (key) => {
    looked += 1;
    return get(key);
  };
  await bench.ask("update", "sys/leases/lookup", { lease_id: `db/creds/long/${name}` });
  console.log(JSON.stringify({ served, rss, due, looked }));
  await bench.close();
}

const [, script = "", path, share, root] = process.argv;
if (script === import.meta.filename && path && share && root) await measureStart(path, share, root);
