// Files that hold a secret: read only where nobody but their owner may.

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

const maxBytes = 64 * 1024;

/** Opens a file that only its owner may read: what it points to is judged, on the open file, so that a link that changes
 *  in between fools nobody. `name` is the setting, for errors. */
export async function openSecret(name: string, file: string): Promise<FileHandle> {
  const opened = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${name} cannot be read (${error.code ?? "unknown"})`);
  });
  const stat = await opened.stat();
  const owner = process.getuid?.() ?? 0;
  const fault = !stat.isFile()
    ? "is not a regular file"
    : stat.uid !== owner && stat.uid !== 0
      ? "belongs to another user"
      : (stat.mode & 0o077) !== 0
        ? "may be read by others: chmod 600"
        : stat.size > maxBytes
          ? "is larger than 64 KiB"
          : null;
  if (fault === null) return opened;
  await opened.close();
  throw new Error(`${name} ${fault}`);
}

export async function readSecretFile(name: string, file: string): Promise<Buffer> {
  const opened = await openSecret(name, file);
  try {
    return await opened.readFile();
  } finally {
    await opened.close();
  }
}

/** The one line of a secret file, its line end removed. */
export async function readSecret(name: string, file: string): Promise<string> {
  const text = (await readSecretFile(name, file)).toString("utf8").replace(/\r?\n$/u, "");
  if (!/^[\x21-\x7e]+$/u.test(text)) throw new Error(`${name} must hold one line of printable ASCII without spaces`);
  return text;
}
