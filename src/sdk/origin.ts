// The one word of whence something comes that a plugin adds by itself: where the request came from that made it. The others
// are in `call.caller.origins`, in words of the core.

import type { Connection } from "./request.ts";

const prefix = "address/";

/** None of a unix socket, which has no address. */
export const ofAddress = ({ remoteAddress }: Pick<Connection, "remoteAddress">): readonly string[] =>
  remoteAddress === "" ? [] : [`${prefix}${remoteAddress}`];

/** Null where it is another word. */
export const addressIn = (origin: string): string | null =>
  origin.startsWith(prefix) ? origin.slice(prefix.length) : null;
