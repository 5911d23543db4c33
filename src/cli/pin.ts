// `writ pin`, `writ unpin`: one commit, whatever the branch says, and the branch again.

import { type Client, CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { plain } from "./show.ts";
import { dataOf, type GitStatus, lines } from "./status.ts";

interface Changed {
  readonly action: "create" | "update" | "delete";
  readonly kind: string;
  readonly mount: string | null;
  readonly name: string;
}

export interface PinOptions {
  readonly reason: string;
  readonly allowProtected: boolean;
}

const verbs: Readonly<Record<Changed["action"], string>> = { create: "Creates", update: "Changes", delete: "Deletes" };
/** Of what is not deleted. */
const mostShown = 20;

/** All that goes, and some of the rest. */
function changeLines(changed: readonly Changed[]): readonly string[] {
  if (changed.length === 0) return ["Changes     nothing"];
  const line = ({ action, kind, mount, name }: Changed): string =>
    plain(`${verbs[action].padEnd(12)}${kind} ${name}${mount === null ? "" : ` (${mount})`}`);
  const gone = changed.filter(({ action }) => action === "delete");
  const others = changed.filter(({ action }) => action !== "delete");
  const rest = others.length - mostShown;
  return [...gone, ...others.slice(0, mostShown)].map(line).concat(rest > 0 ? [`            and ${rest} more`] : []);
}

/** Exit code 0 where that commit is applied and held. */
export async function pin(client: Client, io: Io, commit: string, options: PinOptions): Promise<number> {
  if (!/^[0-9a-f]{7,64}$/.test(commit)) {
    throw new CommandError("give a commit id in lower-case hex, of at least 7 digits, as git log prints it");
  }
  const { allowProtected, reason } = options;
  const body = { commit, reason, allow_protected: allowProtected, wait: "60s" };
  const answer = await client.call("POST", "sys/gitops/pin", body);
  const status = dataOf(answer.body) as GitStatus & { readonly changed?: readonly Changed[] };
  for (const line of lines(status)) io.out(line);
  for (const line of status.changed === undefined ? [] : changeLines(status.changed)) io.out(line);
  if (answer.status === 202) io.err("writ: the commit is not applied yet; see writ status");
  return answer.status === 202 ? 1 : 0;
}

/** Exit code 0 where the branch is applied, 1 where it is not (yet). */
export async function unpin(client: Client, io: Io): Promise<number> {
  const { body, status: code } = await client.call("DELETE", "sys/gitops/pin?wait=60s");
  const status = dataOf(body) as GitStatus;
  for (const warning of (body?.["warnings"] ?? []) as readonly string[]) io.err(`writ: ${plain(warning)}`);
  for (const line of lines(status)) io.out(line);
  if (code === 202) io.err("writ: the run is not over yet; see writ status");
  return status.in_sync ? 0 : 1;
}
