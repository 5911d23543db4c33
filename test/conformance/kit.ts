// What a mount runs on in its own tests: a view over a map, a clock that tests move, and the door's way to a handler
// without tokens, policies and audit. Keeps the contract of src/sdk/mount.ts.

import { createHmac, createSecretKey } from "node:crypto";
import { manualClock, rfc3339 } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import { deepFreeze } from "../../src/core/barrier/json.ts";
import { compileRoutes } from "../../src/core/routes.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { parse } from "../../src/sdk/fields.ts";
import type {
  Call,
  Granted,
  Handler,
  LeaseCall,
  LeaseType,
  MountContext,
  MountPlugin,
  Resource,
  Route,
  Undo,
} from "../../src/sdk/mount.ts";
import type { Operation, Request, Response } from "../../src/sdk/request.ts";
import { Crash, TestStore, TestView } from "./view.ts";

export interface Answer {
  readonly response: Response | null;
  readonly warnings: readonly string[];
  /** What the request became: "create" where nothing was there yet. */
  readonly operation: Operation;
  readonly handler: Handler;
}

export interface KitLease {
  /** Of its terms. */
  readonly name: string;
  /** As the plugin gave it, and as storage keeps it. */
  readonly given: Undo;
  readonly granted: Granted;
  readonly undo: Undo;
  readonly type: LeaseType;
  readonly call: LeaseCall;
}

export interface Kit {
  readonly store: TestStore;
  readonly clock: ReturnType<typeof manualClock>;
  readonly context: MountContext;
  readonly routes: readonly Route[];
  /** What was leased, in order. */
  readonly leases: readonly KitLease[];
  /** Leases from now on are kept, and what they are for is not made: the process ends in between. */
  forget: boolean;
  /** Lines of the server's log. */
  readonly log: readonly string[];
  /** Throws VaultError as the door would. A list's path may leave out its last slash. */
  call(operation: Operation, path: string, data?: Readonly<Record<string, unknown>>): Promise<Answer>;
  /** The answer's data; null where there is none. */
  data(operation: Operation, path: string, data?: Readonly<Record<string, unknown>>): Promise<Response["data"] | null>;
  /** What Git or the API declares; secrets are seeded. */
  declare(
    resource: string,
    name: string,
    spec?: Readonly<Record<string, unknown>>,
    secrets?: Readonly<Record<string, string>>,
  ): Promise<void>;
  undeclare(resource: string, name: string): Promise<void>;
  /** A new process, on what the store holds; perhaps with the mount moved, or with other options. */
  restart(path?: string, options?: Readonly<Record<string, string>>): void;
}

export interface KitOptions {
  readonly options?: Readonly<Record<string, string>>;
  readonly atomic?: boolean;
}

const uuid = "00000000-0000-4000-8000-000000000000";
let mounts = 0;

function optionsOf(plugin: MountPlugin, given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const defaults = Object.entries(plugin.options).flatMap(([name, option]) =>
    option.default === undefined ? [] : [[name, option.default]],
  );
  return Object.freeze({ ...(Object.fromEntries(defaults) as Record<string, string>), ...given });
}

/** The one spelling of a name, as the core asks for it. */
export const normalName = (resource: Resource, name: string): string => resource.normalize?.(name) ?? name;

export function createKit(plugin: MountPlugin, options: KitOptions = {}): Kit {
  const store = new TestStore({ atomic: options.atomic ?? true });
  const clock = manualClock();
  const log: string[] = [];
  mounts += 1;
  const accessor = `${plugin.class === "auth" ? "auth_" : ""}${plugin.type}_${mounts.toString(16).padStart(8, "0")}`;
  const declared = new Map<string, Map<string, Readonly<Record<string, unknown>>>>();
  const resourceOf = (name: string): Resource => {
    const found = plugin.resources.find((one) => one.name === name);
    if (found === undefined) throw new Error(`${plugin.type} has no resource ${name}`);
    return found;
  };
  const contextAt = (path: string, given: Readonly<Record<string, string>>): MountContext => ({
    path,
    accessor,
    view: new TestView(store, `mount/${uuid}/`),
    options: optionsOf(plugin, given),
    defaultLeaseTtl: 2_764_800,
    clock,
    log: createLogger({ level: "debug", write: (line) => void log.push(line), now: clock.now }),
    mac: (purpose) => createSecretKey(createHmac("sha256", "the kit's").update(purpose).digest()),
  });
  let context = contextAt(plugin.class === "auth" ? `auth/${plugin.type}/` : "secret/", options.options ?? {});
  let { routes, leases: types } = plugin.mount(context);
  let match = compileRoutes(routes);

  const resource: Call["resource"] = <T>(name: string) => {
    const shelf = declared.get(resourceOf(name).name);
    return {
      get: (key: string) => (shelf?.get(key) as T | undefined) ?? null,
      since: (key: string) => (shelf?.has(key) === true ? 1 : null),
      list: () => [...(shelf?.keys() ?? [])].sort(),
    };
  };
  const leases: KitLease[] = [];
  let forget = false;
  const lease =
    (path: string): Call["lease"] =>
    async (terms, undo, create) => {
      const type = types?.[terms.type];
      if (type === undefined) throw new Error(`the mount does not say how a lease of type ${terms.type} ends`);
      const ttl = terms.ttl || 3600;
      const granted = { id: `${path}/lease${leases.length}`, ttl, expiresAt: clock.now() + ttl * 1000 };
      const kept = JSON.parse(JSON.stringify(undo)) as Undo;
      const leaseCall: LeaseCall = { id: granted.id, resource };
      leases.push({ name: terms.type, given: undo, undo: kept, granted, type, call: leaseCall });
      if (forget) throw new Crash();
      return create(granted);
    };

  const callOf = (request: Request, params: Call["params"], warnings: string[]): Call => ({
    request,
    operation: request.operation,
    connection: request.connection,
    params,
    data: {},
    caller: null,
    resource,
    lease: lease(request.path),
    attempt: (_name, check) => check(),
    warn: (text) => void warnings.push(text),
  });

  const call: Kit["call"] = async (operation, path, data = {}) => {
    const listed = operation === "list" && path !== "" && !path.endsWith("/") ? `${path}/` : path;
    const found = match(listed);
    const full = context.path + listed;
    if (found === null) throw new VaultError("not_found", `no handler for route "${full}". route entry not found.`);
    const { route, params } = found;
    const warnings: string[] = [];
    const given = Object.assign(Object.create(null) as Record<string, unknown>, data);
    let request: Request = {
      id: "00000000-0000-4000-8000-000000000001",
      operation,
      path: full,
      data: given,
      token: null,
      connection: { remoteAddress: "127.0.0.1", remotePort: 1, local: true },
      headers: {},
      time: clock.now(),
    };
    if (operation === "update" && route.exists && !route.unauthenticated) {
      if (!(await route.exists(callOf(request, params, [])))) request = { ...request, operation: "create" };
    }
    const handler = route.on[request.operation] ?? (request.operation === "create" ? route.on.update : undefined);
    if (handler === undefined) throw new VaultError("unsupported", "unsupported operation");
    const { values, unknown } = parse(handler.fields ?? {}, request.data);
    if (unknown.length > 0 && handler.fields !== undefined && !handler.open) {
      warnings.push(`Endpoint ignored these unrecognized parameters: [${[...unknown].sort().join(" ")}]`);
    }
    const response = await handler.run({ ...callOf(request, params, warnings), data: values });
    return { response, warnings: [...(response?.warnings ?? []), ...warnings], operation: request.operation, handler };
  };

  return {
    store,
    clock,
    leases,
    log,
    get forget() {
      return forget;
    },
    set forget(on) {
      forget = on;
    },
    get context() {
      return context;
    },
    get routes() {
      return routes;
    },
    call,
    data: async (operation, path, data) => (await call(operation, path, data)).response?.data ?? null,
    declare: async (resourceName, given, spec = {}, secrets = {}) => {
      const resource = resourceOf(resourceName);
      const name = normalName(resource, given);
      const open = Object.fromEntries(Object.entries(resource.fields).filter(([, entry]) => !entry.secret));
      const { values, unknown } = parse(open, spec);
      if (unknown.length > 0) throw new Error(`unknown field ${unknown[0]}`);
      if (Object.keys(secrets).length > 0) await resource.seed?.({ mount: context, name }, secrets);
      const shelf = declared.get(resourceName) ?? new Map<string, Readonly<Record<string, unknown>>>();
      const frozen = structuredClone(values);
      deepFreeze(frozen);
      declared.set(resourceName, shelf.set(name, frozen));
    },
    undeclare: async (resourceName, given) => {
      const resource = resourceOf(resourceName);
      const name = normalName(resource, given);
      declared.get(resourceName)?.delete(name);
      await resource.remove?.({ mount: context, name });
    },
    restart: (path = context.path, given = context.options) => {
      store.restart();
      context = contextAt(path, given);
      ({ routes, leases: types } = plugin.mount(context));
      match = compileRoutes(routes);
    },
  };
}

/** The VaultError that a promise rejects with; anything else fails the test. */
export async function refusal(promise: Promise<unknown>): Promise<VaultError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof VaultError) return error;
    throw error;
  }
  throw new Error("expected a VaultError, but the call succeeded");
}

/** Code, texts and, where there is one, the body of the VaultError that a promise rejects with. */
export async function refused(promise: Promise<unknown>): Promise<readonly [string, readonly string[], unknown?]> {
  const error = await refusal(promise);
  return error.data === undefined ? [error.code, error.errors] : [error.code, error.errors, error.data];
}

/** Seconds after a kit's clock started, as clients see times. */
export const timeText = (seconds = 0): string => rfc3339(manualClock().now() + seconds * 1000);
