// Password policies: how long generated passwords are, and what they are made of. Vault's HCL or JSON on the API, fields
// in Git.

import { isPrintable } from "../lib/printable.ts";
import { VaultError } from "../sdk/errors.ts";
import { field } from "../sdk/fields.ts";
import type { Fault, Kind } from "../sdk/kind.ts";
import { isBounded, type CharsetRule, type PasswordRules } from "./sample.ts";
import { fail, type Item, parseSyntax, placeOf, SyntaxFault, type Tree, withoutWords } from "./syntax.ts";

const [shortest, longest] = [4, 100];
const mostCharacters = 256;
const longestText = 65_536;

const passwordFields = {
  length: field.int("How many characters", { required: true, minimum: shortest, maximum: longest }),
  rules: field.list(
    "Sets of characters that passwords are made of",
    {
      charset: field.string("The characters of the set", { required: true }),
      min_chars: field.int("How many of them a password has at least", { default: 0, minimum: 0, maximum: longest }),
    },
    { required: true },
  ),
} as const;

/** What is wrong beyond the schema, with Vault's texts. */
function faultsOf({ length, rules }: PasswordRules): readonly Fault[] {
  const fault = (path: Fault["path"], message: string): readonly Fault[] => [{ path, message }];
  if (length < shortest || length > longest) {
    return fault(["length"], `passwords must be between ${shortest} and ${longest} characters`);
  }
  const characters = new Set(rules.flatMap(({ charset }) => Array.from(charset)));
  if (characters.size === 0) return fault(["rules"], "no charset specified");
  if (characters.size > mostCharacters) {
    return fault(["rules"], `charset is too long: limited to ${mostCharacters} characters`);
  }
  for (const [at, { charset, min_chars }] of rules.entries()) {
    if (!isPrintable(charset)) return fault(["rules", at, "charset"], "non-printable character in charset");
    if (charset === "" && min_chars > 0) return fault(["rules", at, "charset"], "no charset specified");
  }
  const least = rules.reduce((sum, rule) => sum + Math.max(0, rule.min_chars), 0);
  if (least > length) {
    return fault(["length"], `specified rules require at least ${least} characters but ${length} is specified`);
  }
  if (!isBounded({ length, rules })) {
    return fault(["rules"], "too many combinations of rules: ask for fewer characters, or make several rules one");
  }
  return [];
}

const rulesIn = (spec: Readonly<Record<string, unknown>>): PasswordRules => spec as unknown as PasswordRules;

export const passwordPolicyKind: Kind = {
  name: "PasswordPolicy",
  description: "How passwords are generated",
  mount: null,
  fields: passwordFields,
  check: ({ spec, name }) => [
    ...(/^[^/]+$/.test(name) ? [] : [{ path: [], message: "a password policy's name has no slash" }]),
    ...faultsOf(rulesIn(spec)),
  ],
};

function toNumber(item: Item): number {
  const { value } = item;
  if (value.is === "scalar" && typeof value.value === "number" && Number.isSafeInteger(value.value)) return value.value;
  return fail(value.at, `"${item.key}" needs a whole number`);
}

function toText(item: Item): string {
  if (item.value.is === "scalar" && typeof item.value.value === "string") return item.value.value;
  return fail(item.value.at, `"${item.key}" needs text in quotation marks`);
}

function toRule(type: string, body: Tree): CharsetRule {
  if (type !== "charset") return fail(body.at, `no rule is called ${JSON.stringify(type)}; there is charset`);
  if (body.is !== "object") return fail(body.at, 'a rule needs a block, such as { charset = "abc" }');
  let rule: CharsetRule = { charset: "", min_chars: 0 };
  for (const item of body.items) {
    if (item.key === "charset") rule = { ...rule, charset: toText(item) };
    else if (item.key === "min-chars") rule = { ...rule, min_chars: Math.max(0, toNumber(item)) };
    else fail(item.at, `${JSON.stringify(item.key)} is nothing a rule has; there are charset and min-chars`);
  }
  return rule;
}

/** `rule "charset" { … }`, or in JSON an object, or a list of objects, with the type as its name. */
function toRules({ labels, value, at }: Item): readonly CharsetRule[] {
  const [type, ...more] = labels;
  if (type !== undefined && more.length === 0) return [toRule(type, value)];
  const objects = value.is === "list" ? value.items : [value];
  return objects.flatMap((object) => {
    if (object.is !== "object" || labels.length > 0) return fail(at, 'expected rule "charset" { … }');
    return object.items.flatMap((item) =>
      (item.value.is === "list" ? item.value.items : [item.value]).map((body) => toRule(item.key, body)),
    );
  });
}

function read(text: string): PasswordRules {
  let length = 0;
  const rules: CharsetRule[] = [];
  for (const item of parseSyntax(text).items) {
    if (item.key === "length") length = toNumber(item);
    else if (item.key === "rule") rules.push(...toRules(item));
    else fail(item.at, `${JSON.stringify(item.key)} is nothing a password policy has; there are length and rule`);
  }
  return { length, rules };
}

const words: ReadonlySet<string> = new Set(["length", "rule", "charset", "min-chars", "abc"]);

/** Throws VaultError `invalid`. */
export function parsePasswordPolicy(text: string): PasswordRules {
  const wrong = (message: string, cause?: unknown): VaultError =>
    new VaultError("invalid", `invalid password policy: ${message}`, { cause });
  if (text.length > longestText) throw wrong(`it has more than ${longestText} characters`);
  try {
    const rules = read(text);
    const [fault] = faultsOf(rules);
    if (fault !== undefined) throw wrong(fault.message);
    return rules;
  } catch (error) {
    if (!(error instanceof SyntaxFault)) throw error;
    throw wrong(`${placeOf(text, error.at)}: ${withoutWords(error.message, words)}`, error);
  }
}

/** As HCL, for clients that read a policy which Git declares; `parsePasswordPolicy` reads it back. */
export function printPasswordPolicy({ length, rules }: PasswordRules): string {
  const blocks = rules.map(
    ({ charset, min_chars }) =>
      `rule "charset" {\n  charset = ${JSON.stringify(charset)}\n  min-chars = ${min_chars}\n}\n`,
  );
  return [`length = ${length}\n`, ...blocks].join("\n");
}
