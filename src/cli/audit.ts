// `writ audit verify`: checks an audit log offline: the chain, and in a repository also who signed it and that nothing in it
// was rewritten. Needs nothing of the vault but its public key.
// Known gap: a log that ends too early shows only against a head from elsewhere (`--head`, `--git`).

import type { KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Head } from "../sdk/audit.ts";
import { type Broken, lineHash, type Line, type Sound, verifyChain } from "../sdk/chain.ts";
import { plain } from "../lib/printable.ts";
import { parsePublicLine } from "../lib/sshsig.ts";
import { openSource, readHistory } from "./auditlog.ts";

export interface VerifyOptions {
  /** A log file, a folder of rotated files, or an audit repository (bare or not). */
  readonly source: string;
  /** A file with public keys, or the line "ssh-ed25519 AAAA…" itself. */
  readonly key?: string;
  /** A line that must be in the log: "seq:hash", or a hash. */
  readonly head?: string;
  /** An audit repository that knows the head of the log file. */
  readonly git?: string;
}

export interface AuditIo {
  out(line: string): void;
  err(line: string): void;
}

/** A fault of the log or of the command line; the text says where and what. */
class Finding extends Error {}

async function keysOf(text: string): Promise<readonly KeyObject[]> {
  const own = parsePublicLine(text);
  if (own !== null) return [own];
  const file = await readFile(text, "utf8").catch(() => {
    throw new Finding("--key is neither an ssh-ed25519 line nor a file that can be read");
  });
  const keys = file.split("\n").flatMap((line) => (line.startsWith("#") ? [] : (parsePublicLine(line) ?? [])));
  if (keys.length === 0) throw new Finding("the file given with --key holds no ssh-ed25519 key");
  return keys;
}

function headOption(text: string): { readonly seq: number | null; readonly hash: string } {
  const match = /^(?:([1-9]\d{0,15}):)?([0-9a-f]{64})$/.exec(text);
  if (match?.[2] === undefined) throw new Finding('--head must be "SEQ:HASH" or HASH, the hash as 64 hex digits');
  return { seq: match[1] === undefined ? null : Number(match[1]), hash: match[2] };
}

const brokenText = ({ file, line, seq, problem }: Broken): string =>
  `${file}:${line}: ${seq === null ? "" : `seq ${seq}: `}${problem}`;

function checkEnd(sound: Sound, wanted: Head): void {
  const { first, head } = sound;
  if (head === null || head.seq < wanted.seq) {
    throw new Finding(
      `the log ends at seq ${head?.seq ?? 0}, before seq ${wanted.seq}, which is known: lines are missing`,
    );
  }
  if (first !== null && first.seq > wanted.seq) {
    throw new Finding(
      `the log begins at seq ${first.seq}, behind seq ${wanted.seq}: nothing can be said against that head`,
    );
  }
}

/** Exit code 0 where the log is whole, 1 where it is not or could not be checked. */
export async function verifyAudit(options: VerifyOptions, io: AuditIo): Promise<number> {
  try {
    for (const line of await verify(options)) io.out(plain(line));
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    io.err(plain(error instanceof Finding ? error.message : `the log could not be checked: ${error.message}`));
    return 1;
  }
}

async function verify(options: VerifyOptions): Promise<string[]> {
  const keys = options.key === undefined ? null : await keysOf(options.key);
  const wanted = options.head === undefined ? null : headOption(options.head);
  const notes: string[] = [];
  const source = await openSource(options.source, keys);
  if ("fault" in source) throw new Finding(source.fault);
  const other = options.git === undefined ? null : await readHistory(options.git, keys);
  if (other !== null && "fault" in other) throw new Finding(other.fault);
  const known = new Map([...(source.known ?? []), ...(other?.known ?? [])]);
  if (wanted?.seq !== null && wanted !== null) {
    const before = known.get(wanted.seq);
    if (before !== undefined && before !== wanted.hash) {
      throw new Finding(`seq ${wanted.seq} has another hash in the repository's commits than --head says`);
    }
    known.set(wanted.seq, wanted.hash);
  }
  const reconciles = new Map(source.reconciles);
  const faults: string[] = [];
  let met = false;
  const seen = (line: Line, head: Head): void => {
    met ||= head.hash === wanted?.hash;
    if (source.reconciles !== null) checkReconcile(line, head.seq, reconciles, faults);
  };
  const result = await verifyChain(source.lines(), { known, seen });
  if (!result.ok) throw new Finding(brokenText(result));
  if (faults[0] !== undefined) throw new Finding(faults[0]);
  for (const [seq, { file }] of reconciles)
    throw new Finding(`${file}:1: seq ${seq}: no such reconcile line is in the log`);
  const newest = [...known.keys()].reduce((most, seq) => Math.max(most, seq), 0);
  const end = known.get(newest);
  if (end !== undefined) checkEnd(result, { seq: newest, hash: end });
  if (wanted !== null && wanted.seq === null && !met)
    throw new Finding("no line of the log has the hash given with --head");

  notes.push(summary(result));
  for (const one of [source, other]) {
    if (one?.commits === undefined) continue;
    notes.push(
      keys === null
        ? `${one.commits} commits; their signatures were not checked: give --key`
        : `${one.commits} commits, each signed by the key given`,
    );
  }
  if (wanted === null && other === null) notes.push("no head was given: lines cut off at the end do not show");
  notes.push(...source.notes);
  return notes;
}

function summary({ count, first, head }: Sound): string {
  if (first === null || head === null) return "the log is empty";
  const start = first.seq === 1 ? "" : ` (lines before seq ${first.seq} are not here)`;
  return `the log is whole: ${count} lines, seq ${first.seq} to ${head.seq}${start}, head ${head.seq}:${head.hash}`;
}

/** The file beside the log must say what the line says. */
function checkReconcile(
  line: Line,
  seq: number,
  files: Map<number, { readonly file: string; readonly text: string }>,
  faults: string[],
): void {
  const found = files.get(seq);
  const text = Buffer.from(line.bytes).toString("utf8");
  const reconcile = /^.{0,200}"type":"reconcile"/.test(text);
  if (!reconcile && found === undefined) return;
  files.delete(seq);
  if (found === undefined)
    faults.push(`${line.file}:${line.number}: seq ${seq}: this reconcile has no file of its own`);
  else if (!reconcile || found.text !== JSON.stringify(JSON.parse(text))) {
    faults.push(
      `${found.file}:1: seq ${seq}: differs from line ${line.number} of ${line.file} (${lineHash(line.bytes)})`,
    );
  }
}
