// Who may do what to the entities and groups that a request's path does not name exactly: those that its body names, or that
// its path names in another case. The door asks about the path of the request; here the object's own paths are asked too, so
// that no general path, and no spelling, gets round a rule about one object.
// Must hold: an alias is bound, moved or taken away, and entities are merged, only by whoever may write the entities (or the
// group) at their own paths. Elsewhere a rule about the object decides if there is one, and the general path if there is
// none, as in Vault.

import { VaultError } from "../../sdk/errors.ts";
import type { Operation } from "../../sdk/request.ts";
import { factsOf } from "../asking.ts";
import type { CoreCall } from "../call.ts";

interface Named {
  readonly id: string;
  readonly name: string;
}

type Verdict = "allowed" | "denied" | "unsaid";

/** `id` is empty where it is not there yet. */
function verdict(call: CoreCall, folder: "entity" | "group", { id, name }: Named, operation: Operation): Verdict {
  const { session, request, connection } = call;
  if (session === null) return "denied";
  const { acl } = session;
  if (acl.root) return "allowed";
  let said: Verdict = "unsaid";
  for (const path of [`identity/${folder}/id/${id}`, `identity/${folder}/name/${name}`]) {
    if (path.endsWith("/") || acl.rule(path, operation) === null) continue;
    const { remoteAddress } = connection;
    const facts = acl.conditional ? factsOf(session, path, operation, { remoteAddress, time: request.time }) : null;
    if (acl.check(path, operation, undefined, facts).allowed) return "allowed";
    said = "denied";
  }
  return said;
}

function refuse(folder: string, operation: Operation): never {
  throw new VaultError("denied", [
    "permission denied",
    `this needs ${operation} on identity/${folder}/id/<id> or identity/${folder}/name/<name> too, of what the request names`,
  ]);
}

/** For what the request's own path does not name. */
export function needs(call: CoreCall, folder: "entity" | "group", named: Named, operation: Operation): void {
  if (verdict(call, folder, named, operation) !== "allowed") refuse(folder, operation);
}

/** For what the request's path is about, however it names it. */
export function honours(call: CoreCall, folder: "entity" | "group", named: Named, operation: Operation): void {
  if (verdict(call, folder, named, operation) === "denied") refuse(folder, operation);
}
