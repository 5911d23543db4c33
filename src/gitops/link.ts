// All documents of a commit, held against each other: what is declared twice, who refers to whom, who asks for more than Git
// may give, and what a kind has to say that sees them all.
// Must hold: a place is found by opening the file again, so that what has no problem costs nothing.

import { nearest } from "../lib/nearest.ts";
import type { Problem } from "../sdk/errors.ts";
import { declarationKey, type Declaration, type Documents, type Fault } from "../sdk/kind.ts";
import { type Entry, OpenFile, type Unit } from "./document.ts";
import { nameText } from "./faults.ts";
import { mountKindOf, type MountPoint, trimPath } from "./kinds.ts";
import type { ParseLimits } from "./parse.ts";
import type { Reference } from "./spec.ts";
import { below, type Catalog } from "./validate.ts";

export interface DocumentFile {
  /** From the top of the repository, with slashes. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** The object name in Git; what has one is read once. */
  readonly blob?: string;
}

export const maxProblems = 1_000;

interface Placed {
  readonly file: DocumentFile;
  readonly unit: Unit;
  readonly entry: Entry;
}

const at = ({ source }: Entry): string => `${source.file}:${source.line}`;

/** All documents of a commit. */
export class Link {
  readonly problems: Problem[] = [];
  readonly #catalog: Catalog;
  readonly #limits: ParseLimits;
  readonly #objects = new Map<string, Placed>();
  /** By the name that their kind takes for the same. */
  readonly #folded = new Map<string, Placed>();
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
    this.#fold(placed);
    const point = entry.mounts;
    if (point === null) return;
    const key = `${point.class}\n${point.path}`;
    const other = this.#mounts.get(key);
    if (other === undefined) this.#mounts.set(key, { ...placed, point });
    else this.#clash(placed, point, other);
  }

  #fold(placed: Placed): void {
    const { file, unit, entry } = placed;
    const fold = this.#catalog.kinds.get(entry.kind)?.kind.fold;
    if (fold === undefined) return;
    const key = declarationKey(entry.kind, entry.mount, fold(entry.name));
    const first = this.#folded.get(key);
    if (first === undefined) this.#folded.set(key, placed);
    else {
      const message = `${entry.kind} ${nameText(entry.name)} and ${nameText(first.entry.name)}, at ${at(first.entry)}, are one name: only case tells them apart; choose another`;
      this.report(file, unit, { path: ["metadata", "name"], message });
    }
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
