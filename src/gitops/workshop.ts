// The heavy half of the reconciler: git, YAML and the compiler, without state that matters. Runs in a worker thread
// (worker.ts) so that the serving thread only receives finished declarations, and in the same thread in tests.
// Must hold: a file is read and sent on only when it changed; what has a problem yields no declarations at all.

import { posix } from "node:path";
import type { Work } from "../lib/slices.ts";
import type { Problem } from "../sdk/errors.ts";
import { type Commit, type CommitSet, type Declaration, declarationKey, type Kind } from "../sdk/kind.ts";
import { mayRefer, type Settings } from "./settings.ts";
import type { Found, Source } from "./source.ts";

export interface DocumentFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly blob?: string;
}

export interface CompileOptions {
  readonly allow: readonly string[];
  readonly directory: string;
}

export interface Compilation {
  readonly declarations: readonly Declaration[];
  readonly externals: CommitSet["externals"];
  readonly problems: readonly Problem[];
}

export type Compile = (
  files: readonly DocumentFile[],
  kinds: readonly Kind[],
  options: CompileOptions,
) => Compilation | Promise<Compilation>;

/** A compiled commit as what differs from the one sent before it. */
export interface Parcel {
  /** Names this set; the receiver gives it back as `have`. */
  readonly serial: number;
  /** The set that `changed` and `removed` build on; null where `changed` is everything. */
  readonly base: number | null;
  readonly changed: readonly Declaration[];
  /** Declaration keys. */
  readonly removed: readonly string[];
  readonly externals: CommitSet["externals"];
  readonly problems: readonly Problem[];
}

/** What the reconciler asks for. All throw SourceError. */
export interface Workshop {
  /** The head of the branch, fetched. */
  fetch(): Promise<Commit>;
  /** Ends the fetch that is under way, if one is: it rejects. */
  hurry(): Promise<void>;
  descends(commit: Commit, ancestor: string): Promise<boolean>;
  /** These four ask what was fetched already, and never the remote. */
  find(name: string): Promise<Found>;
  last(): Promise<Commit | null>;
  ahead(commit: string, base: string): Promise<number>;
  keep(ids: readonly string[]): Promise<void>;
  /** `have` is the serial of the last set received, null for none. */
  compile(commit: Commit, have: number | null): Promise<Parcel>;
  close(): Promise<void>;
}

const keyOf = (declaration: Declaration): string =>
  declarationKey(declaration.kind, declaration.mount, declaration.name);

export function createWorkshop(
  source: Source,
  compile: Compile,
  kinds: readonly Kind[],
  settings: Pick<Settings, "allow" | "directory" | "secrets">,
): Workshop {
  /** Content of the files of the last commit, by object name. */
  let contents = new Map<string, Buffer>();
  let sent = new Map<string, Declaration>();
  let serial = 0;

  const read = async (commit: Commit): Promise<{ files: DocumentFile[]; problems: readonly Problem[] }> => {
    const listing = await source.list(commit);
    if (listing.problems.length > 0) return { files: [], problems: listing.problems };
    const wanted = new Map(
      listing.files.filter((entry) => !contents.has(entry.blob)).map((entry) => [entry.blob, entry]),
    );
    const bytes = await source.read([...wanted.values()]);
    const fresh = new Map([...wanted.keys()].map((blob, at) => [blob, bytes[at] ?? Buffer.alloc(0)]));
    const next = new Map<string, Buffer>();
    const files = listing.files.map(({ path, blob }): DocumentFile => {
      const content = fresh.get(blob) ?? contents.get(blob) ?? Buffer.alloc(0);
      next.set(blob, content);
      return { path, bytes: content, blob };
    });
    contents = next;
    return { files, problems: [] };
  };

  const parcel = (compilation: Compilation, have: number | null): Parcel => {
    const { externals, problems } = compilation;
    if (problems.length > 0) return { serial, base: null, changed: [], removed: [], externals: [], problems };
    const base = have === serial && serial > 0 ? serial : null;
    const before = base === null ? new Map<string, Declaration>() : sent;
    const after = new Map(compilation.declarations.map((declaration) => [keyOf(declaration), declaration]));
    const changed = [...after.entries()].filter(([key, declaration]) => !same(before.get(key), declaration));
    const removed = [...before.keys()].filter((key) => !after.has(key));
    sent = after;
    serial += 1;
    return { serial, base, changed: changed.map(([, declaration]) => declaration), removed, externals, problems };
  };

  return {
    fetch: () => source.fetch(),
    hurry: async () => source.hurry(),
    descends: (commit, ancestor) => source.descends(commit, ancestor),
    find: (name) => source.find(name),
    last: () => source.last(),
    ahead: (commit, base) => source.ahead(commit, base),
    keep: (ids) => source.keep(ids),
    compile: async (commit, have) => {
      const { files, problems } = await read(commit);
      if (problems.length > 0) return parcel({ declarations: [], externals: [], problems }, have);
      const { allow, directory } = settings;
      const compilation = await compile(files, kinds, { allow, directory });
      const beyond = boundaries(compilation.declarations, settings);
      return parcel({ ...compilation, problems: [...compilation.problems, ...beyond] }, have);
    },
    close: () => {
      source.close();
      return Promise.resolve();
    },
  };
}

/** The compiler keeps objects of files that did not change, so identity answers nearly always. */
const same = (before: Declaration | undefined, after: Declaration): boolean =>
  before === after || (before !== undefined && JSON.stringify(before) === JSON.stringify(after));

/** Secrets that a document refers to without server config opening them to its folder. */
function boundaries(declarations: readonly Declaration[], settings: Pick<Settings, "secrets">): Problem[] {
  const problems: Problem[] = [];
  for (const { source, secrets } of declarations) {
    if (source === null) continue;
    for (const [name, { path }] of Object.entries(secrets)) {
      if (mayRefer(settings.secrets, source.file, path)) continue;
      const folder = posix.dirname(source.file);
      problems.push({
        ...source,
        message: `${name}: from_secret may not read "${path}" from ${folder === "." ? "the top folder" : `${folder}/`}; the server config opens paths under gitops.secrets`,
      });
    }
  }
  return problems;
}

/** Builds the set that a parcel means on the one received before. Throws where they do not fit. */
export class Shelf {
  #serial: number | null = null;
  #declarations = new Map<string, Declaration>();

  get serial(): number | null {
    return this.#serial;
  }

  /** The whole set, in the order of keys that came first. Unchanged declarations stay the same objects. */
  *put(parcel: Parcel): Work<readonly Declaration[]> {
    if (parcel.base !== null && parcel.base !== this.#serial) throw new Error("a parcel was lost");
    const next = parcel.base === null ? new Map<string, Declaration>() : this.#declarations;
    // What is left half done is not built on: the next set comes whole.
    this.#serial = null;
    for (const key of parcel.removed) next.delete(key);
    for (const declaration of parcel.changed) {
      next.set(keyOf(declaration), frozen(declaration));
      yield;
    }
    this.#declarations = next;
    this.#serial = parcel.serial;
    return [...next.values()];
  }
}

/** A copy that crossed a thread is no longer frozen. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const member of Object.values(value)) frozen(member);
  return Object.freeze(value);
}
