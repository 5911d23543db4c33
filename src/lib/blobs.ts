// Objects by name out of one long-lived `git cat-file --batch` (git-cat-file(1), BATCH OUTPUT).
// Must hold: what is returned hashes to the name that was asked for; one read at a time, with a deadline and a byte
// limit; after any failure the process is ended and the next read starts another.

import { hash } from "node:crypto";
import { type Git, GitError, type GitProcess, isCommit } from "./git.ts";

/** The object name of a blob, in the hash that `like` has. */
export function blobName(bytes: Uint8Array, like: string): string {
  const header = Buffer.from(`blob ${bytes.length}\0`);
  return hash(like.length === 64 ? "sha256" : "sha1", Buffer.concat([header, bytes]), "hex");
}

export class Blobs {
  readonly #git: Git;
  readonly #timeout: number;
  #process: GitProcess | null = null;
  #tail: Promise<unknown> = Promise.resolve();

  /** `timeout` in milliseconds for one whole read. */
  constructor(git: Git, timeout = 60_000) {
    this.#git = git;
    this.#timeout = timeout;
  }

  /** The blobs in the order asked for. Throws GitError where one is missing, is no blob, is broken, or where all
   *  together exceed `maxBytes`. */
  read(ids: readonly string[], maxBytes: number): Promise<Buffer[]> {
    const result = this.#tail.then(() => (ids.length === 0 ? [] : this.#read(ids, maxBytes)));
    this.#tail = result.catch(() => {});
    return result;
  }

  close(): void {
    this.#process?.end();
    this.#process = null;
  }

  #start(): GitProcess {
    const started = this.#git.start(["cat-file", "--batch"]);
    const gone = (): void => {
      if (this.#process === started) this.#process = null;
    };
    started.child.once("close", gone);
    started.child.on("error", gone);
    started.child.stdin?.on("error", gone);
    // Nobody reads its complaints, so they must not fill the pipe.
    started.child.stderr?.resume();
    return started;
  }

  async #read(ids: readonly string[], maxBytes: number): Promise<Buffer[]> {
    if (!ids.every(isCommit)) throw new GitError("git cat-file was asked for no object name", "exit", null, "");
    const { child } = (this.#process ??= this.#start());
    const { promise, resolve, reject } = Promise.withResolvers<Buffer[]>();
    const fail = (message: string): void => reject(new GitError(`git cat-file ${message}`, "exit", null, ""));
    const found: Buffer[] = [];
    let rest: Buffer = Buffer.alloc(0);
    let total = 0;
    const take = (chunk: Buffer): void => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (found.length < ids.length) {
        const id = ids[found.length] ?? "";
        const line = rest.indexOf(10);
        if (line < 0) return rest.length > 256 ? fail("answered without a header") : undefined;
        const match = /^([0-9a-f]+) blob (\d{1,15})$/.exec(rest.toString("latin1", 0, line));
        if (match === null || match[1] !== id) return fail(`has no blob ${id}`);
        const size = Number(match[2]);
        if (total + size > maxBytes) return fail(`was to read more than ${maxBytes} bytes`);
        if (rest.length < line + 1 + size + 1) return;
        const bytes = Buffer.from(rest.subarray(line + 1, line + 1 + size));
        if (blobName(bytes, id) !== id) return fail(`gave a broken blob ${id}`);
        found.push(bytes);
        total += size;
        rest = rest.subarray(line + 1 + size + 1);
      }
      resolve(found);
    };
    const ended = (): void => fail("ended early");
    child.stdout?.on("data", take);
    child.once("close", ended);
    child.once("error", ended);
    const deadline = setTimeout(() => fail(`took longer than ${this.#timeout} ms`), this.#timeout);
    try {
      child.stdin?.write(`${ids.join("\n")}\n`);
      return await promise;
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(deadline);
      child.stdout?.removeListener("data", take);
      child.removeListener("close", ended);
      child.removeListener("error", ended);
    }
  }
}
