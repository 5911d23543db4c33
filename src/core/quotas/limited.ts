// The door behind rate limits: whoever asks too often is told so before anything else is done for him.
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

async function take(core: Core, rates: LiveRates, request: Request): Promise<Taken | null> {
  const mounted = core.generation.mounts.route(request.path);
  const below = mounted === null ? "" : request.path.slice(mounted.path.length);
  const match = mounted?.match(below) ?? null;
  if (match?.route.always || core.quotas.isExempt(request.path)) return null;
  const path = match === null ? below : (respell(match, below) ?? below);
  const role = mounted === null || match === null ? null : await roleOf(rates, request, mounted, match);
  const place = placeOf(mounted, `${mounted?.path ?? ""}${path}`, role);
  return core.quotas.take(rates, place, request.connection.remoteAddress, request.time);
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
      const error = new VaultError("rate_limited", `request path "${request.path}": rate limit quota exceeded`);
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
