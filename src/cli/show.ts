// What a command prints: tables for people, JSON for programs, one field for scripts.
// Must hold: what servers send is shown as text, never as terminal control; a field goes into a pipe or file byte for byte.

import { stripVTControlCharacters, styleText } from "node:util";
import { counted, plain } from "../lib/printable.ts";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";

export { counted, plain };

export interface ShowOptions {
  readonly format?: string | undefined;
  readonly field?: string | undefined;
}

type Body = Readonly<Record<string, unknown>>;

const strong = (text: string): string => styleText("bold", text, { stream: process.stdout });
const dim = (text: string): string => styleText("dim", text, { stream: process.stdout });

/** A value in one cell. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return dim("-");
  if (typeof value === "string") return plain(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return plain(`[${value.join(", ")}]`);
  return plain(JSON.stringify(value));
}

/** Two columns of a terminal each: East Asian letters and pictures. */
const wide =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;

/** How many columns of a terminal a cell takes. */
function widthOf(text: string): number {
  let width = 0;
  for (const letter of stripVTControlCharacters(text)) width += /\p{M}/u.test(letter) ? 0 : wide.test(letter) ? 2 : 1;
  return width;
}

/** Cells in columns as wide as their widest. */
export function table(io: Io, heads: readonly string[], rows: readonly (readonly unknown[])[]): void {
  const texts = [heads.map(strong), ...rows.map((row) => row.map(cell))];
  const widths = heads.map((_, at) => Math.max(...texts.map((row) => widthOf(row[at] ?? ""))));
  for (const row of texts) {
    const padded = row.map((text, at) => text + " ".repeat((widths[at] ?? 0) - widthOf(text)));
    io.out(padded.join("    ").trimEnd());
  }
}

/** Whether tables are wanted. Throws CommandError for a format that there is not. */
export function isTable(io: Io, { format = io.env["VAULT_FORMAT"] ?? "table" }: ShowOptions): boolean {
  if (format !== "table" && format !== "json")
    throw new CommandError(`the format (--format, or VAULT_FORMAT) is table or json, not ${JSON.stringify(format)}`);
  return format === "table";
}

/** What JSON leaves as it is, and a terminal would obey or not show. */
const unshown = /[\u007f-\u009f\p{Cf}]/gu;
const escaped = (text: string): string =>
  text.replaceAll(unshown, (found) =>
    // Each of the one or two units that JSON knows.
    Array.from({ length: found.length }, (_, at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`).join(
      "",
    ),
  );

export const json = (io: Io, value: unknown): void => io.out(escaped(JSON.stringify(value, null, 2)));

function showField(io: Io, data: Body, name: string): void {
  if (!Object.hasOwn(data, name)) {
    throw new CommandError(
      `there is no field ${JSON.stringify(name)} here; there are: ${Object.keys(data).join(", ")}`,
    );
  }
  const value = data[name];
  io.raw(typeof value === "string" ? value : JSON.stringify(value));
}

/** One object: a field of `data`, the whole answer as JSON, or a row a field. */
export function show(io: Io, answer: unknown, data: Body, options: ShowOptions): void {
  if (options.field !== undefined) showField(io, data, options.field);
  else if (!isTable(io, options)) json(io, answer);
  else table(io, ["Key", "Value"], Object.entries(data));
}

/** Names below a path. */
export function showKeys(io: Io, keys: readonly string[], options: ShowOptions): void {
  if (!isTable(io, options)) return json(io, keys);
  table(
    io,
    ["Keys"],
    keys.map((key) => [key]),
  );
}
