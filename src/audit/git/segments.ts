// Lines → files of one commit. A segment is `requests/YYYY/MM/DD/HH/<first seq>.jsonl` by the time (UTC) of its first line,
// at most 8 MiB, and is written once. A reconcile line stands in a segment like any other, and beside it as a file that
// people read: `reconciles/YYYY/MM/DD/<seq>-<commit>.json`.

import type { Head } from "../../sdk/audit.ts";
import { batchMessage, lineHash, linkOf } from "../../sdk/chain.ts";

export interface Portion {
  /** "2026-11": the branch. */
  readonly month: string;
  readonly first: number;
  readonly head: Head;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const segmentBytes = 8 * 1024 * 1024;
/** Names sort as numbers do. */
const padded = (seq: number): string => String(seq).padStart(12, "0");
const timePattern = /"time":"(\d{4})-(\d\d)-(\d\d)T(\d\d):/;
const reconcilePattern = /"type":"reconcile"/;
const opening = 256;

interface Place {
  readonly month: string;
  readonly day: string;
  readonly hour: string;
}

/** By the line's own time; `previous` where it bears none. */
function placeOf(start: string, previous: Place): Place {
  const match = timePattern.exec(start);
  if (match === null) return previous;
  const [, year = "", month = "", day = "", hour = ""] = match;
  return { month: `${year}-${month}`, day: `${year}/${month}/${day}`, hour: `${year}/${month}/${day}/${hour}` };
}

function reconcileFile(line: Uint8Array, seq: number, day: string): readonly [string, Uint8Array] {
  const entry = JSON.parse(Buffer.from(line).toString("utf8")) as { reconcile?: { commit?: unknown } };
  const commit = entry.reconcile?.commit;
  const name = typeof commit === "string" && /^[0-9a-f]{12,64}$/.test(commit) ? commit.slice(0, 12) : "none";
  return [`reconciles/${day}/${padded(seq)}-${name}.json`, Buffer.from(`${JSON.stringify(entry, null, 2)}\n`)];
}

/** The files of the longest run of `lines` from the start that belongs to one month. `lines` is not empty. */
export function portionOf(lines: readonly Uint8Array[]): Portion & { readonly count: number } {
  const files = new Map<string, Uint8Array>();
  let place: Place = { month: "1970-01", day: "1970/01/01", hour: "1970/01/01/00" };
  let month: string | null = null;
  let segment: { path: string; hour: string; lines: Uint8Array[]; bytes: number } | null = null;
  let count = 0;
  const finish = (): void => {
    if (segment !== null) files.set(segment.path, Buffer.concat(segment.lines));
  };
  for (const line of lines) {
    const start = Buffer.from(line.buffer, line.byteOffset, Math.min(line.length, opening)).toString("latin1");
    place = placeOf(start, place);
    month ??= place.month;
    if (place.month !== month) break;
    const seq = linkOf(line)?.seq ?? 0;
    if (segment === null || segment.hour !== place.hour || segment.bytes + line.length > segmentBytes) {
      finish();
      segment = { path: `requests/${place.hour}/${padded(seq)}.jsonl`, hour: place.hour, lines: [], bytes: 0 };
    }
    segment.lines.push(line);
    segment.bytes += line.length;
    if (reconcilePattern.test(start)) files.set(...reconcileFile(line, seq, place.day));
    count++;
  }
  finish();
  const last = lines[count - 1] as Uint8Array;
  const head = { seq: linkOf(last)?.seq ?? 0, hash: lineHash(last) };
  return { month: month ?? place.month, first: linkOf(lines[0] as Uint8Array)?.seq ?? 0, head, files, count };
}

/** Commit message of a portion. `previous`: where the log before a new month's first commit ends. */
export function messageOf(portion: Portion, previous: { readonly month: string; readonly id: string } | null): string {
  const more = previous === null ? [] : [`Writ-Previous: audit/${previous.month} ${previous.id}`];
  return batchMessage(portion.first, portion.head, more);
}
