// Many clients at once, slow ones, large requests and password logins on the built server: who does nothing wrong is
// answered meanwhile, and memory stays within its bound.
// Must hold: everything below runs at the same time. Speed is printed; what is asserted of it is that nothing hangs.

import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build, Server } from "../crash/server.ts";
import type { Tally, Task } from "./crowd.ts";

const loadMs = Number(process.env["WRIT_CROWD_MS"] ?? 20_000);
/** What is promised; how near it comes depends on when the machine lets the garbage collector run. Without bounds it is 2,800. */
const [goalMib, mostMib] = [512, 768];
/** A health check that takes longer than this hangs. */
const hangMs = 30_000;
const counts = { idle: 10_000, slow: 300, bodies: 8, strangers: 8, stalling: 400, logins: 20, readers: 4, health: 2 };
const good: readonly (keyof typeof counts)[] = ["idle", "bodies", "strangers", "logins", "readers", "health"];

class Crowd {
  readonly #child: ChildProcess;
  readonly #done: Promise<Tally>;
  readonly ready: Promise<void>;

  constructor(task: Task) {
    this.#child = fork(join(import.meta.dirname, "crowd.ts"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const ready = Promise.withResolvers<void>();
    const done = Promise.withResolvers<Tally>();
    this.#child.on("message", (message: "ready" | Tally) => {
      if (message === "ready") ready.resolve();
      else done.resolve(message);
    });
    this.#child.once("exit", (code) => {
      const error = new Error(`the clients of ${task.group} ended with ${code}`);
      ready.reject(error);
      done.reject(error);
    });
    ready.promise.catch(() => {});
    done.promise.catch(() => {});
    this.ready = ready.promise;
    this.#done = done.promise;
    this.#child.send(task);
  }

  end(): Promise<Tally> {
    this.#child.send("end");
    return this.#done;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** In MiB, by smaps_rollup. */
function memory(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Rss: +(\d+)/m.exec(text)?.[1]) / 1024;
}

const percentile = (sorted: readonly number[], share: number): number =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);

function describe(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  if (times.length === 0) return "not timed";
  return `p50 ${percentile(sorted, 0.5)} ms, p99 ${percentile(sorted, 0.99)} ms, max ${percentile(sorted, 1)} ms`;
}

let server: Server;
const crowds: Crowd[] = [];

beforeAll(async () => {
  build();
  server = await Server.make("{ type: sqlite, path: storage }");
  // As the command's first line has them.
  const [first = ""] = readFileSync(join(import.meta.dirname, "../../src/main.ts"), "utf8").split("\n", 1);
  const words = first.split(" ");
  const env = Object.fromEntries(words.filter((word) => word.includes("_")).map((word) => word.split("=")));
  await server.start({ flags: words.filter((word) => word.startsWith("--")), env });
  await server.initialize();
  await server.must("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await server.must("POST", "secret/config", { max_versions: 1 });
  await server.must("POST", "sys/auth/userpass", { type: "userpass" });
  for (let at = 0; at < counts.logins; at++) {
    await server.must("POST", `auth/userpass/users/user-${at}`, { password: `password-${at}` });
  }
  await server.must("POST", "secret/data/small", { data: { a: "b" } });
  await server.must("POST", "secret/data/large", { data: { a: "a".repeat(400_000) } });
});

afterAll(async () => {
  for (const crowd of crowds) crowd.kill();
  await server.remove();
});

test("300 slow clients, 400 that stall, 10,000 idle connections, bodies of 32 MiB and 20 logins at once", async () => {
  const { pid } = server.running.child;
  if (pid === undefined) throw new Error("no server");
  const { port, token } = server;
  const before = memory(pid);
  let peak = before;
  const sampling = setInterval(() => (peak = Math.max(peak, memory(pid))), 50);
  const started = new Map<keyof typeof counts, Crowd>();
  const held: string[] = [];
  for (const group of Object.keys(counts) as (keyof typeof counts)[]) {
    const crowd = new Crowd({ group, port, token, count: counts[group] });
    crowds.push(crowd);
    started.set(group, crowd);
    await crowd.ready;
    held.push(`${group} ${Math.round(memory(pid))}`);
  }
  console.log(`memory in MiB: before ${Math.round(before)}, with ${held.join(", ")}`);
  await pause(loadMs);
  clearInterval(sampling);
  const tallies = new Map<string, Tally>();
  await Promise.all([...started].map(async ([group, crowd]) => tallies.set(group, await crowd.end())));
  const ended = memory(pid);
  await pause(3_000);
  console.log(
    `memory: at most ${Math.round(peak)} MiB (goal ${goalMib}: ${peak < goalMib ? "reached" : "MISSED"}), after it ${Math.round(ended)} MiB, 3 s on ${Math.round(memory(pid))} MiB`,
  );
  for (const [group, { good: fine, again, wrong, times }] of tallies) {
    const faults = Object.keys(wrong).length > 0 ? `; ${JSON.stringify(wrong)}` : "";
    console.log(`${group}: ${fine} answered, ${again} asked again; ${describe(times)}${faults}`);
  }
  expect(peak).toBeLessThan(mostMib);
  for (const group of good) {
    const found = tallies.get(group);
    expect({ group, wrong: found?.wrong }).toEqual({ group, wrong: {} });
    expect(found?.good, group).toBeGreaterThan(0);
  }
  expect(Math.max(...(tallies.get("health")?.times ?? []))).toBeLessThan(hangMs);
  expect(server.running.child.exitCode).toBeNull();
});
