// What the vault tells of itself at sys/metrics, under Vault's names where it has the same thing. Sealed it tells that.

import { loadavg } from "node:os";
import { counter, type Family, gauge, type Sample } from "../lib/metrics.ts";
import type { Core } from "./core.ts";

const states = ["ok", "behind", "refused"];

/** One for the value that holds, 0 for the others. */
const choice = (label: string, all: readonly string[], holds: string, labels = {}): readonly Sample[] =>
  all.map((each) => ({ labels: { ...labels, [label]: each }, value: Number(each === holds) }));

function ofProcess(): readonly Family[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const [load = 0] = loadavg();
  return [
    counter("process_cpu_seconds_total", "CPU time of the process", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "Memory of the process", rss),
    gauge("process_start_time_seconds", "When it started, since 1970", Math.round(performance.timeOrigin / 1000)),
    gauge("nodejs_heap_size_used_bytes", "Heap of its JavaScript", heapUsed),
    gauge("node_load1", "Load of the machine over a minute", load),
  ];
}

const ageOf = ({ seq, at }: Core["generation"]["record"], now: number): number =>
  seq === 0 ? 0 : Math.max(0, now - at) / 1000;

async function ofCore(core: Core, now: number): Promise<readonly Family[]> {
  const { record, mounts, table } = core.generation;
  const { tokens, leases } = await core.census.count();
  const devices = core.broker.status();
  const labelled = [...leases].map(([accessor, value]) => ({
    labels: { mount_accessor: accessor, mount_point: mounts.byAccessor(accessor)?.path ?? "" },
    value,
  }));
  return [
    gauge("vault_token_count", "Service tokens, as of the last count", tokens),
    gauge("vault_expire_num_leases", "Leases by mount, as of the last count", labelled),
    gauge("vault_expire_num_irrevocable_leases", "Leases that cannot be revoked", (await core.leases.stuck()).length),
    gauge(
      "writ_audit_device_state",
      "1 for the state that an audit device is in",
      devices.flatMap(({ name, state }) => choice("state", states, state, { device: name })),
    ),
    gauge(
      "writ_audit_device_head",
      "The last entry that a device keeps",
      devices.map(({ name, head }) => ({ labels: { device: name }, value: head })),
    ),
    gauge(
      "writ_generation_age_seconds",
      "Since the live generation became that, 0 before the first",
      ageOf(record, now),
    ),
    gauge("writ_generation_sequence", "Changes of the authorization state so far", record.seq),
    gauge("writ_declarations", "Objects that Git and the API declare", [...table].length),
    gauge("writ_tasks_failing", "1 while something that follows a change is tried again", Number(core.tasks.failing)),
  ];
}

export interface Facts {
  /** Null while sealed. */
  readonly core: Core | null;
  readonly initialized: boolean;
  readonly inFlight: number;
  readonly auditFailures: number;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Of other parts of the program. */
  readonly others: readonly Family[];
}

export async function collect(facts: Facts): Promise<readonly Family[]> {
  const { core, version, now } = facts;
  const build = { version, node: process.versions.node, platform: process.platform, arch: process.arch };
  return [
    gauge("vault_core_unsealed", "1 while unsealed", Number(core !== null)),
    gauge("writ_initialized", "1 once initialised", Number(facts.initialized)),
    gauge("vault_core_in_flight_requests", "Requests that are being worked on", facts.inFlight),
    counter("writ_audit_failures_total", "Requests that failed because no entry was kept", facts.auditFailures),
    ...(core === null ? [] : await ofCore(core, now)),
    ...facts.others,
    ...ofProcess(),
    gauge("writ_build_info", "What runs", [{ labels: build, value: 1 }]),
  ];
}
