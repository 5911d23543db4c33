// The door behind rate limits: whoever asks too often is told so before anything else is done for him, and where no more than
// the path is needed to know it, before the body of his request is read.
// Must hold: sealing is never limited, whoever else asks from the same address.

import { VaultError } from "../../sdk/errors.ts";
import type { Request, Response } from "../../sdk/request.ts";
import type { Core } from "../core.ts";
import type { Mounted } from "../mounts.ts";
import { type LiveRates, placeOf } from "../quotas.ts";
import type { RouteMatch } from "../routes.ts";
import { respell } from "../spelling.ts";
import { headersOf, type Taken } from "./rate.ts";

/** Who logs in, where some limit asks for it. What cannot be told is no role. */
async function roleOf(rates: LiveRates, request: Request, mounted: Mounted, match: RouteMatch): Promise<string | null> {
  if (match.route.role === undefined || !rates.targets.hasRoles(mounted.accessor)) return null;
  const { params } = match;
  return match.route.role({ request, params }).catch(() => null);
}

interface Asked {
  readonly mounted: Mounted | null;
  readonly match: RouteMatch | null;
  /** In its one spelling. */
  readonly path: string;
}

/** Null where nothing is limited. */
function askedOf(core: Core, path: string): Asked | null {
  const mounted = core.generation.mounts.route(path);
  const below = mounted === null ? "" : path.slice(mounted.path.length);
  const match = mounted?.match(below) ?? null;
  if (match?.route.always || core.quotas.isExempt(path)) return null;
  const spelled = match === null ? below : (respell(match, below) ?? below);
  return { mounted, match, path: `${mounted?.path ?? ""}${spelled}` };
}

async function take(core: Core, rates: LiveRates, request: Request): Promise<Taken | null> {
  const asked = askedOf(core, request.path);
  if (asked === null) return null;
  const { mounted, match, path } = asked;
  const role = mounted === null || match === null ? null : await roleOf(rates, request, mounted, match);
  return core.quotas.take(rates, placeOf(mounted, path, role), request.connection.remoteAddress, request.time);
}

function refusal(path: string, headers: readonly string[] | undefined): VaultError {
  const error = new VaultError("rate_limited", `request path "${path}": rate limit quota exceeded`);
  if (headers !== undefined) error.headers = headers;
  return error;
}

/** Why somebody is turned away whatever he sends; null where his request has to be known: its body may say who logs in, and
 *  an audit entry has all of it. Counts nothing. */
export function crowded(core: Core, path: string, address: string): VaultError | null {
  const { rates, config } = core.quotas;
  if (rates === null || config.enable_rate_limit_audit_logging) return null;
  const asked = askedOf(core, path);
  if (asked === null) return null;
  const { mounted, match } = asked;
  if (mounted !== null && match?.route.role !== undefined && rates.targets.hasRoles(mounted.accessor)) return null;
  const taken = core.quotas.peek(rates, placeOf(mounted, asked.path, null), address, core.clock.now());
  if (taken === null) return null;
  return refusal(path, config.enable_rate_limit_response_headers ? headersOf(taken) : undefined);
}

/** Where that is asked for: entries for everybody who is turned away would be what fills the log. */
async function audit(core: Core, request: Request, error: VaultError): Promise<void> {
  const { generation, broker } = core;
  const mount = generation.mounts.route(request.path)?.audit ?? null;
  const nobody = { principal: null, fields: null, rule: null, facts: null, allowed: false };
  const exchange = { request, mount, generation: generation.id, ...nobody };
  await broker.response(broker.request(exchange), { error });
}

export async function limited(
  core: Core,
  rates: LiveRates,
  request: Request,
  serve: () => Promise<Response>,
): Promise<Response> {
  const taken = await take(core, rates, request);
  if (taken === null) return serve();
  const { enable_rate_limit_audit_logging: log, enable_rate_limit_response_headers: tell } = core.quotas.config;
  const headers = tell ? headersOf(taken) : undefined;
  try {
    if (!taken.allowed) {
      const error = refusal(request.path, headers);
      if (log) await audit(core, request, error);
      throw error;
    }
    const response = await serve();
    return headers === undefined ? response : { ...response, headers };
  } catch (error) {
    if (headers !== undefined && error instanceof VaultError) error.headers = headers;
    throw error;
  }
}
