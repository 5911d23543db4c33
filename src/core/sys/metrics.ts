// sys/metrics and sys/in-flight-req: what the server does right now, and has done since it started.

import { rfc3339 } from "../../lib/clock.ts";
import { exposition, type Family, prometheusType, summary } from "../../lib/metrics.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Operation, Request, Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";

/** The answer in the format that is asked for; by the Accept header where none is named. Throws VaultError `invalid`. */
export function rendered(
  families: readonly Family[],
  { format, accept, now }: { readonly format: string; readonly accept: unknown; readonly now: number },
): NonNullable<Response["text"]> {
  const prefers = format === "" && typeof accept === "string" && accept.startsWith("application/openmetrics-text");
  if (format === "prometheus" || prefers) return { type: prometheusType, body: exposition(families) };
  if (format !== "") throw new VaultError("invalid", 'the format must be "prometheus", or left out for JSON');
  return { type: "application/json", body: `${JSON.stringify(summary(families, now))}\n` };
}

const methods: Readonly<Record<Operation, string>> = {
  create: "POST",
  read: "GET",
  update: "POST",
  patch: "PATCH",
  delete: "DELETE",
  list: "LIST",
  scan: "SCAN",
  help: "GET",
};

/** Vault's entry. Who asks is told by his entity, never by his token. */
function shown({ core, generation }: CoreCall, request: Request): Record<string, unknown> {
  const { connection, operation, path, token, time } = request;
  const session = token === null ? null : core.sessions.peek(token, generation);
  return {
    client_id: session?.principal.entityId ?? "",
    client_remote_address: `${connection.remoteAddress}:${connection.remotePort}`,
    request_method: methods[operation],
    request_path: `/v1/${path.replace(/\/$/, "")}`,
    start_time: rfc3339(time),
  };
}

export const metricRoutes: readonly Route[] = [
  {
    path: "metrics",
    on: {
      read: coreHandler({
        summary: "Measurements of the server",
        fields: { format: field.string('"prometheus" for its text format', { default: "" }) },
        run: async ({ core, data, request }) => {
          const families = await core.options.metrics();
          return {
            text: rendered(families, { format: data.format, accept: request.headers["accept"], now: core.clock.now() }),
          };
        },
      }),
    },
  },
  {
    path: "in-flight-req",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "Requests that are being worked on, this one among them",
        run: async (call) => {
          const each = [...call.core.options.inFlight()].map((request) => [request.id, shown(call, request)]);
          return { data: Object.fromEntries(each) as Record<string, unknown>, shape: "bare" };
        },
      }),
    },
  },
];
