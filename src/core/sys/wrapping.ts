// sys/wrapping: making, looking up, opening and renewing wrapped answers.
// Must hold: looking up tells nothing of what is inside; whoever opens one by its own token has used that token up.

import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { ofAddress } from "../../sdk/origin.ts";
import type { Response } from "../../sdk/request.ts";
import { checkSecretSize } from "../../sdk/size.ts";
import { originsOf } from "../blocks/origins.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { TokenEntry } from "../tokens/entry.ts";
import { invalidWrapping, keepWrapped, readWrapped, unwrapped, withdraw, wrappingOf } from "../wrapping.ts";

const tokenFields = {
  token: field.string("The wrapping token; the caller's own where left out", { secret: true }),
} as const;

/** The token that a request is about: the body's, or the caller's own. */
const named = ({ request }: Pick<CoreCall, "request">): string => {
  const given = request.data["token"];
  return typeof given === "string" && given !== "" ? given : (request.token ?? "");
};

/** The door has taken the only use of a caller's own wrapping token, and ends it afterwards. */
async function opened(
  call: CoreCall,
): Promise<{ readonly entry: TokenEntry; readonly text: string; readonly own: boolean }> {
  const { core, session, request } = call;
  const token = named(call);
  const own = token === request.token;
  const entry = own ? session?.entry : await wrappingOf(core, token, request.time);
  if (entry?.wrapping !== true) throw invalidWrapping();
  const text = await readWrapped(core, entry.id);
  if (text === null) throw invalidWrapping();
  return { entry, text, own };
}

async function unwrap(call: CoreCall): Promise<Response> {
  const { entry, text, own } = await opened(call);
  if (!own && !(await call.core.tokens.claim(entry.id))) throw invalidWrapping();
  return unwrapped(text);
}

/** The same content behind another token, for as long as the first one had. The new one is made first, so that what is
 *  inside cannot be lost; it is ended where another was faster. */
async function rewrap(call: CoreCall): Promise<Response> {
  const { core, request } = call;
  const { entry, text, own } = await opened(call);
  const ttl = Math.min(entry.ttl, request.wrapTtl || entry.ttl);
  const { displayName = "", origins: asker = [] } = call.session?.principal ?? {};
  const origins = [...new Set([...originsOf(entry), ...asker, ...ofAddress(call.connection)])];
  const response = { wrapInfo: await keepWrapped(core, { text, path: entry.path, ttl, displayName, origins }) };
  if (own || (await core.tokens.claim(entry.id))) return response;
  await withdraw(core, response);
  throw invalidWrapping();
}

async function lookup(call: CoreCall): Promise<Response> {
  const entry = await wrappingOf(call.core, named(call), call.request.time);
  if (entry === null) throw invalidWrapping();
  const { path, created_at, ttl } = entry;
  return { data: { creation_path: path, creation_time: rfc3339(created_at), creation_ttl: ttl } };
}

/** Before the caller is known: a token that has been used up is told from one that may not. */
const before: Route["before"] = async (call) => {
  const { core, request } = call as CoreCall;
  if ((await wrappingOf(core, named({ request }), request.time)) === null) throw invalidWrapping();
};

export const wrappingRoutes: readonly Route[] = [
  {
    path: "wrapping/wrap",
    on: {
      update: coreHandler({
        summary: "Wrap the fields given",
        open: true,
        run: async ({ request }) => {
          checkSecretSize(request.data);
          if (!request.wrapTtl) throw new VaultError("invalid", "endpoint requires response wrapping to be used");
          return { data: request.data };
        },
      }),
    },
  },
  {
    path: "wrapping/lookup",
    unauthenticated: true,
    on: {
      read: coreHandler({ summary: "What is known of the caller's own wrapping token", run: lookup }),
      update: coreHandler({
        summary: "What is known of a wrapping token",
        mutates: false,
        fields: tokenFields,
        run: lookup,
      }),
    },
  },
  {
    path: "wrapping/unwrap",
    before,
    on: { update: coreHandler({ summary: "Open a wrapped answer, once", fields: tokenFields, run: unwrap }) },
  },
  {
    path: "wrapping/rewrap",
    before,
    on: { update: coreHandler({ summary: "Move a wrapped answer to a new token", fields: tokenFields, run: rewrap }) },
  },
];
