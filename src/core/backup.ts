// A backup: everything in storage as it was at one moment, in one age file.

import { rfc3339 } from "../lib/clock.ts";
import { entryFrame, headerFrame, trailerFrame } from "../sdk/backup.ts";
import { storageFormat } from "./barrier/versions.ts";
import type { Core } from "./core.ts";
import { encrypterTo } from "./recipients.ts";

/** What of a backup is handed to encryption at once. */
const chunkBytes = 64 * 1024;

async function* content(core: Core): AsyncGenerator<Uint8Array> {
  const { options, clock, broker, log } = core;
  const snapshot = await options.barrier.snapshot();
  try {
    const header = { backup: 1, format: storageFormat, created: rfc3339(clock.now()), audit: broker.head() } as const;
    let parts: Uint8Array[] = [headerFrame(header)];
    let size = 0;
    for await (const entry of snapshot.read()) {
      const frame = entryFrame(entry);
      parts.push(frame);
      size += frame.length;
      if (size < chunkBytes) continue;
      yield Buffer.concat(parts);
      [parts, size] = [[], 0];
    }
    parts.push(trailerFrame(snapshot.entries));
    yield Buffer.concat(parts);
    if (!snapshot.holds) log.security("a backup was made of entries that were deleted, added or put back in storage");
    log.info("a backup was made", { entries: snapshot.entries });
  } finally {
    snapshot.close();
  }
}

/** Throws VaultError `invalid` where a recipient is none. The backup is of the moment in which the result is called. */
export async function backupTo(
  core: Core,
  recipients: readonly string[],
): Promise<() => Promise<ReadableStream<Uint8Array>>> {
  const encrypter = await encrypterTo(recipients);
  return () => encrypter.encrypt(ReadableStream.from(content(core)));
}
