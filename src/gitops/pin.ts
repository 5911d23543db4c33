// Pinning: which commit somebody means, whether it may be held, and what he is told where it may not.
// Must hold: only what the branch has, what is applied has, or what was applied itself can be pinned; what was fetched before
// is enough, so that a remote that is away or was rewritten takes nothing from a person in need.

import { type Problem, VaultError } from "../sdk/errors.ts";
import { type Change, type Commit, type Declaration, declarationKey } from "../sdk/kind.ts";
import { SourceError } from "./explain.ts";
import type { Memory } from "./record.ts";
import type { Verdict } from "./status.ts";
import type { Workshop } from "./workshop.ts";

/** What a person asks for. */
export interface Wanted {
  /** A commit's whole name, or its beginning. */
  readonly name: string;
  readonly reason: string;
  readonly by: string;
  /** Documents that are protected may go. */
  readonly allowProtected: boolean;
}

/** Done before the branch is looked at. */
export type Order = { readonly pin: Wanted } | { readonly unpin: { readonly by: string } };

const shortest = 7;
/** The name of a commit or its beginning, as git prints it. */
export const isCommitName = (name: string): boolean => name.length >= shortest && /^[0-9a-f]{1,64}$/u.test(name);

const refused = (message: string): VaultError => new VaultError("invalid", message);

export interface Known {
  readonly branch: string;
  /** What is live. */
  readonly current: Commit | null;
  readonly applied: Memory["applied"];
  /** A person waits for something else, so that the remote is not waited for. */
  readonly hurried: () => boolean;
  /** Called with the branch's head where it is read anew. */
  readonly fetched: (head: Commit) => void;
}

/** The commit that `name` stands for, where it can be pinned. Throws VaultError `invalid` that says why not. */
export async function locate(workshop: Workshop, name: string, known: Known): Promise<Commit> {
  const look = async (): Promise<Commit | VaultError> => {
    const found = await workshop.find(name);
    if (found === "several") return refused(`several commits begin with ${name}: give more of the name`);
    if (found === "none") {
      return refused(
        `no commit ${name} is known here: branch ${known.branch} of the remote does not have it, and it was not applied`,
      );
    }
    if (known.applied.includes(found.id) || known.current?.id === found.id) return found;
    for (const head of [await workshop.last(), known.current]) {
      if (head !== null && (await workshop.descends(head, found.id))) return found;
    }
    return refused(
      `${found.id} is not on branch ${known.branch} and was not applied: only what was can be pinned. Merge it first`,
    );
  };
  const before = await look();
  if (!(before instanceof VaultError)) return before;
  try {
    if (known.hurried()) throw new SourceError("something else came first", "remote", "");
    known.fetched(await workshop.fetch());
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    throw refused(`${before.message}; the branch could not be read anew: ${error.message}`);
  }
  const now = await look();
  if (now instanceof VaultError) throw now;
  return now;
}

/** What a commit loses for good: mounts that it lacks, and that take their data with them. */
export function losses(before: readonly Declaration[], changes: readonly Change[]): readonly string[] {
  const gone = new Set(
    changes.flatMap(({ action, kind, mount, name }) =>
      action === "delete" ? [declarationKey(kind, mount, name)] : [],
    ),
  );
  return before
    .filter(
      ({ kind, mount, name, spec }) => spec["on_remove"] === "delete" && gone.has(declarationKey(kind, mount, name)),
    )
    .map(({ kind, name }) => `${kind} ${name} says on_remove: delete, and this commit lacks it: its data would go`);
}

const maxTold = 10;
const lineOf = ({ file, line, column, message }: Problem): string => `${file}:${line}:${column}: ${message}`;

/** Why a commit was not pinned, or is not applied although it is, where looking at it ended like this. */
export function refusal({ commit, result, held, problems, message }: Verdict, isPinned: boolean): VaultError {
  if (result === "sealed") return new VaultError("sealed", "Vault is sealed");
  const id = commit?.id ?? "the commit";
  const what = isPinned ? "is pinned but not applied yet, which is tried again" : "is not pinned, nothing was changed";
  const [why, more] =
    held === null
      ? [message ?? result, problems.slice(0, maxTold).map(lineOf)]
      : ["allow_protected (writ pin --allow-protected) allows what it needs", held.reasons];
  const code = isPinned || (result === "failed" && problems.length === 0) ? "internal" : "invalid";
  return new VaultError(code, [`${id} ${what}: ${why}`, ...more]);
}
