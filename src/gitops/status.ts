// What the reconciler tells: where Git and the vault stand, and what a person has to do where they differ.
// Must hold: no credentials, no secret values, no paths of the server but the remote's own address as configured.

import { rfc3339 } from "../lib/clock.ts";
import type { Problem } from "../sdk/errors.ts";
import type { Commit, Target } from "../sdk/kind.ts";
import type { Pin } from "./record.ts";

/** How the last look at the branch ended; `applied` also where there was nothing new. */
export type Result = "waiting" | "sealed" | "applied" | "invalid" | "held" | "failed";

export interface Held {
  /** What has to be allowed: an unusual number or kind of deletions, or a head that does not build on what is applied. */
  readonly for: "deletions" | "rewind";
  readonly reasons: readonly string[];
}

/** The verdict on one look at the branch. */
export interface Verdict {
  readonly result: Result;
  /** The commit looked at; null where the remote could not be read. */
  readonly commit: Commit | null;
  /** One sentence, for `invalid` and `failed`, and where a pinned commit is applied but the branch could not be read. */
  readonly message: string | null;
  readonly problems: readonly Problem[];
  readonly held: Held | null;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What the reconciler knows, in its own terms. */
export interface Standing {
  readonly remote: string;
  readonly branch: string;
  readonly directory: string;
  /** The branch as last fetched. */
  readonly head: Commit | null;
  readonly verdict: Verdict;
  readonly lastFetch: number | null;
  readonly nextPoll: number | null;
  readonly running: boolean;
  readonly pinned: { readonly pin: Pin; readonly behind: number | null } | null;
}

const time = (ms: number | null): string | null => (ms === null ? null : rfc3339(ms));

const describe = (commit: Commit | null) =>
  commit === null
    ? null
    : { commit: commit.id, author: commit.author, time: rfc3339(commit.time), subject: commit.subject };

/** What sys/gitops/pin answers: who holds the vault where, why, and how many commits the branch has beside it. */
export const pinView = ({ pin, behind }: NonNullable<Standing["pinned"]>): Readonly<Record<string, unknown>> => ({
  commit: pin.commit,
  by: pin.by,
  reason: pin.reason,
  since: rfc3339(pin.since),
  behind,
});

const flags: Readonly<Record<Held["for"], string>> = { deletions: "--allow-deletions", rewind: "--allow-rewind" };

/** What to do about a hold. */
export const howToAllow = (held: Held, commit: string): string => `writ sync ${flags[held.for]} ${commit}`;

/** The answer of sys/gitops/status. Throws VaultError `sealed`. */
export async function report(
  standing: Standing,
  target: Pick<Target, "current" | "state" | "pending">,
  options: { readonly documents: boolean },
): Promise<Readonly<Record<string, unknown>>> {
  const { verdict, pinned } = standing;
  const current = target.current();
  // It is open, or nobody was answered: that it was sealed at the last look says nothing of the branch.
  const result = verdict.result === "sealed" ? "waiting" : verdict.result;
  const applied = result === "applied";
  const failed = verdict.result === "invalid" || verdict.result === "failed" || verdict.message !== null;
  const pending = await target.pending();
  return {
    remote: standing.remote,
    branch: standing.branch,
    directory: standing.directory,
    state: pinned !== null && applied ? "pinned" : result,
    pinned: pinned === null ? null : pinView(pinned),
    running: standing.running,
    remote_commit: describe(standing.head),
    applied_commit: current === null ? null : { ...describe(current.commit), since: rfc3339(current.appliedAt) },
    in_sync: pinned === null && current !== null && applied && standing.head?.id === current.commit.id,
    last_error: failed
      ? {
          message: verdict.message,
          commit: verdict.commit?.id ?? null,
          time: rfc3339(verdict.at),
          problems: verdict.problems,
        }
      : null,
    held:
      verdict.held === null || verdict.commit === null
        ? null
        : {
            commit: verdict.commit.id,
            for: verdict.held.for,
            reasons: verdict.held.reasons,
            allow:
              pinned === null
                ? howToAllow(verdict.held, verdict.commit.id)
                : `writ pin --allow-protected ${verdict.commit.id}`,
          },
    pending: pending.map(({ task, since, error }) => ({ task, since: rfc3339(since), error })),
    last_fetch: time(standing.lastFetch),
    next_poll: time(standing.nextPoll),
    document_count: current?.declarations.length ?? 0,
    ...(options.documents && {
      documents: (current?.declarations ?? []).map((declaration) => ({
        kind: declaration.kind,
        mount: declaration.mount,
        name: declaration.name,
        file: declaration.source?.file ?? null,
        line: declaration.source?.line ?? null,
        state: target.state(declaration),
      })),
    }),
  };
}
