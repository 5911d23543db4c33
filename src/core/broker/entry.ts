// Audit entries in Vault's format, put together from pieces that are serialised once: objects are built for nobody.
// Must hold: tokens, accessors and every string and number of request and response data are hashed; what is in clear is
// what Vault has in clear (paths, names of fields and policies, addresses, error texts, which hold no secrets), the facts
// that conditions read, none of which is secret, and the fields that a route says are for readers of the audit or that a
// mount is tuned to show.

import { rfc3339 } from "../../lib/clock.ts";
import type { VaultError } from "../../sdk/errors.ts";
import { clearOf } from "../../sdk/fields.ts";
import type { AuthResult, Connection, Request, Response, WrapInfo } from "../../sdk/request.ts";
import type { Exchange, Principal } from "../exchange.ts";
import type { AuditedHeaders } from "../settings.ts";
import { type Piece, Shared } from "./draft.ts";
import type { Hasher } from "./hasher.ts";

/** One entry, without its link and without the newline. */
export interface Entry {
  readonly opening: string;
  readonly shared: Shared | null;
  readonly rest: readonly Piece[];
}

export type Outcome =
  | { readonly response: Response; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: VaultError };

interface PrincipalPart {
  readonly token: string | null;
  /** Members of `auth`, from `client_token` on. */
  readonly auth: string;
  /** Members of `request`. */
  readonly request: string;
  /** Everything before the request's id, by the rule that allowed it. */
  readonly openings: Map<string, Piece>;
  /** What stands between the request's id and its path, by operation and mount. */
  readonly middles: Map<string, Piece>;
}

type MountOf = NonNullable<Exchange["mount"]>;

const quote = (text: string): string => JSON.stringify(text);
const list = (names: readonly string[]): string => JSON.stringify(names);
// A socket that is gone already has no port.
const number = (value: number): string => (Number.isFinite(value) ? String(value) : "0");
const rulesKept = 4096;
const piecesKept = 256;
const closing: readonly Piece[] = ["}"];

const either = (one: ReadonlySet<string> | null, other: ReadonlySet<string> | null): ReadonlySet<string> | null =>
  one === null ? other : other === null ? one : new Set([...one, ...other]);

const textOf = (piece: Piece): string => (typeof piece === "string" ? piece : Buffer.from(piece).toString());

/** In memory of its own: a part of what all small buffers share would keep the 64 KiB around it for as long as it lives. */
function encoded(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

function keep(pieces: Map<string, Piece>, key: string, text: string): Piece {
  const piece = encoded(text);
  if (pieces.size >= piecesKept) pieces.clear();
  pieces.set(key, piece);
  return piece;
}

export class Format {
  readonly #hasher: Hasher;
  // Keyed by identity: these objects live as long as what they describe, and the pieces with them.
  readonly #principals = new WeakMap<Principal, PrincipalPart>();
  readonly #mounts = new WeakMap<MountOf, string>();
  readonly #responses = new WeakMap<MountOf, Piece>();
  readonly #connections = new WeakMap<Connection, Piece>();
  readonly #shared = new WeakMap<object, Piece>();
  readonly #rules = new Map<string, string>();
  /** Name, and whether it is hashed; null where there are none. */
  #headers: readonly (readonly [string, boolean])[] | null = null;
  #second = -1;
  #untilSecond = "";

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  auditHeaders(headers: AuditedHeaders): void {
    const names = Object.entries(headers).map(([name, { hmac }]) => [name, hmac] as const);
    this.#headers = names.length === 0 ? null : names;
  }

  /** What both entries of a request share: everything from `generation` up to the end of `request`. */
  shared(exchange: Exchange): Shared {
    const { request, principal } = exchange;
    const part = principal === null ? null : this.#principal(principal, request.token);
    const pieces: Piece[] = [
      this.#opening(exchange, part),
      quote(request.id),
      this.#middle(exchange, part),
      quote(request.path) + this.#data(exchange),
      this.#connection(request.connection),
      request.wrapTtl === undefined ? "}" : `,"wrap_ttl":${number(request.wrapTtl)}}`,
    ];
    if (this.#headers !== null) pieces.splice(4, 0, this.#audited(request, this.#headers));
    if (exchange.facts !== null) pieces.unshift(`,"facts":${JSON.stringify(exchange.facts)}`);
    return new Shared(pieces);
  }

  request(time: number, shared: Shared): Entry {
    return { opening: `"time":"${this.#time(time)}","type":"request"`, shared, rest: closing };
  }

  response(time: number, shared: Shared, exchange: Exchange, outcome: Outcome): Entry {
    const { response, error } = outcome;
    const { mount } = exchange;
    const clear = mount === null ? null : mount.clear;
    const data = error === undefined ? response.data : error.data;
    const body =
      data === null || data === undefined
        ? ""
        : response?.shared === true && clear === null
          ? this.#sharedData(data)
          : `,"data":${this.#hasher.json(data, clear?.response)}`;
    const rest: Piece[] = [];
    if (mount !== null) rest.push(this.#response(mount), body, `${this.#others(response)}}`);
    // Without a mount the first member has no comma before it.
    else rest.push(`,"response":{${`${textOf(body)}${this.#others(response)}`.slice(1)}}`);
    rest.push(error === undefined ? "}" : `,"error":${quote(error.errors.join("; ") || error.code)}}`);
    return { opening: `"time":"${this.#time(time)}","type":"response"`, shared, rest };
  }

  /** Entries that no request made: reconciles, unseal, seal. `facts` hold no secret and stand in clear. */
  plain(time: number, type: string, facts: Readonly<Record<string, unknown>>): Entry {
    const opening = `"time":"${this.#time(time)}","type":${quote(type)}`;
    return { opening, shared: null, rest: [`,${quote(type)}:${JSON.stringify(facts)}}`] };
  }

  /** Up to the value of the request's `id`. A principal belongs to one generation. */
  #opening(exchange: Exchange, part: PrincipalPart | null): Piece {
    const { rule, generation, allowed } = exchange;
    const key = `${allowed ? "+" : "-"}${rule ?? ""}`;
    const known = part?.openings.get(key);
    if (known !== undefined) return known;
    const text =
      `,"generation":${quote(generation)}${rule === null ? "" : `,"rule":${quote(rule)}`}` +
      `,"auth":{${part?.auth ?? '"token_type":"default"'},"policy_results":{"allowed":${allowed}` +
      `${rule === null ? "" : this.#granting(rule)}}},"request":{"id":`;
    return part === null ? text : keep(part.openings, key, text);
  }

  /** From behind the request's id up to its path. */
  #middle({ request, principal, mount }: Exchange, part: PrincipalPart | null): Piece {
    const key = mount === null ? request.operation : `${request.operation} ${mount.accessor} ${mount.path}`;
    const known = part?.middles.get(key);
    if (known !== undefined) return known;
    const text =
      (principal === null || principal.entityId === "" ? "" : `,"client_id":${quote(principal.entityId)}`) +
      `,"operation":"${request.operation}"${mount === null ? "" : this.#mount(mount)}` +
      `${part?.request ?? this.#tokenAlone(request.token)},"namespace":{"id":"root"},"path":`;
    return part === null ? text : keep(part.middles, key, text);
  }

  #connection(connection: Connection): Piece {
    let piece = this.#connections.get(connection);
    if (piece === undefined) {
      const { remoteAddress, remotePort } = connection;
      piece = encoded(`,"remote_address":${quote(remoteAddress)},"remote_port":${number(remotePort)}`);
      this.#connections.set(connection, piece);
    }
    return piece;
  }

  #response(mount: MountOf): Piece {
    let piece = this.#responses.get(mount);
    if (piece === undefined) {
      piece = encoded(`,"response":{${this.#mount(mount).slice(1)}`);
      this.#responses.set(mount, piece);
    }
    return piece;
  }

  /** Members of `response` behind its data. */
  #others(response: Response | undefined): string {
    if (response === undefined) return "";
    const { auth, lease, warnings, wrapInfo } = response;
    return (
      (auth === undefined ? "" : `,"auth":${this.#auth(auth)}`) +
      (lease === undefined ? "" : `,"secret":{"lease_id":${quote(lease.id)}}`) +
      (wrapInfo === undefined ? "" : `,"wrap_info":${this.#wrapInfo(wrapInfo)}`) +
      (warnings === undefined || warnings.length === 0 ? "" : `,"warnings":${list(warnings)}`)
    );
  }

  #sharedData(data: object): Piece {
    let piece = this.#shared.get(data);
    if (piece === undefined) {
      piece = encoded(`,"data":${this.#hasher.json(data)}`);
      this.#shared.set(data, piece);
    }
    return piece;
  }

  #data({ request, mount, fields }: Exchange): string {
    for (const _name in request.data) {
      const clear = either(mount?.clear?.request ?? null, fields === null ? null : clearOf(fields));
      return `,"data":${this.#hasher.json(request.data, clear)}`;
    }
    return "";
  }

  #audited({ headers }: Request, names: readonly (readonly [string, boolean])[]): string {
    const members = names.flatMap(([name, hmac]) => {
      const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
      if (value === undefined) return [];
      const values = (Array.isArray(value) ? value : [value]).map((one) => (hmac ? this.#hasher.hash(one) : one));
      return [`${quote(name)}:${JSON.stringify(values)}`];
    });
    return members.length === 0 ? "" : `,"headers":{${members.join(",")}}`;
  }

  #tokenAlone(token: string | null): string {
    return token === null || token === "" ? "" : `,"client_token":"${this.#hasher.hash(token)}"`;
  }

  #principal(principal: Principal, token: string | null): PrincipalPart {
    const known = this.#principals.get(principal);
    if (known !== undefined && known.token === token) return known;
    const accessor = principal.accessor === "" ? "" : this.#hasher.hash(principal.accessor);
    const own = this.#tokenAlone(token);
    const part: PrincipalPart = {
      token,
      auth:
        `${own === "" ? "" : `${own.slice(1)},`}${accessor === "" ? "" : `"accessor":"${accessor}",`}` +
        `"display_name":${quote(principal.displayName)},"policies":${list(principal.policies)}` +
        `,"token_policies":${list(principal.tokenPolicies)},"identity_policies":${list(principal.identityPolicies)}` +
        `,"metadata":${JSON.stringify(principal.metadata)},"entity_id":${quote(principal.entityId)}` +
        `,"token_type":${quote(principal.tokenType)},"token_ttl":${number(principal.ttl)}` +
        `,"token_issue_time":"${rfc3339(principal.issuedAt)}"`,
      request: `${own}${accessor === "" ? "" : `,"client_token_accessor":"${accessor}"`}`,
      openings: new Map(),
      middles: new Map(),
    };
    this.#principals.set(principal, part);
    return part;
  }

  /** Members of `request` and of `response`. */
  #mount(mount: MountOf): string {
    let part = this.#mounts.get(mount);
    if (part === undefined) {
      part =
        `,"mount_point":${quote(mount.path)},"mount_type":${quote(mount.type)}` +
        `,"mount_accessor":${quote(mount.accessor)},"mount_class":${quote(mount.class)}`;
      this.#mounts.set(mount, part);
    }
    return part;
  }

  /** `rule` is policy names divided by commas, a space, and the rule's path. */
  #granting(rule: string): string {
    let text = this.#rules.get(rule);
    if (text === undefined) {
      const end = rule.indexOf(" ");
      const names = (end < 0 ? rule : rule.slice(0, end)).split(",");
      text = `,"granting_policies":${JSON.stringify(names.map((name) => ({ name, namespace_id: "root", type: "acl" })))}`;
      if (this.#rules.size >= rulesKept) this.#rules.clear();
      this.#rules.set(rule, text);
    }
    return text;
  }

  #auth(auth: AuthResult): string {
    return (
      `{"client_token":"${this.#hasher.hash(auth.client_token)}","accessor":"${auth.accessor === "" ? "" : this.#hasher.hash(auth.accessor)}"` +
      `,"policies":${list(auth.policies)},"token_policies":${list(auth.token_policies)}` +
      `,"identity_policies":${list(auth.identity_policies ?? [])},"metadata":${JSON.stringify(auth.metadata)}` +
      `,"num_uses":${number(auth.num_uses)},"orphan":${auth.orphan},"entity_id":${quote(auth.entity_id)}` +
      `,"token_type":${quote(auth.token_type)},"token_ttl":${number(auth.lease_duration)},"renewable":${auth.renewable}}`
    );
  }

  #wrapInfo({ token, accessor, wrapped_accessor: inside, ...shown }: WrapInfo): string {
    const hashed = {
      ...shown,
      token: this.#hasher.hash(token),
      accessor: this.#hasher.hash(accessor),
      ...(inside && { wrapped_accessor: this.#hasher.hash(inside) }),
    };
    return JSON.stringify(hashed);
  }

  /** RFC 3339 as elsewhere; the part down to the second is kept from call to call. */
  #time(time: number): string {
    const second = Math.floor(time / 1000);
    if (second !== this.#second) {
      this.#untilSecond = rfc3339(second * 1000).slice(0, 19);
      this.#second = second;
    }
    return `${this.#untilSecond}.${String(Math.floor(time) % 1000).padStart(3, "0")}000000Z`;
  }
}
