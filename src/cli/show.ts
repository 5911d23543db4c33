// What a command prints: tables for people, JSON for programs, one field for scripts.
// Must hold: what servers send is shown as text, never as terminal control; a field goes out as it is, byte for byte.

import { styleText } from "node:util";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";

export interface ShowOptions {
  readonly format?: string | undefined;
  readonly field?: string | undefined;
}

type Body = Readonly<Record<string, unknown>>;

export const plain = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "?");

const strong = (text: string): string => styleText("bold", text, { stream: process.stdout });
const dim = (text: string): string => styleText("dim", text, { stream: process.stdout });

/** A value in one cell. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return dim("-");
  if (typeof value === "string") return plain(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return plain(`[${value.join(", ")}]`);
  return plain(JSON.stringify(value));
}

/** Cells in columns as wide as their widest. */
export function table(io: Io, heads: readonly string[], rows: readonly (readonly unknown[])[]): void {
  const texts = rows.map((row) => row.map(cell));
  const bare = rows.map((row) => row.map((value) => (value === null || value === undefined ? 1 : cell(value).length)));
  const widths = heads.map((head, at) => Math.max(head.length, ...bare.map((row) => row[at] ?? 0)));
  const line = (cells: readonly string[], lengths: readonly number[]): string =>
    cells
      .map((text, at) => text + " ".repeat(Math.max(0, (widths[at] ?? 0) - (lengths[at] ?? 0))))
      .join("    ")
      .trimEnd();
  io.out(
    line(
      heads.map(strong),
      heads.map((head) => head.length),
    ),
  );
  for (const [at, row] of texts.entries()) io.out(line(row, bare[at] ?? []));
}

/** Whether tables are wanted. Throws CommandError for a format that there is not. */
export function isTable(io: Io, { format = io.env["VAULT_FORMAT"] ?? "table" }: ShowOptions): boolean {
  if (format !== "table" && format !== "json") throw new CommandError("--format is table or json");
  return format === "table";
}

export const json = (io: Io, value: unknown): void => io.out(JSON.stringify(value, null, 2));

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
