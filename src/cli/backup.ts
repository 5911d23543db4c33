// `writ operator backup`: everything that a running vault has in storage, in one age file.

import type { Client } from "./client.ts";
import type { Io } from "./io.ts";
import { saveAs } from "./output.ts";

export interface BackupOptions {
  readonly recipient: readonly string[];
  readonly output: string;
}

export async function backup(client: Client, io: Io, { recipient, output }: BackupOptions): Promise<number> {
  const size = await saveAs(output, await client.download("sys/storage/backup", { recipients: recipient }));
  io.out(`${output}: ${size} bytes`);
  io.err("To get it back it takes an identity of its recipients, and the unseal keys of this vault.");
  return 0;
}
