// `writ status`, `writ sync`: where Git, the audit and the vault stand.

import { type Answer, type Client, CommandError } from "./client.ts";
import { blocksIn, blockText } from "./blocks.ts";
import type { Io } from "./io.ts";
import { counted, isTable, json, plain, type ShowOptions } from "./show.ts";

interface CommitView {
  readonly commit: string;
  readonly author: string;
  readonly time: string;
  readonly subject: string;
  readonly since?: string;
}

/** The commit that the vault is held at. */
export interface PinView {
  readonly commit: string;
  readonly by: string;
  readonly reason: string;
  readonly since: string;
  readonly behind: number | null;
}

/** The answer of sys/gitops/status, as far as it is printed. */
export interface GitStatus {
  readonly remote: string;
  readonly branch: string;
  readonly state: string;
  readonly in_sync: boolean;
  /** Servers from before there were pins have none. */
  readonly pinned?: PinView | null;
  readonly remote_commit: CommitView | null;
  readonly applied_commit: CommitView | null;
  readonly last_error: {
    readonly message: string | null;
    readonly commit: string | null;
    readonly problems: readonly {
      readonly file: string;
      readonly line: number;
      readonly column: number;
      readonly message: string;
      readonly excerpt?: string;
    }[];
  } | null;
  readonly held: {
    readonly commit: string;
    readonly for: string;
    readonly reasons: readonly string[];
    readonly allow: string;
  } | null;
  readonly pending: readonly { readonly task: string; readonly since: string; readonly error: string | null }[];
  readonly document_count: number;
  readonly documents?: readonly {
    readonly kind: string;
    readonly name: string;
    readonly file: string | null;
    readonly line: number | null;
    readonly state: string;
  }[];
}

const commitLine = ({ commit, author, since, time, subject }: CommitView): string =>
  `${commit.slice(0, 12)} since ${since ?? time}, by ${author}: ${subject}`;

/** Where, since when, by whom and why, and how far the branch has gone on. */
export function pinText({ commit, by, reason, since, behind }: PinView): string {
  const why = reason === "" ? "" : `: ${reason}`;
  const further = behind === null || behind === 0 ? "" : `; the branch has ${counted(behind, "commit")} more`;
  return `${commit.slice(0, 12)} since ${since}, by ${by}${why}${further}`;
}

/** One fact a line. */
export function lines(status: GitStatus): readonly string[] {
  const { applied_commit: applied, remote_commit: remote, last_error: error, held, pinned } = status;
  const found = [
    `Git         ${status.remote} (${status.branch})`,
    `Applied     ${applied === null ? "nothing yet" : commitLine(applied)}`,
    `State       ${status.in_sync ? "in sync" : status.state}`,
    `Documents   ${status.document_count}`,
  ];
  if (pinned) found.push(`Pinned      ${pinText(pinned)}`, "  to go on with the branch: writ unpin");
  if (!status.in_sync && remote !== null) found.push(`Remote is   ${commitLine({ ...remote, since: remote.time })}`);
  if (error !== null) {
    found.push(
      `Error       ${error.message ?? "the commit is not valid"} (${error.commit?.slice(0, 12) ?? "no commit"})`,
    );
    for (const { file, line, column, message, excerpt } of error.problems) {
      found.push(`  ${file}:${line}:${column}: ${message}`);
      if (excerpt !== undefined) found.push(`    ${excerpt}`);
    }
  }
  if (held !== null) {
    found.push(`Held        ${held.commit.slice(0, 12)} because of its ${held.for}`);
    for (const reason of held.reasons) found.push(`  ${reason}`);
    found.push(`  to allow it: ${held.allow}`);
  }
  for (const { task, since, error: why } of status.pending) {
    found.push(`Pending     ${task}, since ${since}${why === null ? "" : `: ${why}`}`);
  }
  for (const { kind, name, file, line, state } of status.documents ?? []) {
    if (state !== "active") found.push(`Not active  ${kind} ${name} (${file ?? "?"}:${line ?? "?"}): ${state}`);
  }
  return found.map(plain);
}

/** The answer of sys/audit, as far as it is printed: options are texts, null is "null". */
export type AuditStatus = Readonly<
  Record<string, { readonly type: string; readonly options: Readonly<Record<string, string>> }>
>;

/** A fact about a device each: where it stands, what is wrong, and the key that `writ audit verify --key` takes. */
function auditLines(devices: AuditStatus): readonly string[] {
  const found = Object.entries(devices).flatMap(([name, { type, options }]) => {
    const known = (fact: string): readonly [string] | readonly [] => {
      const text = options[fact];
      return text === undefined || text === "null" ? [] : [text];
    };
    const required = options["required"] === "true" ? ", required" : "";
    const lag = known("lag").map((lines) => `, ${lines} not committed yet`);
    return [
      `Audit       ${name.replace(/\/$/, "")} (${type}${required}): ${options["state"] ?? "?"}, ${options["head"] ?? "?"} lines${lag.join("")}`,
      ...known("alarm").map((text) => `  ALARM: ${text}`),
      ...known("error").map((text) => `  failed: ${text}`),
      ...known("publicKey").map((text) => `  signs as ${text}`),
    ];
  });
  return found.length === 0 ? ["Audit       no device is configured"] : found.map(plain);
}

const withheld = ({ body }: Answer, what: string): string =>
  (body?.["errors"] as readonly unknown[] | undefined)?.includes("invalid token") === true
    ? "the token is not valid, or not any more: writ login"
    : `the token ${what}`;

/** Reading an area of sys/ is up to the token. */
function shown(answer: Answer | null, path: string, what: string, of: (body: Answer["body"]) => readonly string[]) {
  const label = what.padEnd(12);
  if (answer === null) return [`${label}not shown without a token: set VAULT_TOKEN`];
  if (answer.status === 403) return [`${label}not shown: ${withheld(answer, `may not read ${path}`)}`];
  if (answer.status === 404) return [`${label}not configured`];
  return of(answer.body);
}

/** What is blocked, whatever Git says; no line where nothing is. */
export function blockLines(answer: Answer): readonly string[] {
  if (answer.status === 403) return [`Blocked     not shown: ${withheld(answer, "may not list sys/blocks")}`];
  return blocksIn(answer).map((block) => plain(`Blocked     ${blockText(block)}`));
}

export const dataOf = (body: Answer["body"]): unknown => body?.["data"] ?? body;

/** Exit code 0 where the vault serves, 2 where it is sealed or not initialised. */
export async function status(
  client: Client,
  io: Io,
  options: { readonly json: boolean; readonly format?: string },
): Promise<number> {
  // 2 is for a vault that is sealed, and says so.
  const seal =
    (
      await client.call("GET", "sys/seal-status").catch((error: unknown) => {
        throw error instanceof CommandError ? new CommandError(error.message) : error;
      })
    ).body ?? {};
  const sealed = seal["sealed"] !== false;
  const ask = (path: string): Promise<Answer | null> =>
    sealed || client.token === null ? Promise.resolve(null) : client.call("GET", path, undefined, [403, 404]);
  const [git, audit, blocked] = await Promise.all([
    ask("sys/gitops/status"),
    ask("sys/audit"),
    ask("sys/blocks?list=true"),
  ]);
  if (options.json || !isTable(io, options)) {
    const data = (answer: Answer | null): unknown => (answer?.status === 200 ? dataOf(answer.body) : null);
    // As Vault's command has it, and more.
    json(io, {
      ...seal,
      gitops: data(git),
      audit: data(audit),
      blocks: blocked?.status === 200 ? blocksIn(blocked) : null,
    });
    return sealed ? 2 : 0;
  }
  const state =
    seal["initialized"] !== true
      ? "not initialised: writ operator init"
      : sealed
        ? `sealed, ${String(seal["progress"])} of ${String(seal["t"])} ` +
          (seal["recovery_seal"] === true
            ? "recovery shares given: restart it, see its log, or writ operator unseal"
            : "shares given: writ operator unseal")
        : "unsealed";
  io.out(`Vault       ${plain(client.address)} ${state}`);
  io.out(plain(`Version     ${String(seal["version"])}, storage ${String(seal["storage_type"])}`));
  if (sealed) return 2;
  for (const line of shown(git, "sys/gitops/status", "Git", (body) => lines(dataOf(body) as GitStatus))) io.out(line);
  if (blocked !== null) for (const line of blockLines(blocked)) io.out(line);
  for (const line of shown(audit, "sys/audit", "Audit", (body) => auditLines(dataOf(body) as AuditStatus)))
    io.out(line);
  return 0;
}

export interface SyncOptions extends ShowOptions {
  readonly allowDeletions?: string;
  readonly allowRewind?: string;
}

/** Exit code 0 where the branch is applied, 1 where it is not. */
export async function sync(client: Client, io: Io, options: SyncOptions): Promise<number> {
  for (const commit of [options.allowDeletions, options.allowRewind]) {
    if (commit !== undefined && !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(commit)) {
      throw new CommandError("give the whole commit id, in lower-case hex, as writ status shows it");
    }
  }
  const { body, status: code } = await client.call("POST", "sys/gitops/sync", {
    ...(options.allowDeletions !== undefined && { allow_deletions: options.allowDeletions }),
    ...(options.allowRewind !== undefined && { allow_rewind: options.allowRewind }),
  });
  const result = dataOf(body) as GitStatus;
  if (!isTable(io, options)) json(io, result);
  else for (const line of lines(result)) io.out(line);
  if (code === 202) io.err("writ: the run is not over yet; see writ status");
  return result.in_sync ? 0 : 1;
}
