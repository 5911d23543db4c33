// Work that follows a change and must happen some day: revoking tokens of a removed mapping, dropping a mount's data,
// seeding a secret. A task is written in the same transaction as the change, tried at once, and tried again with
// backoff until it is done; status shows it meanwhile.
// A task that belongs to a change of generation carries its number, and is none until that generation is current: a store
// without transactions may hold the task and not the generation.
// Must hold: every task is idempotent; tasks run one at a time in the order they were made, but a failing one does not
// hold up those of other subjects.

import { randomBytes } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Json, View, ViewOp } from "../sdk/view.ts";

export interface Task {
  readonly type: string;
  /** What it is about: tasks of one subject keep their order, and those of "mount" go before those of "mount object". */
  readonly subject: string;
  readonly args: Readonly<Record<string, Json>>;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Number of the generation that it follows. */
  readonly seq?: number;
}

export interface PendingTask {
  readonly task: string;
  readonly since: number;
  readonly error: string | null;
}

export type TaskHandler = (args: Readonly<Record<string, Json>>) => Promise<void>;

const firstRetry = 1_000;
const lastRetry = 60_000;

export class Tasks {
  readonly #view: View;
  readonly #handlers: Readonly<Record<string, TaskHandler>>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #failures = new Map<string, { subject: string; error: string; attempts: number; next: number }>();
  #counter = 0;
  /** Number of the live generation. */
  #seq = 0;
  #running: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(view: View, handlers: Readonly<Record<string, TaskHandler>>, clock: Clock, log: Logger) {
    this.#view = view;
    this.#handlers = handlers;
    this.#clock = clock;
    this.#log = log;
  }

  /** Operations relative to the barrier's root, where this view is `task/`. */
  put(type: string, subject: string, args: Readonly<Record<string, Json>>, seq?: number): ViewOp {
    const since = this.#clock.now();
    this.#counter += 1;
    // Random too: a process that starts within the same millisecond must not take the place of a task.
    const id = `${String(since).padStart(15, "0")}-${String(this.#counter).padStart(9, "0")}-${randomBytes(4).toString("hex")}`;
    const task: Task = { type, subject, args, since, ...(seq !== undefined && { seq }) };
    return { key: `task/${id}`, value: task };
  }

  /** Generation `seq` is live: its tasks may run. */
  advance(seq: number): void {
    this.#seq = seq;
  }

  /** All tasks, after those of generations that never became current are gone. */
  async settle(): Promise<readonly Task[]> {
    const kept: Task[] = [];
    for (const id of await this.#view.list("")) {
      const task = (await this.#view.getJson<Task>(id))?.value;
      if (task === undefined) continue;
      if ((task.seq ?? 0) <= this.#seq) kept.push(task);
      else await this.#view.write([{ key: id, value: null }]);
    }
    return kept;
  }

  /** Runs what is due. Resolves once nothing that may run now is left. */
  run(): Promise<void> {
    if (this.#running !== null) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#rounds().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async pending(): Promise<PendingTask[]> {
    const tasks: PendingTask[] = [];
    for (const id of await this.#view.list("")) {
      const entry = await this.#view.getJson<Task>(id);
      if (entry === null) continue;
      const { type, subject, since } = entry.value;
      tasks.push({ task: `${type} ${subject}`, since, error: this.#failures.get(id)?.error ?? null });
    }
    return tasks;
  }

  /** Whether something is still to be done about a subject. */
  async waiting(subject: string): Promise<boolean> {
    for (const id of await this.#view.list("")) {
      if ((await this.#view.getJson<Task>(id))?.value.subject === subject) return true;
    }
    return false;
  }

  /** Why a subject's tasks are not done; null where nothing failed. */
  problem(subject: string): string | null {
    for (const failure of this.#failures.values()) if (failure.subject === subject) return failure.error;
    return null;
  }

  get failing(): boolean {
    return this.#failures.size > 0;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running?.catch(() => {});
  }

  async #rounds(): Promise<void> {
    do {
      this.#again = false;
      const held = new Set<string>();
      for (const id of await this.#view.list("")) {
        if (this.#closed) return;
        await this.#one(id, held);
      }
    } while (this.#again);
  }

  async #one(id: string, held: Set<string>): Promise<void> {
    const entry = await this.#view.getJson<Task>(id);
    if (entry === null) return;
    const { type, subject, args } = entry.value;
    const failure = this.#failures.get(id);
    const [whole = ""] = subject.split(" ", 1);
    if (
      (entry.value.seq ?? 0) > this.#seq ||
      held.has(subject) ||
      held.has(whole) ||
      (failure !== undefined && failure.next > this.#clock.now())
    ) {
      held.add(subject);
      return;
    }
    try {
      const handler = this.#handlers[type];
      if (handler === undefined) throw new Error(`no handler for task ${type}`);
      await handler(args);
      await this.#view.write([{ key: id, value: null }]);
      this.#failures.delete(id);
    } catch (error) {
      if (this.#closed) return;
      held.add(subject);
      const attempts = (failure?.attempts ?? 0) + 1;
      const wait = Math.min(firstRetry * 2 ** (attempts - 1), lastRetry);
      const message = error instanceof Error ? error.message : "failed";
      this.#failures.set(id, { subject, error: message, attempts, next: this.#clock.now() + wait });
      // The first failure is often only a matter of order: a secret that is written a moment later.
      this.#log[attempts === 1 ? "info" : "warn"]("task failed and will be tried again", {
        task: type,
        subject,
        attempts,
        retry_in_ms: wait,
        error: message,
      });
    }
  }
}
