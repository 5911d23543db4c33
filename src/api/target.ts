// The request target (RFC 9112 section 3.2): what a client asks for, decoded exactly once.
// Must hold: the path that comes out is the one that is routed, authorized, audited and run. Whatever two readers could
// take for two different paths (dot segments, encoded slashes, controls, invalid UTF-8) comes out of here as an error.

import { VaultError } from "../sdk/errors.ts";

export interface Target {
  /** Starts with "/", decoded, no trailing slash ("/" aside). */
  readonly path: string;
  /** As sent, without the "?". */
  readonly query: string;
  /** Where the client should ask instead: the path was sent with doubled slashes. */
  readonly redirect: string | null;
}

// Printable as in Vault: letters, marks, numbers, punctuation, symbols and the plain space.
const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;
const dotSegment = /\/\.\.?(?:\/|$)/;

const invalid = (message: string): VaultError => new VaultError("invalid", message);

/** Throws VaultError `invalid`. */
export function parseTarget(target: string): Target {
  if (target === "*") return { path: "*", query: "", redirect: null };
  if (!target.startsWith("/")) throw invalid("the request target must be a path: absolute URLs are for proxies");
  // eslint-disable-next-line no-control-regex -- controls and bytes beyond ASCII are what is looked for
  if (/[^\x21-\x7e]|[#\\]/.test(target))
    throw invalid("the request target holds a character that must be percent-encoded");
  const mark = target.indexOf("?");
  const raw = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? "" : target.slice(mark + 1);
  const path = raw.includes("%") ? decodePath(raw) : raw;
  if (dotSegment.test(path)) throw invalid("the path holds a dot segment");
  if (raw.includes("//")) {
    return { path, query, redirect: raw.replace(/\/{2,}/g, "/") + (mark < 0 ? "" : `?${query}`) };
  }
  return { path: path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path, query, redirect: null };
}

function decodePath(raw: string): string {
  if (/%2f/i.test(raw)) throw invalid("the path holds an encoded slash");
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    throw invalid("the path holds an invalid percent-encoding");
  }
  if (unprintable.test(path)) throw invalid("the path holds a non-printable character");
  return path;
}

function decodeComponent(text: string, what: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw invalid(`the ${what} holds an invalid percent-encoding`);
  }
}

/** The fields of a query or of a form (application/x-www-form-urlencoded). A repeated name gives a list. Throws VaultError
 *  `invalid` on what cannot be decoded, and on `__proto__`. */
export function parseFields(text: string, what: "query" | "form"): Record<string, string | string[]> {
  const fields = Object.create(null) as Record<string, string | string[]>;
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decodeComponent(equals < 0 ? pair : pair.slice(0, equals), what);
    const value = equals < 0 ? "" : decodeComponent(pair.slice(equals + 1), what);
    if (name === "__proto__") throw invalid("a field cannot be called __proto__");
    // As in a JSON body (see src/lib/json.ts): it may stand in JSON later.
    if (name === "\\") throw invalid("a field's name must not be a backslash alone");
    const earlier = fields[name];
    if (earlier === undefined) fields[name] = value;
    else if (typeof earlier === "string") fields[name] = [earlier, value];
    else earlier.push(value);
  }
  return fields;
}
