// What the reconciler tells at sys/metrics: results and times, no names.

import { type Family, gauge } from "../lib/metrics.ts";
import type { Result, Standing } from "./status.ts";

const results: readonly Result[] = ["waiting", "sealed", "applied", "invalid", "held", "failed"];
const seconds = (ms: number | null): number => (ms ?? 0) / 1000;

export function gitopsFamilies({ verdict, lastFetch, running, pinned }: Standing): readonly Family[] {
  const failed = verdict.result === "invalid" || verdict.result === "failed" || verdict.message !== null;
  return [
    gauge(
      "writ_gitops_result",
      "1 for how the last look at the branch ended",
      results.map((result) => ({ labels: { result }, value: Number(result === verdict.result) })),
    ),
    gauge("writ_gitops_result_timestamp_seconds", "When that was, since 1970", seconds(verdict.at)),
    gauge("writ_gitops_last_error", "1 while the last look ended in an error", Number(failed)),
    gauge("writ_gitops_last_fetch_timestamp_seconds", "When the remote was last read, 0 for never", seconds(lastFetch)),
    gauge("writ_gitops_pinned", "1 while one commit is pinned, whatever the branch says", Number(pinned !== null)),
    gauge(
      "writ_gitops_pinned_behind_commits",
      "Commits that the branch has beside the pinned one",
      pinned?.behind ?? 0,
    ),
    gauge("writ_gitops_running", "1 while a commit is worked on", Number(running)),
  ];
}
