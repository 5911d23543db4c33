// A mount (secret engine, auth method) is a table of routes over a view, and the resources it is configured with.
// Core serves the create/read/update/delete/list routes of resources, and overlays what Git declares on what the API
// wrote; a plugin only ever asks `call.resource("users").get(name)`.
// Must hold: a plugin imports lib and sdk only; it sees one mount's view and one generation for each call.

import type { KeyObject } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Exact } from "../lib/exact.ts";
import type { Logger } from "../lib/log.ts";
import type { Fields, Values } from "./fields.ts";
import type { Fault } from "./kind.ts";
import type { Connection, Operation, Request, Response } from "./request.ts";
import type { Json, View } from "./view.ts";

/** What a mount lives in. */
export interface MountContext {
  /** "secret/" or "auth/userpass/". */
  readonly path: string;
  /** "kv_1a2b3c4d". */
  readonly accessor: string;
  /** The mount's own storage. It survives a move of the mount. */
  readonly view: View;
  /** As declared on the mount, for example { version: "2" }. */
  readonly options: Readonly<Record<string, string>>;
  /** Seconds: what the mount's tuning says of things that nobody gives a time, or else the server. */
  readonly defaultLeaseTtl: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** An HMAC-SHA-256 key of this mount's own for one purpose, the same for the mount's life. Throws VaultError `sealed`. */
  mac(purpose: string): KeyObject;
}

/** Who asks, as far as a plugin needs to know. Null on routes without a token. */
export interface Caller {
  readonly displayName: string;
  readonly entityId: string;
  readonly policies: readonly string[];
  /** In whose name it asks, in words of the core: kept beside what lets somebody log in, for `endIssued` and for the grant
   *  of who logs in with it. */
  readonly origins: readonly string[];
}

export interface ResourceReader<T> {
  /** The declaration's spec in this request's generation, secret fields left out; frozen. */
  get(name: string): T | null;
  /** Number of the generation since which it is declared without a break; null where it is not. What was made for one that
   *  ended can tell by it that another has its name now. */
  since(name: string): number | null;
  list(): readonly string[];
}

/** What undoes a creation: plain data, kept encrypted. */
export type Undo = Readonly<Record<string, Json>>;

export interface LeaseTerms {
  /** Which of the mount's `leases` ends it. */
  readonly type: string;
  /** Seconds; the mount's default where 0. */
  readonly ttl: number;
  /** Seconds, renewals included; the mount's maximum where 0. */
  readonly max_ttl: number;
}

/** What a lease got, within every maximum and its token's life. */
export interface Granted {
  readonly id: string;
  /** Seconds. */
  readonly ttl: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Where a lease is ended or renewed. */
export interface LeaseCall {
  readonly id: string;
  /** As in a call, in the generation of now. Empty where the mount is not there any more: what a revocation needs then stands
   *  in the undo record or in the mount's view, which is dropped after the last lease. */
  resource<T = Readonly<Record<string, unknown>>>(name: string): ResourceReader<T>;
}

/** How one type of lease ends. */
export interface LeaseType {
  /** Ends what `create` made. It may run where `create` never did, or not to its end, and again after it succeeded. What it
   *  cannot end now it rejects: it is tried again. Errors hold no secret: operators read them. */
  revoke(undo: Undo, call: LeaseCall): Promise<void>;
  /** Makes it last as granted. Without it such leases are not renewable. */
  renew?(undo: Undo, granted: Granted, call: LeaseCall): Promise<void>;
}

/** One request at one route. */
export interface Call<F extends Fields = Fields> {
  readonly request: Request;
  readonly operation: Operation;
  readonly connection: Connection;
  /** What the route's pattern caught, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** The fields, parsed. */
  readonly data: Values<F>;
  readonly caller: Caller | null;
  resource<T = Readonly<Record<string, unknown>>>(name: string): ResourceReader<T>;
  /** Adds to the answer's warnings. */
  warn(text: string): void;
  /** Makes something that ends with a lease. `undo` is kept before `create` runs; from then on it is ended, sooner or later,
   *  whatever happens. Once a call, by handlers that mutate; the answer carries the lease. Gives what `create` gave. */
  lease<T>(terms: LeaseTerms, undo: Undo, create: (granted: Granted) => Promise<T>): Promise<T>;
  /** Checks what may be guessed at, such as a password, on a route without a token; `check` gives null where it is wrong. After
   *  some that were wrong in a row (the mount's tuning says how many) `name`, in its one spelling, is locked for a while, and
   *  no check of it runs: VaultError `denied`. Many at once wait for each other where that could be exceeded. */
  attempt<T>(name: string, check: () => Promise<T | null>): Promise<T | null>;
}

export interface Handler<F extends Fields = Fields> {
  readonly summary: string;
  readonly fields?: F;
  /** Fields beside the table are handed through in `call.request.data` without a warning (KV v1 stores any). */
  readonly open?: true;
  /** False where running it changes nothing, although its operation could: such a handler need not wait for the audit's
   *  request entry. By default true but for read and list. */
  readonly mutates?: boolean;
  /** Needs the `sudo` capability, where the route as a whole does not. */
  readonly sudo?: true;
  /** Only says that this is not the way to ask: documents of the API leave it out. */
  readonly unpublished?: true;
  /** The body carries a share of a key, which comes as `request.share`. */
  readonly share?: true;
  /** No promise where the answer is in memory: it would cost as much as the answer. */
  run(call: Call<F>): Promise<Response | null> | Response | null;
}

/** Keeps the type of `fields` for `run`. */
export const handler = <const F extends Fields, R extends Response | null>(
  entry: Omit<Handler<F>, "run"> & { run(call: Call<F>): Promise<R> | R },
  ..._exact: Exact<R, Response>
): Handler => entry;

export interface Route {
  /** Segments below the mount: literals, `:name` (one segment), `:name*` (one or more segments; literals alone stand behind
   *  it), `:name**` at the end (none or more). A literal wins over `:name`, which wins over `:name*`; of these the one with
   *  literals behind it wins. */
  readonly path: string;
  /** "update" also serves "create" where no "create" is given. */
  readonly on: Partial<Readonly<Record<Operation, Handler>>>;
  /** Whether something is there yet: POST then needs `create` or `update` accordingly. Without it POST is `update`. */
  exists?(call: Call): Promise<boolean>;
  /** The one spelling of what a parameter caught: a request in another counts as sent in this one, for policies and the
   *  audit too. Routes at and below a resource's object have it of the resource. */
  readonly spelling?: Readonly<Record<string, (given: string) => string>>;
  /** Name of the mapping by which somebody logs in here, as far as the request says, before it is proved: for quotas. */
  role?(call: Pick<Call, "request" | "params">): Promise<string | null>;
  /** What is checked before it is asked who calls: throws what anybody may be told. */
  before?(call: Call): Promise<void>;
  /** No token is asked for (logins). */
  readonly unauthenticated?: true;
  /** The caller needs the `sudo` capability too. */
  readonly sudo?: boolean;
  /** Its path names a folder, and may end in a slash whatever the operation. */
  readonly folders?: true;
  /** Runs and is answered even where no audit device keeps its entry: for seal alone. */
  readonly always?: true;
}

/** State of one declared object: made on first use, ends with the declaration. */
export interface ResourceContext {
  readonly mount: MountContext;
  readonly name: string;
  /** As `ResourceReader.since`, where the declaration is there already. */
  readonly since?: number;
}

/** A named object with fields; a GitOps kind, an API resource and an editor schema at once. */
export interface Resource {
  readonly kind: string;
  readonly description: string;
  /** What plugins ask for: "users". */
  readonly name: string;
  /** Below the mount, ":name" last: "users/:name". Its folder answers list. */
  readonly path: string;
  readonly fields: Fields;
  /** Older names that the API still takes for a field, such as { policies: "token_policies" }; the field wins where both
   *  are given. Never in Git. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Secret fields without which the API makes none. Git may leave them out: the state is made later then. */
  readonly needs?: readonly string[];
  /** Fields of Vault's that the API refuses, each with the reason: left out of account, something else would come about than
   *  what was asked for. */
  readonly refuses?: Readonly<Record<string, string>>;
  /** The one spelling of a name (RFC-free: lower case, trimmed); the identity where left out. */
  readonly normalize?: (name: string) => string;
  /** Paths below an object that read, set and reset one field of it, such as { "token-ttl": "token_ttl" }. */
  readonly parts?: Readonly<Record<string, string>>;
  /** Faults beyond the schema, offline. */
  check?(spec: Readonly<Record<string, unknown>>): readonly Fault[];
  /** What the API shows; the non-secret fields unless given. */
  show?(spec: Readonly<Record<string, unknown>>, name?: string): Readonly<Record<string, unknown>>;
  /** Makes state of secret fields given in clear, by the API or read through `from_secret`. From Git it is called once,
   *  on the first sight of a declaration; on the API at each write that gives one. */
  seed?(context: ResourceContext, secrets: Readonly<Record<string, string>>): Promise<void>;
  /** Whether `seed` has been done. */
  seeded?(context: ResourceContext): Promise<boolean>;
  /** Ends the state. Runs again after a crash: must be idempotent. */
  remove?(context: ResourceContext): Promise<void>;
}

/** Which of what was issued before a time is to end: all for the mapping `of`, and what `by` says of the origins of who
 *  made it. `before` and `by` are asked of each anew: they throw once there is to be an end of it. */
export interface Issued {
  readonly of: string | null;
  /** Milliseconds since 1970; Infinity for no limit. */
  before(): number;
  by(origins: readonly string[]): boolean;
}

export interface Mount {
  readonly routes: readonly Route[];
  /** By the `type` of a lease's terms. */
  readonly leases?: Readonly<Record<string, LeaseType>>;
  /** Ends what lets somebody log in and is kept beside declarations (secret ids), where `which` says so. Gives how many
   *  ended. Runs again after a crash. */
  endIssued?(which: Issued): Promise<number>;
  /** All names of the login that has one of that name, as its grant has them: the alias's `name` first, then `also`. Left out
   *  where no grant has `also`. */
  namesOf?(login: string): Promise<readonly string[]>;
}

/** What a plugin folder's index.ts exports as `plugin`. */
export interface MountPlugin {
  readonly type: string;
  readonly class: "secret" | "auth";
  readonly description: string;
  /** Options a mount of this type takes, strings as in Vault. Anything else is refused. */
  readonly options: Readonly<
    Record<string, { readonly description: string; readonly enum?: readonly string[]; readonly default?: string }>
  >;
  readonly resources: readonly Resource[];
  /** Logs in with what may be guessed at, through `attempt`: the resource whose names it locks. */
  readonly guessed?: string;
  mount(context: MountContext): Mount;
  /** Other options on a mount that may hold data: why they are refused, or what to tell whoever sets them. */
  change?(
    before: MountContext["options"],
    after: MountContext["options"],
  ): { readonly refused?: string; readonly warning?: string };
}
