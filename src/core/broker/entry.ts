// Audit entries in Vault's format, written as text from parts that are serialised once: objects are built for nobody.
// Must hold: tokens, accessors and every string and number of request and response data are hashed; what is in clear is
// what Vault has in clear (paths, names of fields and policies, addresses, error texts, which hold no secrets), and the facts
// that conditions read, none of which is secret.

import { rfc3339 } from "../../lib/clock.ts";
import type { VaultError } from "../../sdk/errors.ts";
import type { AuthResult, Request, Response } from "../../sdk/request.ts";
import type { Exchange, Principal } from "../exchange.ts";
import type { Hasher } from "./hasher.ts";

export type Outcome =
  | { readonly response: Response; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: VaultError };

interface PrincipalPart {
  readonly token: string | null;
  /** Members of `auth`, from `client_token` on. */
  readonly auth: string;
  /** Members of `request`. */
  readonly request: string;
}

type MountOf = NonNullable<Exchange["mount"]>;

const quote = (text: string): string => JSON.stringify(text);
const list = (names: readonly string[]): string => JSON.stringify(names);
// A socket that is gone already has no port.
const number = (value: number): string => (Number.isFinite(value) ? String(value) : "0");
const rulesKept = 4096;

export class Format {
  readonly #hasher: Hasher;
  // Keyed by identity: these objects live as long as what they describe, and the text with them.
  readonly #principals = new WeakMap<Principal, PrincipalPart>();
  readonly #mounts = new WeakMap<MountOf, string>();
  readonly #shared = new WeakMap<object, string>();
  readonly #rules = new Map<string, string>();
  #second = -1;
  #untilSecond = "";

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  /** What both entries of a request share: everything from `auth` up to the end of `request`. */
  shared(exchange: Exchange): string {
    const { request, principal, mount } = exchange;
    const part = principal === null ? null : this.#principal(principal, request.token);
    const token = part?.request ?? this.#tokenAlone(request.token);
    return (
      `,"generation":${quote(exchange.generation)}` +
      (exchange.rule === null ? "" : `,"rule":${quote(exchange.rule)}`) +
      (exchange.facts === null ? "" : `,"facts":${JSON.stringify(exchange.facts)}`) +
      `,"auth":{${part?.auth ?? '"token_type":"default"'},"policy_results":{"allowed":${exchange.allowed}` +
      `${exchange.rule === null ? "" : this.#granting(exchange.rule)}}}` +
      `,"request":{"id":${quote(request.id)}` +
      (principal === null || principal.entityId === "" ? "" : `,"client_id":${quote(principal.entityId)}`) +
      `,"operation":"${request.operation}"${mount === null ? "" : this.#mount(mount)}${token}` +
      `,"namespace":{"id":"root"},"path":${quote(request.path)}${this.#data(request)}` +
      `,"remote_address":${quote(request.connection.remoteAddress)},"remote_port":${number(request.connection.remotePort)}` +
      `${request.wrapTtl === undefined ? "" : `,"wrap_ttl":${number(request.wrapTtl)}`}}`
    );
  }

  request(time: number, shared: string): string {
    return `"time":"${this.#time(time)}","type":"request"${shared}}`;
  }

  response(time: number, shared: string, exchange: Exchange, outcome: Outcome): string {
    const { response, error } = outcome;
    const data = error === undefined ? response.data : error.data;
    return (
      `"time":"${this.#time(time)}","type":"response"${shared}` +
      `,"response":{${exchange.mount === null ? "" : this.#mount(exchange.mount).slice(1)}` +
      `${this.#body(exchange.mount !== null, data ?? null, response)}}` +
      `${error === undefined ? "" : `,"error":${quote(error.errors.join("; ") || error.code)}`}}`
    );
  }

  /** Entries that no request made: reconciles, unseal, seal. `facts` hold no secret and stand in clear. */
  plain(time: number, type: string, facts: Readonly<Record<string, unknown>>): string {
    return `"time":"${this.#time(time)}","type":${quote(type)},${quote(type)}:${JSON.stringify(facts)}}`;
  }

  /** Members of `response` behind the mount's. */
  #body(comma: boolean, data: Readonly<Record<string, unknown>> | null, response: Response | undefined): string {
    let text = "";
    if (data !== null)
      text += `,"data":${response?.shared === true ? this.#sharedData(data) : this.#hasher.json(data)}`;
    if (response?.auth !== undefined) text += `,"auth":${this.#auth(response.auth)}`;
    if (response?.lease !== undefined) text += `,"secret":{"lease_id":${quote(response.lease.id)}}`;
    if (response?.warnings !== undefined && response.warnings.length > 0)
      text += `,"warnings":${list(response.warnings)}`;
    return comma ? text : text.slice(1);
  }

  #sharedData(data: object): string {
    let text = this.#shared.get(data);
    if (text === undefined) {
      text = this.#hasher.json(data);
      this.#shared.set(data, text);
    }
    return text;
  }

  #data(request: Request): string {
    for (const _name in request.data) return `,"data":${this.#hasher.json(request.data)}`;
    return "";
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
