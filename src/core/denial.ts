// What somebody with a valid token is told of a refusal, beside `permission denied`: what is missing, where, and the id
// that the audit has it under.
// Must hold: no policy, rule, condition or field is named, and nothing of what there is at a path is told to who may
// neither create nor change it there.

import { bit, deny, needs, sudo } from "../policy/capability.ts";
import type { Facts } from "../policy/facts.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Operation, Request } from "../sdk/request.ts";
import type { RouteMatch } from "./routes.ts";
import type { Session } from "./session.ts";

export interface Refused {
  readonly request: Request;
  readonly session: Session;
  readonly match: RouteMatch | null;
  readonly operation: Operation;
  readonly facts: Facts | null;
  /** It was allowed, but needs `sudo` too. */
  readonly sudo: boolean;
}

const writing = bit("create") | bit("update");

function reasonOf({ request, session, match, operation, facts, sudo: privileged }: Refused): string {
  const rule = session.acl.rule(request.path, operation);
  const [all, now] = [rule?.mask ?? 0, rule?.holding(facts).mask ?? 0];
  // Which of the two was asked for tells whether something is there: only who has exactly one of them is told.
  const either = (needs[operation] & writing) !== 0 && match?.route.exists !== undefined;
  const hidden = either && ((now & writing) === 0 || (now & writing) === writing);
  const bits = privileged ? sudo : hidden ? writing : needs[operation];
  const name = privileged ? '"sudo"' : hidden ? '"create" or "update"' : `"${operation}"`;
  const where = `the capability ${name} on ${JSON.stringify(request.path)}`;
  if (all === deny) return `a policy of this token denies ${where} explicitly`;
  if ((all & bits) === 0) return `this token lacks ${where}`;
  if ((now & bits) === 0) return `this token has ${where} under conditions or until a time, and not now`;
  return `this token has ${where}, but not for these fields or values`;
}

export const denial = (refused: Refused): VaultError =>
  new VaultError("denied", ["permission denied", `${reasonOf(refused)} (request ${refused.request.id})`]);
