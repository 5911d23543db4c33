// What ajv finds, in words for the one who wrote the document.
// Must hold: no message repeats a value of a secret field, or anything below it; values of other fields are not needed.

import type { ErrorObject } from "ajv/dist/2020.js";
import { nearest } from "../lib/nearest.ts";
import type { Field, Fields } from "../sdk/fields.ts";
import { clean, isWord } from "./mask.ts";

export type Path = readonly (string | number)[];

/** A fault and the way to it from the top of the document; with `key` it is about that key of the value. */
export interface DocumentFault {
  readonly path: Path;
  readonly key?: string;
  readonly message: string;
}

/** A name that somebody wrote, safe to print; cut where it is long. */
export const quote = (text: string): string =>
  clean(JSON.stringify(text.length > 120 ? `${text.slice(0, 119)}…` : text));

/** A name in a message. What follows a blank is left out: it may be text that lost its place. */
export const nameText = (text: string): string => {
  const [first = ""] = text.split(/\s/, 1);
  return quote(first === text ? text : `${first} …`);
};

/** spec.rules[0].path */
export const label = (path: Path): string =>
  path.reduce<string>((before, step) => {
    if (typeof step === "number") return `${before}[${step}]`;
    const name = /^[\p{L}_$][\p{L}\p{N}_$-]{0,63}$/u.test(step) ? step : quote(step);
    return before === "" ? name : `${before}.${name}`;
  }, "");

/** The field that a path leads to, with how much of the path led there; stops at the first secret one. */
function fieldAt(fields: Fields, path: Path): { readonly field: Field | null; readonly depth: number } {
  let members: Fields = fields;
  let field: Field | null = null;
  for (const [at, step] of path.entries()) {
    if (typeof step === "number") continue;
    if (!Object.hasOwn(members, step)) return { field: null, depth: at };
    field = members[step] ?? null;
    if (field?.secret === true) return { field, depth: at + 1 };
    members = field?.fields ?? {};
  }
  return { field, depth: path.length };
}

const types: Readonly<Record<string, string>> = {
  array: "a list, such as [a, b]",
  object: "a map of fields and values",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  string: "a string",
};

function typeMessage(wanted: string, value: unknown): string {
  if (value === null || value === undefined) return "has no value; give one, or remove the line";
  const word = types[wanted] ?? wanted;
  const scalar = typeof value === "number" || typeof value === "boolean";
  return `must be ${word}${wanted === "string" && scalar ? "; put the value in quotes" : ""}`;
}

const hint = (word: string, known: readonly string[], otherwise: string): string => {
  const near = nearest(word, known);
  return near === null ? otherwise : `did you mean "${near}"?`;
};

function unknownField(error: ErrorObject, path: Path): DocumentFault {
  const name = String(error.params["additionalProperty"]);
  const { properties = {} } = error.parentSchema as { readonly properties?: Readonly<Record<string, unknown>> };
  const known = Object.keys(properties);
  const where = path.length === 0 ? "" : ` in ${label(path)}`;
  const otherwise = known.length === 0 ? "it has no fields" : `there are ${known.join(", ")}`;
  const named = isWord(name) ? `unknown field "${name}"` : "unknown field";
  return { path, key: name, message: `${named}${where}; ${hint(name, known, otherwise)}` };
}

function missingField(error: ErrorObject, path: Path, fields: Fields): DocumentFault {
  const name = String(error.params["missingProperty"]);
  const about = fieldAt(fields, [...path, name]).field?.description;
  return { path, message: `${label([...path, name])} is missing${about === undefined ? "" : `: ${about}`}` };
}

type Explain = (error: ErrorObject, path: Path, field: Field | null) => string;
const explanations: Readonly<Record<string, Explain>> = {
  type: ({ params, data }) => typeMessage(String(params["type"]), data),
  enum: ({ params, data }) => {
    const values = (params["allowedValues"] as readonly unknown[]).map(String);
    if (values.length === 1) return `must be ${values[0]}`;
    const near = typeof data === "string" ? nearest(data, values) : null;
    return `must be one of ${values.map((each) => each || '""').join(", ")}${near === null ? "" : `; did you mean "${near}"?`}`;
  },
  anyOf: () => 'must be a duration such as 90, "90s", "1h30m" or "7d"',
  pattern: ({ params }, _path, field) =>
    `does not fit${field === null ? "" : ` (${field.description})`}: it must match ${String(params["pattern"])}`,
  minimum: ({ params }) => `must be at least ${String(params["limit"])}`,
  maximum: ({ params }) => `must be at most ${String(params["limit"])}`,
  maxItems: ({ params }) => `takes at most ${String(params["limit"])}`,
};

const steps = (error: ErrorObject): Path =>
  error.instancePath
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((step) => (/^(0|[1-9]\d{0,8})$/.test(step) ? Number(step) : step));

/** Faults in the order found, one for each secret field. */
export function schemaFaults(errors: readonly ErrorObject[], fields: Fields): readonly DocumentFault[] {
  // What the branches of a choice say is covered by what the choice says.
  const choices = errors.filter(({ keyword }) => keyword === "anyOf").map(({ schemaPath }) => `${schemaPath}/`);
  const secrets = new Set<string>();
  const faults: DocumentFault[] = [];
  for (const error of errors) {
    if (choices.some((choice) => error.schemaPath.startsWith(choice))) continue;
    const path = steps(error);
    const { field, depth } = fieldAt(fields, path);
    if (field?.secret === true) {
      const place = path.slice(0, depth);
      if (!secrets.has(label(place))) faults.push(secretFault(place));
      secrets.add(label(place));
    } else if (error.keyword === "additionalProperties") faults.push(unknownField(error, path));
    else if (error.keyword === "required") faults.push(missingField(error, path, fields));
    else {
      const message = explanations[error.keyword]?.(error, path, field) ?? "is not valid";
      faults.push({ path, message: path.length === 0 ? `the document ${message}` : `${label(path)} ${message}` });
    }
  }
  return faults;
}

const secretFault = (path: Path): DocumentFault => ({
  path,
  message: `${label(path)} is a secret, which never stands in Git; write from_secret: { path: …, key: … } to name where it is kept`,
});
