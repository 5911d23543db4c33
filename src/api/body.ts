// Reads a request's body, and makes fields of it.
// Must hold: never more than the limit is kept; what is announced as longer is refused before it is read; no error tells
// what the body holds.
// Known gap: a number that a double cannot hold (beyond 2^53, more than 17 digits, 1e400) is refused, where Vault keeps
// its text: everything behind the door holds plain JSON, and would change it silently.

import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { setImmediate as immediate } from "node:timers/promises";
import { release } from "../lib/bytes.ts";
import { hasBackslashName } from "../lib/json.ts";
import { VaultError } from "../sdk/errors.ts";
import { checkExtent, checkLargeExtent, type Extent, tooLong, tooMany } from "./extent.ts";
import { Aborted, type Intake } from "./intake.ts";
import type { Held, Pot } from "./pot.ts";
import { parseFields } from "./target.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** RFC 9112 section 6.3: without either header there is no body. */
export const hasBody = (incoming: IncomingMessage): boolean => {
  const { headers } = incoming;
  return (headers["content-length"] ?? "0") !== "0" || headers["transfer-encoding"] !== undefined;
};

const empty = Buffer.alloc(0);
const tooLarge = (limit: number, more = ""): VaultError =>
  new VaultError("too_large", `the request body is larger than ${limit} bytes${more}`);

export function announced(incoming: IncomingMessage): number {
  return Number(incoming.headers["content-length"] ?? 0);
}

/** What a body takes beside its bytes. */
const overhead = 512;
const leastRoom = 1_024;

export interface ReadOptions {
  /** Whatever is not handed over has been overwritten. */
  readonly wipe?: boolean;
  /** Where its bytes count. */
  readonly intake?: Intake;
  readonly pot?: Pot;
  /** Whether who asks may send more than a stranger. */
  readonly known?: () => Promise<boolean>;
}

/** What is there of a body. */
class Gathering implements Held {
  readonly #incoming: IncomingMessage;
  readonly #limit: number;
  readonly #options: ReadOptions;
  /** One piece of memory, of at most twice what came: a piece for each that was sent would cost hundreds of bytes, however
   *  little is in it, and a client may send a body byte by byte. */
  #kept: Buffer = empty;
  /** It has had its turn, and counts among the others no more. */
  #large = false;
  #ended = false;
  #unwatch: (() => void) | null = null;
  size = 0;
  known = false;
  /** Where to ask before going on. */
  bound: number;
  /** Ends the reading. Nothing is held before there is something to end. */
  cut: (error: unknown) => void = () => {};

  constructor(incoming: IncomingMessage, limit: number, options: ReadOptions) {
    this.#incoming = incoming;
    this.#limit = limit;
    this.#options = options;
    const bounds = options.intake?.bounds;
    this.bound =
      bounds === undefined ? Infinity : options.known === undefined ? bounds.largeBytes : bounds.strangerBytes;
  }

  /** Throws VaultError `too_large` or `rate_limited`. */
  add(chunk: Buffer): void {
    const size = this.size + chunk.length;
    if (size > this.#limit) throw tooLarge(this.#limit);
    if (this.size === 0 && !this.#large) this.#kept = chunk;
    else {
      if (size > this.#kept.length) this.#move(Math.min(Math.max(2 * size, leastRoom), this.#most));
      chunk.copy(this.#kept, this.size);
      if (this.#options.wipe === true) chunk.fill(0);
    }
    this.size = size;
    const { intake, pot } = this.#options;
    if (!this.#large) (intake ?? pot)?.hold(this, this.#kept.length + overhead);
  }

  get #most(): number {
    return announced(this.#incoming) || this.#limit;
  }

  /** Pages that nothing is written to cost nothing. It is nobody else's memory: the one who wipes it must own it. */
  #move(room: number): void {
    const kept = Buffer.allocUnsafeSlow(room);
    this.#kept.copy(kept, 0, 0, this.size);
    if (this.#options.wipe === true) this.#kept.fill(0);
    this.#kept = kept;
  }

  /** Resolves when `size` bytes may be read. */
  async widen(size: number): Promise<void> {
    const { intake, known } = this.#options;
    if (intake === undefined) return;
    const { strangerBytes, largeBytes } = intake.bounds;
    if (this.bound < largeBytes) {
      if (known !== undefined && !(await known())) throw tooLarge(strangerBytes, ", and no valid token came with it");
      // A turn would end with a request that is over already.
      if (this.#ended) throw new Aborted();
      this.known = true;
      this.bound = largeBytes;
    }
    if (size <= largeBytes) return;
    await intake.turn(this.#incoming);
    this.#unwatch = intake.watch((error) => this.cut(error));
    this.#large = true;
    this.#move(this.#most);
    intake.drop(this);
    this.bound = Infinity;
  }

  /** Everything, or nothing where it is not wanted any more. */
  end(wanted: boolean): Buffer {
    const { intake, pot, wipe } = this.#options;
    this.#ended = true;
    this.#unwatch?.();
    (intake ?? pot)?.drop(this);
    const kept = this.#kept;
    this.#kept = empty;
    if (wanted) {
      if (this.#large) intake?.arrived(this.size);
      return kept.length === this.size ? kept : kept.subarray(0, this.size);
    }
    if (wipe === true) kept.fill(0);
    if (this.#large) release(kept);
    return empty;
  }
}

/** Rejects with VaultError `too_large`, `media_type` or `rate_limited`, or with Aborted. */
export async function readBody(incoming: IncomingMessage, limit: number, options: ReadOptions = {}): Promise<Buffer> {
  if (!hasBody(incoming)) return empty;
  // Node's parser ends the message where the last coding says, and leaves the others to whoever reads it.
  const coding = incoming.headers["transfer-encoding"] ?? "chunked";
  if (coding.trim().toLowerCase() !== "chunked")
    throw new VaultError("media_type", "the body must be sent without a transfer encoding other than chunked");
  const length = announced(incoming);
  if (length > limit) throw tooLarge(limit);
  const body = new Gathering(incoming, limit, options);
  let whole = false;
  try {
    if (length > body.bound) await body.widen(length);
    await new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        try {
          body.add(chunk);
        } catch (error) {
          body.cut(error);
          return;
        }
        if (body.size <= body.bound) return;
        incoming.pause();
        body.widen(body.size).then(
          () => incoming.resume(),
          (error: unknown) => body.cut(error),
        );
      };
      body.cut = (error) => {
        incoming.off("data", onData);
        reject(error);
      };
      if (incoming.destroyed) reject(new Aborted());
      incoming.on("data", onData);
      incoming.once("end", () => {
        whole = true;
        resolve();
      });
      incoming.once("error", () => reject(new Aborted()));
      // Every request closes some day: an error, with its stack, is made for those alone that did not end before.
      incoming.once("close", () => {
        if (!whole) reject(new Aborted());
      });
    });
  } catch (error) {
    body.end(false);
    throw error;
  }
  return body.end(true);
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
  if (isForm(incoming, body)) return parseForm(body.toString("utf8").trim(), limits);
  checkExtent(body, limits);
  const text = body.toString("utf8");
  if (text.trim() === "") return objectOf(null);
  checkNames(text);
  return objectOf(parseJson(text));
}

/** The same of a large body, in steps that let others in between. Its memory is free after that. */
export async function parseLargeBody(
  incoming: IncomingMessage,
  body: Buffer,
  limits: Extent,
  intake: Intake,
): Promise<Fields> {
  const { length } = body;
  const form = isForm(incoming, body);
  if (!form) await checkLargeExtent(body, limits);
  let text = body.toString("utf8");
  release(body);
  await immediate();
  if (form) return parseForm(text.trim(), limits);
  if (text.trim() === "") return objectOf(null);
  checkNames(text);
  await immediate();
  const value = parseJson(text);
  // As large as the value, and not needed beside it.
  text = "";
  await immediate();
  intake.collect(length);
  await immediate();
  const fields = objectOf(value);
  await immediate();
  return fields;
}

/** Throws VaultError `invalid` or `media_type` where it can be neither form nor JSON. */
function isForm(incoming: IncomingMessage, body: Buffer): boolean {
  const encoding = incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new VaultError("media_type", "the body must be sent without a content encoding");
  }
  if (!isUtf8(body)) throw new VaultError("invalid", "error parsing JSON: the body is not UTF-8");
  return mediaType(incoming) === "application/x-www-form-urlencoded" && !looksLikeJson(body);
}

function objectOf(value: unknown): Fields {
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

function checkNames(text: string): void {
  if (hasBackslashName(text)) throw new VaultError("invalid", "a field's name must not be a backslash alone");
}

function parseJson(text: string): unknown {
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
