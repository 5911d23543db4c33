// One request as conditions see it: a view over its session, made only for tokens that have a rule with a condition.
// Must hold: nothing that the client chooses is told as something proved: what a login said of itself comes from the token
// of that login, whatever tokens its holder makes below it.

import { type Asking, Facts } from "../policy/facts.ts";
import type { Operation } from "../sdk/request.ts";
import type { Generation } from "./generation.ts";
import type { Session } from "./session.ts";
import type { TokenEntry } from "./tokens/entry.ts";

export type Login = NonNullable<Asking["login"]>;

/** The login that made the token itself; null where another token did. */
export function loginOf(entry: TokenEntry, generation: Generation): Login | null {
  const mounted = entry.mapping === null ? null : generation.mounts.byAccessor(entry.mapping.accessor);
  if (mounted === null || mounted.plugin === null || mounted.mount === null) return null;
  return { mount: mounted.mount, type: mounted.type, accessor: mounted.accessor, metadata: entry.meta ?? {} };
}

/** Where and when somebody asks; the address is "" where that is not known. */
export interface Situation {
  readonly remoteAddress: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

class SessionAsking implements Asking {
  readonly path: string;
  readonly operation: Operation;
  readonly remoteAddress: string;
  readonly time: number;
  readonly #session: Session;

  constructor(session: Session, path: string, operation: Operation, situation: Situation) {
    this.path = path;
    this.operation = operation;
    this.remoteAddress = situation.remoteAddress;
    this.time = situation.time;
    this.#session = session;
  }

  get entity(): Asking["entity"] {
    return this.#session.entity;
  }

  get groups(): Asking["groups"] {
    return this.#session.entity?.groups.map(({ name }) => name) ?? null;
  }

  get login(): Asking["login"] {
    return this.#session.login;
  }

  get token(): Asking["token"] {
    const { entry, principal, expiresAt } = this.#session;
    const { type, display_name: displayName, created_at: createdAt, parent } = entry;
    return { type, displayName, createdAt, expiresAt, policies: principal.policies, orphan: parent === null };
  }
}

export const factsOf = (session: Session, path: string, operation: Operation, situation: Situation): Facts =>
  new Facts(new SessionAsking(session, path, operation, situation));
