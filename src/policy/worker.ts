// The texts of policies, read in a thread of their own. This file is both ends: the thread's entry, and `PolicyReader` for
// the server.
// Must hold: what is read in the thread is the same as `readPolicy` gives, errors included; a thread that dies, or is stuck,
// fails the text that it had, and the next one gets another; there is no thread before the first long text, and
// none a while after the last.

import { isMainThread, parentPort, workerData } from "node:worker_threads";
import type { Logger } from "../lib/log.ts";
import { Mutex } from "../lib/mutex.ts";
import { sliced, type Work } from "../lib/slices.ts";
import { answering, Thread } from "../lib/thread.ts";
import { type ErrorCode, isVaultError, VaultError } from "../sdk/errors.ts";
import { checkLength, type PolicyText } from "./hcl.ts";
import type { RuleSpec } from "./rule.ts";
import { readPolicy } from "./text.ts";

/** Characters that are read at once: 0.2 ms of work as policies are mostly written, 2 where all is one condition with a list
 *  of address ranges. A thread takes a millisecond to ask, and a hundred times that to start. */
const short = 2_048;

/** Rules in a piece of the answer: as many as are parsed again in a fraction of a millisecond. */
const lot = 256;

interface Question {
  readonly text: string;
  readonly name: string;
}

/** Rules as JSON in pieces, in one buffer that changes hands: objects by the hundred thousand would be copied at one go. */
interface Parcel {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where each piece ends. */
  readonly ends: readonly number[];
  readonly zone: string | null;
}

type Told =
  | { readonly code: ErrorCode; readonly errors: readonly string[] }
  /** What nobody foresaw. */
  | { readonly name: string; readonly stack: string };

export interface PolicyReaderOptions {
  readonly log: Logger;
  /** The module whose thread it is, for tests. */
  readonly url?: URL;
  /** Milliseconds that a text may take: many times what the longest does on a busy machine. */
  readonly deadline?: number;
  /** Milliseconds after which a thread without work ends. */
  readonly idle?: number;
}

function pack({ rules, time_zone: zone }: PolicyText): Parcel {
  const pieces: Buffer[] = [];
  const ends: number[] = [];
  let end = 0;
  for (let at = 0; at < rules.length; at += lot) {
    const piece = Buffer.from(JSON.stringify(rules.slice(at, at + lot)));
    end += piece.length;
    pieces.push(piece);
    ends.push(end);
  }
  const bytes = new Uint8Array(end);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { bytes, ends, zone: zone ?? null };
}

function* unpacking({ bytes, ends, zone }: Parcel): Work<PolicyText> {
  const all = Buffer.from(bytes.buffer);
  const rules: RuleSpec[] = [];
  let at = 0;
  for (const end of ends) {
    for (const rule of JSON.parse(all.toString("utf8", at, end)) as readonly RuleSpec[])
      rules.push(Object.freeze(rule));
    at = end;
    yield;
  }
  return { rules, ...(zone !== null && { time_zone: zone }) };
}

const failed = (): VaultError =>
  new VaultError("internal", "the policy could not be read: the thread that reads policies ended; try again");
const sealed = (): VaultError => new VaultError("sealed", "Vault is sealed");

export class PolicyReader {
  readonly #options: PolicyReaderOptions;
  /** One text at a time: the deadline is a text's own. */
  readonly #turn = new Mutex();
  #thread: Thread<Question> | null = null;
  #rest: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: PolicyReaderOptions) {
    this.#options = options;
  }

  /** As `readPolicy`. Throws VaultError `internal` too, where the thread is lost, and `sealed` once closed. */
  async read(text: string, name: string): Promise<PolicyText> {
    checkLength(text);
    if (text.length <= short) return readPolicy(text, name);
    const parcel = await this.#turn.run("", () => this.#ask({ text, name }));
    return sliced(unpacking(parcel));
  }

  async #ask(question: Question): Promise<Parcel> {
    if (this.#closed) throw sealed();
    if (this.#rest !== null) clearTimeout(this.#rest);
    if (this.#thread === null || !this.#thread.alive) this.#thread = this.#open();
    const thread = this.#thread;
    try {
      return (await thread.ask(question)) as Parcel;
    } finally {
      if (!this.#closed) {
        this.#rest = setTimeout(() => void this.#end(thread), this.#options.idle ?? 30_000);
        this.#rest.unref();
      }
    }
  }

  #open(): Thread<Question> {
    return new Thread({
      url: this.#options.url ?? new URL(import.meta.url),
      data: { writPolicies: true },
      name: "writ-policy",
      limits: { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 16 },
      deadline: this.#options.deadline ?? 120_000,
      revive: (told) => revive(told as Told),
      ended: (why) => {
        if (this.#closed) return sealed();
        this.#options.log.error("the thread that reads policies ended", { why: why.split("\n", 1)[0] ?? "" });
        return failed();
      },
    });
  }

  async #end(thread: Thread<Question>): Promise<void> {
    if (this.#thread === thread) this.#thread = null;
    await thread.stop("closed");
  }

  /** What is being read, or waits, is not read any more. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#rest !== null) clearTimeout(this.#rest);
    if (this.#thread !== null) await this.#end(this.#thread);
  }
}

function tell(error: unknown): Told {
  if (isVaultError(error)) return { code: error.code, errors: error.errors };
  return error instanceof Error ? { name: error.name, stack: error.stack ?? "" } : { name: "unknown", stack: "" };
}

function revive(told: Told): Error {
  if ("code" in told) return new VaultError(told.code, told.errors);
  return Object.assign(new Error("a policy could not be read"), told);
}

const data = workerData as { readonly writPolicies?: true } | null;
if (!isMainThread && data?.writPolicies === true) {
  answering(
    parentPort,
    async (question) => {
      const { text, name } = question as Question;
      return pack(readPolicy(text, name));
    },
    tell,
    (value) => [(value as Parcel).bytes.buffer],
  );
}
