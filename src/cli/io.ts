// What a command may touch of its surroundings, so that tests can stand in for them.

import { text } from "node:stream/consumers";

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
  /** One line that is not shown while it is typed, or the first line of a pipe. Without its line end. */
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

const maxSecret = 4_096;

/** Echo is off while a person types. Rejects where the input ends or the person presses Ctrl-C. */
function readSecret(input: NodeJS.ReadStream, prompt: string): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const typed: number[] = [];
  const end = (): void => {
    input.off("data", read).off("end", ended).pause();
    if (!input.isTTY) return;
    input.setRawMode(false);
    process.stderr.write("\n");
  };
  const ended = (): void => {
    end();
    resolve(Buffer.from(typed));
  };
  const read = (chunk: Buffer): void => {
    for (const byte of chunk) {
      if (byte === 0x03 && input.isTTY) {
        end();
        reject(new Error("stopped"));
        return;
      }
      if (byte === 0x0a || byte === 0x0d) return ended();
      // Backspace, where a person types.
      if (input.isTTY && (byte === 0x7f || byte === 0x08)) typed.pop();
      else typed.push(byte);
      if (typed.length > maxSecret) {
        end();
        reject(new Error("the input is too long"));
        return;
      }
    }
  };
  if (input.isTTY) {
    process.stderr.write(prompt);
    input.setRawMode(true);
  }
  input.on("data", read).on("end", ended).on("error", reject).resume();
  return promise;
}
