// The machine and the one process on it: sys/ha-status, step-down, host-info and version-history, as Vault answers them
// without high availability.

import { statfs } from "node:fs/promises";
import { arch, cpus, hostname, platform, release, totalmem, uptime } from "node:os";
import { rfc3339 } from "../../lib/clock.ts";
import type { Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";

const seconds = (ms: number): number => ms / 1000;
const part = (some: number, all: number): number => (all === 0 ? 0 : (some / all) * 100);

async function disk(path: string): Promise<Record<string, unknown>> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
  const [total, free, used] = [blocks * bsize, bavail * bsize, (blocks - bfree) * bsize];
  const inodes = { inodesTotal: files, inodesUsed: files - ffree, inodesFree: ffree };
  return { path, total, free, used, usedPercent: part(used, used + free), ...inodes };
}

function memory(): Record<string, unknown> {
  const [total, available] = [totalmem(), process.availableMemory()];
  return { total, available, used: total - available, usedPercent: part(total - available, total) };
}

async function hostInfo(now: number): Promise<Record<string, unknown>> {
  const all = cpus();
  const up = Math.floor(uptime());
  return {
    cpu: all.map(({ model, speed }, cpu) => ({ cpu, modelName: model, mhz: speed })),
    cpu_times: all.map(({ times: { user, nice, sys, idle, irq } }, at) => ({
      cpu: `cpu${at}`,
      user: seconds(user),
      nice: seconds(nice),
      system: seconds(sys),
      idle: seconds(idle),
      irq: seconds(irq),
    })),
    disk: [await disk("/")],
    host: {
      hostname: hostname(),
      uptime: up,
      bootTime: Math.floor(seconds(now)) - up,
      os: platform(),
      kernelVersion: release(),
      kernelArch: arch(),
    },
    memory: memory(),
    timestamp: rfc3339(now),
  };
}

export const nodeRoutes: readonly Route[] = [
  {
    path: "ha-status",
    on: {
      read: coreHandler({
        summary: "The nodes of the cluster: this one",
        run: async (call) => {
          const node = {
            hostname: hostname(),
            api_address: "",
            cluster_address: "",
            active_node: true,
            last_echo: null,
            version: call.core.options.version,
          };
          return { data: { nodes: [node] }, shape: "both" };
        },
      }),
    },
  },
  {
    path: "step-down",
    sudo: true,
    on: {
      update: coreHandler({
        summary: "Hand over to another node; there is none, so that nothing happens",
        mutates: false,
        run: async () => null,
      }),
    },
  },
  {
    path: "host-info",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "The machine that the server runs on",
        run: async (call) => ({ data: await hostInfo(call.core.clock.now()), shape: "both" }),
      }),
    },
  },
  {
    path: "version-history",
    on: {
      list: coreHandler({
        summary: "The versions that have served this vault",
        run: async (call) => {
          const { versions } = call.core.history;
          const info = versions.map(({ version, at }, index) => [
            version,
            {
              build_date: "",
              previous_version: versions[index - 1]?.version ?? null,
              timestamp_installed: rfc3339(at),
            },
          ]);
          const key_info = Object.fromEntries(info) as Record<string, unknown>;
          return { data: { keys: versions.map(({ version }) => version), key_info }, shape: "both" };
        },
      }),
    },
  },
];
