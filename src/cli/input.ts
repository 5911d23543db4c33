// The data of a command: `key=value`, `key=@file`, `key=-` for one value from standard input, `@file` or `-` for a whole JSON
// object. Nothing secret needs to stand on the command line, which other users of the machine can see.

import { readFile } from "node:fs/promises";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";

type Data = Record<string, unknown>;

async function fileText(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${path} cannot be read (${error.code ?? "unknown"})`);
  });
}

/** "-" is standard input, anything else a file. */
export const textOf = (source: string, io: Io): Promise<string> => (source === "-" ? io.input() : fileText(source));

async function objectOf(source: string, io: Io): Promise<Data> {
  const name = source === "-" ? "standard input" : source;
  let value: unknown;
  try {
    value = JSON.parse(await textOf(source, io));
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`${name} is not JSON: give an object such as {"key": "value"}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CommandError(`${name} is JSON, but no object`);
  }
  return value as Data;
}

/** What is secret is no argument: `-` only says that it is typed or piped in. Throws CommandError, without what was given. */
export function refuseShown(given: string | undefined, what: string): void {
  if (given === undefined || given === "-") return;
  throw new CommandError(
    `${what} is no argument, which others on this machine can see: leave it out, and type it or pipe it in`,
  );
}

/** What is typed without being shown, or piped in, exactly as it comes. Throws CommandError where that is nothing. */
export async function hidden(io: Io, what: string): Promise<string> {
  const text = (await io.secret(`${what} (not shown): `)).toString("utf8");
  if (text.trim() === "") throw new CommandError(`no ${what.toLowerCase()} was given: type one, or pipe it in`);
  return text;
}

/** The same for a word: a token, a share. */
export const hiddenWord = async (io: Io, what: string): Promise<string> => (await hidden(io, what)).trim();

/** A key that is given more than once is a list. Throws CommandError. */
export async function dataOf(words: readonly string[], io: Io): Promise<Data> {
  // Without a prototype: `constructor` is a key as any other.
  const data = Object.create(null) as Data;
  const add = (key: string, value: unknown): void => {
    const before = data[key];
    data[key] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  };
  const uses = words.filter((word) => word === "-" || word.endsWith("=-")).length;
  if (uses > 1) throw new CommandError("standard input can be one value only");
  for (const word of words) {
    if (word === "-" || word.startsWith("@")) {
      Object.assign(data, await objectOf(word === "-" ? word : word.slice(1), io));
      continue;
    }
    const at = word.indexOf("=");
    if (at < 1) throw new CommandError(`${JSON.stringify(word)} is no key=value; @FILE or - reads a JSON object`);
    const [key, value] = [word.slice(0, at), word.slice(at + 1)];
    if (value === "-") add(key, (await io.input()).replace(/\r?\n$/, ""));
    else if (value.startsWith("@")) add(key, await fileText(value.slice(1)));
    else add(key, value.startsWith("\\@") ? value.slice(1) : value);
  }
  return data;
}

/** A list of pairs, as a map of texts. */
export function mapOf(pairs: readonly string[] | undefined): Record<string, string> | undefined {
  return (
    pairs &&
    Object.fromEntries(
      pairs.map((pair) => {
        const at = pair.indexOf("=");
        if (at < 1) throw new CommandError(`${JSON.stringify(pair)} is no key=value`);
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
    )
  );
}
