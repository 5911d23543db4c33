// What the tasks of aftermath.ts do. Each is idempotent: a crash anywhere runs it again.

import { VaultError } from "../sdk/errors.ts";
import type { Resource } from "../sdk/mount.ts";
import type { Request } from "../sdk/request.ts";
import { blockChores } from "./blocks/revocations.ts";
import type { CoreCall } from "./call.ts";
import type { Core } from "./core.ts";
import type { Principal } from "./exchange.ts";
import { endChores } from "./identity/ends.ts";
import type { GoneMount } from "./mounts.ts";
import { noLease } from "./leases/issue.ts";
import { noAttempt } from "./lockouts.ts";
import { noObjects } from "./reader.ts";
import { endMove } from "./remount.ts";
import { dropAll } from "./subtree.ts";
import type { TaskHandler } from "./tasks.ts";

/** Who reads a secret that a document refers to. */
const seeder: Principal = {
  accessor: "",
  displayName: "gitops-from_secret",
  policies: [],
  tokenPolicies: [],
  identityPolicies: [],
  entityId: "",
  origins: [],
  metadata: {},
  tokenType: "service",
  issuedAt: 0,
  ttl: 0,
};

/** One value of one secret, read through the mount's own route and audited as every read is. */
async function readSecret(core: Core, from: { readonly path: string; readonly key: string }): Promise<string> {
  const generation = core.generation;
  const mounted = generation.mounts.route(from.path);
  const match = mounted?.match(from.path.slice(mounted.path.length));
  const entry = match?.route.on.read;
  if (generation.blocks?.refusesMount(mounted?.accessor ?? "")) {
    throw new VaultError("denied", `from_secret: ${mounted?.path ?? ""} is blocked`);
  }
  if (!mounted || !match || !entry || mounted.class !== "secret") {
    throw new VaultError("invalid", `from_secret: no secret engine answers at ${from.path}`);
  }
  const request: Request = {
    id: core.newId(),
    operation: "read",
    path: from.path,
    data: Object.create(null) as Record<string, unknown>,
    token: null,
    connection: { remoteAddress: "", remotePort: 0, local: true },
    headers: {},
    time: core.clock.now(),
  };
  const exchange = {
    request,
    mount: mounted.audit,
    principal: seeder,
    fields: null,
    generation: generation.id,
    rule: null,
    facts: null,
    allowed: true,
  };
  const begun = core.broker.request(exchange);
  await begun.kept;
  const call = {
    core,
    generation,
    mounted,
    session: null,
    request,
    operation: "read",
    connection: request.connection,
    params: match.params,
  };
  const bare = {
    data: {},
    caller: null,
    resource: () => noObjects,
    warn: () => {},
    lease: noLease,
    attempt: noAttempt,
  };
  const asked = { ...call, ...bare } as unknown as CoreCall;
  const outcome = await (async () => entry.run(asked))().then(
    (response) => ({ response: response ?? {} }),
    (error: unknown) => ({ error: core.vaultError(error, request.id) }),
  );
  await core.broker.response(begun, outcome);
  if ("error" in outcome && outcome.error.code !== "not_found") throw outcome.error;
  const found = "error" in outcome ? null : outcome.response.data;
  const data = (found?.["data"] ?? found) as Readonly<Record<string, unknown>> | null | undefined;
  const value = data && Object.hasOwn(data, from.key) ? data[from.key] : undefined;
  if (typeof value === "string" && value !== "") return value;
  throw new VaultError("not_found", `from_secret: ${from.path} has no text under key ${from.key}`);
}

const text = (value: unknown): string => {
  if (typeof value !== "string") throw new VaultError("internal", "a task lacks an argument");
  return value;
};

function resourceOf(
  core: Core,
  accessor: string,
  kind: string,
): { resource: Resource; mount: Parameters<NonNullable<Resource["seed"]>>[0]["mount"] } | null {
  const state = core.mounts.states.byAccessor(accessor);
  if (state === null) return null;
  const resource = core.mounts.pluginOf(state)?.resources.find((one) => one.kind === kind);
  if (resource === undefined) return null;
  return { resource, mount: core.generation.mounts.byAccessor(accessor)?.context ?? core.mounts.contextOf(state) };
}

async function seed(core: Core, key: string): Promise<void> {
  const [kind = "", mount = "", name = ""] = key.split("\n");
  const declaration = core.generation.table.get(kind, mount === "" ? null : mount, name);
  if (declaration === null) return;
  const mounted = core.generation.mounts.at(`auth/${mount}`) ?? core.generation.mounts.at(mount);
  const resource = mounted?.plugin?.resources.find((one) => one.kind === kind);
  if (!mounted || !resource?.seed) return;
  const context = { mount: mounted.context, name, since: declaration.since ?? 0 };
  // Git seeds a secret once; rotation owns it after that.
  if (await resource.seeded?.(context)) return;
  const secrets: Record<string, string> = {};
  for (const [name_, from] of Object.entries(declaration.secrets)) secrets[name_] = await readSecret(core, from);
  await resource.seed(context, secrets);
}

export function chores(core: () => Core): Readonly<Record<string, TaskHandler>> {
  return {
    "revoke-mount": async (args) => {
      const gone = args as unknown as GoneMount;
      core().mounts.remember(gone);
      await core().tokens.revokeBy(gone.accessor);
      await core().leases.endMount(gone.accessor);
      core().mounts.release(gone.accessor);
    },
    "end-move": (args) => endMove(core(), args),
    "revoke-mapping": (args) => core().tokens.revokeBy(text(args["accessor"]), text(args["kind"]), text(args["name"])),
    "revoke-children": (args) => core().tokens.revokeChildren(text(args["id"])),
    "drop-data": async (args) => {
      const uuid = text(args["uuid"]);
      await dropAll(core().root, `mount/${uuid}/`);
      await core().mounts.states.drop(uuid);
    },
    "remove-state": async (args) => {
      const found = resourceOf(core(), text(args["accessor"]), text(args["kind"]));
      await found?.resource.remove?.({ mount: found.mount, name: text(args["name"]) });
    },
    seed: (args) => seed(core(), text(args["key"])),
    ...blockChores(core),
    ...endChores(core),
  };
}
