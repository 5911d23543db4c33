// `.writ/config.yaml`: what a policy repository says about itself, which is only what of it is no document.
// Must hold: nothing here can widen what Git may do; that is the server's config.

import { isScalar, isSeq, isMap } from "yaml";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Problem } from "../sdk/errors.ts";
import { field, schemaOf } from "../sdk/fields.ts";
import { schemaFaults, type Path } from "./faults.ts";
import { Masks } from "./mask.ts";
import { type ParsedDocument, parseFile, type ParseLimits } from "./parse.ts";

/** Below the folder of the documents. */
export const configPath = ".writ/config.yaml";

export const repositoryFields = {
  exclude: field.strings(
    "YAML files that are no documents: paths from the folder of the documents on, with * for part of a name and ** for any folders; a folder stands for all in it",
    { default: [], pattern: "^[^/\\p{Cc}][^\\p{Cc}]{0,255}$" },
  ),
} as const;

export const repositorySchema = (): Record<string, unknown> => ({
  title: ".writ/config.yaml",
  ...schemaOf(repositoryFields),
});

const validate = new Ajv2020({ strict: true, allErrors: true, verbose: true, validateSchema: false }).compile(
  schemaOf(repositoryFields),
);
const maxPatterns = 100;

function offsetOf(document: ParsedDocument, path: Path, key: string | undefined): number {
  let node: unknown = document.node;
  let offset = document.start;
  for (const step of key === undefined ? path : [...path, key]) {
    const found = isMap(node) ? node.items.find((each) => isScalar(each.key) && each.key.value === step) : undefined;
    if (isScalar(found?.key)) offset = found.key.range?.[0] ?? offset;
    node = isSeq(node) ? node.items[Number(step)] : found?.value;
    if (isScalar(node) && typeof step === "number") offset = node.range?.[0] ?? offset;
  }
  return offset;
}

/** The patterns of a file that has faults elsewhere, so that what they leave out is not reported too. */
function patternsOf(value: unknown): readonly string[] {
  const given: unknown = typeof value === "object" && value !== null && "exclude" in value ? value.exclude : [];
  return Array.isArray(given) ? given.filter((each) => typeof each === "string").slice(0, maxPatterns) : [];
}

/** The patterns, and what is wrong. */
export function readRepositoryConfig(
  file: { readonly path: string; readonly bytes: Uint8Array } | null,
  limits: ParseLimits,
): { readonly exclude: readonly string[]; readonly problems: readonly Problem[] } {
  if (file === null) return { exclude: [], problems: [] };
  const parsed = parseFile(file.bytes, limits);
  const masks = new Masks(parsed, () => repositoryFields, new Set(Object.keys(repositoryFields)));
  const problem = (offset: number, message: string): Problem => {
    const excerpt = masks.excerpt({ offset, message });
    return { file: file.path, ...parsed.text.place(offset), message, ...(excerpt !== "" && { excerpt }) };
  };
  const [document, second] = parsed.documents;
  const flaws = [...parsed.flaws, ...parsed.documents.flatMap((each) => each.flaws)];
  if (second !== undefined) flaws.push({ offset: second.start, message: "the configuration is one document" });
  if (flaws.length > 0) return { exclude: [], problems: flaws.map(({ offset, message }) => problem(offset, message)) };
  if (document === undefined) return { exclude: [], problems: [] };
  if (!validate(document.value)) {
    const faults = schemaFaults(validate.errors ?? [], repositoryFields);
    const problems = faults.map(({ path, key, message }) => problem(offsetOf(document, path, key), message));
    return { exclude: patternsOf(document.value), problems };
  }
  const { exclude = [] } = document.value as { readonly exclude?: readonly string[] };
  if (exclude.length <= maxPatterns) return { exclude, problems: [] };
  return { exclude: [], problems: [problem(document.start, `at most ${maxPatterns} patterns; name folders instead`)] };
}
