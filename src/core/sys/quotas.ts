// sys/quotas: rate limits and lease counts, with Vault's names and answers.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { pageFields, partOf } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Mounted } from "../mounts.ts";
import type { QuotaType } from "../quotas.ts";
import type { Target } from "../quotas/target.ts";

const commonFields = {
  name: field.string("Name of the quota; the path's wins"),
  type: field.string("Type of the quota; the path's wins"),
  path: field.string("A mount, or a path in one, with * at its end for what begins so; everything where empty", {
    default: "",
  }),
  role: field.string("A role of that auth method, whose logins alone it is about", { default: "" }),
  inheritable: field.bool("Kept and shown; there are no namespaces that could inherit it"),
} as const;

const rateFields = {
  ...commonFields,
  rate: field.json("Requests that an address may make in an interval"),
  interval: field.duration("The interval; a second where 0", { default: 1 }),
  block_interval: field.duration("How long an address that asked too often is let nothing more; 0 for not", {
    default: 0,
  }),
} as const;

const leaseFields = {
  ...commonFields,
  max_leases: field.int("Leases that there may be", { default: 0 }),
} as const;

const configFields = {
  enable_rate_limit_audit_logging: field.bool("Whether requests that are turned away are audited", { default: false }),
  enable_rate_limit_response_headers: field.bool("Whether answers tell what is left", { default: false }),
  rate_limit_exempt_paths: field.strings(
    "Paths that no rate limit is about, with all below them; * at the end for any rest",
    {
      default: [],
    },
  ),
} as const;

type CommonCall = CoreCall<typeof commonFields>;

function nameOf(call: Pick<CoreCall, "params">): string {
  const name = call.params["name"] ?? "";
  if (/^\w([\w.-]*\w)?$/.test(name)) return name;
  throw new VaultError("invalid", "a quota's name has letters, digits, dots, dashes and underscores");
}

/** Methods that tell who logs in before it is proved. */
const knowsRoles = (mounted: Mounted): boolean =>
  ["login", "login/x"].some((path) => mounted.match(path)?.route.role !== undefined);

/** Throws VaultError `invalid` where there is no such place. */
function targetOf({ data, generation }: CommonCall): Target & { readonly path: string } {
  const path = data.path.trim().replace(/^\/+|\/+$/g, "");
  const { role } = data;
  if (path === "") {
    if (role !== "") throw new VaultError("invalid", "a quota with a role needs the path of its auth method");
    return { accessor: null, suffix: "", role, path };
  }
  const mounted = generation.mounts.route(`${path}/`);
  if (mounted === null) throw new VaultError("invalid", `invalid mount path ${JSON.stringify(path)}`);
  const suffix = path.slice(mounted.path.length);
  const { accessor } = mounted;
  if (role === "") return { accessor, suffix, role, path: `${mounted.path}${suffix}` };
  if (suffix !== "") {
    throw new VaultError(
      "invalid",
      "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid auth mount with a concept of roles",
    );
  }
  const shown = JSON.stringify(mounted.path);
  if (mounted.class !== "auth") {
    const why = "is not a valid auth method and therefore unsuitable for use with role-based quotas";
    throw new VaultError("invalid", `Mount path ${shown} ${why}`);
  }
  if (!knowsRoles(mounted)) {
    throw new VaultError("invalid", `Mount path ${shown} does not support use with role-based quotas`);
  }
  return { accessor, suffix, role, path: mounted.path };
}

function rateOf(given: unknown): number {
  const rate = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (typeof rate === "number" && Number.isFinite(rate) && rate > 0) return rate;
  throw new VaultError("invalid", "'rate' is invalid");
}

async function writeRate(call: CoreCall<typeof rateFields>): Promise<null> {
  const { interval, block_interval, inheritable } = call.data;
  const name = nameOf(call);
  const rate = rateOf(call.data.rate);
  const target = targetOf(call);
  await call.core.quotas.put("rate-limit", {
    name,
    ...target,
    rate,
    interval: interval || 1,
    block_interval,
    inheritable: inheritable ?? target.accessor === null,
  });
  return null;
}

async function writeLeases(call: CoreCall<typeof leaseFields>): Promise<null> {
  const { max_leases, inheritable } = call.data;
  const name = nameOf(call);
  if (max_leases <= 0) throw new VaultError("invalid", "'max_leases' is invalid");
  const target = targetOf(call);
  await call.core.quotas.put("lease-count", {
    name,
    ...target,
    max_leases,
    inheritable: inheritable ?? target.accessor === null,
  });
  return null;
}

async function shown(call: CoreCall, type: QuotaType): Promise<Response> {
  const { quotas } = call.core;
  const name = nameOf(call);
  const quota = quotas.get(type, name);
  if (quota === null) throw new VaultError("not_found", []);
  const { accessor: _accessor, suffix: _suffix, ...rest } = quota;
  const counter = type === "lease-count" ? { counter: (await quotas.leases?.count(name)) ?? 0 } : {};
  return { data: { type, ...rest, path: quotas.pathOf(quota), ...counter } };
}

const routesOf = (type: QuotaType, what: string, write: Handler): readonly Route[] => [
  {
    path: `quotas/${type}`,
    on: {
      list: coreHandler({
        summary: `Names of the ${what}s`,
        fields: pageFields,
        run: async (call) => ({ data: { keys: partOf(call.core.quotas.names(type), call.data) } }),
      }),
    },
  },
  {
    path: `quotas/${type}/:name`,
    on: {
      read: coreHandler({ summary: `One ${what}`, run: (call) => shown(call, type) }),
      update: write,
      delete: coreHandler({
        summary: `Drop a ${what}`,
        run: async (call) => {
          await call.core.quotas.remove(type, nameOf(call));
          return null;
        },
      }),
    },
  },
];

export const quotaRoutes: readonly Route[] = [
  ...routesOf(
    "rate-limit",
    "rate limit",
    coreHandler({ summary: "Define a rate limit", fields: rateFields, run: writeRate }),
  ),
  ...routesOf(
    "lease-count",
    "lease count",
    coreHandler({ summary: "Define a lease count", fields: leaseFields, run: writeLeases }),
  ),
  {
    path: "quotas/config",
    on: {
      read: coreHandler({
        summary: "What holds for all rate limits",
        run: async (call) => ({ data: { ...call.core.quotas.config } }),
      }),
      update: coreHandler({
        summary: "Set what holds for all rate limits",
        fields: configFields,
        run: async ({ core, data }) => {
          const paths = data.rate_limit_exempt_paths.map((path) => path.replace(/^\/+|\/+$/g, ""));
          if (paths.some((path) => path === "" || path.startsWith("!")))
            throw new VaultError("invalid", "an exempt path is a path, with * at its end for any rest");
          await core.quotas.configure({ ...data, rate_limit_exempt_paths: paths });
          return null;
        },
      }),
    },
  },
];
