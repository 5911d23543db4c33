// Holes in a policy's paths, such as {{identity.entity.name}}, filled from the caller's identity.
// Must hold: a hole without a value, or with a value that could reach further than one segment, gives no path at all.
// Known gap: a templated rule that narrows a broader one is lost with it, as in Vault; the Policy kind therefore refuses
// templates in rules that deny.

/** Who asks, as far as templates can name it. */
export interface Bindings {
  readonly entity: {
    readonly id: string;
    readonly name: string;
    readonly metadata: Readonly<Record<string, string>>;
    readonly aliases: readonly {
      readonly accessor: string;
      readonly name: string;
      readonly id?: string;
      readonly metadata?: Readonly<Record<string, string>>;
      readonly custom_metadata?: Readonly<Record<string, string>>;
    }[];
  };
  readonly groups: readonly {
    readonly id: string;
    readonly name: string;
    readonly metadata?: Readonly<Record<string, string>>;
  }[];
}

type Selector = (bindings: Bindings) => string | undefined;

/** Text with holes: pieces[0] hole[0] pieces[1] hole[1] … pieces[n]. */
export interface Template {
  readonly pieces: readonly string[];
  readonly holes: readonly Selector[];
}

const member = (map: Readonly<Record<string, string>> | undefined, key: string): string | undefined =>
  map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;

const nothing: Selector = () => undefined;

function aliasSelector(accessor: string, what: string): Selector | null {
  const find = (bindings: Bindings): Bindings["entity"]["aliases"][number] | undefined =>
    bindings.entity.aliases.find((alias) => alias.accessor === accessor);
  if (what === "id") return (bindings) => find(bindings)?.id;
  if (what === "name") return (bindings) => find(bindings)?.name;
  if (what.startsWith("metadata.")) return (bindings) => member(find(bindings)?.metadata, what.slice(9));
  if (what.startsWith("custom_metadata.")) {
    return (bindings) => member(find(bindings)?.custom_metadata, what.slice(16));
  }
  return null;
}

function groupSelector(by: "id" | "name", value: string, what: string): Selector | null {
  const find = (bindings: Bindings): Bindings["groups"][number] | undefined =>
    bindings.groups.find((group) => group[by] === value);
  if (what === "id" || what === "name") return (bindings) => find(bindings)?.[what];
  if (what.startsWith("metadata.")) return (bindings) => member(find(bindings)?.metadata, what.slice(9));
  return null;
}

/** Null where Vault knows no such selector. */
function selector(text: string): Selector | null {
  if (text === "identity.entity.id") return (bindings) => bindings.entity.id;
  if (text === "identity.entity.name") return (bindings) => bindings.entity.name;
  const metadata = /^identity\.entity\.metadata\.(.+)$/su.exec(text);
  if (metadata?.[1] !== undefined) {
    const key = metadata[1];
    return (bindings) => member(bindings.entity.metadata, key);
  }
  const alias = /^identity\.entity\.aliases\.([^.]+)\.(.+)$/su.exec(text);
  if (alias?.[1] !== undefined && alias[2] !== undefined) return aliasSelector(alias[1], alias[2]);
  const group = /^identity\.groups\.(ids|names)\.([^.]+)\.(.+)$/su.exec(text);
  if (group?.[2] === undefined || group[3] === undefined) return null;
  return groupSelector(group[1] === "ids" ? "id" : "name", group[2], group[3]);
}

interface Split {
  readonly pieces: readonly string[];
  readonly names: readonly string[];
}

/** Null where the braces do not pair up. */
function split(path: string): Split | null {
  const [head = "", ...rest] = path.split("{{");
  if (head.includes("}}")) return null;
  const pieces = [head];
  const names: string[] = [];
  for (const part of rest) {
    const [name, piece, more] = part.split("}}");
    if (name === undefined || piece === undefined || more !== undefined) return null;
    names.push(name.trim());
    pieces.push(piece);
  }
  return { pieces, names };
}

export const isTemplate = (path: string): boolean => path.includes("{{");

/** With `strict`, selectors that can never have a value are faults too; else such a rule just never applies, as in Vault. */
export function templateFault(path: string, strict: boolean): string | null {
  const parts = split(path);
  if (parts === null) return "`{{` and `}}` do not pair up";
  const unknown = strict ? parts.names.find((name) => selector(name) === null) : undefined;
  if (unknown === undefined) return null;
  return `no such template: {{${unknown}}}; templates start with identity.entity. or identity.groups.`;
}

/** Call `templateFault` first. */
export function parseTemplate(path: string): Template {
  const { pieces, names } = split(path) ?? { pieces: [], names: [] };
  return { pieces, holes: names.map((name) => selector(name) ?? nothing) };
}

/** A value that holds one of these could match more than the one name it stands for. */
const unsafe = /[/*+\p{Cc}]/u;

/** The path, or null where a hole has no value or an unsafe one. */
export function bind(template: Template, bindings: Bindings): string | null {
  let path = template.pieces[0] ?? "";
  for (const [at, hole] of template.holes.entries()) {
    const value = hole(bindings);
    if (value === undefined || value === "" || unsafe.test(value)) return null;
    path += value + (template.pieces[at + 1] ?? "");
  }
  return path;
}

/** The path with each hole as the given text: what it could become, for questions asked before anybody is known. */
export const fill = (path: string, text: string): string => split(path)?.pieces.join(text) ?? path;
