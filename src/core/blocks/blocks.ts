// The blocks of one generation, compiled: what they are about as things are called now.
// Must hold: a block only ever takes away; who is blocked stays so under another name, with another login, merged into
// another entity, or made anew with a login that he had; what was learned of him in one generation is kept by the next,
// before that can take it apart.

import { isDeepStrictEqual } from "node:util";
import { compileCidrs } from "../../lib/cidr.ts";
import type { Declaration } from "../../sdk/kind.ts";
import { addressIn } from "../../sdk/origin.ts";
import type { Connection } from "../../sdk/request.ts";
import type { Directory } from "../identity/directory.ts";
import { type Alias, aliasKey } from "../identity/entity.ts";
import type { MountTable } from "../mounts.ts";
import type { Table } from "../table.ts";
import { type About, blockKind, type BlockSpec, declarationOf, type Place, specOf } from "./block.ts";
import { accessorIn, ofEntity, ofLogin, ofMapping, type Origins } from "./origins.ts";

type Person = Extract<About, { type: "person" }>;

export class Block {
  readonly declaration: Declaration;
  readonly spec: BlockSpec;
  /** As it is known now: a person with all that he has become, a mount where it is now. */
  readonly about: About;
  /** Whether that is more than what is written. */
  readonly learned: boolean;
  readonly origins: ReadonlySet<string>;
  /** Of mounts that are blocked as a whole. */
  readonly accessors: ReadonlySet<string>;
  readonly #isWithin: ((address: string) => boolean) | null;

  constructor(declaration: Declaration, mounts: MountTable, identity: Directory) {
    this.declaration = declaration;
    this.spec = specOf(declaration);
    // Of one that was lifted it is asked who somebody was.
    const now = this.spec.lifted === undefined ? asNow(this.spec.about, mounts, identity) : this.spec.about;
    this.learned = !isDeepStrictEqual(now, this.spec.about);
    this.about = now;
    this.accessors = new Set(now.type === "mount" ? now.mounts.map(({ accessor }) => accessor) : []);
    this.origins = new Set(wordsOf(now));
    this.#isWithin = now.type === "address" && now.keeps !== true ? compileCidrs([now.range]) : null;
  }

  /** Whether it is about what was made then: all while it stands, and once it is lifted what was made before. */
  ends(at: number): boolean {
    return this.spec.lifted === undefined || at < this.spec.lifted.at;
  }

  /** Whether something of these origins is what it is about. */
  covers(origins: Origins): boolean {
    return origins.some(
      (origin) => this.origins.has(origin) || isIn(origin, this.accessors) || isFrom(origin, this.#isWithin),
    );
  }
}

function isFrom(origin: string, isWithin: ((address: string) => boolean) | null): boolean {
  const address = isWithin === null ? null : addressIn(origin);
  return address !== null && isWithin?.(address) === true;
}

function isIn(origin: string, accessors: ReadonlySet<string>): boolean {
  const accessor = accessors.size === 0 ? null : accessorIn(origin);
  return accessor !== null && accessors.has(accessor);
}

/** A mount moves with its accessor. Once that is gone, what is mounted at its path stands for it. */
function nowAt(
  accessor: string,
  path: string,
  mounts: MountTable,
): { readonly accessor: string; readonly path: string } {
  const same = mounts.byAccessor(accessor);
  if (same !== null) return { accessor, path: same.path };
  const other = mounts.at(path);
  return { accessor: other === null || other.plugin === null ? accessor : other.accessor, path };
}

/** The path of an auth mount as logins and mappings are named by it. */
export const short = (path: string): string => path.replace(/^auth\/|\/$/g, "");

/** Where a login or a mapping is now. */
function placeNow<T extends Place>(place: T, mounts: MountTable): T {
  const { accessor, path } = nowAt(place.accessor, `auth/${place.mount}/`, mounts);
  return { ...place, accessor, mount: short(path) };
}

function asNow(about: About, mounts: MountTable, identity: Directory): About {
  if (about.type === "person") return widened(about, mounts, identity);
  if (about.type === "mapping") {
    const places = about.places.flatMap((place) => [place, placeNow(place, mounts)]);
    return { ...about, places: [...new Map(places.map((place) => [aliasKey(place), place])).values()] };
  }
  if (about.type !== "mount") return about;
  const all = about.mounts.flatMap((one) => [one, nowAt(one.accessor, one.path, mounts)]);
  return { ...about, mounts: [...new Map(all.map((one) => [one.accessor, one])).values()] };
}

/** The person with every entity, and every login of those, that one of his entities or logins leads to. */
function widened(about: Person, mounts: MountTable, identity: Directory): Person {
  const ids = new Set(about.ids);
  const logins = new Map(about.logins.map((login) => [aliasKey(login), login]));
  for (let known = 0; known < ids.size + logins.size;) {
    known = ids.size + logins.size;
    for (const login of logins.values()) {
      const now = placeNow(login, mounts);
      logins.set(aliasKey(now), now);
      const person = identity.personAt(now);
      if (person !== null) ids.add(person.id);
    }
    for (const id of ids) {
      const person = identity.holderOf(id);
      if (person === null) continue;
      for (const other of [person.id, ...(person.spec.merged ?? [])]) ids.add(other);
      for (const login of placesOf(identity.aliasesOf(person), mounts)) logins.set(aliasKey(login), login);
    }
  }
  return { type: "person", ids: [...ids], logins: [...logins.values()] };
}

export const placesOf = (aliases: readonly Alias[], mounts: MountTable): readonly Place[] =>
  aliases.map(({ accessor, name }) => ({ accessor, name, mount: short(mounts.byAccessor(accessor)?.path ?? "") }));

function wordsOf(about: About): readonly string[] {
  if (about.type === "person") return [...about.ids.map(ofEntity), ...about.logins.map(ofLogin)];
  if (about.type !== "mapping") return [];
  return about.places.map(({ accessor, name }) => ofMapping({ accessor, kind: about.kind, name }));
}

const rangesOf = (all: readonly { readonly range: string }[]): ((address: string) => boolean) | null =>
  all.length === 0 ? null : compileCidrs(all.map(({ range }) => range));

export class Blocks {
  /** Those that stand. */
  readonly all: readonly Block[];
  /** Those that were lifted, as long as something from before may be about. */
  readonly former: readonly Block[];
  readonly #origins: ReadonlySet<string>;
  readonly #accessors: ReadonlySet<string>;
  readonly #isBarred: ((address: string) => boolean) | null;
  /** What was got there is refused everywhere. */
  readonly #isRevoked: ((address: string) => boolean) | null;
  /** By the connection's identity: one stands for many requests. */
  readonly #connections = new WeakMap<Connection, boolean>();

  private constructor(blocks: readonly Block[]) {
    const all = blocks.filter(({ spec }) => spec.lifted === undefined);
    this.all = all;
    this.former = blocks.filter(({ spec }) => spec.lifted !== undefined);
    this.#origins = new Set(all.flatMap(({ origins }) => [...origins]));
    this.#accessors = new Set(all.flatMap(({ accessors }) => [...accessors]));
    const addresses = all.flatMap(({ about }) => (about.type === "address" ? about : []));
    this.#isBarred = rangesOf(addresses);
    this.#isRevoked = rangesOf(addresses.filter(({ keeps }) => keeps !== true));
  }

  /** Null where nothing is blocked. */
  static of(table: Table, mounts: MountTable, identity: Directory): Blocks | null {
    const shelf = table.shelf(blockKind, null);
    if (shelf.size === 0) return null;
    return new Blocks([...shelf.values()].map((declaration) => new Block(declaration, mounts, identity)));
  }

  /** Whether what has these origins is good for nothing. */
  refuses(origins: Origins): boolean {
    return origins.some(
      (origin) => this.#origins.has(origin) || isIn(origin, this.#accessors) || isFrom(origin, this.#isRevoked),
    );
  }

  /** The same of what was made at a time. */
  refusesMade(at: number, origins: Origins): boolean {
    return this.refuses(origins) || this.former.some((block) => block.ends(at) && block.covers(origins));
  }

  refusesMount(accessor: string): boolean {
    return this.#accessors.has(accessor);
  }

  refusesAddress(connection: Connection): boolean {
    if (this.#isBarred === null) return false;
    let barred = this.#connections.get(connection);
    if (barred === undefined) {
      // Whoever has gone already has no address, and may have any.
      barred = connection.remoteAddress === "" ? !connection.local : this.#isBarred(connection.remoteAddress);
      this.#connections.set(connection, barred);
    }
    return barred;
  }

  /** By the id of its record. */
  byId(id: string): Block | null {
    return [...this.all, ...this.former].find(({ spec }) => spec.id === id) ?? null;
  }

  /** What this generation knows of people beyond what is written, for the next one to keep, of those that are in `table`. */
  learned(table: Table): readonly Declaration[] {
    return this.all.flatMap((block) => {
      const kept = table.get(blockKind, null, block.declaration.name);
      if (!block.learned || kept === null) return [];
      return declarationOf({ ...specOf(kept), about: block.about }, kept.name);
    });
  }
}
