// The thread in which git and signing run. Answers the calls of index.ts, one message each.

import type { KeyObject } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../lib/clock.ts";
import { systemTimer } from "../../lib/flight.ts";
import type { Fields, Logger } from "../../lib/log.ts";
import type { Access } from "../../lib/remote.ts";
import { Committer, type CommitStatus } from "./committer.ts";

export interface WorkerData {
  readonly path: string;
  readonly signing: KeyObject;
  /** Milliseconds. */
  readonly interval: number;
  readonly remote: Access | null;
}

/** To the worker. `note` has no answer. */
export type Question =
  | { readonly call: "note" }
  | { readonly call: "open" | "commit" | "close"; readonly id: number }
  | { readonly call: "read"; readonly id: number; readonly from: number; readonly limit: number };

/** From the worker. */
export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: unknown }
  | { readonly status: CommitStatus }
  | { readonly level: keyof Logger; readonly message: string; readonly fields: Fields };

const port = parentPort;
if (port === null) throw new Error("the audit worker runs in a thread of its own");
const post = (answer: Answer): void => port.postMessage(answer);

const at =
  (level: keyof Logger) =>
  (message: string, fields: Fields = {}): void =>
    post({ level, message, fields });

const data = workerData as WorkerData;
const committer = new Committer({
  ...data,
  log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), security: at("security") },
  clock: systemClock,
  timer: systemTimer,
  random: Math.random,
  onStatus: (status) => post({ status }),
});

function run(question: Exclude<Question, { call: "note" }>): Promise<unknown> {
  if (question.call === "read") return committer.read(question.from, question.limit);
  return committer[question.call]();
}

port.on("message", (question: Question) => {
  if (question.call === "note") {
    committer.note();
    return;
  }
  const { id } = question;
  run(question).then(
    (value) => post({ id, value }),
    (error: unknown) => post({ id, error }),
  );
});
