// The JSON Schemas that editors read: one for each kind, `writ.json` for a file of any kinds, and the repository's own
// configuration. Written from the same tables that documents are checked by.
// Must hold: the same kinds give the same bytes, so that what is committed can be compared.

import { apiVersion, type Kind } from "../sdk/kind.ts";
import { documentSchema } from "./kinds.ts";
import { repositorySchema } from "./repository.ts";

const dialect = "https://json-schema.org/draft/2020-12/schema";

/** A document of any kind. It holds all of them, so that an editor needs this one file. */
function anyDocument(kinds: readonly Kind[]): Record<string, unknown> {
  return {
    title: "Writ document",
    description: "A document of a Writ policy repository",
    type: "object",
    required: ["apiVersion", "kind", "metadata"],
    properties: {
      apiVersion: { const: apiVersion, description: "The version of the document format" },
      kind: {
        description: "What the document declares",
        oneOf: kinds.map(({ name, description }) => ({ const: name, title: name, description })),
      },
    },
    allOf: kinds.map(({ name }) => ({
      if: { type: "object", properties: { kind: { const: name } }, required: ["kind"] },
      // oxlint-disable-next-line unicorn/no-thenable -- a JSON Schema keyword; nobody awaits a schema
      then: { $ref: `#/$defs/${name}` },
    })),
    $defs: Object.fromEntries(kinds.map((kind) => [kind.name, documentSchema(kind)])),
  };
}

/** File names and their content, in order. */
export function schemaFiles(kinds: readonly Kind[]): ReadonlyMap<string, string> {
  const sorted = kinds.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const schemas: readonly (readonly [string, Record<string, unknown>])[] = [
    ...sorted.map((kind) => [kind.name, documentSchema(kind)] as const),
    ["repository", repositorySchema()],
    ["writ", anyDocument(sorted)],
  ];
  return new Map(
    schemas.map(([name, schema]) => [`${name}.json`, `${JSON.stringify({ $schema: dialect, ...schema }, null, 2)}\n`]),
  );
}
