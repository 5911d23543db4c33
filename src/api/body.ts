// Reads a request's body, and makes fields of it.
// Must hold: never more than the limit is kept; what is announced as longer is refused before it is read; no error tells
// what the body holds.
// Known gap: a number that a double cannot hold (beyond 2^53, more than 17 digits, 1e400) is refused, where Vault keeps
// its text: everything behind the door holds plain JSON, and would change it silently.

import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { hasBackslashName } from "../lib/json.ts";
import { VaultError } from "../sdk/errors.ts";
import { checkExtent, type Extent, tooLong, tooMany } from "./extent.ts";
import { parseFields } from "./target.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** The client went away before its request was whole: there is nobody to answer. */
export class Aborted extends Error {
  override readonly name = "Aborted";
}

/** RFC 9112 section 6.3: without either header there is no body. */
export const hasBody = (incoming: IncomingMessage): boolean => {
  const { headers } = incoming;
  return (headers["content-length"] ?? "0") !== "0" || headers["transfer-encoding"] !== undefined;
};

const empty = Buffer.alloc(0);
const tooLarge = (limit: number): VaultError =>
  new VaultError("too_large", `the request body is larger than ${limit} bytes`);

export function announced(incoming: IncomingMessage): number {
  return Number(incoming.headers["content-length"] ?? 0);
}

/** Pieces are joined in lots of this many: each costs a hundred bytes and more, however little is in it, and a client may
 *  send a body byte by byte. */
const mostLoose = 1_024;

/** In memory of its own, not of the pool that other buffers share: the one who wipes it must own it. */
function joined(parts: readonly Buffer[], wipe: boolean): Buffer {
  const whole = Buffer.alloc(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    at += part.copy(whole, at);
    if (wipe) part.fill(0);
  }
  return whole;
}

/** Rejects with VaultError `too_large`, or with Aborted. With `wipe`, whatever is not handed over has been overwritten. */
export async function readBody(incoming: IncomingMessage, limit: number, wipe = false): Promise<Buffer> {
  if (!hasBody(incoming)) return empty;
  if (announced(incoming) > limit) throw tooLarge(limit);
  const chunks: Buffer[] = [];
  let loose = 0;
  let size = 0;
  const drop = (): void => {
    if (wipe) for (const chunk of chunks) chunk.fill(0);
    chunks.length = 0;
  };
  try {
    await new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        size += chunk.length;
        chunks.push(chunk);
        loose += 1;
        if (loose === mostLoose) {
          chunks.push(joined(chunks.splice(-loose), wipe));
          loose = 0;
        }
        if (size <= limit) return;
        incoming.off("data", onData);
        reject(tooLarge(limit));
      };
      if (incoming.destroyed) reject(new Aborted());
      incoming.on("data", onData);
      // Every request closes some day: an error, with its stack, is made for those alone that did not end before.
      let ended = false;
      const cut = (): void => {
        if (!ended) reject(new Aborted());
      };
      incoming.once("end", () => {
        ended = true;
        resolve();
      });
      incoming.once("error", () => reject(new Aborted()));
      incoming.once("close", cut);
    });
  } catch (error) {
    drop();
    throw error;
  }
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1) return first;
  return joined(chunks, wipe);
}

/** "application/json" of "Application/JSON; charset=utf-8". */
export function mediaType(incoming: IncomingMessage): string {
  const header = incoming.headers["content-type"] ?? "";
  const semicolon = header.indexOf(";");
  return (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
}

/** The fields of a body, whatever its content type says: clients send JSON as forms and as nothing at all. Own
 *  properties only, null prototype. Throws VaultError `invalid` or `media_type`. */
export function parseBody(incoming: IncomingMessage, body: Buffer, limits: Extent): Fields {
  const encoding = incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new VaultError("media_type", "the body must be sent without a content encoding");
  }
  if (!isUtf8(body)) throw new VaultError("invalid", "error parsing JSON: the body is not UTF-8");
  if (mediaType(incoming) === "application/x-www-form-urlencoded" && !looksLikeJson(body)) {
    return parseForm(body.toString("utf8").trim(), limits);
  }
  checkExtent(body, limits);
  const text = body.toString("utf8");
  if (text.trim() === "") return Object.create(null) as Fields;
  const value = parseJson(text);
  if (value === null) return Object.create(null) as Fields;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new VaultError("invalid", "error parsing JSON: the body must be an object");
  }
  inspect(value);
  return Object.assign(Object.create(null) as object, value) as Fields;
}

function looksLikeJson(body: Buffer): boolean {
  let at = 0;
  while (at < body.length && (body[at] ?? 0) <= 0x20) at += 1;
  return body[at] === 0x7b || body[at] === 0x5b;
}

function parseForm(text: string, limits: Extent): Fields {
  let [fields, start] = [1, 0];
  for (let end = text.indexOf("&"); end >= 0; end = text.indexOf("&", start)) {
    if (end - start > limits.stringBytes) throw tooLong(limits.stringBytes);
    fields += 1;
    start = end + 1;
  }
  if (text.length - start > limits.stringBytes) throw tooLong(limits.stringBytes);
  if (fields > limits.members) throw tooMany(limits.members);
  return parseFields(text, "form");
}

// A number can only lose digits if it has many, or overflow if it has a long exponent.
const longNumber = /\d[\d.]{15}|\d[eE][+-]?\d{3}/;

function parseJson(text: string): unknown {
  if (hasBackslashName(text)) throw new VaultError("invalid", "a field's name must not be a backslash alone");
  try {
    return longNumber.test(text) ? (JSON.parse(text, exact) as unknown) : (JSON.parse(text) as unknown);
  } catch (error) {
    if (error instanceof VaultError) throw error;
    // The message of a SyntaxError quotes the text.
    throw new VaultError("invalid", "error parsing JSON: the body is not valid JSON");
  }
}

/** Digits without sign, point, exponent and outer zeros, and the power of ten that they stand at. */
function digitsOf(number: string): string {
  const [mantissa = "", exponent = "0"] = number.toLowerCase().replace("-", "").split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  let end = digits.length;
  while (digits[end - 1] === "0") end -= 1; // a pattern would try at each zero of a long row
  const kept = digits.slice(0, end);
  return kept === "" ? "0" : `${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}

/** A reviver that refuses each number whose double is written as another number than the one that was sent: neither in
 *  its shortest form nor with the 17 digits that identify it, which some encoders write. */
function exact(key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  if (Number.isFinite(value)) {
    const sent = digitsOf(context.source);
    if (sent === digitsOf(String(value)) || sent === digitsOf(value.toPrecision(17))) return value;
  }
  throw new VaultError(
    "invalid",
    `the number in field ${JSON.stringify(key.slice(0, 64))} has more digits than are kept: send it as a string`,
  );
}

/** `__proto__` is an own property to JSON.parse, and the prototype to whoever assigns it later: it stops here. */
function inspect(value: object): void {
  if (Object.hasOwn(value, "__proto__")) throw new VaultError("invalid", "a field cannot be called __proto__");
  for (const member of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) {
    if (typeof member === "object" && member !== null) inspect(member);
  }
}
