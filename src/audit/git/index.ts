// The git device: lines are kept in a local spool, and committed, signed, to an audit repository of its own, which may be
// pushed to a remote.
// Must hold: a line is kept once it is in the spool; the serving thread only appends to that file: git, signing and the
// network are in a worker, and where it dies, lines go on being kept and are committed by the next one.
// Known gap: between two commits the newest lines are only as safe as a local file.

import { mkdir } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import type { Clock } from "../../lib/clock.ts";
import { GitError } from "../../lib/git.ts";
import { systemTimer } from "../../lib/flight.ts";
import type { Logger } from "../../lib/log.ts";
import { Mutex } from "../../lib/mutex.ts";
import { type Access, openRemote, probeRemote } from "../../lib/remote.ts";
import { publicLine } from "../../lib/sshsig.ts";
import type { AuditDevice, AuditKeys, AuditPlugin, Batch, Head } from "../../sdk/audit.ts";
import { VaultError } from "../../sdk/errors.ts";
import { examineFolder, fault, type Finding, ok } from "../../sdk/examine.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { type CommitStatus, spoolFolder } from "./committer.ts";
import { Spool } from "./spool.ts";
import type { Answer, Question, WorkerData } from "./worker.ts";

const fields = {
  path: field.string("Folder of the bare audit repository; made where it is absent", { required: true }),
  interval: field.duration("How long a line waits for its commit, at most", { default: 5, minimum: 1 }),
  commit_bytes: field.int("Commits sooner where this many bytes wait", { default: 4 * 1024 * 1024, minimum: 1024 }),
  sync: field.string("What a kept entry survives: none, a killed process; batch, a power cut too", {
    default: "none",
    enum: ["none", "batch"],
  }),
  push_remote: field.string("Where to push every commit: https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"),
  deploy_key_file: field.string("ssh: the private key, readable by the server only"),
  known_hosts_file: field.string("ssh: the host keys that may answer"),
  token_file: field.string("https: a token, readable by the server only"),
  token_user: field.string("https: the user name that goes with the token"),
  ca_file: field.string("https: certificates to trust, instead of the machine's"),
  allow_file_remote: field.bool("Lets push_remote be a path or a file:// URL", { default: false }),
  allow_loopback_http: field.bool("Lets push_remote be http:// at a loopback address", { default: false }),
} as const;

type Settings = Values<typeof fields>;

export interface GitStatus extends CommitStatus {
  /** The last line kept. */
  readonly head: Head | null;
  /** Lines kept and not committed yet. */
  readonly lag: number;
  /** "ssh-ed25519 AAAA…": what `writ audit verify --key` takes. */
  readonly publicKey: string;
}

const firstPause = 1_000;
const longestPause = 60_000;
const none: CommitStatus = { committed: null, pushed: null, alarm: null, error: null };

/** Runs from source and from the build alike. */
const workerFile = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);

class GitDevice implements AuditDevice {
  readonly type = "git";
  readonly name: string;
  readonly #settings: Settings;
  readonly #data: WorkerData;
  readonly #log: Logger;
  readonly #spool: Spool;
  readonly #turns = new Mutex();
  readonly #asked = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  #worker: Worker | null = null;
  #status: CommitStatus = none;
  #head: Head | null = null;
  #asks = 0;
  #noted = false;
  #waiting = 0;
  #failures = 0;
  #closed = false;

  constructor(name: string, settings: Settings, data: WorkerData, log: Logger) {
    this.name = name;
    this.#settings = settings;
    this.#data = data;
    this.#log = log;
    const torn = (aside: string, bytes: number): void =>
      log.warn("the audit spool ended in half a line, which was moved aside", { device: name, file: aside, bytes });
    this.#spool = new Spool(spoolFolder(settings.path), { mode: 0o600, sync: settings.sync === "batch", torn });
  }

  async open(): Promise<void> {
    const committed = await this.#start();
    await mkdir(spoolFolder(this.#settings.path), { recursive: true, mode: 0o700 });
    await this.#spool.open();
    const spooled = this.#spool.head;
    this.#head = (committed?.seq ?? 0) > (spooled?.seq ?? 0) ? committed : spooled;
    this.#note();
  }

  head(): Promise<Head | null> {
    return this.#turns.run("spool", () => Promise.resolve(this.#head));
  }

  write(batch: Batch): Promise<void> {
    return this.#turns.run("spool", async () => {
      if (this.#closed) throw new Error("the audit spool is closed");
      if (batch.first <= (this.#head?.seq ?? 0)) throw new Error(`line ${batch.first} is in the spool already`);
      await this.#spool.append(batch);
      this.#head = this.#spool.head;
      this.#waiting += batch.bytes.length;
      this.#note();
    });
  }

  async read(from: number, limit: number): Promise<Uint8Array[]> {
    if (from > (this.#head?.seq ?? 0)) return [];
    return (await this.#ask({ call: "read", id: ++this.#asks, from, limit })) as Uint8Array[];
  }

  /** Commits and pushes now. */
  async flush(): Promise<void> {
    await this.#ask({ call: "commit", id: ++this.#asks });
  }

  status(): GitStatus {
    const lag = (this.#head?.seq ?? 0) - (this.#status.committed?.seq ?? 0);
    return { ...this.#status, head: this.#head, lag, publicKey: publicLine(this.#data.signing) };
  }

  close(): Promise<void> {
    return this.#turns.run("spool", async () => {
      if (this.#closed) return;
      this.#closed = true;
      await this.#spool.close();
      const worker = this.#worker;
      if (worker === null) return;
      try {
        await this.#ask({ call: "close", id: ++this.#asks });
      } finally {
        await worker.terminate();
      }
    });
  }

  /** Tells the worker that lines wait: once a round, and once more where many bytes do. */
  #note(): void {
    if ((this.#head?.seq ?? 0) <= (this.#status.committed?.seq ?? 0)) return;
    if (this.#waiting >= this.#settings.commit_bytes) {
      this.#waiting = 0;
      this.#ask({ call: "commit", id: ++this.#asks }).catch(() => {}); // the next worker is noted again
    } else if (!this.#noted) {
      this.#noted = true;
      this.#send({ call: "note" });
    }
  }

  async #start(): Promise<Head | null> {
    const worker = new Worker(workerFile, { workerData: this.#data });
    this.#worker = worker;
    worker.unref();
    worker.on("message", (answer: Answer) => this.#receive(answer));
    worker.on("error", (error) => this.#log.error("audit worker failed", { device: this.name, error }));
    worker.on("exit", () => this.#gone());
    const opened = this.#ask({ call: "open", id: ++this.#asks });
    const committed = (await opened.catch(async (error: unknown) => {
      await worker.terminate();
      throw error;
    })) as Head | null;
    this.#status = { ...this.#status, committed };
    this.#failures = 0;
    return committed;
  }

  #receive(answer: Answer): void {
    if ("status" in answer) {
      this.#status = answer.status;
      this.#noted = false;
      this.#waiting = 0;
      // Lines that came while the round ran: the worker may not have seen them.
      if (!this.#closed && answer.status.error === null) this.#note();
    } else if ("level" in answer) {
      this.#log[answer.level](answer.message, { device: this.name, ...answer.fields });
    } else {
      const asked = this.#asked.get(answer.id);
      this.#asked.delete(answer.id);
      // What somebody waits for keeps the process; what runs in the background does not.
      if (this.#asked.size === 0) this.#worker?.unref();
      if ("error" in answer) asked?.reject(answer.error);
      else asked?.resolve(answer.value);
    }
  }

  /** The thread ended: by `close`, or because it failed, and then another one goes on from what is on the disk. */
  #gone(): void {
    this.#worker = null;
    for (const { reject } of this.#asked.values()) reject(new Error("the audit worker ended"));
    this.#asked.clear();
    this.#noted = false;
    if (this.#closed) return;
    systemTimer.after(Math.min(longestPause, firstPause * 2 ** Math.min(this.#failures++, 10)), () => {
      if (this.#closed || this.#worker !== null) return;
      this.#start().then(
        () => this.#note(),
        (error: unknown) => this.#log.error("audit worker does not start", { device: this.name, error }),
      );
    });
  }

  #send(question: Question): void {
    this.#worker?.postMessage(question);
  }

  #ask(question: Exclude<Question, { call: "note" }>): Promise<unknown> {
    if (this.#worker === null) return Promise.reject(new Error("the audit worker is not running"));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#asked.set(question.id, { resolve, reject });
    this.#worker.ref();
    this.#send(question);
    return promise;
  }
}

function accessOf(settings: Settings): Access | null {
  if (settings.push_remote === undefined) return null;
  return {
    url: settings.push_remote,
    deployKeyFile: settings.deploy_key_file,
    knownHostsFile: settings.known_hosts_file,
    tokenFile: settings.token_file,
    tokenUser: settings.token_user,
    caFile: settings.ca_file,
    allowFile: settings.allow_file_remote,
    allowLoopbackHttp: settings.allow_loopback_http,
  };
}

async function open(
  name: string,
  values: Readonly<Record<string, unknown>>,
  keys: AuditKeys,
  log: Logger,
  _clock: Clock,
): Promise<AuditDevice> {
  const settings = values as Settings;
  const remote = accessOf(settings);
  const data: WorkerData = { path: settings.path, signing: keys.signing, interval: settings.interval * 1000, remote };
  const device = new GitDevice(name, settings, data, log);
  try {
    if (remote !== null) await openRemote(remote);
    await device.open();
  } catch (error) {
    log.error("audit repository cannot be opened", { device: name, error });
    await device.close().catch(() => {});
    throw new VaultError(
      "audit",
      `audit device "${name}": its repository cannot be opened; the server's log says why`,
      {
        cause: error,
      },
    );
  }
  log.info("audit commits are signed", { device: name, signer: publicLine(keys.signing) });
  return device;
}

async function examine(values: Readonly<Record<string, unknown>>): Promise<readonly Finding[]> {
  const settings = values as Settings;
  const access = accessOf(settings);
  const folder = examineFolder(settings.path);
  if (access === null) return [folder];
  try {
    await probeRemote(await openRemote(access));
    return [folder, ok(`${access.url} answers`)];
  } catch (error) {
    const words =
      error instanceof GitError
        ? ` (${error.detail.trim() || error.message})`
        : `: ${error instanceof Error ? error.message : "failed"}`;
    return [folder, fault(`${access.url} cannot be read${words}: check push_remote, its keys and what they may do`)];
  }
}

export const plugin: AuditPlugin = {
  type: "git",
  description: "Commits audit lines, signed, to a git repository, and pushes them",
  fields,
  examine,
  open,
};
