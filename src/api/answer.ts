// What goes back: Vault's envelope, its other shapes, and the bytes on the wire.
// Must hold: every answer carries `Cache-Control: no-store`; an answer is written once, whole, with its length. A stream
// that fails ends in a broken connection, never like a whole one.

import type { IncomingMessage, OutgoingHttpHeader, ServerResponse } from "node:http";
import { pipeline, Readable } from "node:stream";
import { envelopeOf, isAbsent } from "../core/envelope.ts";
import type { VaultError } from "../sdk/errors.ts";
import type { Operation, Outcome, Response } from "../sdk/request.ts";
import { hasBody } from "./body.ts";
import { statusOf } from "./errors.ts";
import type { Limits } from "./limits.ts";

export interface Answer {
  readonly status: number;
  /** JSON unless `type` says otherwise; null for none. */
  readonly body: string | null;
  /** In place of a body. */
  readonly stream?: ReadableStream<Uint8Array>;
  readonly type?: string;
  /** Names and values in turn. */
  readonly headers?: readonly string[];
}

const outcomes: Readonly<Record<Outcome, number>> = { accepted: 202, standby: 429, sealed: 503, uninitialized: 501 };
const missing: Answer = { status: 404, body: '{"errors":[]}\n' };
const nothing: Answer = { status: 204, body: null };

export function answerOf(id: string, operation: Operation, response: Response): Answer {
  const { headers } = response;
  return headers === undefined
    ? plainAnswer(id, operation, response)
    : { ...plainAnswer(id, operation, response), headers };
}

function plainAnswer(id: string, operation: Operation, response: Response): Answer {
  const { text } = response;
  if (text !== undefined) return { status: 200, body: text.body, type: text.type };
  if (isAbsent(operation, response)) return missing;
  const status = response.outcome === undefined ? 200 : outcomes[response.outcome];
  const body = envelopeOf(id, response);
  return body === null ? nothing : { status, body: `${body}\n` };
}

export function errorAnswer(id: string, error: VaultError): Answer {
  const status = statusOf(error.code);
  const errors = JSON.stringify(error.errors);
  const { data = null, warnings = [], headers } = error;
  const head = headers === undefined ? {} : { headers };
  if (data === null && warnings.length === 0) return { status, body: `{"errors":${errors}}\n`, ...head };
  const { body } = plainAnswer(id, "update", { data, warnings });
  return { status, body: error.errors.length === 0 ? body : `{"errors":${errors},${(body ?? "{}").slice(1)}`, ...head };
}

/** Bodies up to this size that nobody read are left to Node, which reads them to their end. */
const small = 64 * 1024;

function unread(incoming: IncomingMessage): boolean {
  if (incoming.complete || !hasBody(incoming)) return false;
  return incoming.headers["transfer-encoding"] !== undefined || Number(incoming.headers["content-length"]) > small;
}

export function send(incoming: IncomingMessage, outgoing: ServerResponse, answer: Answer, limits: Limits): void {
  const { status, body } = answer;
  if (outgoing.headersSent || outgoing.destroyed) return;
  const headers: OutgoingHttpHeader[] = ["Cache-Control", "no-store"];
  if (body !== null) {
    headers.push("Content-Type", answer.type ?? "application/json", "Content-Length", Buffer.byteLength(body));
  } else if (status !== 204) {
    headers.push("Content-Length", 0);
  }
  if (answer.headers !== undefined) headers.push(...answer.headers);
  if (unread(incoming)) {
    linger(incoming, outgoing, status, headers, body, limits);
    return;
  }
  if (answer.stream !== undefined) {
    outgoing.writeHead(status, ["Cache-Control", "no-store", "Content-Type", "application/octet-stream"]);
    // Either side may break: what is left is destroyed.
    pipeline(Readable.fromWeb(answer.stream), outgoing, () => {});
    return;
  }
  outgoing.writeHead(status, headers);
  if (body === null) outgoing.end();
  // A text would be copied once more, to stand behind the head.
  else outgoing.end(body.length > small ? Buffer.from(body) : body);
}

/** Answers a request whose body is still coming. Closing at once would reset the connection and could take the answer
 *  with it, so the answer goes out whole, the body is read on for a little, and only then the message ends. */
function linger(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  status: number,
  headers: OutgoingHttpHeader[],
  body: string | null,
  limits: Limits,
): void {
  outgoing.writeHead(status, [...headers, "Connection", "close"]);
  if (body === null) outgoing.flushHeaders();
  else outgoing.write(body);
  let left = limits.lingerBytes;
  const onData = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) end();
  };
  const end = (): void => {
    clearTimeout(timer);
    incoming.off("data", onData);
    outgoing.end();
  };
  const timer = setTimeout(end, limits.lingerTimeout);
  incoming.on("data", onData).once("end", end).once("close", end).once("error", end);
  incoming.resume();
}
