// Files → declarations, offline: each file by itself (document.ts, cached by path and blob), then all of them together
// (link.ts).
// Must hold: pure, so that `check` on a laptop says what the server says; all problems of all files come out together,
// in the order of files and places; where there are problems, the declarations are for looking at, never to be applied.

import { compareUtf8 } from "../lib/bytes.ts";
import { globMatches } from "../lib/glob.ts";
import type { Problem } from "../sdk/errors.ts";
import type { CommitSet, Declaration, Fault, Kind } from "../sdk/kind.ts";
import { type CompiledFile, compileFile } from "./document.ts";
import { type DocumentFile, Link, maxProblems } from "./link.ts";
import type { ParseLimits } from "./parse.ts";
import { configPath, readRepositoryConfig } from "./repository.ts";
import { type Catalog, catalogOf } from "./validate.ts";

export type { DocumentFile } from "./link.ts";

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
