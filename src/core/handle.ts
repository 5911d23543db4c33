// The door: route, authenticate, authorize, audit, run, audit. Every request of every client goes through here, once.
// Must hold: the path that policies are asked about is the path that is run; one generation decides the whole request;
// nothing runs before its audit entry is kept, and nothing is answered before its own is (a read waits once, for both);
// no code below this file asks who is calling to decide what he may.

import { VaultError } from "../sdk/errors.ts";
import { parse } from "../sdk/fields.ts";
import type { Handler, ResourceReader, Route } from "../sdk/mount.ts";
import type { Operation, Request, Response } from "../sdk/request.ts";
import type { Facts } from "../policy/facts.ts";
import type { Decision } from "../policy/match.ts";
import { factsOf } from "./asking.ts";
import type { CoreCall } from "./call.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";
import type { Generation } from "./generation.ts";
import { login } from "./login.ts";
import type { Mounted } from "./mounts.ts";
import type { RouteMatch } from "./routes.ts";
import { deniedError, type Session } from "./session.ts";

interface Resolved {
  readonly mounted: Mounted | null;
  readonly match: RouteMatch | null;
  readonly session: Session | null;
  readonly operation: Operation;
  readonly decision: Decision | null;
  /** Null where no condition can be met. */
  readonly facts: Facts | null;
  /** The token may make no request after this one. */
  readonly lastUse: boolean;
  readonly refusal: VaultError | null;
}

const sealedError = (): VaultError => new VaultError("sealed", "Vault is sealed");
const missingRoute = (path: string): VaultError =>
  new VaultError("not_found", `no handler for route "${path}". route entry not found.`);

/** Throws VaultError only. */
export async function handle(core: Core, request: Request): Promise<Response> {
  const generation = core.generation;
  const mounted = generation.mounts.route(request.path);
  const match = mounted === null ? null : matchOf(mounted, request);
  const resolved = await resolve(core, generation, request, mounted, match);
  const { session, operation } = resolved;
  const asked = operation === request.operation ? request : { ...request, operation };
  const exchange: Exchange = {
    request: asked,
    mount: mounted?.audit ?? null,
    principal: session?.principal ?? null,
    generation: generation.id,
    rule: ruleOf(resolved.decision),
    facts: resolved.facts?.seen ?? null,
    allowed: resolved.refusal === null,
  };
  const handlerOf = resolved.refusal === null && match !== null ? pick(match.route, operation) : null;
  const always = match?.route.always === true && resolved.refusal === null;
  const kept = core.broker.request(exchange);
  // A read waits once: its response entry stands behind this one in the same order, and fails with it.
  if (always) await kept.catch(() => core.log.security("sealed without an audit entry: no device kept it"));
  else if (handlerOf !== null && mutates(handlerOf, operation)) await kept;
  const outcome = await run(core, generation, asked, resolved, handlerOf);
  if (resolved.lastUse && session !== null) await core.tokens.revoke(session.entry.id);
  try {
    await core.broker.response(exchange, outcome);
  } catch (error) {
    if (!always) {
      if (outcome.response?.auth)
        await core.tokens.revoke(core.tokens.idOf(outcome.response.auth.client_token)).catch(() => {});
      throw error;
    }
  }
  if (core.closed && !always) throw sealedError();
  if (outcome.error !== undefined) throw outcome.error;
  return outcome.response;
}

/** A path that ends in a slash names a folder: lists alone take it, or a rule on `a` would not be asked about `a/`. */
function matchOf(mounted: Mounted, request: Request): RouteMatch | null {
  const { path, operation } = request;
  const folder = path.endsWith("/") && path.length > mounted.path.length;
  if (folder && operation !== "list" && operation !== "scan") return null;
  return mounted.match(path.slice(mounted.path.length));
}

function ruleOf(decision: Decision | null): string | null {
  const rule = decision?.rule;
  return rule ? `${rule.policies.join(",")} ${rule.path}` : null;
}

const pick = (route: Route, operation: Operation): Handler | null =>
  route.on[operation] ?? (operation === "create" ? (route.on.update ?? null) : null);

const mutates = (entry: Handler, operation: Operation): boolean =>
  entry.mutates ?? !(operation === "read" || operation === "list" || operation === "scan" || operation === "help");

/** Who asks, for what, and whether he may. Never throws: a refusal is audited like everything else. */
async function resolve(
  core: Core,
  generation: Generation,
  request: Request,
  mounted: Mounted | null,
  match: RouteMatch | null,
): Promise<Resolved> {
  let session: Session | null = null;
  let operation = request.operation;
  let decision: Decision | null = null;
  let facts: Facts | null = null;
  let lastUse = false;
  try {
    if (request.wrapTtl !== undefined && request.wrapTtl > 0) {
      throw new VaultError("invalid", "response wrapping is not available on this server");
    }
    if (match?.route.unauthenticated)
      return { mounted, match, session, operation, decision, facts, lastUse, refusal: null };
    session = await authenticate(core, generation, request);
    if (session.entry.num_uses !== 0) lastUse = await core.useOnce(session.entry.id);
    if (operation === "update" && mounted !== null && match?.route.exists) {
      const call = callOf(core, generation, request, { mounted, match, session, operation }, {}, []);
      if (!(await match.route.exists(call))) operation = "create";
    }
    if (session.acl.conditional) {
      const { remoteAddress } = request.connection;
      facts = factsOf(session, request.path, operation, { remoteAddress, time: request.time });
    }
    decision = session.acl.check(request.path, operation, request.data, facts);
    if (!decision.allowed || (match?.route.sudo && !decision.sudo)) throw new VaultError("denied", "permission denied");
    if (match === null) throw missingRoute(request.path);
    if (pick(match.route, operation) === null) throw new VaultError("unsupported", "unsupported operation");
    return { mounted, match, session, operation, decision, facts, lastUse, refusal: null };
  } catch (error) {
    return {
      mounted,
      match,
      session,
      operation,
      decision,
      facts,
      lastUse,
      refusal: core.vaultError(error, request.id),
    };
  }
}

async function authenticate(core: Core, generation: Generation, request: Request): Promise<Session> {
  if (request.token === null || request.token === "") {
    throw new VaultError("unauthenticated", ["permission denied", "missing client token"]);
  }
  const session =
    core.sessions.peek(request.token, generation) ?? (await core.sessions.load(request.token, generation));
  if (session.expiresAt !== 0 && request.time >= session.expiresAt) throw deniedError();
  if (session.bound !== null && !session.bound(request.connection.remoteAddress)) throw deniedError();
  return session;
}

type Outcome =
  | { readonly response: Response; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: VaultError };

async function run(
  core: Core,
  generation: Generation,
  request: Request,
  resolved: Resolved,
  entry: Handler | null,
): Promise<Outcome> {
  const { mounted, match, session, operation, refusal } = resolved;
  if (refusal !== null) return { error: refusal };
  if (mounted === null || match === null || entry === null)
    return { error: new VaultError("unsupported", "unsupported operation") };
  const warnings: string[] = [];
  try {
    const { values, unknown } = parse(entry.fields ?? {}, request.data);
    if (unknown.length > 0 && entry.fields !== undefined && !entry.open) {
      warnings.push(`Endpoint ignored these unrecognized parameters: [${[...unknown].sort().join(" ")}]`);
    }
    const call = callOf(core, generation, request, { mounted, match, session, operation }, values, warnings);
    let response = (await entry.run(call)) ?? {};
    if (response.grant !== undefined) response = await login(call, response);
    const said = warnings.length === 0 ? response.warnings : [...(response.warnings ?? []), ...warnings];
    return { response: { ...response, ...(said && { warnings: said }), mountType: mounted.type } };
  } catch (error) {
    return { error: core.vaultError(error, request.id) };
  }
}

interface Place {
  readonly mounted: Mounted;
  readonly match: RouteMatch;
  readonly session: Session | null;
  readonly operation: Operation;
}

function callOf(
  core: Core,
  generation: Generation,
  request: Request,
  place: Place,
  data: Readonly<Record<string, unknown>>,
  warnings: string[],
): CoreCall {
  const { mounted, match, session, operation } = place;
  return {
    core,
    generation,
    mounted,
    session,
    request,
    operation,
    connection: request.connection,
    params: match.params,
    data: data,
    caller: session === null ? null : session.principal,
    resource: <T>(name: string) => reader<T>(generation, mounted, name),
    warn: (text) => void warnings.push(text),
  };
}

function reader<T>(generation: Generation, mounted: Mounted, name: string): ResourceReader<T> {
  const resource = mounted.plugin?.resources.find((one) => one.name === name);
  if (resource === undefined) throw new VaultError("internal", "the plugin asked for a resource that it does not have");
  const shelf = generation.table.shelf(resource.kind, mounted.mount);
  return {
    get: (key) => (shelf.get(key)?.spec as T | undefined) ?? null,
    list: () => [...shelf.keys()].sort(),
  };
}
