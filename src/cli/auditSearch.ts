// `writ audit log`: who did what, offline, out of the lines of an audit log; what is secret stands there as its HMAC, which
// `writ audit hash` tells.
// Must hold: a request whose answer the log lacks is shown too: it may have been carried out.
// Known gap: the lines are read as they are; whether the log is whole is `writ audit verify`'s to say.

import { openSource } from "./auditlog.ts";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { isTable, json, type ShowOptions, table } from "./show.ts";

export interface SearchOptions extends ShowOptions {
  /** Any of these stands in the line. */
  readonly with?: readonly string[];
  /** A time as the log has it, or the beginning of one. */
  readonly since?: string;
  /** Also what was done with tokens that the lines found have made. */
  readonly follow?: boolean;
  /** Nothing but which tokens were made, for `writ token revoke --hash`. */
  readonly made?: boolean;
}

interface Made {
  readonly client_token: string;
  readonly accessor: string;
}

/** An audit line, as far as it is shown. */
interface Entry {
  readonly seq: number;
  readonly time: string;
  readonly type: string;
  readonly error?: string;
  readonly auth?: { readonly display_name?: string };
  readonly request?: {
    readonly id: string;
    readonly operation: string;
    readonly path: string;
    readonly remote_address: string;
  };
  readonly response?: { readonly auth?: Made; readonly wrap_info?: { readonly wrapped_accessor?: string } };
  readonly event?: { readonly name: string };
  readonly reconcile?: { readonly result?: string; readonly phase: string; readonly commit: string };
}

/** The new token that an answer brought, wrapped or not. A renewal brings one that there was, of whomever. */
const madeIn = ({ request, response }: Entry): Made => {
  if (request?.path.startsWith("auth/token/renew")) return { client_token: "", accessor: "" };
  return {
    client_token: response?.auth?.client_token ?? "",
    accessor: response?.auth?.accessor || (response?.wrap_info?.wrapped_accessor ?? ""),
  };
};

const hashes = /hmac-sha256:[^"]+/g;

/** Found lines in their order: of a request that was answered, the answer alone. */
class Found {
  readonly #entries = new Map<string, Entry>();
  readonly #options: SearchOptions;
  /** Hashes of tokens that were made, and of their accessors. */
  readonly #made = new Set<string>();

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  #wants(text: string): boolean {
    const { with: wanted } = this.#options;
    if (wanted === undefined || wanted.some((each) => text.includes(each))) return true;
    if (this.#made.size === 0) return false;
    for (const [hash] of text.matchAll(hashes)) if (this.#made.has(hash)) return true;
    return false;
  }

  add(text: string): void {
    if (!this.#wants(text)) return;
    const entry = JSON.parse(text) as Entry;
    const { since = "", follow } = this.#options;
    if (entry.time < since) return;
    const { client_token: token, accessor } = madeIn(entry);
    if (follow === true) for (const each of [token, accessor]) if (each !== "") this.#made.add(each);
    this.#entries.set(entry.request?.id ?? String(entry.seq), entry);
  }

  get entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }
}

const resultOf = ({ type, error, reconcile }: Entry): string => {
  if (type === "request") return "no answer in the log";
  return error ?? reconcile?.result ?? reconcile?.phase ?? "ok";
};

const rowOf = (entry: Entry): readonly unknown[] => {
  const { seq, time, type, auth, request, event, reconcile } = entry;
  const what = request === undefined ? (event?.name ?? reconcile?.commit) : request.path;
  return [
    seq,
    time.slice(0, 19),
    auth?.display_name ?? null,
    request?.remote_address,
    request?.operation ?? type,
    what,
    resultOf(entry),
    madeIn(entry).accessor || null,
  ];
};

/** Exit code 0, whether or not there is such a line. */
export async function searchAudit(path: string, io: Io, options: SearchOptions): Promise<number> {
  const asTable = isTable(io, options);
  const source = await openSource(path, null);
  if ("fault" in source) throw new CommandError(source.fault);
  const found = new Found(options);
  for await (const { file, number, bytes, whole } of source.lines()) {
    // The server is writing it.
    if (!whole) continue;
    try {
      found.add(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
    } catch {
      throw new CommandError(`${file}:${number}: this is no audit line: writ audit verify says what is wrong`);
    }
  }
  const { entries } = found;
  if (options.made === true) {
    for (const accessor of new Set(entries.map((entry) => madeIn(entry).accessor)))
      if (accessor !== "") io.out(accessor);
  } else if (!asTable) json(io, entries);
  else if (entries.length === 0) io.out("No such line");
  else
    table(io, ["Line", "Time (UTC)", "Who", "From", "Operation", "Path", "Result", "Token made"], entries.map(rowOf));
  return 0;
}
