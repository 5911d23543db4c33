// `writ operator export-keyring`: the keys under which values are stored, for the age command and age-plugin-writ.

import { type Client, CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { saveAs } from "./output.ts";

export interface ExportOptions {
  readonly recipient: readonly string[];
  /** Standard output where left out. */
  readonly output?: string;
}

export async function exportKeyring(client: Client, io: Io, { recipient, output }: ExportOptions): Promise<number> {
  const { body } = await client.call("POST", "sys/keyring/export", { recipients: recipient });
  const file = (body?.["data"] as { file?: unknown } | undefined)?.file;
  if (typeof file !== "string") throw new CommandError("the server sent no keyring: is it older than this command?");
  if (output === undefined) io.out(file.trimEnd());
  else await saveAs(output, [Buffer.from(file)]);
  for (const warning of (body?.["warnings"] ?? []) as readonly string[]) io.err(`Warning: ${warning}.`);
  return 0;
}
