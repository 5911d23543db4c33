// What the door says of a request that a block is about, apart from its token (session.ts) and its login (login.ts).
// Must hold: nothing of a blocked mount runs; a blocked address gets nothing that the core answers.
// Known gap: what is answered before the core is, from any address: health, leader, seal status and unsealing, the first
// page, metrics where the listener opens them, and the webhook, which looks at signatures.

import { VaultError } from "../../sdk/errors.ts";
import type { Operation, Request } from "../../sdk/request.ts";
import type { Mounted } from "../mounts.ts";
import type { Session } from "../session.ts";
import type { Blocks } from "./blocks.ts";

export const isBarred = (blocks: Blocks, { connection }: Request, mounted: Mounted | null): boolean =>
  blocks.refusesAddress(connection) || (mounted !== null && blocks.refusesMount(mounted.accessor));

/** Before it is known who asks. Throws VaultError `denied`. */
export function barAddress(blocks: Blocks, { connection }: Request): void {
  if (!blocks.refusesAddress(connection)) return;
  throw new VaultError("denied", ["permission denied", "requests from this address are blocked"]);
}

export const mountError = (path: string): VaultError =>
  new VaultError("denied", ["permission denied", `all below ${path} is blocked`]);

/** Who may not ask there anyway is told nothing. Throws VaultError `denied`. */
export function barMount(
  blocks: Blocks,
  { path, data }: Request,
  mounted: Mounted | null,
  operation: Operation,
  session: Session | null,
): void {
  if (mounted === null || !blocks.refusesMount(mounted.accessor)) return;
  const may = session?.acl.check(path, operation, data, null).allowed === true;
  throw may ? mountError(mounted.path) : new VaultError("denied", "permission denied");
}
