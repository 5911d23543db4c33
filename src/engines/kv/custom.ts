// What clients write beside a secret: names with short texts, within Vault's limits.

import { isPrintable } from "../../lib/printable.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { JsonObject } from "./json.ts";

const most = 64;
const longestName = 128;
const longestText = 512;

const wrong = (problem: string): VaultError =>
  new VaultError("invalid", `custom_metadata validation failed: ${problem}`);

/** Numbers and truths become texts as Vault's decoder makes them; null where it is nothing of the kind. */
function textOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "1" : "0";
  return null;
}

/** Null where there is none. Throws VaultError `invalid`, with all that is wrong. */
export function customOf(input: JsonObject): Readonly<Record<string, string>> | null {
  const entries = Object.entries(input);
  if (entries.length > most) throw wrong(`payload must contain at most ${most} keys, provided ${entries.length}`);
  const problems: string[] = [];
  const texts: [string, string][] = [];
  for (const [name, given] of entries) {
    const key = JSON.stringify(name.slice(0, longestName));
    const size = Buffer.byteLength(name);
    if (size === 0 || size > longestName)
      problems.push(`length of key ${key} is ${size} but must be 0 < len(key) <= ${longestName}`);
    if (!isPrintable(name)) problems.push(`key ${key} contains unprintable characters`);
    const value = textOf(given);
    if (value === null) {
      problems.push(`value for key ${key} must be a string`);
      continue;
    }
    const length = Buffer.byteLength(value);
    if (length === 0 || length > longestText)
      problems.push(`length of value for key ${key} is ${length} but must be 0 < len(value) <= ${longestText}`);
    if (!isPrintable(value)) problems.push(`value for key ${key} contains unprintable characters`);
    texts.push([name, value]);
  }
  if (problems.length > 0) throw wrong(problems.join("; "));
  return entries.length === 0 ? null : Object.fromEntries(texts);
}
