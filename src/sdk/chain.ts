// The audit chain. An entry is one line of JSON that begins with its sequence number (from 1, no gaps) and the SHA-256 of
// the line before it (without the newline; 64 zeros before the first). Whoever holds one line's hash from a place that the
// writer cannot change can tell that no earlier line was changed, dropped or added.
// Known gap: the chain alone proves nothing about its end. A cut tail shows only against a head kept elsewhere.

import { hash } from "node:crypto";
import type { Head } from "./audit.ts";

/** `prev` of the first entry. */
export const firstPrev = "0".repeat(64);

/** Where an entry stands: its number, and the hash of the one before. */
export interface Link {
  readonly seq: number;
  readonly prev: string;
}

const newline = 0x0a;
const opening = /^\{"seq":([1-9]\d{0,15}),"prev":"([0-9a-f]{64})",/;
const openingSize = 8 + 16 + 9 + 64 + 2;

/** SHA-256 of a line, in lower-case hex; a newline at its end is left out. */
export function lineHash(line: Uint8Array): string {
  return hash("sha256", line.at(-1) === newline ? line.subarray(0, -1) : line, "hex");
}

/** How every line starts. */
export const linkText = (seq: number, prev: string): string => `{"seq":${seq},"prev":"${prev}",`;

/** The start of a line, or null where it is not one of the chain's. Does not parse the rest. */
export function linkOf(line: Uint8Array): Link | null {
  const text = Buffer.from(line.buffer, line.byteOffset, Math.min(line.length, openingSize)).toString("latin1");
  const match = opening.exec(text);
  const seq = Number(match?.[1]);
  return match?.[2] !== undefined && Number.isSafeInteger(seq) ? { seq, prev: match[2] } : null;
}

/** Message of a commit that holds lines `first` to `head`: the commit's signature thereby covers the head. */
export const batchMessage = (first: number, head: Head, trailers: readonly string[] = []): string =>
  [
    `audit ${first}-${head.seq}\n`,
    `Writ-First-Seq: ${first}`,
    `Writ-Last-Seq: ${head.seq}`,
    `Writ-Head: ${head.hash}`,
    ...trailers,
    "",
  ].join("\n");

/** The head that such a message names, or null. */
export function batchHead(message: string): Head | null {
  const seq = Number(/^Writ-Last-Seq: (\d{1,16})$/m.exec(message)?.[1]);
  const hash = /^Writ-Head: ([0-9a-f]{64})$/m.exec(message)?.[1];
  return hash !== undefined && Number.isSafeInteger(seq) && seq > 0 ? { seq, hash } : null;
}

/** One line with the place where a person finds it. */
export interface Line {
  readonly file: string;
  /** Counted from 1. */
  readonly number: number;
  /** Without its newline. */
  readonly bytes: Uint8Array;
  /** False where the file ends before the newline: the line was cut while it was written. */
  readonly whole: boolean;
}

export interface Sound {
  readonly ok: true;
  readonly count: number;
  /** The first line, 1 unless earlier ones are kept elsewhere; null where there is none. */
  readonly first: Link | null;
  readonly head: Head | null;
}

export interface Broken {
  readonly ok: false;
  /** Good lines before the bad one. */
  readonly count: number;
  readonly file: string;
  readonly line: number;
  /** As the bad line says; null where it cannot be read. */
  readonly seq: number | null;
  readonly problem: string;
}

/** Splits a file's bytes into lines. */
export async function* linesOf(
  file: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Line> {
  let rest: Uint8Array[] = [];
  let number = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      rest.push(chunk.subarray(from, end));
      yield {
        file,
        number: ++number,
        bytes: rest.length === 1 ? (rest[0] ?? chunk) : Buffer.concat(rest),
        whole: true,
      };
      rest = [];
      from = end + 1;
    }
    // Copied: whoever reads may use its buffer again.
    if (from < chunk.length) rest.push(Buffer.from(chunk.subarray(from)));
  }
  if (rest.length > 0) yield { file, number: ++number, bytes: Buffer.concat(rest), whole: false };
}

/** What is wrong with the line that should follow `head`, or its hash and number. */
function follow(line: Line, head: Head | null): Head | { readonly seq: number | null; readonly problem: string } {
  const link = linkOf(line.bytes);
  if (!line.whole) return { seq: link?.seq ?? null, problem: "the line is cut off: it has no newline at its end" };
  if (link === null) return { seq: null, problem: 'it is no audit line: it must begin with {"seq":…,"prev":"…",' };
  const { seq, prev } = link;
  if (head !== null && seq !== head.seq + 1) {
    return {
      seq,
      problem: `its seq is ${seq} where ${head.seq + 1} follows: lines are missing, repeated or out of order`,
    };
  }
  const before = head?.hash ?? (seq === 1 ? firstPrev : prev);
  if (prev !== before)
    return { seq, problem: `its prev is not the hash of the line before it: one of the two was changed` };
  let entry: unknown;
  try {
    entry = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line.bytes));
  } catch {
    return { seq, problem: "it is no JSON" };
  }
  const { seq: again, prev: prevAgain } = entry as { seq?: unknown; prev?: unknown };
  if (again !== seq || prevAgain !== prev) return { seq, problem: "it has seq or prev twice, with different values" };
  return { seq, hash: lineHash(line.bytes) };
}

/** Checks lines in order; stops at the first that is wrong. `known` gives hashes that are known from elsewhere, by
 *  sequence number: a line that has another is wrong. `seen` is told of each good line. */
export async function verifyChain(
  lines: AsyncIterable<Line> | Iterable<Line>,
  options: {
    readonly known?: ReadonlyMap<number, string>;
    readonly seen?: (line: Line, head: Head) => void;
  } = {},
): Promise<Sound | Broken> {
  let head: Head | null = null;
  let first: Link | null = null;
  let count = 0;
  for await (const line of lines) {
    const next: ReturnType<typeof follow> = follow(line, head);
    const broken = (seq: number | null, problem: string): Broken => ({
      ok: false,
      count,
      file: line.file,
      line: line.number,
      seq,
      problem,
    });
    if ("problem" in next) return broken(next.seq, next.problem);
    const known = options.known?.get(next.seq);
    if (known !== undefined && known !== next.hash) {
      return broken(
        next.seq,
        "its hash is not the one that is known for this seq: this line, or one before it, was changed",
      );
    }
    first ??= linkOf(line.bytes);
    head = next;
    count++;
    options.seen?.(line, next);
  }
  return { ok: true, count, first, head };
}
