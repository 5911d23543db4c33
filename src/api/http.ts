// HTTP ⇄ Request: which operation, which path, which fields, whose token.
// Must hold: one request has one path, one operation and one token, or it is refused.

import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Door } from "../core/door.ts";
import { parseDuration } from "../lib/duration.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Operation, Request } from "../sdk/request.ts";
import { type Fields, hasBody, mediaType, parseBody, parseLargeBody, readBody } from "./body.ts";
import { connectionOf } from "./connection.ts";
import type { Intake } from "./intake.ts";
import type { Limits } from "./limits.ts";
import { methodOf } from "./list.ts";
import { careOf, checkOrigin, readShare } from "./shares.ts";
import { parseFields, type Target } from "./target.ts";

export const operations: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["GET", "read"],
  ["HEAD", "read"],
  ["LIST", "list"],
  ["SCAN", "scan"],
  ["POST", "update"],
  ["PUT", "update"],
  ["PATCH", "patch"],
  ["DELETE", "delete"],
]);
export const allow = "OPTIONS, HEAD, GET, LIST, SCAN, POST, PUT, PATCH, DELETE";

export const newId = (): string => randomUUID();

const manyTokens = (): VaultError => new VaultError("invalid", "the request carries more than one token");

/** X-Vault-Token, or `Authorization: Bearer`; no other scheme is a token. */
function tokenOf(incoming: IncomingMessage): string | null {
  const { authorization, "x-vault-token": header } = incoming.headers;
  if (authorization === undefined) {
    // Node joins repeated headers.
    if (typeof header === "string" && header.includes(",")) throw manyTokens();
    return typeof header === "string" && header !== "" ? header : null;
  }
  const given = new Set<string>();
  const { rawHeaders } = incoming;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase();
    const value = rawHeaders[at + 1] ?? "";
    if (name === "x-vault-token" && value !== "") given.add(value);
    const bearer = name === "authorization" ? /^bearer +(\S.*)$/i.exec(value)?.[1] : undefined;
    if (bearer !== undefined) given.add(bearer);
  }
  if (given.size > 1) throw manyTokens();
  return given.values().next().value ?? null;
}

/** Throws VaultError `not_found` where the request names one. */
export function checkNamespace({ headers }: IncomingMessage): void {
  const header = headers["x-vault-namespace"];
  if (header === undefined) return;
  const name = String(header).replace(/^\/+|\/+$/g, "");
  if (name === "" || name === "root") return;
  throw new VaultError("not_found", "this server has no namespaces: leave X-Vault-Namespace out");
}

function wrapTtlOf(header: string | string[] | undefined): number | null {
  if (header === undefined || header === "") return null;
  const seconds = parseDuration(header);
  if (seconds === null)
    throw new VaultError("invalid", 'X-Vault-Wrap-TTL must be a duration such as 90, "90s" or "5m"');
  return seconds;
}

// Go's strconv.ParseBool, which Vault reads these flags with.
const truths = /^(1|t|T|TRUE|true|True)$/;
const untruths = /^(|0|f|F|FALSE|false|False)$/;

/** Takes a flag out of the query. Throws VaultError `invalid`. */
export function takeFlag(query: Record<string, unknown>, name: string): boolean {
  const value = query[name];
  if (value === undefined) return false;
  delete query[name];
  if (typeof value === "string" && truths.test(value)) return true;
  if (typeof value === "string" && untruths.test(value)) return false;
  throw new VaultError("invalid", `the query's ${name} must be true or false`);
}

const noFields = Object.freeze(Object.create(null) as Fields);

interface Asked {
  readonly operation: Operation;
  readonly data: Fields;
  readonly share?: Uint8Array;
}

/** Of a method that reads. */
function queryFields(operation: Operation, query: string): Asked {
  if (query === "") return { operation, data: noFields };
  const data = parseFields(query, "query");
  const [list, scan, help] = [takeFlag(data, "list"), takeFlag(data, "scan"), takeFlag(data, "help")];
  if (operation !== "read") return { operation, data };
  return { operation: help ? "help" : list ? "list" : scan ? "scan" : "read", data };
}

/** Of all requests: what is the same for each of them. */
export interface Terms {
  readonly limits: Limits;
  readonly intake: Intake;
  readonly door: Pick<Door, "knows" | "refuse">;
}

const lost = (): VaultError => new VaultError("invalid", "the body of the request did not come whole");

/** Whoever was told to send on, and so that his token is valid, is in the audit whatever comes then. */
async function readOf(
  incoming: IncomingMessage,
  { limits, intake, door }: Terms,
  request: () => Request,
): Promise<Buffer> {
  const told: { request: Request | null } = { request: null };
  const known = async (): Promise<boolean> => {
    const asked = request();
    if (!(await door.knows(asked))) return false;
    told.request = asked;
    return true;
  };
  try {
    return await readBody(incoming, limits.bodyBytes, { intake, known });
  } catch (error) {
    if (told.request !== null) {
      const refused = door.refuse(told.request, error instanceof VaultError ? error : lost());
      await (error instanceof VaultError ? refused : refused.catch(() => {}));
    }
    throw error;
  }
}

/** Methods that read have their fields in the query; the rest, in the body. */
async function fieldsOf(
  incoming: IncomingMessage,
  operation: Operation,
  { path, query }: Target,
  terms: Terms,
  request: () => Request,
): Promise<Asked> {
  const { limits, intake } = terms;
  if (operation === "patch" && mediaType(incoming) !== "application/merge-patch+json") {
    throw new VaultError("media_type", "PATCH needs the content type application/merge-patch+json");
  }
  const care = operation === "update" ? careOf(path.slice("/v1/".length)) : null;
  if (care !== null) checkOrigin(incoming);
  if (care === "share") return { operation, ...(await readShare(incoming)) };
  const body = hasBody(incoming) ? await readOf(incoming, terms, request) : null;
  if (operation === "update" || operation === "patch") {
    if (body === null) return { operation, data: noFields };
    const large = body.length > limits.largeBytes;
    const data = large ? await parseLargeBody(incoming, body, limits, intake) : parseBody(incoming, body, limits);
    return { operation, data };
  }
  return queryFields(operation, query);
}

/** Whether a path that the door does not serve is asked about, rather than asked. */
export function asksHelp(incoming: IncomingMessage, { query }: Target): boolean {
  return query.includes("help") && methodOf(incoming) === "GET" && takeFlag(parseFields(query, "query"), "help");
}

/** Throws VaultError or Aborted. `target` is below /v1/. No promise where there is no body to wait for. The request's time is the
 *  one at which all of it is here: a body may take longer than its token lives. */
export function toRequest(
  incoming: IncomingMessage,
  target: Target,
  id: string,
  now: () => number,
  terms: Terms,
): Request | Promise<Request> {
  const { headers } = incoming;
  const named = operations.get(methodOf(incoming));
  if (named === undefined) throw new VaultError("unsupported", "unsupported method");
  const token = tokenOf(incoming);
  const wrapTtl = wrapTtlOf(headers["x-vault-wrap-ttl"]);
  const below = target.path.slice("/v1/".length);
  const asking = ({ operation, data, share }: Asked): Request => {
    const path = operation === "list" || operation === "scan" ? `${below}/` : below;
    const request = { id, operation, path, data, token, connection: connectionOf(incoming), headers, time: now() };
    if (wrapTtl === null && share === undefined) return request;
    return { ...request, ...(wrapTtl !== null && { wrapTtl }), ...(share !== undefined && { share }) };
  };
  const reads = named !== "update" && named !== "patch" && !hasBody(incoming);
  return reads
    ? asking(queryFields(named, target.query))
    : fieldsOf(incoming, named, target, terms, () => asking({ operation: named, data: noFields })).then(asking);
}
