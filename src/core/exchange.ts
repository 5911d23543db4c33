// What the door knows of one request once it is routed, authenticated and decided: the audit broker's input.

import type { Fields } from "../sdk/fields.ts";
import type { Request } from "../sdk/request.ts";
import type { Json } from "../sdk/view.ts";

/** One token in one generation. The same object for each request of that token until either changes, so that the
 *  broker may keep the serialised form by identity. */
export interface Principal {
  /** The raw accessor: the broker hashes it. */
  readonly accessor: string;
  readonly displayName: string;
  /** All that act: token and identity policies. */
  readonly policies: readonly string[];
  readonly tokenPolicies: readonly string[];
  readonly identityPolicies: readonly string[];
  readonly entityId: string;
  /** Entities, logins and mappings in whose name it asks: what it makes has them too. */
  readonly origins: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly tokenType: "service" | "batch";
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  /** Seconds, 0 where it never expires. */
  readonly ttl: number;
}

export interface Exchange {
  readonly request: Request;
  readonly mount: {
    readonly path: string;
    readonly type: string;
    readonly accessor: string;
    readonly class: string;
    /** Names of fields whose values are no secret and stand in clear; null for the most part. */
    readonly clear: { readonly request: ReadonlySet<string>; readonly response: ReadonlySet<string> } | null;
  } | null;
  readonly principal: Principal | null;
  /** Of the handler that runs, which says what of the request stands in clear; null where none does. */
  readonly fields: Fields | null;
  /** Identifier of the generation that decides. */
  readonly generation: string;
  /** What decided: policy names and the path of the rule, such as "payments-read secret/data/payments/*"; null where
   *  no rule matched or none was asked. */
  readonly rule: string | null;
  /** What its conditions read, by name, null for what was missing; null where none was asked. */
  readonly facts: Readonly<Record<string, Json>> | null;
  readonly allowed: boolean;
}
