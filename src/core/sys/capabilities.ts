// sys/capabilities: what a token may at given paths, by the same policies that decide requests, in the spelling of the path
// that these are asked about.
// Where conditions are met, the answer is what holds now: for the caller's own token, from where he asks; for another's,
// with what is known of that token, and from an address that is not known, so that what depends on it is left out.

import { sliced, type Work } from "../../lib/slices.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { factsOf } from "../asking.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Session } from "../session.ts";
import { spelledPath } from "../spelling.ts";

const pathFields = {
  path: field.strings("The paths"),
  paths: field.strings("The paths"),
} as const;

/** Each is looked up among all rules of the token. */
const mostPaths = 10_000;

const invalidToken = (): VaultError => new VaultError("invalid", "invalid token");

/** That another's token is not valid is no fault of the caller's own. */
function ofAnother(error: unknown): never {
  throw isVaultError(error, "unauthenticated") ? invalidToken() : error;
}

function* answering(
  call: CoreCall,
  session: Session,
  data: { readonly path?: readonly string[] | undefined; readonly paths?: readonly string[] | undefined },
): Work<Response> {
  const paths = data.paths ?? data.path ?? [];
  if (paths.length === 0) throw new VaultError("invalid", "paths must be supplied");
  if (paths.length > mostPaths) throw new VaultError("invalid", `ask for at most ${mostPaths} paths at once`);
  if (session.expiresAt !== 0 && call.request.time >= session.expiresAt) throw invalidToken();
  const { time, connection } = call.request;
  const own = session.entry.id === call.session?.entry.id;
  const situation = { time, remoteAddress: own ? connection.remoteAddress : "" };
  const found: [string, readonly string[]][] = [];
  for (const given of paths) {
    const path = spelledPath(call.generation.mounts, given.replace(/^\/+/, ""));
    found.push([given, session.acl.capabilities(path, (operation) => factsOf(session, path, operation, situation))]);
    yield;
  }
  const each = Object.fromEntries(found);
  return { data: { ...each, ...(paths.length === 1 && { capabilities: each[paths[0] ?? ""] }) }, shape: "both" };
}

export const capabilityRoutes: readonly Route[] = [
  {
    path: "capabilities-self",
    on: {
      update: coreHandler({
        summary: "What the caller may at paths",
        mutates: false,
        fields: pathFields,
        run: async (call) => {
          if (call.session === null) throw new VaultError("unauthenticated", "permission denied");
          return sliced(answering(call, call.session, call.data));
        },
      }),
    },
  },
  {
    path: "capabilities",
    on: {
      update: coreHandler({
        summary: "What a token may at paths",
        mutates: false,
        fields: { ...pathFields, token: field.string("The token", { required: true, secret: true }) },
        run: async (call) => {
          const session = await call.core.sessions.load(call.data.token, call.generation).catch(ofAnother);
          return sliced(answering(call, session, call.data));
        },
      }),
    },
  },
  {
    path: "capabilities-accessor",
    on: {
      update: coreHandler({
        summary: "What a token may at paths, by its accessor",
        mutates: false,
        fields: { ...pathFields, accessor: field.string("The accessor", { required: true }) },
        run: async (call) => {
          const entry = await call.core.tokens.byAccessor(call.data.accessor);
          if (entry === null) throw new VaultError("invalid", "invalid accessor");
          const session = await call.core.sessions.of(entry, call.generation).catch(ofAnother);
          return sliced(answering(call, session, call.data));
        },
      }),
    },
  },
];
