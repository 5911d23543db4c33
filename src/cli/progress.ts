// What takes longer than a second says how far it is, in a line of the terminal that goes away again.

import type { Io } from "./io.ts";

const slowMs = 1_000;

/** The same bytes; how many there were is shown meanwhile. */
export async function* countBytes(io: Io, what: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  let shown = Date.now();
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (Date.now() - shown >= slowMs) {
        shown = Date.now();
        io.progress(`${what}: ${(size / 1024 / 1024).toFixed(1)} MiB`);
      }
      yield chunk;
    }
  } finally {
    io.progress(null);
  }
}
