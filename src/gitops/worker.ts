// The workshop in a thread of its own. This file is both ends: the thread's entry, and `openWorkshop` for the server.
// Must hold: a thread that dies fails what it was asked and is replaced at the next question; a question has a deadline.
// Kinds carry functions, which cannot be sent: the thread imports them from the module it is told.

import { readlinkSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { extname } from "node:path";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { answering, Thread } from "../lib/thread.ts";
import type { Declaration, Kind } from "../sdk/kind.ts";
import type { compile as ownCompile } from "./compile.ts";
import { explain, SourceError } from "./explain.ts";
import type { Settings } from "./settings.ts";
import { Source } from "./source.ts";
import { type Compile, createWorkshop, type Parcel, type Workshop } from "./workshop.ts";

export interface WorkshopOptions {
  readonly settings: Settings;
  /** Kept between starts; its own, created 0700. */
  readonly folder: string;
  /** A module that exports `kinds: readonly Kind[]`. */
  readonly kindsModule: URL;
  /** A module that exports `compile: Compile`; compile.ts beside this file unless given. */
  readonly compilerModule?: URL;
}

interface Question {
  readonly call: keyof Workshop | "more";
  readonly args: readonly unknown[];
}

/** Of a parcel, at once: the rest is asked for bit by bit, so that the serving thread never has much to unpack. */
const lot = 100;

type Told = Pick<SourceError, "message" | "cause" | "detail">;

type Data = Pick<WorkshopOptions, "settings" | "folder"> & {
  readonly writWorkshop: true;
  readonly kindsModule: string;
  readonly compilerModule: string;
};

// As source or as built: the neighbours have this file's extension.
const compilerModule = new URL(`./compile${extname(new URL(import.meta.url).pathname)}`, import.meta.url);

/** Longer than any work that the limits allow; a thread that takes longer is stuck. */
const deadline = 15 * 60_000;

/** Compiling may take a while longer where requests need the processor: this thread, and the git that it starts, stand back.
 *  Linux knows threads by a number of their own; elsewhere nothing changes. */
function standBack(): void {
  try {
    const [, thread] = /\/task\/(\d+)$/.exec(readlinkSync("/proc/thread-self")) ?? [];
    if (thread !== undefined) setPriority(Number(thread), constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // A system without such a file, or that allows no change.
  }
}

async function serve(data: Data): Promise<void> {
  standBack();
  const { kinds } = (await import(data.kindsModule)) as { readonly kinds: readonly Kind[] };
  const { compile } = (await import(data.compilerModule)) as {
    readonly compile: Compile | typeof ownCompile;
  };
  const source = new Source(data.settings, data.folder);
  const workshop = createWorkshop(source, compile, kinds, data.settings);
  let rest: readonly Declaration[] = [];
  const more = (): Promise<readonly Declaration[]> => {
    const next = rest.slice(0, lot);
    rest = rest.slice(lot);
    return Promise.resolve(next);
  };
  const calls = {
    ...workshop,
    compile: async (...args: Parameters<Workshop["compile"]>): Promise<Parcel> => {
      const parcel = await workshop.compile(...args);
      rest = parcel.changed;
      return { ...parcel, changed: await more() };
    },
    more,
  };
  answering(
    parentPort,
    (question) => {
      const { call, args } = question as Question;
      return (calls[call] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
    },
    (error): Told => {
      const { message, cause, detail } = error instanceof SourceError ? error : internal(error);
      return { message, cause, detail };
    },
  );
}

const internal = (error: unknown): SourceError =>
  new SourceError(
    "reading the commit failed inside the server: its log says why",
    "remote",
    error instanceof Error ? (error.stack ?? error.message) : explain(error).detail,
  );

function openThread(options: WorkshopOptions): Thread<Question> {
  const data: Data = {
    settings: options.settings,
    folder: options.folder,
    kindsModule: options.kindsModule.href,
    compilerModule: (options.compilerModule ?? compilerModule).href,
    writWorkshop: true,
  };
  return new Thread({
    url: new URL(import.meta.url),
    data,
    name: "writ-gitops",
    limits: { maxOldGenerationSizeMb: 2_048 },
    deadline,
    revive: (told) => {
      const { message, cause, detail } = told as Told;
      return new SourceError(message, cause, detail);
    },
    ended: (why) => internal(new Error(why)),
  });
}

/** A workshop whose work runs in a thread, started with the first question. */
export function openWorkshop(options: WorkshopOptions): Workshop {
  let thread: Thread<Question> | null = null;
  let closed = false;
  const open = (): Thread<Question> => {
    // A thread that nobody ends would keep the process.
    if (closed) throw new SourceError("stopped", "remote", "");
    if (thread === null || !thread.alive) thread = openThread(options);
    return thread;
  };
  const ask = async (call: keyof Workshop, args: readonly unknown[]): Promise<unknown> => open().ask({ call, args });
  return {
    fetch: () => ask("fetch", []) as ReturnType<Workshop["fetch"]>,
    hurry: () => ask("hurry", []) as ReturnType<Workshop["hurry"]>,
    descends: (commit, ancestor) => ask("descends", [commit, ancestor]) as ReturnType<Workshop["descends"]>,
    find: (name) => ask("find", [name]) as ReturnType<Workshop["find"]>,
    last: () => ask("last", []) as ReturnType<Workshop["last"]>,
    ahead: (commit, base) => ask("ahead", [commit, base]) as ReturnType<Workshop["ahead"]>,
    keep: (ids) => ask("keep", [ids]) as ReturnType<Workshop["keep"]>,
    compile: async (commit, have) => {
      const asked = open();
      const parcel = (await asked.ask({ call: "compile", args: [commit, have] })) as Parcel;
      const changed = [...parcel.changed];
      for (let got = changed.length; got === lot;) {
        const next = (await asked.ask({ call: "more", args: [] })) as readonly Declaration[];
        got = next.length;
        for (const each of next) changed.push(each);
      }
      return { ...parcel, changed };
    },
    close: async () => {
      closed = true;
      const last = thread;
      thread = null;
      if (last === null || !last.alive) return;
      await last.ask({ call: "close", args: [] }).catch(() => {});
      await last.stop("closed");
    },
  };
}

const data = workerData as Partial<Data> | null;
if (!isMainThread && data?.writWorkshop === true) await serve(data as Data);
