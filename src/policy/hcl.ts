// Policies as Vault's clients write them, HCL 1 or JSON, into rules.
// Must hold: what this vault would not enforce is refused, never dropped: a rule never means less than it says.
// Several blocks with one path are several rules, which add up.

import { parseDuration } from "../lib/duration.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Json } from "../sdk/view.ts";
import { type Capability, capabilities, isCapability } from "./capability.ts";
import { declared } from "./facts.ts";
import { guardFaults } from "./guard.ts";
import { operators } from "./operators.ts";
import { patternFault } from "./pattern.ts";
import type { RuleSpec } from "./rule.ts";
import { type At, fail, type Item, parseSyntax, placeOf, SyntaxFault, type Tree, withoutWords } from "./syntax.ts";
import { templateFault } from "./template.ts";
import { wrappingFault } from "./wrapping.ts";
import { zoneFault } from "./zone.ts";

/** What `policy = "…"` stood for before there were capabilities. */
const legacy: ReadonlyMap<string, readonly Capability[]> = new Map([
  ["deny", ["deny"]],
  ["read", ["read", "list"]],
  ["write", ["create", "read", "update", "delete", "list"]],
  ["sudo", ["create", "read", "update", "delete", "list", "sudo"]],
]);

/** Known to Vault or OpenBao, enforced by neither half here. */
const unsupported = new Set([
  "mfa_methods",
  "control_group",
  "expiration",
  "pagination_limit",
  "list_scan_response_keys_filter_path",
]);

const longestText = 1_048_576;

type Draft = { -readonly [K in keyof RuleSpec]: RuleSpec[K] };

function toJson(tree: Tree): Json {
  if (tree.is === "scalar") return tree.value;
  if (tree.is === "list") return tree.items.map(toJson);
  const entries = tree.items.map((item): [string, Json] => {
    if (item.labels.length > 0) fail(item.at, `"${item.key}" takes no label`);
    return [item.key, toJson(item.value)];
  });
  return Object.fromEntries(entries);
}

function toText(item: Item, tree: Tree): string {
  if (tree.is === "scalar" && typeof tree.value === "string") return tree.value;
  return fail(tree.at, `"${item.key}" needs text in quotation marks`);
}

function toTexts(item: Item): string[] {
  const { value } = item;
  if (value.is !== "list") return fail(value.at, `"${item.key}" needs a list, such as ["read"]`);
  return value.items.map((entry) => toText(item, entry));
}

function toSeconds(item: Item): number {
  const { value } = item;
  const seconds = value.is === "scalar" ? parseDuration(value.value) : null;
  // What is rounded to nothing would ask for nothing.
  const lost = seconds === 0 && value.is === "scalar" && /[1-9]/.test(String(value.value));
  if (seconds === null || lost) return fail(value.at, `"${item.key}" needs whole seconds, such as 90 or "1h30m"`);
  return seconds;
}

function toCapabilities(item: Item): Capability[] {
  if (item.value.is !== "list") return fail(item.value.at, '"capabilities" needs a list, such as ["read", "list"]');
  return item.value.items.map((entry) => {
    const name = toText(item, entry);
    if (isCapability(name)) return name;
    return fail(entry.at, `no capability is called ${JSON.stringify(name)}; there are ${capabilities.join(", ")}`);
  });
}

/** Every name once, all the way down: of two, one would be lost. */
function refuseTwice(tree: Tree): void {
  if (tree.is === "list") for (const each of tree.items) refuseTwice(each);
  if (tree.is !== "object") return;
  const seen = new Set<string>();
  for (const { at, key, value } of tree.items) {
    if (seen.has(key)) fail(at, `${JSON.stringify(key)} stands twice here`);
    seen.add(key);
    refuseTwice(value);
  }
}

/** JSON Logic, as an object of this syntax or as JSON in a text (a heredoc is one). */
function toCondition(item: Item): Json {
  const { value } = item;
  if (value.is !== "scalar" || typeof value.value !== "string") {
    refuseTwice(value);
    return toJson(value);
  }
  if (!value.value.trimStart().startsWith("{")) fail(value.at, '"when" needs an object, or JSON in a text');
  try {
    const tree: Tree = { is: "object", at: value.at, items: parseSyntax(value.value).items };
    refuseTwice(tree);
    return toJson(tree);
  } catch (error) {
    if (!(error instanceof SyntaxFault)) throw error;
    return fail(value.at, `"when" is no JSON object: ${placeOf(value.value, error.at)}: ${error.message}`);
  }
}

/** Where a part of an object or a list starts, as far as the path leads. */
function placeIn(tree: Tree, path: readonly (string | number)[]): At {
  const [step, ...rest] = path;
  if (tree.is === "list" && typeof step === "number") {
    const item = tree.items[step];
    return item === undefined ? tree.at : placeIn(item, rest);
  }
  const item = tree.is === "object" ? tree.items.find(({ key }) => key === step) : undefined;
  return item === undefined ? tree.at : placeIn(item.value, rest);
}

function toValues(item: Item): Record<string, readonly Json[]> {
  const { value } = item;
  if (value.is !== "object")
    return fail(value.at, `"${item.key}" needs a block of lists, such as { "name" = ["value"] }`);
  const entries = value.items.map((entry): [string, readonly Json[]] => {
    if (entry.labels.length > 0 || entry.value.is !== "list") {
      return fail(entry.value.at, `"${entry.key}" in "${item.key}" needs a list of values, [] for any value`);
    }
    return [entry.key, entry.value.items.map(toJson)];
  });
  const seen = new Set<string>();
  for (const { at, key } of value.items) {
    if (seen.has(key)) fail(at, `"${key}" stands twice in "${item.key}"`);
    seen.add(key);
  }
  return Object.fromEntries(entries);
}

/** One row a field: reads it into the rule. */
const readers = new Map<string, (item: Item, rule: Draft) => void>([
  [
    "capabilities",
    (item, rule) => {
      rule.capabilities = [...rule.capabilities, ...toCapabilities(item)];
    },
  ],
  [
    "policy",
    (item, rule) => {
      const granted = legacy.get(toText(item, item.value));
      if (granted === undefined) fail(item.value.at, `"policy" is one of ${[...legacy.keys()].join(", ")}`);
      rule.capabilities = [...rule.capabilities, ...(granted ?? [])];
    },
  ],
  [
    "allowed_parameters",
    (item, rule) => {
      rule.allowed_parameters = toValues(item);
    },
  ],
  [
    "denied_parameters",
    (item, rule) => {
      rule.denied_parameters = toValues(item);
    },
  ],
  [
    "required_parameters",
    (item, rule) => {
      rule.required_parameters = toTexts(item);
    },
  ],
  [
    "min_wrapping_ttl",
    (item, rule) => {
      rule.min_wrapping_ttl = toSeconds(item);
    },
  ],
  [
    "max_wrapping_ttl",
    (item, rule) => {
      rule.max_wrapping_ttl = toSeconds(item);
    },
  ],
  [
    "when",
    (item, rule) => {
      rule.when = toCondition(item);
    },
  ],
  [
    "expires",
    (item, rule) => {
      rule.expires = toText(item, item.value);
    },
  ],
  ["comment", (item) => void toText(item, item.value)],
]);

/** What an error may quote. */
const words: ReadonlySet<string> = new Set([
  ...readers.keys(),
  ...unsupported,
  ...legacy.keys(),
  ...capabilities,
  ...operators.keys(),
  ...declared.map(({ name }) => name),
  "path",
  "name",
  "value",
  "time_zone",
  "1h30m",
]);

function toRule(path: string, item: Item, body: Tree): RuleSpec {
  const fault = patternFault(path) ?? templateFault(path, false);
  if (fault !== null) fail(item.at, `path ${JSON.stringify(path)}: ${fault}`);
  if (body.is !== "object")
    return fail(body.at, `path ${JSON.stringify(path)} needs a block, such as { capabilities = ["read"] }`);
  const rule: Draft = { path, capabilities: [] };
  const seen = new Set<string>();
  for (const entry of body.items) {
    const read = readers.get(entry.key);
    const name = JSON.stringify(entry.key);
    if (unsupported.has(entry.key)) fail(entry.at, `${name} is not enforced by this vault; remove it to accept that`);
    if (read === undefined)
      return fail(entry.at, `${name} is no field of a path; there are ${[...readers.keys()].join(", ")}`);
    if (entry.labels.length > 0) fail(entry.at, `${name} takes no label`);
    if (seen.has(entry.key)) fail(entry.at, `${name} stands twice in this block`);
    seen.add(entry.key);
    read(entry, rule);
  }
  const strange = wrappingFault(rule);
  if (strange !== null) fail(item.at, strange);
  const [guard] = guardFaults(rule);
  if (guard !== undefined) fail(placeIn(body, guard.path), `${guard.path.join(".")}: ${guard.message}`);
  return Object.freeze(rule);
}

/** In JSON, blocks are members of an object, or of several in a list. */
function jsonBlocks(value: Tree): readonly Item[] {
  if (value.is === "object") return value.items;
  if (value.is === "list") return value.items.flatMap(jsonBlocks);
  return fail(value.at, '"path" needs an object with a path for each member');
}

const bodies = (value: Tree): readonly Tree[] => (value.is === "list" ? value.items : [value]);

function rulesAt(item: Item, json: boolean): readonly RuleSpec[] {
  if (json) {
    return jsonBlocks(item.value).flatMap((block) => bodies(block.value).map((body) => toRule(block.key, block, body)));
  }
  const [path, more] = item.labels;
  if (path === undefined || more !== undefined) {
    return fail(item.at, 'expected one path, such as: path "secret/data/app" { capabilities = ["read"] }');
  }
  return [toRule(path, item, item.value)];
}

/** What a policy's text says. */
export interface PolicyText {
  readonly rules: readonly RuleSpec[];
  /** IANA name; UTC where there is none. */
  readonly time_zone?: string;
}

function readPolicy(text: string): PolicyText {
  const { json, items } = parseSyntax(text);
  const rules: RuleSpec[] = [];
  let zone: string | null = null;
  for (const item of items) {
    if (item.key === "path") {
      // Not as arguments of one call, of which there can be only so many.
      for (const rule of rulesAt(item, json)) rules.push(rule);
      continue;
    }
    if ((item.key !== "name" && item.key !== "time_zone") || item.labels.length > 0) {
      return fail(item.at, `${JSON.stringify(item.key)} is nothing a policy has; there are path, name and time_zone`);
    }
    const value = toText(item, item.value);
    if (item.key === "name") continue;
    if (zone !== null) fail(item.at, '"time_zone" stands twice');
    const fault = zoneFault(value);
    if (fault !== null) fail(item.value.at, fault);
    zone = value;
  }
  return { rules, ...(zone !== null && { time_zone: zone }) };
}

/** Throws VaultError `invalid`. */
export function checkLength(text: string): void {
  if (text.length > longestText) throw new VaultError("invalid", `a policy has at most ${longestText} characters`);
}

/** A policy's text; `name` is for errors only, and a `name` in the text is read over, as in Vault.
 *  Throws VaultError `invalid` with line:column. */
export function parsePolicy(text: string, name?: string): PolicyText {
  checkLength(text);
  const clean = text.replace(/^\uFEFF/, "");
  try {
    return readPolicy(clean);
  } catch (error) {
    if (!(error instanceof SyntaxFault)) throw error;
    const which = name === undefined ? "policy" : `policy "${name}"`;
    const fault = withoutWords(error.message, words);
    throw new VaultError("invalid", `failed to parse ${which}: ${placeOf(clean, error.at)}: ${fault}`, {
      cause: error,
    });
  }
}
