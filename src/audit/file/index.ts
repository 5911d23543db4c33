// The file device: appends the chain's lines to one file.
// Must hold: a line is kept once `write(2)` is done, with `sync: batch` once it is on the disk; the file holds whole lines
// of the chain and nothing else; after a rotation the chain goes on in the new file.
// Known gap: with `sync: none` a power cut (not a killed process) may lose the newest lines; where another device has
// them, they are sent again at the next start.

import { dirname } from "node:path";
import type { Clock } from "../../lib/clock.ts";
import { Journal, type JournalOptions, lastLine, seekLine, takeLines } from "../../lib/journal.ts";
import type { Logger } from "../../lib/log.ts";
import { Mutex } from "../../lib/mutex.ts";
import type { AuditDevice, AuditKeys, AuditPlugin, Batch, Head } from "../../sdk/audit.ts";
import { lineHash, linkOf } from "../../sdk/chain.ts";
import { VaultError } from "../../sdk/errors.ts";
import { examineFolder } from "../../sdk/examine.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { fromApi } from "./fromApi.ts";

const fields = {
  path: field.string("The file to append to; made where it is absent", { required: true }),
  mode: field.string("Permissions of the file, octal, not executable", {
    default: "0600",
    pattern: "^0?[0246]{3}$",
  }),
  sync: field.string("What a kept entry survives: none, a killed process; batch, a power cut too", {
    default: "none",
    enum: ["none", "batch"],
  }),
} as const;

type Settings = Values<typeof fields>;

/** Bytes read at once for a device that is behind. */
const readBytes = 1024 * 1024;

class FileDevice implements AuditDevice {
  readonly type = "file";
  readonly name: string;
  readonly #path: string;
  readonly #options: JournalOptions;
  /** Writes, reads and rotations take turns: each sees the file as the one before left it. */
  readonly #turns = new Mutex();
  #journal: Journal | null = null;
  #head: Head | null = null;

  constructor(name: string, settings: Settings, log: Logger) {
    this.name = name;
    this.#path = settings.path;
    const torn = (aside: string, bytes: number): void =>
      log.warn("the audit file ended in half a line, which was moved aside", { device: name, file: aside, bytes });
    const slow = (took: number, pause: number): void =>
      log.warn("a write to the audit file was slow: for a while the server does not wait for one", {
        device: name,
        took_ms: took,
        pause_ms: pause,
      });
    this.#options = { mode: Number.parseInt(settings.mode, 8), sync: settings.sync === "batch", torn, slow };
  }

  async open(): Promise<void> {
    const journal = await Journal.open(this.#path, this.#options);
    this.#journal = journal;
    try {
      this.#head = await headOf(journal);
    } catch (error) {
      await journal.close();
      throw error;
    }
  }

  head(): Promise<Head | null> {
    return this.#turns.run("file", () => Promise.resolve(this.#head));
  }

  read(from: number, limit: number): Promise<Uint8Array[]> {
    return this.#turns.run("file", async () => {
      const { fd, size } = this.#open();
      const at = await seekLine(fd, size, (line) => (linkOf(line)?.seq ?? 0) - from);
      const lines = at === size ? [] : await takeLines(fd, at, limit, Math.min(readBytes, size - at));
      return lines[0] !== undefined && linkOf(lines[0])?.seq === from ? lines : [];
    });
  }

  write(batch: Batch): Promise<void> {
    return this.#turns.run("file", async () => {
      if (batch.first <= (this.#head?.seq ?? 0)) throw new Error(`line ${batch.first} is in the file already`);
      await this.#open().append(batch.bytes);
      this.#head = batch.head;
    });
  }

  /** The file was moved away: goes on in a new one at the same path. Where that cannot be opened, in the old one. */
  reopen(): Promise<void> {
    return this.#turns.run("file", async () => {
      const old = this.#open();
      const journal = await Journal.open(this.#path, this.#options);
      const head = await headOf(journal).catch(async (error: unknown) => {
        await journal.close();
        throw error;
      });
      // Not a new file but another chain's, or a copy that ends elsewhere: never mixed with this one.
      if (head !== null && (head.seq !== this.#head?.seq || head.hash !== this.#head.hash)) {
        await journal.close();
        throw new Error("the file at the device's path holds other audit lines; move it away");
      }
      this.#journal = journal;
      await old.close();
    });
  }

  close(): Promise<void> {
    return this.#turns.run("file", async () => {
      const journal = this.#journal;
      this.#journal = null;
      await journal?.close();
    });
  }

  #open(): Journal {
    if (this.#journal === null) throw new Error("the audit file is closed");
    return this.#journal;
  }
}

async function headOf(journal: Journal): Promise<Head | null> {
  const line = await lastLine(journal.fd, journal.size);
  if (line === null) return null;
  const link = linkOf(line);
  if (link === null) throw new Error(`${journal.path} holds something other than audit lines; choose another file`);
  return { seq: link.seq, hash: lineHash(line) };
}

async function open(
  name: string,
  settings: Readonly<Record<string, unknown>>,
  _keys: AuditKeys,
  log: Logger,
  _clock: Clock,
): Promise<AuditDevice> {
  const device = new FileDevice(name, settings as Settings, log);
  try {
    await device.open();
  } catch (error) {
    log.error("audit file cannot be opened", { device: name, error });
    throw new VaultError("audit", `audit device "${name}": its file cannot be opened; the server's log says why`, {
      cause: error,
    });
  }
  return device;
}

export const plugin: AuditPlugin = {
  type: "file",
  description: "Appends audit lines to a file",
  fields,
  examine: async (settings) => [examineFolder(dirname((settings as Settings).path))],
  fromApi,
  open,
};
