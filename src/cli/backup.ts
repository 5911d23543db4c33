// `writ operator backup`: everything that a running vault has in storage, in one age file.

import type { Client } from "./client.ts";
import type { Io } from "./io.ts";
import { saveAs } from "./output.ts";
import { countBytes } from "./progress.ts";

export interface BackupOptions {
  readonly recipient: readonly string[];
  readonly output: string;
}

export async function backup(client: Client, io: Io, { recipient, output }: BackupOptions): Promise<number> {
  const chunks = await client.download("sys/storage/backup", { recipients: recipient });
  const size = await saveAs(output, countBytes(io, "backup", chunks));
  io.out(`${output}: ${size} bytes`);
  io.err("To get it back it takes an identity of its recipients, and the unseal keys of this vault.");
  return 0;
}
