// What a command may touch of its surroundings, so that tests can stand in for them.

import { text } from "node:stream/consumers";
import { readSecret } from "./secret.ts";

export interface Io {
  /** Prints a line on standard output. */
  out(line: string): void;
  /** Prints on standard output without a line end. */
  raw(text: string): void;
  /** Prints a line on standard error. */
  err(line: string): void;
  /** Shows what is waited for in one line of a terminal, in place of the line before; null removes it. */
  progress(text: string | null): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** One line that is not shown while it is typed, or the next line of a pipe. Without its line end. */
  secret(prompt: string): Promise<Buffer>;
  /** All of standard input. */
  input(): Promise<string>;
}

let progressing = false;

export const processIo: Io = {
  out: (line) => void process.stdout.write(`${line}\n`),
  raw: (text) => void process.stdout.write(text),
  err: (line) => void process.stderr.write(`${line}\n`),
  progress: (text) => {
    if (!process.stderr.isTTY) return;
    if (text === null && !progressing) return;
    progressing = text !== null;
    process.stderr.write(`\r\u001b[K${text ?? ""}`);
  },
  env: process.env,
  secret: (prompt) => readSecret(process.stdin, prompt),
  input: () => text(process.stdin),
};
