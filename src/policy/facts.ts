// What conditions may ask about a request: the declared facts, each with its type. Nothing else can be named.
// Must hold: a fact is read when a condition first asks for it and at most once a request, so that what the audit says was
// read is what decided; maps are asked for their own members only; a fact that is not known is missing, never empty.

import { isIP } from "node:net";
import { foldAddress } from "../lib/address.ts";
import { instantOf } from "../lib/clock.ts";
import type { Operation } from "../sdk/request.ts";
import type { Json } from "../sdk/view.ts";
import { weekdays, type Zone } from "./zone.ts";

export type Value = string | number | boolean | readonly string[];

/** What a value is, and which literals may stand beside it. */
export interface Type {
  readonly base: "flag" | "number" | "text" | "texts" | "numbers";
  /** As it is called in messages. */
  readonly name: string;
  /** Has a before and an after. */
  readonly ordered?: true;
  /** The only texts there are. */
  readonly values?: readonly string[];
  /** Whether it can be such a text. */
  readonly fits?: (text: string) => boolean;
  /** Has more than one spelling: only ranges tell. */
  readonly byRange?: true;
}

export const flag: Type = { base: "flag", name: "true or false" };
export const number: Type = { base: "number", name: "a number", ordered: true };
export const text: Type = { base: "text", name: "text" };
export const texts: Type = { base: "texts", name: "a list of texts" };
export const numbers: Type = { base: "numbers", name: "a list of numbers" };
const date: Type = {
  base: "text",
  name: "a date such as 2026-12-24",
  ordered: true,
  fits: (given) => given.length === 10 && instantOf(`${given}T00:00:00Z`) !== null,
};
const clock: Type = {
  base: "text",
  name: "a time of day such as 08:30",
  ordered: true,
  fits: (given) => given.length === 5 && instantOf(`2000-01-01T${given}:00Z`) !== null,
};
const address: Type = { base: "text", name: "an address", fits: (given) => isIP(given) !== 0, byRange: true };
const oneOf = (name: string, values: readonly string[]): Type => ({ base: "text", name, values });

/** Who asks for what, from where and when, as the core knows it. Members are asked one by one, and only when needed. */
export interface Asking {
  readonly path: string;
  readonly operation: Operation;
  /** "" where it is not known, as on a unix socket. */
  readonly remoteAddress: string;
  /** Milliseconds since 1970; null where a policy test gives none. */
  readonly time: number | null;
  readonly entity: {
    /** Undefined where a policy test cannot know it, as elsewhere here. */
    readonly id: string | undefined;
    readonly name: string;
    readonly metadata: Readonly<Record<string, string>>;
  } | null;
  /** Names of the entity's groups; null where there is no entity. */
  readonly groups: readonly string[] | null;
  /** The login that the token, or the token that it is a child of, was made by. */
  readonly login: {
    /** "userpass" for auth/userpass/. */
    readonly mount: string;
    readonly type: string | undefined;
    readonly accessor: string | undefined;
    readonly metadata: Readonly<Record<string, string>>;
  } | null;
  readonly token: {
    readonly type: string;
    readonly displayName: string | undefined;
    readonly policies: readonly string[];
    readonly orphan: boolean | undefined;
    /** Milliseconds since 1970. */
    readonly createdAt: number | undefined;
    /** Milliseconds since 1970, 0 for never. */
    readonly expiresAt: number;
  } | null;
}

type Read = (asking: Asking, zone: Zone, member: string) => Value | undefined;

/** One fact as a condition names it, bound to the zone of its policy. */
export interface Fact {
  /** As the audit names it. */
  readonly key: string;
  readonly type: Type;
  read(asking: Asking): Value | undefined;
}

export interface Declared {
  /** Where it ends in `*`, the rest is the name of a member. */
  readonly name: string;
  readonly type: Type;
  readonly description: string;
  /** Depends on the policy's time zone. */
  readonly zoned?: true;
  readonly read: Read;
}

const member = (map: Readonly<Record<string, string>> | undefined, name: string): string | undefined =>
  map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined;

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);

const operations: readonly Operation[] = ["create", "delete", "list", "patch", "read", "scan", "update"];

/** The schema of conditions, in the order of the documentation. */
export const declared: readonly Declared[] = [
  { name: "identity.entity.id", type: text, description: "Id of the entity", read: ({ entity }) => entity?.id },
  { name: "identity.entity.name", type: text, description: "Its name", read: ({ entity }) => entity?.name },
  {
    name: "identity.entity.metadata.*",
    type: text,
    description: "A member of its metadata",
    read: ({ entity }, _zone, name) => member(entity?.metadata, name),
  },
  {
    name: "identity.groups",
    type: texts,
    description: "Names of its groups, groups of groups included",
    read: ({ groups }) => groups ?? undefined,
  },
  {
    name: "auth.mount",
    type: text,
    description: "Path of the auth method that the login went through, such as `userpass`",
    read: ({ login }) => login?.mount,
  },
  { name: "auth.type", type: text, description: "Its type", read: ({ login }) => login?.type },
  { name: "auth.accessor", type: text, description: "Its accessor", read: ({ login }) => login?.accessor },
  {
    name: "auth.metadata.*",
    type: text,
    description: "A member of what the login said of itself, such as `username`",
    read: ({ login }, _zone, name) => member(login?.metadata, name),
  },
  {
    name: "token.type",
    type: oneOf("a token type", ["batch", "service"]),
    description: "`service` or `batch`",
    read: ({ token }) => token?.type,
  },
  {
    name: "token.display_name",
    type: text,
    description: "The token's display name; whoever makes a child token chooses part of it",
    read: ({ token }) => token?.displayName,
  },
  {
    name: "token.policies",
    type: texts,
    description: "Names of all policies that act",
    read: ({ token }) => token?.policies,
  },
  {
    name: "token.orphan",
    type: flag,
    description: "Whether it has no parent, as the token of a login",
    read: ({ token }) => token?.orphan,
  },
  {
    name: "token.age",
    type: number,
    description: "Seconds since it was made",
    read: ({ token, time }) =>
      time === null || token?.createdAt === undefined ? undefined : seconds(time - token.createdAt),
  },
  {
    name: "token.ttl",
    type: number,
    description: "Seconds that it has left; missing where it never ends",
    read: ({ token, time }) =>
      time === null || token === null || token.expiresAt === 0 ? undefined : seconds(token.expiresAt - time),
  },
  { name: "request.path", type: text, description: "Path below /v1/", read: ({ path }) => path },
  {
    name: "request.operation",
    type: oneOf("an operation", operations),
    description: "What is asked for: the capability of that name is needed",
    read: ({ operation }) => operation,
  },
  {
    name: "request.remote_address",
    type: address,
    description: "The client's address; missing on a unix socket",
    read: ({ remoteAddress }) => foldAddress(remoteAddress) ?? undefined,
  },
  {
    name: "time.unix",
    type: number,
    description: "Seconds since 1970",
    read: ({ time }) => (time === null ? undefined : seconds(time)),
  },
  {
    name: "time.date",
    type: date,
    description: "`2026-12-24`, in the policy's time zone",
    zoned: true,
    read: ({ time }, zone) => (time === null ? undefined : zone.at(time).date),
  },
  {
    name: "time.clock",
    type: clock,
    description: "`08:30`, in the policy's time zone",
    zoned: true,
    read: ({ time }, zone) => (time === null ? undefined : zone.at(time).clock),
  },
  {
    name: "time.hour",
    type: number,
    description: "0 to 23, in the policy's time zone",
    zoned: true,
    read: ({ time }, zone) => (time === null ? undefined : zone.at(time).hour),
  },
  {
    name: "time.weekday",
    type: oneOf("a weekday", weekdays),
    description: "`mon` to `sun`, in the policy's time zone",
    zoned: true,
    read: ({ time }, zone) => (time === null ? undefined : zone.at(time).weekday),
  },
];

const exact = new Map(declared.filter(({ name }) => !name.endsWith("*")).map((one) => [one.name, one]));
const maps = declared.filter(({ name }) => name.endsWith("*"));

/** The row that a name belongs to; null where there is none. */
function declaredAs(name: string): Declared | null {
  const found = exact.get(name) ?? maps.find((one) => name.startsWith(one.name.slice(0, -1)));
  return found === undefined || name === found.name.slice(0, -1) ? null : found;
}

/** Null where no fact has that name. */
export function factOf(name: string, zone: Zone): Fact | null {
  const row = declaredAs(name);
  if (row === null) return null;
  const rest = row.name.endsWith("*") ? name.slice(row.name.length - 1) : "";
  const key = row.zoned === true && zone.name !== "UTC" ? `${name} (${zone.name})` : name;
  return { key, type: row.type, read: (asking) => row.read(asking, zone, rest) };
}

/** Members of a long list that the audit shows. */
const shownMembers = 64;

/** The facts of one request, read as conditions ask. */
export class Facts {
  readonly asking: Asking;
  readonly #seen = new Map<string, Value | null>();

  constructor(asking: Asking) {
    this.asking = asking;
  }

  /** Undefined where it is missing. */
  read(fact: Fact): Value | undefined {
    const known = this.#seen.get(fact.key);
    if (known !== undefined) return known ?? undefined;
    const value = this.find(fact);
    this.#seen.set(fact.key, value ?? null);
    return value;
  }

  protected find(fact: Fact): Value | undefined {
    return fact.read(this.asking);
  }

  /** What has been read, null for what was missing; null where nothing was. Of a long list, its beginning. */
  get seen(): Readonly<Record<string, Json>> | null {
    if (this.#seen.size === 0) return null;
    const shown = [...this.#seen].map(([key, value]): [string, Json] => {
      if (!Array.isArray(value) || value.length <= shownMembers) return [key, value];
      return [key, [...value.slice(0, shownMembers), `… ${value.length - shownMembers} more`]];
    });
    return Object.fromEntries(shown);
  }
}
