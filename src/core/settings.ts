// What sys/config/ keeps: whose pages may call the API, headers for pages of this server, and headers that the audit has.
// Must hold: what is in force is what is stored; each request finds it in memory, and where nothing is set there is nothing
// to look at. No header that carries a token or a password is ever audited, hashed or not.

import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";

export interface Cors {
  /** Origins as browsers send them, or "*" alone. */
  readonly allowed_origins: readonly string[];
  readonly allowed_headers: readonly string[];
}

/** Values by name. */
export type PageHeaders = Readonly<Record<string, readonly string[]>>;
/** By name in lower case: whether the audit has its HMAC only. */
export type AuditedHeaders = Readonly<Record<string, { readonly hmac: boolean }>>;

interface Kept {
  readonly cors: { readonly current: Cors | null };
  readonly "ui-headers": PageHeaders;
  readonly "audited-headers": AuditedHeaders;
}
type Name = keyof Kept;

// RFC 9110 section 5.1 and 5.5: a token, and visible characters with blanks between them.
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
const headerValue = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;
const mostHeaders = 64;
const secret = new Set(["authorization", "cookie", "proxy-authorization", "x-vault-token", "x-vault-mfa"]);

const invalid = (message: string): VaultError => new VaultError("invalid", message);

function checkName(name: string): void {
  if (!headerName.test(name) || name === "__proto__") throw invalid("the name in the path is no name of a header");
}

/** What a record has of its own under a name. */
export const ownOf = <T>(headers: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(headers, name) ? headers[name] : undefined;

/** A copy with one name set, or taken out where `value` is undefined. */
function changed<T>(headers: Readonly<Record<string, T>>, name: string, value: T | undefined): Record<string, T> {
  const copy: Record<string, T> = { ...headers };
  delete copy[name];
  if (value !== undefined) copy[name] = value;
  if (Object.keys(copy).length > mostHeaders) throw invalid(`there are ${mostHeaders} headers already`);
  return copy;
}

export class Settings {
  readonly #view: View;
  readonly #lock = new Mutex();
  readonly #versions = new Map<Name, number>();
  #kept: Kept = { cors: { current: null }, "ui-headers": {}, "audited-headers": {} };
  readonly #onAudited: (headers: AuditedHeaders) => void;

  /** `onAudited` is told of the headers that the audit is to have, when they are read and at each change. */
  constructor(view: View, onAudited: (headers: AuditedHeaders) => void) {
    this.#view = view;
    this.#onAudited = onAudited;
  }

  /** Null where pages of other origins may do nothing. */
  get cors(): Cors | null {
    return this.#kept.cors.current;
  }

  get pageHeaders(): PageHeaders {
    return this.#kept["ui-headers"];
  }

  get auditedHeaders(): AuditedHeaders {
    return this.#kept["audited-headers"];
  }

  async open(): Promise<void> {
    for (const name of Object.keys(this.#kept) as Name[]) {
      const found = await this.#view.getJson<Kept[Name]>(name);
      if (found === null) continue;
      this.#versions.set(name, found.version);
      this.#kept = { ...this.#kept, [name]: found.value };
    }
    this.#onAudited(this.auditedHeaders);
  }

  /** Throws VaultError `invalid`. */
  async setCors(current: Cors | null): Promise<void> {
    for (const origin of current?.allowed_origins ?? []) {
      if (origin !== "*" && !(URL.canParse(origin) && new URL(origin).origin === origin)) {
        throw invalid(
          'each of allowed_origins is "*" or an origin as browsers send it, such as https://vault.example.com',
        );
      }
    }
    for (const name of current?.allowed_headers ?? []) {
      if (!headerName.test(name)) throw invalid("each of allowed_headers is the name of a header");
    }
    await this.#edit("cors", () => ({ current }));
  }

  /** Throws VaultError `invalid`. */
  async setPageHeader(name: string, values: readonly string[] | undefined): Promise<void> {
    checkName(name);
    if (name.startsWith("x-vault-")) throw invalid("X-Vault headers cannot be set");
    if (framing.has(name)) throw invalid("this header is the server's own");
    if (values?.every((value) => headerValue.test(value)) === false) {
      throw invalid('each of "values" is a line of visible ASCII');
    }
    await this.#edit("ui-headers", (headers) => changed(headers, name, values));
  }

  /** Throws VaultError `invalid`. */
  async setAuditedHeader(name: string, audited: { readonly hmac: boolean } | undefined): Promise<void> {
    checkName(name);
    if (audited !== undefined && secret.has(name))
      throw invalid("headers that carry tokens or passwords are not audited");
    await this.#edit("audited-headers", (headers) => changed(headers, name, audited));
    this.#onAudited(this.auditedHeaders);
  }

  #edit<N extends Name>(name: N, change: (before: Kept[N]) => Kept[N]): Promise<void> {
    return this.#lock.run("", async () => {
      const value = change(this.#kept[name]);
      const [version = 0] = await this.#view.write([
        { key: name, value, expect: this.#versions.get(name) ?? "absent" },
      ]);
      this.#versions.set(name, version);
      this.#kept = { ...this.#kept, [name]: value };
    });
  }
}

/** What would change where an answer ends, or what it is. */
const framing = new Set(["connection", "content-length", "content-type", "transfer-encoding", "trailer", "upgrade"]);
