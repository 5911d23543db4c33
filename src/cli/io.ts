// What a command may touch of its surroundings, so that tests can stand in for them.
// Must hold: a terminal gets text and our own styles, whatever a command prints: no value, name or message can drive it.
// Where output goes to a file or a pipe, it goes as it is.

import { text } from "node:stream/consumers";
import { plainLines } from "../lib/printable.ts";
import { readSecret } from "./secret.ts";

export interface Io {
  /** Prints a line on standard output. */
  out(line: string): void;
  /** Prints a value on standard output byte for byte; on a terminal as a line. */
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

/** The styles of our own (bold, dim and their ends), and what is between them. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const styles = /(\u001b\[(?:1|2|22)m)/;
const shown = (text: string): string =>
  text
    .split(styles)
    .map((part, at) => (at % 2 === 1 ? part : plainLines(part)))
    .join("");

const line = (stream: NodeJS.WriteStream, content: string): void =>
  void stream.write(`${stream.isTTY ? shown(content) : content}\n`);

let progressing = false;

export const processIo: Io = {
  out: (content) => line(process.stdout, content),
  raw: (value) => {
    if (process.stdout.isTTY) line(process.stdout, plainLines(value.replace(/\n$/, "")));
    else process.stdout.write(value);
  },
  err: (content) => line(process.stderr, content),
  progress: (what) => {
    if (!process.stderr.isTTY) return;
    if (what === null && !progressing) return;
    progressing = what !== null;
    // A line that wraps could not be taken back.
    const fitting = plainLines(what ?? "").slice(0, process.stderr.columns - 1);
    process.stderr.write(`\r\u001b[K${fitting}`);
  },
  env: process.env,
  secret: (prompt) => readSecret(process.stdin, prompt),
  input: () => text(process.stdin),
};
