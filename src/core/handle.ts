// The door: route, authenticate, authorize, audit, run, audit. Every request of every client goes through here, once.
// Must hold: the path that policies are asked about is the path that is run; one generation decides the whole request;
// nothing runs before its audit entry is kept, and nothing is answered before its own is (a read waits once, for both);
// no code below this file asks who is calling to decide what he may.

import { zero } from "../lib/bytes.ts";
import { VaultError } from "../sdk/errors.ts";
import { parse } from "../sdk/fields.ts";
import type { Handler, Route } from "../sdk/mount.ts";
import type { Operation, Request, Response } from "../sdk/request.ts";
import type { Facts } from "../policy/facts.ts";
import type { Decision } from "../policy/match.ts";
import { factsOf } from "./asking.ts";
import { barAddress, barMount, isBarred } from "./blocks/bars.ts";
import type { CoreCall } from "./call.ts";
import type { Core } from "./core.ts";
import { denial } from "./denial.ts";
import type { Exchange } from "./exchange.ts";
import type { Generation } from "./generation.ts";
import { helpMatch } from "./help.ts";
import { Issue, noLease } from "./leases/issue.ts";
import { noAttempt, rulesOf } from "./lockouts.ts";
import { login } from "./login.ts";
import type { Mounted } from "./mounts.ts";
import { limited } from "./quotas/limited.ts";
import { reader } from "./reader.ts";
import type { RouteMatch } from "./routes.ts";
import { deniedError, type Session } from "./session.ts";
import { respell } from "./spelling.ts";
import { checkWrap, withdraw, wrap } from "./wrapping.ts";

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
const lastUsed = (): VaultError =>
  new VaultError(
    "invalid",
    "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
  );

/** Throws VaultError only. With a `refusal` the request is refused for that, whatever it asks for. */
export function handle(core: Core, sent: Request, refusal: VaultError | null = null): Promise<Response> {
  const { rates } = core.quotas;
  return rates === null ? serve(core, sent, refusal) : limited(core, rates, sent, () => serve(core, sent, refusal));
}

async function serve(core: Core, sent: Request, refusal: VaultError | null): Promise<Response> {
  const generation = core.generation;
  const mounted = generation.mounts.route(sent.path);
  let request = sent;
  let match = mounted === null ? null : matchOf(mounted, sent);
  if (mounted !== null && match?.route.spelling !== undefined) ({ request, match } = respelled(mounted, sent, match));
  const resolved =
    refusal !== null
      ? refused(request, mounted, match, refusal)
      : (resolveNow(core, generation, request, mounted, match) ??
        (await resolve(core, generation, request, mounted, match)));
  const { session, operation } = resolved;
  const asked = operation === request.operation ? request : { ...request, operation };
  const handlerOf = resolved.refusal === null && match !== null ? pick(match.route, operation) : null;
  const exchange: Exchange = {
    request: asked,
    mount: mounted?.audit ?? null,
    principal: session?.principal ?? null,
    fields: handlerOf?.fields ?? null,
    generation: generation.id,
    rule: ruleOf(resolved.decision),
    facts: resolved.facts?.seen ?? null,
    allowed: resolved.refusal === null,
  };
  const always = match?.route.always === true && resolved.refusal === null;
  const begun = core.broker.request(exchange);
  const { kept } = begun;
  // A read waits once: its response entry stands behind this one in the same order, and fails with it.
  if (always) await kept.catch(() => core.log.security("sealed without an audit entry: no device kept it"));
  else if (handlerOf !== null && (mutates(handlerOf, operation) || request.wrapTtl)) await kept;
  const ran = run(core, generation, asked, resolved, handlerOf);
  let outcome = ran instanceof Promise ? await ran : ran;
  if (resolved.lastUse && session !== null) {
    await core.tokens.revoke(session.entry.id);
    if (outcome.response?.lease?.id) outcome = { error: lastUsed() };
  }
  const inner = outcome.response;
  if (request.wrapTtl !== undefined && inner !== undefined)
    outcome = await wrap(core, asked, inner, session?.principal ?? null);
  try {
    await core.broker.response(begun, outcome);
  } catch (error) {
    if (!always) {
      for (const response of new Set([outcome.response, inner])) if (response) await withdraw(core, response);
      zero(...(outcome.response?.handout ?? []));
      throw error;
    }
  }
  if (core.closed && !always) {
    zero(...(outcome.response?.handout ?? []));
    throw sealedError();
  }
  if (outcome.error !== undefined) throw outcome.error;
  return outcome.response;
}

/** A path that ends in a slash names a folder: lists take it, and routes that say so. Elsewhere a rule on `a` would not be
 *  asked about `a/`. */
function matchOf(mounted: Mounted, request: Request): RouteMatch | null {
  const { path, operation } = request;
  if (operation === "help") return helpMatch;
  const match = mounted.match(path.slice(mounted.path.length));
  const folder = path.endsWith("/") && path.length > mounted.path.length;
  return folder && operation !== "list" && operation !== "scan" && match?.route.folders !== true ? null : match;
}

/** The request in the one spelling of its path, and the route of that. */
function respelled(
  mounted: Mounted,
  request: Request,
  match: RouteMatch,
): { readonly request: Request; readonly match: RouteMatch | null } {
  const below = request.path.slice(mounted.path.length);
  const path = respell(match, below);
  if (path === below) return { request, match };
  if (path === null) return { request, match: null };
  const asked = { ...request, path: `${mounted.path}${path}`, sent: request.path };
  return { request: asked, match: matchOf(mounted, asked) };
}

const ruleTexts = new WeakMap<NonNullable<Decision["rule"]>, string>();

function ruleOf(decision: Decision | null): string | null {
  const rule = decision?.rule;
  if (!rule) return null;
  let text = ruleTexts.get(rule);
  if (text === undefined) ruleTexts.set(rule, (text = `${rule.policies.join(",")} ${rule.path}`));
  return text;
}

const pick = (route: Route, operation: Operation): Handler | null =>
  route.on[operation] ?? (operation === "create" ? (route.on.update ?? null) : null);

const mutates = (entry: Handler, operation: Operation): boolean =>
  entry.mutates ?? !(operation === "read" || operation === "list" || operation === "scan" || operation === "help");

/** The same as `resolve` for what is asked most: a known token without a limit that is allowed what it asks for. Null
 *  where that has to wait for something, or is a refusal. */
function resolveNow(
  core: Core,
  generation: Generation,
  request: Request,
  mounted: Mounted | null,
  match: RouteMatch | null,
): Resolved | null {
  const { token, operation } = request;
  if (token === null || match === null || match.route.unauthenticated || request.wrapTtl !== undefined) return null;
  if (operation === "update" && match.route.exists) return null;
  if (generation.blocks !== null && isBarred(generation.blocks, request, mounted)) return null;
  const session = core.sessions.peek(token, generation);
  if (session === null || session.entry.num_uses !== 0 || session.acl.conditional) return null;
  if (faultOf(session, request) !== null) return null;
  const decision = session.acl.check(request.path, operation, request.data, null);
  if (refusalOf(request, session, match, operation, null, decision) !== null) return null;
  return { mounted, match, session, operation, decision, facts: null, lastUse: false, refusal: null };
}

/** Why the decision does not let a request through; null where it does. */
function refusalOf(
  request: Request,
  session: Session,
  match: RouteMatch | null,
  operation: Operation,
  facts: Facts | null,
  decision: Decision,
): VaultError | null {
  if (!decision.allowed) return denial({ request, session, match, operation, facts, sudo: false });
  if (match === null) {
    // Help asks for nothing: whoever may not see what is mounted is not told by it either.
    if (operation === "help" && !decision.sudo) return new VaultError("denied", "permission denied");
    return missingRoute(request.path);
  }
  const entry = pick(match.route, operation);
  if (!decision.sudo && (match.route.sudo || entry?.sudo)) {
    return denial({ request, session, match, operation, facts, sudo: true });
  }
  return entry === null ? new VaultError("unsupported", "unsupported operation") : null;
}

function refused(
  { operation }: Request,
  mounted: Mounted | null,
  match: RouteMatch | null,
  refusal: VaultError,
): Resolved {
  return { mounted, match, session: null, operation, decision: null, facts: null, lastUse: false, refusal };
}

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
    if (request.wrapTtl) checkWrap(request);
    const { blocks } = generation;
    if (blocks !== null) {
      barAddress(blocks, request);
      if (match?.route.unauthenticated) barMount(blocks, request, mounted, operation, null);
    }
    if (mounted !== null && match?.route.before) {
      const place = { mounted, match, session, operation, issue: null };
      await match.route.before(callOf(core, generation, request, place, {}, () => {}));
    }
    if (match?.route.unauthenticated)
      return { mounted, match, session, operation, decision, facts, lastUse, refusal: null };
    session = await authenticate(core, generation, request);
    if (blocks !== null) barMount(blocks, request, mounted, operation, session);
    if (session.entry.num_uses !== 0) {
      const usesLeft = await core.useOnce(session.entry.id);
      session = { ...session, usesLeft };
      lastUse = usesLeft === 0;
    }
    if (operation === "update" && mounted !== null && match?.route.exists) {
      const place = { mounted, match, session, operation, issue: null };
      const call = callOf(core, generation, request, place, {}, () => {});
      if (!(await match.route.exists(call))) operation = "create";
    }
    if (session.acl.conditional) {
      const { remoteAddress } = request.connection;
      facts = factsOf(session, request.path, operation, { remoteAddress, time: request.time });
    }
    decision = session.acl.check(request.path, operation, request.data, facts, request.wrapTtl);
    const refusal = refusalOf(request, session, match, operation, facts, decision);
    return { mounted, match, session, operation, decision, facts, lastUse, refusal };
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

type Asker = Pick<Request, "token" | "connection" | "time">;

/** Why whoever asks is refused whatever he asks for; null where he has a valid token, which is not used by that. */
export async function refusalOfAsker(core: Core, request: Request): Promise<VaultError | null> {
  try {
    const { generation } = core;
    if (generation.blocks !== null) barAddress(generation.blocks, request);
    await authenticate(core, generation, request);
    return null;
  } catch (error) {
    return core.vaultError(error, request.id);
  }
}

async function authenticate(core: Core, generation: Generation, request: Asker): Promise<Session> {
  if (request.token === null || request.token === "") {
    throw new VaultError("unauthenticated", ["permission denied", "missing client token"]);
  }
  const session =
    core.sessions.peek(request.token, generation) ?? (await core.sessions.load(request.token, generation));
  const fault = faultOf(session, request);
  if (fault !== null) throw fault;
  return session;
}

/** Why a token that is known cannot be used for this request. */
function faultOf(session: Session, { time, connection }: Asker): VaultError | null {
  if (session.expiresAt !== 0 && time >= session.expiresAt) return deniedError();
  if (session.bound !== null && !session.bound(connection.remoteAddress)) return deniedError();
  return null;
}

type Outcome =
  | { readonly response: Response; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: VaultError };

/** Never throws; no promise where the handler gives none. */
function run(
  core: Core,
  generation: Generation,
  request: Request,
  resolved: Resolved,
  entry: Handler | null,
): Outcome | Promise<Outcome> {
  const { mounted, match, session, operation, refusal } = resolved;
  if (refusal !== null) return { error: refusal };
  if (mounted === null || match === null || entry === null)
    return { error: new VaultError("unsupported", "unsupported operation") };
  const warnings: string[] = [];
  const warn = (text: string): void => void warnings.push(text);
  const issue =
    mounted.leases === null
      ? null
      : new Issue({ core, mounted, request, session, mutates: mutates(entry, operation), warn });
  const answered = (response: Response): Outcome => {
    const said = warnings.length === 0 ? response.warnings : [...(response.warnings ?? []), ...warnings];
    const lease = issue?.lease;
    return {
      response: { ...response, ...(said && { warnings: said }), ...(lease && { lease }), mountType: mounted.type },
    };
  };
  const failed = (thrown: unknown): Outcome | Promise<Outcome> => {
    const outcome = { error: core.vaultError(thrown, request.id) };
    return issue === null ? outcome : issue.revoke().then(() => outcome);
  };
  try {
    const { values, unknown } = parse(entry.fields ?? {}, request.data);
    if (unknown.length > 0 && entry.fields !== undefined && !entry.open) {
      // Clients that send the name of an object beside the path that has it are right.
      const ignored = unknown.filter((name) => !(name in match.params));
      if (ignored.length > 0)
        warnings.push(`Endpoint ignored these unrecognized parameters: [${ignored.sort().join(" ")}]`);
    }
    const call = callOf(core, generation, request, { mounted, match, session, operation, issue }, values, warn);
    const ran = entry.run(call);
    if (!(ran instanceof Promise) && ran?.grant === undefined) return answered(ran ?? {});
    return Promise.resolve(ran)
      .then((response) => (response?.grant === undefined ? (response ?? {}) : login(call, response)))
      .then(answered)
      .catch(failed);
  } catch (error) {
    return failed(error);
  }
}

interface Place {
  readonly mounted: Mounted;
  readonly match: RouteMatch;
  readonly session: Session | null;
  readonly operation: Operation;
  readonly issue: Issue | null;
}

function callOf(
  core: Core,
  generation: Generation,
  request: Request,
  place: Place,
  data: Readonly<Record<string, unknown>>,
  warn: (text: string) => void,
): CoreCall {
  const { mounted, match, session, operation, issue } = place;
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
    warn,
    lease: issue === null ? noLease : (terms, undo, create) => issue.make(terms, undo, create),
    attempt:
      mounted.plugin?.guessed === undefined || !match.route.unauthenticated
        ? noAttempt
        : (name, check) => core.lockouts.attempt({ accessor: mounted.accessor, name }, rulesOf(mounted), check),
  };
}
