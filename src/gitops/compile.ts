// Files → declarations, offline: each file by itself (document.ts, cached by path and blob), then all of them together:
// who is declared twice, who refers to whom, who asks for more than Git may give.
// Must hold: pure, so that `check` on a laptop says what the server says; all problems of all files come out together,
// in the order of files and places; where there are problems, the declarations are for looking at, never to be applied.

import { compareUtf8 } from "../lib/bytes.ts";
import { globMatches } from "../lib/glob.ts";
import { nearest } from "../lib/nearest.ts";
import type { Problem } from "../sdk/errors.ts";
import {
  declarationKey,
  type CommitSet,
  type Declaration,
  type Documents,
  type Fault,
  type Kind,
} from "../sdk/kind.ts";
import { type CompiledFile, compileFile, type Entry, OpenFile, type Unit } from "./document.ts";
import { nameText } from "./faults.ts";
import { mountKindOf, type MountPoint, trimPath } from "./kinds.ts";
import type { ParseLimits } from "./parse.ts";
import { configPath, readRepositoryConfig } from "./repository.ts";
import type { Reference } from "./spec.ts";
import { below, type Catalog, catalogOf } from "./validate.ts";

export interface DocumentFile {
  /** From the top of the repository, with slashes. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** The object name in Git; what has one is read once. */
  readonly blob?: string;
}

export interface CompileOptions {
  /** What Git may do beyond its ceiling. */
  readonly allow?: readonly string[];
  /** The folder that holds the documents, without slashes at its ends; "" for all. */
  readonly directory?: string;
  readonly limits?: Partial<ParseLimits>;
}

export interface Compilation {
  /** In the order of files and places. */
  readonly declarations: readonly Declaration[];
  /** Those that are checked here and never sent to a vault. */
  readonly offline: readonly Declaration[];
  /** The place of something below the spec of one of them. */
  readonly problemAt: (declaration: Declaration, fault: Fault) => Problem;
  readonly externals: CommitSet["externals"];
  /** Any of them refuses the whole. */
  readonly problems: readonly Problem[];
}

/** The server bounds the bytes of a file by its config; these bound what no config may lift. */
export const defaultLimits: ParseLimits = { fileBytes: 16 * 1024 * 1024, depth: 64, tokens: 500_000 };
const maxProblems = 1_000;

/** Files compiled in this run and the one before: a bound that follows the repository. */
class Cache {
  readonly catalog: Catalog;
  #before = new Map<string, CompiledFile>();
  #now = new Map<string, CompiledFile>();

  constructor(kinds: readonly Kind[]) {
    this.catalog = catalogOf(kinds);
  }

  turn(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }

  file({ path, bytes, blob }: DocumentFile, limits: ParseLimits): CompiledFile {
    if (blob === undefined) return compileFile(path, bytes, this.catalog, limits);
    const key = `${blob}\n${limits.fileBytes}\n${limits.depth}\n${limits.tokens}\n${path}`;
    const compiled = this.#now.get(key) ?? this.#before.get(key) ?? compileFile(path, bytes, this.catalog, limits);
    this.#now.set(key, compiled);
    return compiled;
  }
}

/** One cache for each list of kinds: another list means other documents. */
const caches = new WeakMap<readonly Kind[], Cache>();

function cacheOf(kinds: readonly Kind[]): Cache {
  let cache = caches.get(kinds);
  if (cache === undefined) {
    cache = new Cache(kinds);
    caches.set(kinds, cache);
  }
  return cache;
}

interface Placed {
  readonly file: DocumentFile;
  readonly unit: Unit;
  readonly entry: Entry;
}

const at = ({ source }: Entry): string => `${source.file}:${source.line}`;

/** All documents of a commit, held against each other. */
class Link {
  readonly problems: Problem[] = [];
  readonly #catalog: Catalog;
  readonly #limits: ParseLimits;
  readonly #objects = new Map<string, Placed>();
  readonly #mounts = new Map<string, Placed & { readonly point: MountPoint }>();
  readonly #unread: readonly string[];
  /** Files opened again to find a place; problems are rare. */
  readonly #open = new Map<string, OpenFile>();
  readonly #names = new Map<string, readonly string[]>();
  #hints = 0;

  constructor(catalog: Catalog, limits: ParseLimits, unread: readonly string[]) {
    this.#catalog = catalog;
    this.#limits = limits;
    this.#unread = unread;
  }

  report({ path, bytes }: DocumentFile, unit: Unit, fault: { path: Reference["path"]; message: string }): void {
    if (this.problems.length > maxProblems) return;
    this.problems.push(this.#problem({ path, bytes }, unit, fault));
  }

  #problem({ path, bytes }: DocumentFile, unit: Unit, fault: { path: Reference["path"]; message: string }): Problem {
    let open = this.#open.get(path);
    if (open === undefined) {
      open = new OpenFile(path, bytes, this.#catalog, this.#limits);
      this.#open.set(path, open);
    }
    return open.fault(unit.at, fault);
  }

  /** A fault below the spec of a document, in its place. */
  problemAt(declaration: Declaration, fault: Fault): Problem {
    const { kind, mount, name } = declaration;
    const placed = this.#objects.get(declarationKey(kind, mount, name));
    const prepared = this.#catalog.kinds.get(kind);
    if (placed === undefined || prepared === undefined) throw new Error("no document of this compilation");
    const [inDocument = fault] = below([fault], prepared.kind);
    return this.#problem(placed.file, placed.unit, inDocument);
  }

  /** What only shows when all documents are seen together. */
  prove(declarations: readonly Declaration[]): void {
    const documents: Documents = {
      declarations,
      get: (kind, mount, name) => this.#objects.get(declarationKey(kind, mount, name))?.entry.declaration ?? null,
    };
    for (const declaration of declarations) {
      const faults = this.#catalog.kinds.get(declaration.kind)?.kind.prove?.(declaration, documents) ?? [];
      for (const fault of faults) {
        if (this.problems.length <= maxProblems) this.problems.push(this.problemAt(declaration, fault));
      }
    }
  }

  add(placed: Placed): void {
    const { file, unit, entry } = placed;
    const first = this.#objects.get(entry.key);
    if (first !== undefined) {
      const where = entry.mount === null ? "" : ` on ${nameText(entry.mount)}`;
      const message = `${entry.kind} ${nameText(entry.name)}${where} is declared twice: at ${at(first.entry)} and here; remove one`;
      this.report(file, unit, { path: ["metadata", "name"], message });
      return;
    }
    this.#objects.set(entry.key, placed);
    const point = entry.mounts;
    if (point === null) return;
    const key = `${point.class}\n${point.path}`;
    const other = this.#mounts.get(key);
    if (other === undefined) this.#mounts.set(key, { ...placed, point });
    else this.#clash(placed, point, other);
  }

  #clash({ file, unit, entry }: Placed, { path }: MountPoint, other: Placed & { readonly point: MountPoint }): void {
    const message = `${entry.kind} ${nameText(entry.name)} is mounted at ${nameText(path)}, where ${at(other.entry)} mounts ${nameText(other.point.path)}; choose another path`;
    const given = entry.declaration?.spec["path"] === undefined ? ["metadata", "name"] : ["spec", "path"];
    this.report(file, unit, { path: given, message });
  }

  /** A mount below another would hide part of it. */
  nesting(): void {
    for (const placed of this.#mounts.values()) {
      const { class: mountClass, path } = placed.point;
      for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
        const outer = this.#mounts.get(`${mountClass}\n${path.slice(0, end)}`);
        if (outer !== undefined) this.#clash(placed, placed.point, outer);
      }
    }
  }

  /** Follows what a document refers to. */
  follow({ file, unit }: { readonly file: DocumentFile; readonly unit: Unit }): void {
    for (const reference of unit.references) {
      const message =
        "mount" in reference.to
          ? this.#mountFault(reference.name, reference.to.mount)
          : this.#objectFault(reference.name, reference.to.kind, unit.entry?.mount ?? null);
      if (message !== null) this.report(file, unit, { path: reference.path, message });
    }
  }

  /** A name that cannot be found may be in what cannot be read: that is to be mended first. */
  #perhaps(name: string): boolean {
    const text = name.toLowerCase();
    return this.#unread.some((each) => each.includes(text));
  }

  #objectFault(given: string, kindName: string, mount: string | null): string | null {
    const kind = this.#catalog.kinds.get(kindName)?.kind;
    const name = kind?.normalize?.(given) ?? given;
    if (kind?.builtin?.includes(name) === true) return null;
    // An object on a mount refers to others of its kind on the same one.
    const on = kind === undefined || kind.mount === null ? null : mount;
    if (this.#objects.has(declarationKey(kindName, on, name))) return null;
    if (this.#perhaps(given)) return null;
    const hint = this.#hint(name, kindName, () =>
      [...this.#objects.values()].filter(({ entry }) => entry.kind === kindName).map(({ entry }) => entry.name),
    );
    return `no ${kindName} is called ${nameText(given)}${hint}; declare it, or say with external: true that it is there`;
  }

  #mountFault(given: string, wanted: string): string | null {
    const path = trimPath(given);
    const mountClass = this.#classOf(wanted);
    const found = this.#mounts.get(`${mountClass}\n${path}`);
    const kindName = mountKindOf(mountClass);
    if (found === undefined) {
      if (this.#perhaps(path)) return null;
      const hint = this.#hint(path, `mount ${mountClass}`, () =>
        [...this.#mounts.values()].filter(({ point }) => point.class === mountClass).map(({ point }) => point.path),
      );
      return `no ${kindName} is mounted at ${nameText(given)}${hint}; declare it, or say with external: true that it is there`;
    }
    const { type } = found.point;
    if (type === null || wanted === "auth" || wanted === "secret" || type === wanted) return null;
    return `the ${kindName} at ${nameText(given)} is of type ${nameText(type)} (${at(found.entry)}); this needs one of type ${wanted}`;
  }

  /** The class of a plugin type, as the kinds that live on it say. */
  #classOf(wanted: string): MountPoint["class"] {
    if (wanted === "auth" || wanted === "secret") return wanted;
    for (const { kind } of this.#catalog.kinds.values()) if (kind.mount?.type === wanted) return kind.mount.class;
    throw new Error(`a field refers to mounts of type ${wanted}, which no kind lives on`);
  }

  /** The first faults get a guess; a guess looks at every name. */
  #hint(name: string, list: string, names: () => readonly string[]): string {
    if (++this.#hints > 20) return "";
    const known = this.#names.get(list) ?? names();
    this.#names.set(list, known);
    const near = nearest(name, known);
    return near === null ? "" : ` (did you mean ${nameText(near)}?)`;
  }

  ceilings({ file, unit }: { readonly file: DocumentFile; readonly unit: Unit }, allow: ReadonlySet<string>): void {
    for (const { path, message, allow: name } of unit.beyond) {
      if (allow.has(name)) continue;
      this.report(file, unit, { path, message: `${message} (gitops.allow: [${name}])` });
    }
  }
}

const isDocument = (path: string): boolean => /\.ya?ml$/iu.test(path);

/** The files that are documents, in order, and what is wrong with the list itself. */
function select(files: readonly DocumentFile[], directory: string, limits: ParseLimits) {
  const prefix = directory === "" ? "" : `${directory}/`;
  const inside = files.filter(({ path }) => path.startsWith(prefix) && isDocument(path));
  const config = inside.find(({ path }) => path === prefix + configPath);
  const { exclude, problems } = readRepositoryConfig(config ?? null, limits);
  const documents = inside.filter(
    (file) => file !== config && !exclude.some((pattern) => globMatches(pattern, file.path.slice(prefix.length))),
  );
  return { documents: documents.toSorted((a, b) => compareUtf8(a.path, b.path)), problems };
}

/** By file, line and column; each once; at most a thousand. */
function ordered(problems: readonly Problem[]): readonly Problem[] {
  const sorted = problems.toSorted(
    (a, b) =>
      compareUtf8(a.file, b.file) || a.line - b.line || a.column - b.column || compareUtf8(a.message, b.message),
  );
  const unique = sorted.filter((problem, index) => {
    const before = sorted[index - 1];
    return !(
      before?.file === problem.file &&
      before.line === problem.line &&
      before.column === problem.column &&
      before.message === problem.message
    );
  });
  const last = unique[maxProblems];
  if (last === undefined) return unique;
  const { file, line, column } = last;
  const more = unique.length - maxProblems;
  return [...unique.slice(0, maxProblems), { file, line, column, message: `and ${more} more problems from here on` }];
}

/** Compiles a commit's files. Never throws on any content; throws where the kinds themselves are wrong. */
export function compile(
  files: readonly DocumentFile[],
  kinds: readonly Kind[],
  options: CompileOptions = {},
): Compilation {
  const cache = cacheOf(kinds);
  cache.turn();
  const limits = { ...defaultLimits, ...options.limits };
  const { documents, problems: own } = select(files, options.directory ?? "", limits);
  const compiled = documents.map((file) => ({ file, result: cache.file(file, limits) }));
  const link = new Link(
    cache.catalog,
    limits,
    compiled.flatMap(({ result }) => result.unread),
  );
  const units = compiled.flatMap(({ file, result }) => result.units.map((unit) => ({ file, unit })));
  for (const { file, unit } of units) if (unit.entry !== null) link.add({ file, unit, entry: unit.entry });
  link.nesting();
  const allow = new Set(options.allow ?? []);
  for (const each of units) {
    if (each.unit.references.length > 0) link.follow(each);
    if (each.unit.beyond.length > 0) link.ceilings(each, allow);
  }
  const entries = units.flatMap(({ unit }) => (unit.entry === null ? [] : [unit.entry]));
  const all = entries.flatMap(({ declaration }) => (declaration === null ? [] : [declaration]));
  const problems = [...own, ...compiled.flatMap(({ result }) => result.problems)];
  if (problems.length + link.problems.length === 0) link.prove(all);
  const isOffline = ({ kind }: Declaration): boolean => cache.catalog.kinds.get(kind)?.kind.offline === true;
  return {
    declarations: all.filter((declaration) => !isOffline(declaration)),
    offline: all.filter(isOffline),
    problemAt: (declaration, fault) => link.problemAt(declaration, fault),
    externals: entries.filter(({ external }) => external).map(({ key, source }) => ({ key, source })),
    problems: ordered([...problems, ...link.problems]),
  };
}
