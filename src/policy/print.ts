// Rules as HCL text, for clients that read a policy which Git declares.
// Must hold: `parsePolicy` reads the text back as the same rules.

import type { Json } from "../sdk/view.ts";
import type { RuleSpec } from "./rule.ts";

/** JSON's escapes are among HCL's. */
const quote = (text: string): string => JSON.stringify(text);

function printValue(value: Json): string {
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(printValue).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, member]) => `${quote(name)} = ${printValue(member)}`);
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}

/** In this order. */
const printed = [
  "allowed_parameters",
  "denied_parameters",
  "required_parameters",
  "min_wrapping_ttl",
  "max_wrapping_ttl",
  "when",
  "expires",
] as const;

function printRule(rule: RuleSpec): string {
  const lines = [`path ${quote(rule.path)} {`, `  capabilities = ${printValue(rule.capabilities)}`];
  for (const name of printed) {
    const value = rule[name];
    if (value !== undefined) lines.push(`  ${name} = ${printValue(value)}`);
  }
  return `${lines.join("\n")}\n}\n`;
}

export function printRules(rules: readonly RuleSpec[], zone = "UTC"): string {
  const head = zone === "UTC" ? [] : [`time_zone = ${quote(zone)}\n`];
  return [...head, ...rules.map(printRule)].join("\n");
}
