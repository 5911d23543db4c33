// A token as storage keeps it. Its id is stored as an HMAC only: whoever reads all of storage, decrypted, can use none.
// A batch token is no entry in storage; what it carries in itself opens to the same form.

/** The declaration that made a token. */
export interface Mapping {
  /** Of its mount. */
  readonly accessor: string;
  readonly kind: string;
  readonly name: string;
  /** Of the generation in which the token was made; tokens older than this field have none. */
  readonly seq?: number;
}

export interface TokenEntry {
  /** HMAC-SHA256 of the token, hex. */
  readonly id: string;
  /** "" for batch tokens. */
  readonly accessor: string;
  readonly type: "service" | "batch";
  /** Id of the parent; null for orphans and roots. */
  readonly parent: string | null;
  /** As given when it was made, sorted. */
  readonly policies: readonly string[];
  /** What made it: its policies are at most what that declaration gives now. Null for tokens made with explicit policies. */
  readonly mapping: Mapping | null;
  readonly alias: {
    readonly accessor: string;
    readonly name: string;
    /** What the login said of it. */
    readonly metadata?: Readonly<Record<string, string>>;
  } | null;
  /** Of the entity that the alias was when the token was made; the token ends with it. Tokens older than this have none. */
  readonly entity_id?: string;
  /** Names at the alias's mount of the external groups that the login said it is in. */
  readonly groups?: readonly string[];
  /** Entities, logins and mappings in whose name it was made, but for its own, and the addresses that asked for it. Tokens older
   *  than this have none. */
  readonly origins?: readonly string[];
  readonly display_name: string;
  readonly meta: Readonly<Record<string, string>> | null;
  /** The request path that made it. */
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly created_at: number;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires_at: number;
  readonly last_renewal: number;
  /** Seconds granted at the last creation or renewal; 0 for never ending. */
  readonly ttl: number;
  /** Seconds granted at the creation, once it was renewed. Tokens whose first renewal is older than this have none. */
  readonly creation_ttl?: number;
  /** Seconds; 0 for the mount's or the system's maximum. */
  readonly max_ttl: number;
  /** Seconds; 0 for none. */
  readonly explicit_max_ttl: number;
  readonly period: number;
  readonly renewable: boolean;
  /** Requests left; 0 for unlimited, -1 for used up. */
  readonly num_uses: number;
  readonly bound_cidrs: readonly string[];
  /** It leads to a wrapped answer, and to nothing else. */
  readonly wrapping?: true;
}

export type NewToken = Omit<
  TokenEntry,
  "id" | "accessor" | "type" | "created_at" | "expires_at" | "last_renewal" | "creation_ttl"
> & {
  /** A token of the caller's choice (root only); made here where left out. */
  readonly client_token?: string;
};

export interface MadeToken {
  readonly token: string;
  readonly entry: TokenEntry;
}
