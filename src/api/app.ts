// The HTTP side of the vault: which path goes where. Answers are written on Node's own response: no WHATWG Request or
// Response is made, and what goes through the door or is asked all the time is not routed by Hono.
// Must hold: everything below /v1/ goes through the door, but for the life-cycle calls and the webhook; the path that
// picks a route here is the decoded one that the door gets; no error leaves here as anything but `{"errors":[…]}`.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { type Context, Hono } from "hono";
import type { Clock } from "../lib/clock.ts";
import { zero } from "../lib/bytes.ts";
import type { Logger } from "../lib/log.ts";
import type { Door } from "../core/door.ts";
import { rendered } from "../core/sys/metrics.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Request } from "../sdk/request.ts";
import { type Answer, answerOf, errorAnswer, send } from "./answer.ts";
import { hasBody, readBody } from "./body.ts";
import { connectionOf } from "./connection.ts";
import { crossOrigin } from "./cors.ts";
import { presentable } from "./errors.ts";
import { allow, asksHelp, checkNamespace, newId, type Terms, toRequest } from "./http.ts";
import { Aborted, Intake } from "./intake.ts";
import { lifecycle, onlyRead } from "./lifecycle.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { methodOf } from "./list.ts";
import { Meter } from "./meter.ts";
import { Outbox } from "./outbox.ts";
import { sendHandout } from "./shares.ts";
import { parseFields, parseTarget, type Target } from "./target.ts";

export interface Delivery {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** Answers for a delivery; `message` is for the forge's list of deliveries. */
export type Receive = (delivery: Delivery) => Promise<{ readonly status: number; readonly message: string }>;

export interface AppOptions {
  readonly door: Door;
  /** What takes deliveries, and how many bytes they may have. Without it there is no such path. */
  readonly webhook?: { readonly receive: Receive; readonly maxBytes: number };
  readonly log: Logger;
  readonly clock: Clock;
  readonly limits?: Partial<Limits>;
  readonly allowInit: "local" | "any";
  readonly meter?: Meter;
  /** Of all listeners together. */
  readonly intake?: Intake;
  readonly outbox?: Outbox;
  /** sys/metrics answers without a token, sealed or not. */
  readonly openMetrics?: boolean;
}

export interface Bindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** Filled in on the way to the route; the error where the target is none. */
  target?: Target | VaultError;
}
type Routes = Hono<{ Bindings: Bindings }>;
/** Answers a request, whatever it is. */
export type App = (incoming: IncomingMessage, outgoing: ServerResponse) => void;
type Serve = (bindings: Bindings, target: Target, id: string) => Promise<Answer | null>;

export const webhookPath = "/v1/sys/gitops/webhook";

/** For a person who looks here. The host is as he wrote it, and was checked to be one. */
const indexOf = ({ socket, headers }: IncomingMessage): string => `Writ, a vault whose authorization is code.

The API is below /v1/ and speaks the Vault protocol:

  export VAULT_ADDR=${"encrypted" in socket ? "https" : "http"}://${headers.host ?? ""}
  writ status

The state of this server: /v1/sys/seal-status and /v1/sys/health
`;

const noRoute = (path: string): VaultError =>
  new VaultError("not_found", `no handler for route "${path}". route entry not found.`);

// Hono asks a request for no more than its method, and these routes take any; its path comes from `getPath`. A real one,
// and a real response, would load Node's whole fetch for nothing.
const asked = Object.freeze({ method: "GET" }) as Parameters<Routes["fetch"]>[0];
const answered = Object.freeze({}) as Response;

function readTarget(incoming: IncomingMessage): Target | VaultError {
  try {
    return parseTarget(incoming.url ?? "");
  } catch (error) {
    if (error instanceof VaultError) return error;
    throw error;
  }
}

/** A path that no target has: dot segments are refused. */
const nowhere = "/.";

/** What Hono routes by. Targets that are refused or moved have no route. */
function routed(bindings: Bindings): string {
  const target = readTarget(bindings.incoming);
  bindings.target = target;
  return target instanceof VaultError || target.redirect !== null ? nowhere : target.path;
}

export function createApp(options: AppOptions): App {
  const { door, webhook, log, clock } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const intake = options.intake ?? new Intake(limits);
  const edge: Edge = {
    door,
    log,
    limits,
    meter: options.meter ?? new Meter(),
    intake,
    outbox: options.outbox ?? new Outbox(limits),
  };
  const terms: Terms = { limits, intake, door };

  const on = (serve: Serve) => async (c: Context<{ Bindings: Bindings }>) => {
    await respond(c.env, serve, edge);
    return answered;
  };

  const ask: Serve = async ({ incoming, outgoing }, target, id) => {
    if (target.path.length <= "/v1/".length) throw noRoute("");
    if (hasBody(incoming)) {
      const refused = door.crowded(target.path.slice("/v1/".length), connectionOf(incoming).remoteAddress);
      if (refused !== null) throw refused;
    }
    const made = toRequest(incoming, target, id, clock.now, terms);
    const request = made instanceof Promise ? await made : made;
    if (request.share !== undefined) return askWithShare(door, request, outgoing);
    const response = await door.handle(request);
    if (response.stream !== undefined) return { status: 200, body: null, stream: await response.stream() };
    return answerOf(id, request.operation, response);
  };

  const fixed = new Map<string, Serve>(
    Object.entries(lifecycle).map(([path, call]) => [
      path,
      (bindings, target, id) => {
        const { incoming, outgoing } = bindings;
        if (asksHelp(incoming, target)) return ask(bindings, target, id);
        return call({ incoming, outgoing, query: target.query }, options);
      },
    ]),
  );
  if (options.openMetrics === true)
    fixed.set("/v1/sys/metrics", (bindings, target) => metrics(bindings, target, options));
  const app: Routes = new Hono<{ Bindings: Bindings }>({
    // Hono types the bindings of getPath as unknown.
    getPath: (_request, context) => routed((context as { readonly env: Bindings }).env),
  });
  if (webhook !== undefined) {
    app.all(
      webhookPath,
      on(async (bindings, target, id) => {
        const { incoming } = bindings;
        if (asksHelp(incoming, target)) return ask(bindings, target, id);
        const body = await readBody(incoming, webhook.maxBytes, { intake });
        const { status, message } = await webhook.receive({
          method: methodOf(incoming),
          headers: incoming.headers,
          body,
        });
        return { status, body: `${JSON.stringify(status < 400 ? { message } : { errors: [message] })}\n` };
      }),
    );
  }
  app.all(
    "/",
    on(async ({ incoming }) => ({
      status: 200,
      body: indexOf(incoming),
      type: "text/plain; charset=utf-8",
      headers: pageHeaders(door),
    })),
  );
  app.all(
    "*",
    on(async (_bindings, { path }) => {
      if (path === "*") throw new VaultError("unsupported", "unsupported method");
      throw new VaultError("not_found", "there is nothing here: the API is below /v1/");
    }),
  );

  return (incoming, outgoing) => {
    const target = readTarget(incoming);
    const path = target instanceof VaultError || target.redirect !== null ? nowhere : target.path;
    const routedHere = path === webhookPath && webhook !== undefined;
    const serve = fixed.get(path) ?? (path.startsWith("/v1/") && !routedHere ? ask : null);
    if (serve === null) void app.fetch(asked, { incoming, outgoing });
    else void respond({ incoming, outgoing, target }, serve, edge);
  };
}

async function metrics({ incoming }: Bindings, { query }: Target, { door, clock }: AppOptions): Promise<Answer> {
  onlyRead(incoming);
  const { format = "" } = parseFields(query, "query");
  const asked = { format: String(format), accept: incoming.headers.accept, now: clock.now() };
  return { status: 200, ...rendered(await door.metrics(), asked) };
}

/** Null where shares were sent. */
async function askWithShare(door: Door, request: Request, outgoing: ServerResponse): Promise<Answer | null> {
  try {
    const response = await door.handle(request);
    if (response.handout === undefined) return answerOf(request.id, request.operation, response);
    sendHandout(outgoing, response.data ?? {}, response.handout);
    return null;
  } finally {
    zero(request.share);
  }
}

const pageHeaders = (door: Door): string[] =>
  Object.entries(door.manners()?.pageHeaders ?? {}).flatMap(([name, values]) =>
    values.flatMap((value) => [name, value]),
  );

/** Whether a page of another origin asks what it may; the answer, whatever it is, says that it may read it. */
function askOrigin(door: Door, incoming: IncomingMessage, outgoing: ServerResponse): boolean {
  const { headers, preflight } = crossOrigin(incoming, door.manners()?.cors ?? null);
  for (let at = 0; at < headers.length; at += 2) outgoing.setHeader(headers[at] ?? "", headers[at + 1] ?? "");
  return preflight;
}

/** What every answer needs. */
interface Edge {
  readonly door: Door;
  readonly log: Logger;
  readonly limits: Limits;
  readonly meter: Meter;
  readonly intake: Intake;
  readonly outbox: Outbox;
}

/** Runs one request to its answer. Never rejects. */
async function respond(bindings: Bindings, serve: Serve, edge: Edge): Promise<void> {
  const { door, log, limits, meter, intake, outbox } = edge;
  const since = performance.now();
  const { incoming, outgoing, target } = bindings;
  const id = newId();
  let answer: Answer | null;
  try {
    const preflight = incoming.headers.origin !== undefined && askOrigin(door, incoming, outgoing);
    if (target instanceof VaultError) throw target;
    if (target === undefined) throw new TypeError("a request came to its route without a target");
    if (preflight) answer = { status: 204, body: null };
    else if (target.redirect !== null) answer = { status: 307, body: null, headers: ["Location", target.redirect] };
    else if (methodOf(incoming) === "OPTIONS") answer = { status: 204, body: null, headers: ["Allow", allow] };
    else {
      checkNamespace(incoming);
      answer = await serve(bindings, target, id);
    }
  } catch (error) {
    if (error instanceof Aborted) {
      intake.end(incoming);
      return; // the connection is gone, or list.ts is telling the client why it ends
    }
    answer = errorAnswer(id, presentable(error, id, log));
    if (answer.status === 405) answer = { ...answer, headers: [...(answer.headers ?? []), "Allow", allow] };
  }
  try {
    if (answer !== null) send(incoming, outgoing, answer, limits);
    outbox.watch(outgoing);
    meter.count(target instanceof VaultError || target === undefined ? null : target.path, outgoing.statusCode, since);
  } catch (error) {
    presentable(error, id, log);
    outgoing.destroy();
  } finally {
    intake.end(incoming);
  }
}
