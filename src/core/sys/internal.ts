// sys/internal/ui: what clients ask before they ask for a secret. A mount is shown to whoever may do anything inside it.

import { sliced, type Work } from "../../lib/slices.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { Route } from "../../sdk/mount.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Generation } from "../generation.ts";
import type { Mounted } from "../mounts.ts";
import { deniedError, type Session } from "../session.ts";
import { shownMount, shownPath } from "./sides.ts";

/** The routes ask for a valid token, and for no capability: what is shown follows from what the token may. */
export async function callerOf(call: Pick<CoreCall, "request" | "core" | "generation">): Promise<Session> {
  const { token, connection, time } = call.request;
  if (token === null || token === "") throw deniedError();
  const session = await call.core.sessions.load(token, call.generation);
  if (session.expiresAt !== 0 && time >= session.expiresAt) throw deniedError();
  if (session.bound !== null && !session.bound(connection.remoteAddress)) throw deniedError();
  return session;
}

/** Bit by bit: each mount may be looked for among a hundred thousand rules. */
export function* reached({ mounts }: Generation, { acl }: Session): Work<readonly Mounted[]> {
  const found: Mounted[] = [];
  for (const mounted of mounts) {
    if (acl.reachable(mounted.path)) found.push(mounted);
    yield;
  }
  return found;
}

function listed(reachable: readonly Mounted[], side: "auth" | "secret"): Record<string, unknown> {
  const mounts = reachable.filter((mounted) => mounted.path.startsWith("auth/") === (side === "auth"));
  const entries = mounts.map((mounted) => [shownPath(side, mounted), shownMount(mounted)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

export const internalRoutes: readonly Route[] = [
  {
    path: "internal/ui/mounts",
    unauthenticated: true,
    on: {
      read: coreHandler({
        summary: "Mounts that the caller may see",
        run: async (call) => {
          const mounts = await sliced(reached(call.generation, await callerOf(call)));
          return { data: { auth: listed(mounts, "auth"), secret: listed(mounts, "secret") } };
        },
      }),
    },
  },
  {
    path: "internal/ui/mounts/:path*",
    unauthenticated: true,
    on: {
      read: coreHandler({
        summary: "The mount that a path lies in",
        run: async (call) => {
          const session = await callerOf(call);
          const mounted = call.generation.mounts.route(`${call.params["path"] ?? ""}/`);
          if (mounted === null || !session.acl.reachable(mounted.path)) {
            throw new VaultError(
              "denied",
              "preflight capability check returned 403, please ensure client's policies grant access to path \"" +
                (call.params["path"] ?? "") +
                '/"',
            );
          }
          const side = mounted.path.startsWith("auth/") ? "auth" : "secret";
          return { data: { ...shownMount(mounted), path: shownPath(side, mounted) } };
        },
      }),
    },
  },
];
