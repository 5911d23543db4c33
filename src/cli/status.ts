// `writ status`, `writ sync`: where Git and the vault stand.

import { type Client, CommandError } from "./client.ts";
import type { Io } from "./io.ts";

interface CommitView {
  readonly commit: string;
  readonly author: string;
  readonly time: string;
  readonly subject: string;
  readonly since?: string;
}

/** The answer of sys/gitops/status, as far as it is printed. */
export interface GitStatus {
  readonly remote: string;
  readonly branch: string;
  readonly state: string;
  readonly in_sync: boolean;
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

/** What servers send is shown as text, never as terminal control. */
const plain = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "?");

const commitLine = ({ commit, author, since, time, subject }: CommitView): string =>
  `${commit.slice(0, 12)} since ${since ?? time}, by ${author}: ${subject}`;

/** One fact a line. */
function lines(status: GitStatus): readonly string[] {
  const { applied_commit: applied, remote_commit: remote, last_error: error, held } = status;
  const found = [
    `Git         ${status.remote} (${status.branch})`,
    `Applied     ${applied === null ? "nothing yet" : commitLine(applied)}`,
    `State       ${status.in_sync ? "in sync" : status.state}`,
    `Documents   ${status.document_count}`,
  ];
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

const bare = (body: Readonly<Record<string, unknown>> | null): GitStatus => (body?.["data"] ?? body) as GitStatus;

/** Exit code 0 where the vault serves, 2 where it is sealed or not initialised. */
export async function status(client: Client, io: Io, options: { readonly json: boolean }): Promise<number> {
  const seal = (await client.call("GET", "sys/seal-status")).body ?? {};
  const sealed = seal["sealed"] !== false;
  const git =
    sealed || client.token === null ? null : await client.call("GET", "sys/gitops/status", undefined, [403, 404]);
  if (options.json) {
    io.out(JSON.stringify({ seal, gitops: git?.status === 200 ? bare(git.body) : null }, null, 2));
    return sealed ? 2 : 0;
  }
  const state =
    seal["initialized"] !== true
      ? "not initialised: writ operator init"
      : sealed
        ? `sealed, ${String(seal["progress"])} of ${String(seal["t"])} shares given: writ operator unseal`
        : "unsealed";
  io.out(`Vault       ${plain(client.address)} ${state}`);
  io.out(plain(`Version     ${String(seal["version"])}, storage ${String(seal["storage_type"])}`));
  if (sealed) return 2;
  if (git === null) io.out("Git         not shown without a token: set VAULT_TOKEN");
  else if (git.status === 403) io.out("Git         not shown: the token may not read sys/gitops/status");
  else if (git.status === 404) io.out("Git         not configured");
  else for (const line of lines(bare(git.body))) io.out(line);
  return 0;
}

export interface SyncOptions {
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
  const result = bare(body);
  for (const line of lines(result)) io.out(line);
  if (code === 202) io.err("writ: the run is not over yet; see writ status");
  return result.in_sync ? 0 : 1;
}
