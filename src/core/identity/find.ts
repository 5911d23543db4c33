// Finding entities: those that are declared, and those that logins made.

import type { CoreCall } from "../call.ts";
import type { Generation } from "../generation.ts";
import {
  type Alias,
  aliasKey,
  type Bound,
  type Entity,
  type Login,
  ownerOfAlias,
  type Person,
  personOf,
} from "./entity.ts";

export interface Found {
  readonly person: Person;
  readonly entity: Entity;
}

const declared = ({ identity }: Generation, person: Person): Found => ({ person, entity: identity.entity(person) });

function undeclared({ identity }: Generation, login: Login): Found {
  const entity = identity.ofLogin(login);
  return { person: personOf(login, entity.aliases), entity };
}

/** The login's entity of that id, as long as nobody has declared it or merged it into another. */
export async function loginOf({ core, generation }: CoreCall, id: string): Promise<Login | null> {
  return generation.identity.knows(id) ? null : core.logins.get(id);
}

export async function loginNamed({ core, generation }: CoreCall, name: string): Promise<Login | null> {
  const { identity } = generation;
  const login = identity.personNamed(name) === null ? await core.logins.named(name) : null;
  return login === null || identity.knows(login.id) ? null : login;
}

/** The login's entity that has the alias now. */
export async function loginAt({ core, generation }: CoreCall, alias: Alias): Promise<Login | null> {
  const { identity } = generation;
  if (identity.personAt(alias) !== null) return null;
  return core.logins.get((await core.logins.of(alias, identity)).id);
}

export async function entityOf(call: CoreCall, id: string): Promise<Found | null> {
  const { generation } = call;
  const person = generation.identity.person(id);
  if (person !== null) return declared(generation, person);
  const login = await loginOf(call, id);
  return login === null ? null : undeclared(generation, login);
}

export async function entityNamed(call: CoreCall, name: string): Promise<Found | null> {
  const { generation } = call;
  const person = generation.identity.personNamed(name);
  if (person !== null) return declared(generation, person);
  const login = await loginNamed(call, name);
  return login === null ? null : undeclared(generation, login);
}

export async function entityAtAlias(call: CoreCall, alias: Alias): Promise<Found | null> {
  const { generation } = call;
  const person = generation.identity.personAt(alias);
  if (person !== null) return declared(generation, person);
  const login = await loginAt(call, alias);
  return login === null ? null : undeclared(generation, login);
}

/** The alias of that id, and whose it is. */
export async function aliasOf(
  call: CoreCall,
  id: string,
): Promise<{ readonly found: Found; readonly alias: Bound } | null> {
  const { generation } = call;
  const owned = generation.identity.personOfAlias(id);
  if (owned !== null) return { found: declared(generation, owned.person), alias: owned.alias };
  const owner = ownerOfAlias(id);
  const login = owner === null ? null : await loginOf(call, owner);
  if (login === null) return null;
  const found = undeclared(generation, login);
  const alias = found.entity.aliases.find((one) => one.id === id);
  return alias === undefined ? null : { found, alias };
}

/** Reads of storage that wait together. */
const atOnce = 200;

export async function everybody(call: CoreCall): Promise<readonly Found[]> {
  const { core, generation } = call;
  const { identity } = generation;
  const everyone = [...identity.people].map((person) => declared(generation, person));
  const ids = (await core.logins.list()).filter((id) => !identity.knows(id));
  for (let at = 0; at < ids.length; at += atOnce) {
    const some = await Promise.all(ids.slice(at, at + atOnce).map((id) => entityOf(call, id)));
    everyone.push(...some.flatMap((one) => one ?? []));
  }
  return everyone;
}

export const sameAlias = (one: Alias, other: Alias): boolean => aliasKey(one) === aliasKey(other);
