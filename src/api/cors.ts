// Requests of pages that another origin served (the Fetch standard, section 3.2 "CORS protocol"), as sys/config/cors lets
// them: nothing of this happens before somebody has allowed an origin.
// Must hold: only an allowed origin ever gets an Access-Control header; a page of another one is refused before anything
// is done for it.

import type { IncomingMessage } from "node:http";
import type { Cors } from "../core/settings.ts";
import { VaultError } from "../sdk/errors.ts";

const methods = ["DELETE", "GET", "HEAD", "LIST", "OPTIONS", "PATCH", "POST", "PUT", "SCAN"];
const seconds = "300";

export interface CrossOrigin {
  /** Names and values in turn, for whatever the answer is. */
  readonly headers: readonly string[];
  /** It asks what it may ask: the headers are the answer. */
  readonly preflight: boolean;
}

const none: CrossOrigin = { headers: [], preflight: false };

/** Browsers tell the origin of their own pages too. */
const isOwn = (origin: string, host: string | undefined): boolean =>
  URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();

/** Throws VaultError `denied`, or `unsupported` where a preflight asks for a method that there is not. */
export function crossOrigin({ headers, method }: IncomingMessage, cors: Cors | null): CrossOrigin {
  const { origin, host } = headers;
  if (cors === null || origin === undefined || isOwn(origin, host)) return none;
  const { allowed_origins: origins } = cors;
  if (origins[0] !== "*" && !origins.includes(origin)) throw new VaultError("denied", "origin not allowed");
  const common = ["Access-Control-Allow-Origin", origin, "Vary", "Origin"];
  const wanted = headers["access-control-request-method"];
  if (method !== "OPTIONS" || wanted === undefined) return { headers: common, preflight: false };
  if (!methods.includes(wanted)) throw new VaultError("unsupported", "unsupported method");
  const allowed = [
    ["Access-Control-Allow-Methods", methods.join(",")],
    ["Access-Control-Allow-Headers", cors.allowed_headers.join(",")],
    ["Access-Control-Max-Age", seconds],
  ];
  return { headers: [...common, ...allowed.flat()], preflight: true };
}
