// One line that is not shown while it is typed, or the next line of a pipe.
// Must hold: the terminal is as it was before, however the reading ends; what stands behind the line stays for whoever reads
// next. A signal that ends the process puts the terminal back too: Node does that.

import type { ReadStream } from "node:tty";
import { CommandError } from "./client.ts";

const maxSecret = 4_096;
/** As after 128 and SIGINT's number. */
const interrupted = 130;

/** What keys do; all others below a space are no part of a secret, but tab. */
const [interrupt, endOfInput, backspace, tab, newline, enter, killLine, erase] = [3, 4, 8, 9, 10, 13, 21, 127];

/** Drops the last character, which may be several bytes of UTF-8. */
function eraseLast(typed: number[]): void {
  while (((typed.pop() ?? 0) & 0xc0) === 0x80);
}

/** Takes one byte. True where the line ends with it. */
function take(typed: number[], byte: number, terminal: boolean): boolean {
  if (byte === newline || (terminal && (byte === enter || byte === endOfInput))) return true;
  if (terminal && byte === interrupt) throw new CommandError("stopped", interrupted);
  if (terminal && (byte === erase || byte === backspace)) eraseLast(typed);
  else if (terminal && byte === killLine) typed.length = 0;
  else if (!terminal || byte >= 32 || byte === tab) typed.push(byte);
  if (typed.length > maxSecret) throw new CommandError("the input is too long");
  return false;
}

/** Without its line end; empty where there is none. Rejects where the person presses Ctrl-C. */
export async function readSecret(input: ReadStream, prompt: string): Promise<Buffer> {
  const terminal = input.isTTY;
  const typed: number[] = [];
  if (terminal) {
    // First: whoever sees the prompt may type at once.
    input.setRawMode(true);
    process.stderr.write(prompt);
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const read = (chunk: Buffer): void => {
    try {
      const end = chunk.findIndex((byte) => take(typed, byte, terminal));
      if (end < 0) return;
      // Nothing more is to come while the rest is put back.
      input.off("data", read).pause();
      if (end + 1 < chunk.length) input.unshift(chunk.subarray(end + 1));
      resolve();
    } catch (error) {
      reject(error);
    }
  };
  if (input.readableEnded) resolve();
  input.on("data", read).on("end", resolve).on("error", reject).resume();
  try {
    await promise;
  } finally {
    input.off("data", read).off("end", resolve).off("error", reject).pause();
    if (terminal) {
      input.setRawMode(false);
      process.stderr.write("\n");
    }
  }
  const line = Buffer.from(typed);
  return !terminal && line.at(-1) === enter ? line.subarray(0, -1) : line;
}
