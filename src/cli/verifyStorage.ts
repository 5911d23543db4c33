// `writ operator verify-storage`: has the server read its whole storage, and says what is wrong with it.

import { setTimeout as pause } from "node:timers/promises";
import { type Client, CommandError, dataIn } from "./client.ts";
import type { Io } from "./io.ts";

const path = "sys/storage/integrity";
const pollMs = 200;
/** What takes longer says how far it is. */
const slowMs = 1_000;

/** Exit code 1 where anything is wrong. */
export async function verifyStorage(client: Client, io: Io, options: { readonly accept: boolean }): Promise<number> {
  let { body } = await client.call("POST", path, { accept: options.accept });
  const begun = Date.now();
  for (;;) {
    const data = dataIn(body);
    if (data["running"] !== true) return report(data, io, options.accept);
    if (Date.now() - begun >= slowMs) io.progress(`${String(data["progress"])} entries read`);
    await pause(pollMs);
    io.progress(null);
    ({ body } = await client.call("GET", path));
  }
}

function report(found: Readonly<Record<string, unknown>>, io: Io, accept: boolean): number {
  if (found["state"] === "failed") throw new CommandError(`the scan did not end: ${String(found["error"])}`);
  const damaged = (found["damaged"] ?? []) as readonly string[];
  const count = Number(found["damaged_entries"]);
  for (const key of damaged) io.out(`damaged: ${key}`);
  if (count > damaged.length) io.out(`damaged: ${count - damaged.length} more`);
  const differs = found["sum"] === "differs";
  if (differs) {
    const [expected, there] = [Number(found["entries_expected"]), Number(found["entries_found"])];
    const change = there - expected;
    const how =
      change === 0
        ? "at least one was put back to an earlier version, or replaced"
        : `${Math.abs(change)} ${change < 0 ? "fewer" : "more"} than were written`;
    io.out(`differs: ${there} entries, ${how}`);
  }
  if (differs && accept) io.out("accepted: from now on these entries are what is expected");
  if (count === 0 && !differs) {
    const how = found["sum"] === "none" ? "; this storage keeps no sum: deletions are not found" : "";
    io.out(`ok: ${String(found["entries"])} entries${how}`);
    return 0;
  }
  if (count > 0 || !accept) {
    io.err(
      "Somebody changed the storage. Restore a backup, or write what is damaged anew" +
        (differs ? "; then accept the rest with --accept." : "."),
    );
    return 1;
  }
  return 0;
}
