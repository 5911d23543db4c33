// The thread that spreads: it is told of files of the journal by their first numbers, and says of each that it is done,
// that it must be tried again, or that the medium is lost. It uses synchronous calls only: those of the pool are the
// whole process's, and many syncs there would hold up the audit.

import { parentPort, workerData } from "node:worker_threads";
import { reasonOf, StoreLost } from "../../sdk/thread/store.ts";
import { Damaged } from "./entry.ts";
import { Spreader } from "./spread.ts";

export type Report =
  | { readonly kind: "done"; readonly first: number }
  | { readonly kind: "again" | "lost"; readonly first: number; readonly text: string };

const retryMs = 1_000;

function run(): void {
  const port = parentPort;
  if (port === null) throw new Error("runs as a worker only");
  const spreader = new Spreader(workerData as string);
  const waiting: number[] = [];
  const tell = (report: Report): void => port.postMessage(report);
  const next = (): void => {
    const first = waiting[0];
    if (first === undefined) return;
    try {
      spreader.spread(first);
    } catch (error) {
      if (error instanceof StoreLost || error instanceof Damaged) tell({ kind: "lost", first, text: error.message });
      else {
        tell({ kind: "again", first, text: reasonOf(error) });
        setTimeout(next, retryMs);
      }
      return;
    }
    waiting.shift();
    tell({ kind: "done", first });
    if (waiting.length > 0) setImmediate(next);
  };
  port.on("message", (first: number) => {
    waiting.push(first);
    if (waiting.length === 1) next();
  });
}

run();
