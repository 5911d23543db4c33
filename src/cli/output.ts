// Where a command puts what it was given: standard output, or a file that is whole or not there.

import { open, rename, rm } from "node:fs/promises";
import { CommandError } from "./client.ts";

const mode = 0o600;

/** Writes `chunks` to a new file. A file of that name is replaced once the new one is durable. */
export async function saveAs(path: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
  const draft = `${path}.part`;
  let size = 0;
  try {
    // One that an ended process left may be open to others, or a link to elsewhere.
    await rm(draft, { force: true });
    const file = await open(draft, "wx", mode);
    try {
      for await (const chunk of chunks) {
        size += chunk.length;
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    if (error instanceof CommandError) throw error;
    throw new CommandError(`${path} was not written: ${error instanceof Error ? error.message : "failed"}`);
  }
  return size;
}
