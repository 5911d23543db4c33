// `writ operator restore`: a backup into an empty storage, offline.
// Must hold: a share is read from standard input only.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { Decrypter } from "age-encryption";
import { createLogger } from "../lib/log.ts";
import { type AskShare, restoreBackup } from "../restore.ts";
import { isVaultError } from "../sdk/errors.ts";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { loadConfig } from "./loadConfig.ts";
import { countBytes } from "./progress.ts";

export interface RestoreOptions {
  readonly config: string;
  /** A file with age identities. */
  readonly identity: string;
  /** Leaves the check under the vault's own keys to the first unseal. */
  readonly unverified: boolean;
}

async function decrypterOf(file: string): Promise<Decrypter> {
  const decrypter = new Decrypter();
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read (${error.code ?? error.message}): give a file with --identity`);
  });
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    try {
      decrypter.addIdentity(line.trim());
    } catch {
      throw new CommandError(`${file}:${at + 1}: this is no age identity, AGE-SECRET-KEY-…`);
    }
  }
  return decrypter;
}

/** The plaintext of a backup. What fails on the way says so. */
async function* contentOf(path: string, identity: string): AsyncGenerator<Uint8Array> {
  const decrypter = await decrypterOf(identity);
  try {
    yield* await decrypter.decrypt(Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>);
  } catch (error) {
    throw new CommandError(`${path} does not open: ${error instanceof Error ? error.message : "failed"}`);
  }
}

export async function restore(path: string, io: Io, options: RestoreOptions): Promise<number> {
  const config = await loadConfig(options.config);
  const log = createLogger({ ...config.log, write: (line) => io.err(line.trimEnd()) });
  const ask: AskShare = async ({ progress, threshold }) => {
    const given = await io.secret(`Unseal key ${progress + 1} of ${threshold} (not shown): `);
    const share = given.toString("latin1").trim();
    if (share === "")
      throw new CommandError("no unseal key was given; with --unverified the check is left to the first unseal");
    return Buffer.from(share, /^[0-9a-f]+$/i.test(share) ? "hex" : "base64");
  };
  try {
    const content = countBytes(io, "restore", contentOf(path, options.identity));
    const { header, entries } = await restoreBackup(config, content, options.unverified ? null : ask, log);
    io.out(`${entries} entries restored, as they were on ${header.created}`);
    if (options.unverified) io.err("Not verified: run writ operator verify-storage after the first unseal.");
    if (header.audit !== null)
      io.err(
        `The audit was at line ${header.audit.seq} (${header.audit.hash}): what came later is not in this storage.`,
      );
    return 0;
  } catch (error) {
    if (isVaultError(error)) throw new CommandError(error.message);
    throw error;
  }
}
