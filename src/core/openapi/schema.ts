// A route's fields as schemas of OpenAPI 3.0: what clients should send. The server is laxer (fields.ts takes durations as
// text, and lists with commas), and never stricter.

import type { Field, Fields, FieldType } from "../../sdk/fields.ts";

export type Schema = Readonly<Record<string, unknown>>;

const types: Readonly<Record<FieldType, (field: Field) => Schema>> = {
  string: () => ({ type: "string" }),
  int: () => ({ type: "integer", format: "int64" }),
  bool: () => ({ type: "boolean" }),
  duration: () => ({ type: "integer", format: "seconds", minimum: 0 }),
  strings: (field) => ({
    type: "array",
    items: { type: "string", ...limits(field) },
    ...(field.most !== undefined && { maxItems: field.most }),
  }),
  map: () => ({ type: "object", format: "kvpairs", additionalProperties: { type: "string" } }),
  json: () => ({}),
  object: (field) => objectOf(field.fields ?? {}),
  list: (field) => ({ type: "array", items: objectOf(field.fields ?? {}) }),
};

const limits = (field: Field): Schema => ({
  ...(field.enum && { enum: field.enum }),
  ...(field.pattern !== undefined && { pattern: field.pattern }),
  ...(field.minimum !== undefined && { minimum: field.minimum }),
  ...(field.maximum !== undefined && { maximum: field.maximum }),
});

export const schemaOf = (field: Field): Schema => ({
  ...types[field.type](field),
  ...(field.type === "strings" ? {} : limits(field)),
  description: field.description,
  ...(field.default !== undefined && { default: field.default }),
  ...(field.secret && { "x-vault-displayAttrs": { sensitive: true } }),
});

export function objectOf(fields: Fields): Schema {
  const entries = Object.entries(fields);
  const required = entries.filter(([, field]) => field.required).map(([name]) => name);
  return {
    type: "object",
    properties: Object.fromEntries(entries.map(([name, field]) => [name, schemaOf(field)])),
    ...(required.length > 0 && { required }),
  };
}
