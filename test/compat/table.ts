// The table in the README: each route that clients need, which of the recorded clients asks for it, and what it was answered.
// Run as a program it writes the table there.

import { readFileSync, writeFileSync } from "node:fs";
import { readRecording, type Recording, wanted } from "./routes.ts";

const readme = new URL("../../README.md", import.meta.url);
const begin = "<!-- clients: written by test/compat/table.ts -->";
const end = "<!-- /clients -->";

const cell = (statuses: readonly number[] | undefined): string => statuses?.join(" ") ?? "";

export function tableOf(recording: Recording): string {
  const clients = Object.keys(recording).sort();
  const rows = wanted.map(({ route }) => [
    `\`${route}\``,
    ...clients.map((client) => cell(recording[client]?.[route])),
  ]);
  const lines = [["route", ...clients], ["---", ...clients.map(() => "---")], ...rows];
  const counts = clients.map((client) => `${Object.keys(recording[client] ?? {}).length} by ${client}`);
  return [
    begin,
    "<details>",
    `<summary>The ${wanted.length} routes that these clients were recorded at (${counts.join(", ")}), and the statuses that they saw</summary>`,
    "",
    ...lines.map((row) => `| ${row.join(" | ")} |`),
    "",
    "</details>",
    end,
  ].join("\n");
}

export function readTable(): string {
  const text = readFileSync(readme, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md lacks ${begin} … ${end}`);
  return text.slice(from, to + end.length);
}

if (process.argv[1] === import.meta.filename) {
  const before = readTable();
  writeFileSync(
    readme,
    readFileSync(readme, "utf8").replace(before, () => tableOf(readRecording())),
  );
}
