// A request as the core sees it, whatever carried it; and what comes back.

export type Operation = "create" | "read" | "update" | "patch" | "delete" | "list" | "scan" | "help";

export interface Connection {
  /** "" on a unix socket. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** True for loopback and unix sockets. */
  readonly local: boolean;
}

export interface Request {
  readonly id: string;
  /** "update" for POST and PUT; the core makes it "create" where the route says that nothing is there yet. */
  readonly operation: Operation;
  /** Below /v1/, decoded once, no leading slash; a list ends in "/". */
  readonly path: string;
  /** The path as it came, where that is another spelling of it: for answers that repeat a name, and for nothing else. */
  readonly sent?: string;
  /** Body fields, or the query's for requests without a body. Own properties only, null prototype. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly token: string | null;
  readonly connection: Connection;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Milliseconds since 1970, taken once when the request came in. */
  readonly time: number;
  /** Seconds asked for by X-Vault-Wrap-TTL. */
  readonly wrapTtl?: number;
  /** A share of a key, beside `data` so that it is never a string and stands in no audit entry. Whoever made the request
   *  overwrites it once it is answered; a handler that keeps it, copies it. */
  readonly share?: Uint8Array;
}

/** Which body the answer has: Vault's envelope, the data alone (sys/health), or the data in both places (sys/mounts). */
export type Shape = "envelope" | "bare" | "both";

/** States that api turns into a status other than 200 or 204. */
export type Outcome = "accepted" | "standby" | "sealed" | "uninitialized";

/** What an auth method proved. Only the core makes a token of it. */
export interface Grant {
  /** Who: the stable name at this mount, already normalised. Becomes the entity alias. */
  readonly alias: {
    readonly name: string;
    /** What else it is called, where some entity has that as its alias and none has `name`. Only what nobody can choose so that
     *  it is another's name. */
    readonly also?: string;
    readonly metadata?: Readonly<Record<string, string>>;
  };
  /** Whose making what was proved with is, as `call.caller.origins` said then. */
  readonly origins?: readonly string[];
  /** When that was made, in milliseconds since 1970: from before a block was lifted it stays dead. */
  readonly issuedAt?: number;
  readonly displayName: string;
  /** The declaration that made the grant: its token_* fields decide policies and TTLs, now and on later requests. */
  readonly mapping: { readonly resource: string; readonly name: string };
  readonly metadata?: Readonly<Record<string, string>>;
  /** Names of the groups that the other side says it is in: external groups that have such an alias at this mount by then act
   *  on the token, and on those below it. */
  readonly groups?: readonly string[];
  /** Addresses that may use the token, where the proof has its own; they narrow the mapping's and never widen them. */
  readonly boundCidrs?: readonly string[];
}

export interface AuthResult {
  readonly client_token: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly token_policies: readonly string[];
  readonly identity_policies?: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly entity_id: string;
  readonly token_type: "service" | "batch";
  readonly orphan: boolean;
  readonly mfa_requirement: null;
  readonly num_uses: number;
}

/** What a client gets in place of an answer that it asked to be wrapped. */
export interface WrapInfo {
  readonly token: string;
  readonly accessor: string;
  /** Seconds. */
  readonly ttl: number;
  /** RFC 3339. */
  readonly creation_time: string;
  readonly creation_path: string;
  /** Of what is inside: a token, or a secret id. */
  readonly wrapped_accessor?: string;
}

export interface Response {
  /** Plain data; null or left out answers 204 unless there is an auth, a grant or a warning. Handed over: frozen. */
  readonly data?: Readonly<Record<string, unknown>> | null;
  /** `data` is one and the same deeply frozen object for as long as its content stands: other layers may keep what they
   *  derive from it (its JSON, its hashed form) by its identity. */
  readonly shared?: true;
  readonly auth?: AuthResult;
  readonly grant?: Grant;
  readonly warnings?: readonly string[];
  readonly shape?: Shape;
  readonly outcome?: Outcome;
  /** Shares of a key that the answer hands out, beside `data` as `share` is. Whoever gets the answer overwrites them. */
  readonly handout?: readonly Uint8Array[];
  /** A text in place of everything else, for those who read no envelope. No audit entry holds it: no secret is in it. */
  readonly text?: { readonly type: string; readonly body: string };
  /** Stands for everything else, which is kept where the token in it leads to. */
  readonly wrapInfo?: WrapInfo;
  /** JSON that goes out as it is, of an answer given before. The other members say for the audit what is in it. */
  readonly raw?: string;
  /** Bytes in place of everything else. Called once the answer may go out, or never; nothing is held before that. */
  readonly stream?: () => Promise<ReadableStream<Uint8Array>>;
  readonly lease?: { readonly id: string; readonly duration: number; readonly renewable: boolean };
  /** For the answer's head: names and values in turn. */
  readonly headers?: readonly string[];
  /** The answering mount's type, "kv". The door fills it in; the envelope shows it. */
  readonly mountType?: string;
}
