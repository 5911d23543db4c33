// How many requests came, how they ended, and how long they took, by the kind of path that they asked for.
// Must hold: a request costs two looks at the clock and a few additions; no path, name or token becomes a label.

import { counter, type Family, Histogram } from "../lib/metrics.ts";

const kinds = ["secret", "auth", "sys", "identity", "cubbyhole", "none"] as const;
const prefixes = ["", "auth/", "sys/", "identity/", "cubbyhole/"];
const api = "/v1/";
const none = kinds.indexOf("none");
const statuses = 600;

/** As an index into `kinds`. */
function kindOf(path: string | null): number {
  if (path?.startsWith(api) !== true) return none;
  for (let at = prefixes.length - 1; at > 0; at--) if (path.startsWith(prefixes[at] ?? "", api.length)) return at;
  return 0;
}

export class Meter {
  readonly #counts = new Float64Array(kinds.length * statuses);
  readonly #times = kinds.map(() => new Histogram());

  /** A request for `path` (null where it had none) that began at `since`, in performance.now(). */
  count(path: string | null, status: number, since: number): void {
    const kind = kindOf(path);
    const at = kind * statuses + status;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#times[kind]?.observe((performance.now() - since) / 1000);
  }

  families(): readonly Family[] {
    const samples = kinds.flatMap((route, kind) =>
      [...this.#counts.subarray(kind * statuses, (kind + 1) * statuses)].flatMap((value, status) =>
        value === 0 ? [] : [{ labels: { route, status: String(status) }, value }],
      ),
    );
    const series = kinds.map((route, kind) => ({ labels: { route }, histogram: this.#times[kind] ?? new Histogram() }));
    return [
      counter("writ_http_requests_total", "Requests that were answered, by the kind of path and status", samples),
      {
        name: "writ_http_request_duration_seconds",
        help: "From the end of a request's headers until its answer is handed to the kernel",
        type: "histogram",
        series,
      },
    ];
  }
}
