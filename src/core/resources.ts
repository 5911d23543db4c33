// The create/read/update/delete/list routes of resources: declarations of the API, beside those of Git. What Git declares
// the API shows and refuses to write, with the place to change instead.

import { VaultError } from "../sdk/errors.ts";
import { type Fields, parse } from "../sdk/fields.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Resource, Route } from "../sdk/mount.ts";
import { pageFields, partOf } from "../sdk/page.ts";
import { rootFaults } from "../sdk/resourceKind.ts";
import type { Json } from "../sdk/view.ts";
import { type CoreCall, coreHandler } from "./call.ts";
import type { Generation } from "./generation.ts";

/** Refuses where Git owns it, naming file, line and commit. */
export function refuseManaged(generation: Generation, declaration: Declaration | null, what: string): void {
  const source = declaration?.source;
  if (!source) return;
  const commit = generation.record.commit?.id.slice(0, 12) ?? "unknown";
  throw new VaultError(
    "managed",
    `${what} is managed by Git: change it in ${source.file}:${source.line} and push; git show ${commit}:${source.file} shows it`,
  );
}

const nameOf = (call: CoreCall, resource: Resource): string => {
  const name = call.params["name"] ?? "";
  return resource.normalize ? resource.normalize(name) : name;
};

const declarationOf = (call: CoreCall, resource: Resource, name: string): Declaration | null =>
  call.generation.table.get(resource.kind, call.mounted.mount, name);

function shown(resource: Resource, declaration: Declaration): Record<string, unknown> {
  if (resource.show) return { ...resource.show(declaration.spec, declaration.name) };
  const secret = new Set(Object.entries(resource.fields).flatMap(([name, entry]) => (entry.secret ? [name] : [])));
  return Object.fromEntries(Object.entries(declaration.spec).filter(([name]) => !secret.has(name)));
}

/** Splits what was given into the declaration's spec and the secrets that become state. */
export function specOf(
  fields: Fields,
  given: Readonly<Record<string, unknown>>,
  before: Declaration | null,
): { readonly spec: Declaration["spec"]; readonly secrets: Record<string, string> } {
  const partial = parse(fields, given, { partial: true }).values as Record<string, unknown>;
  const secrets: Record<string, string> = {};
  for (const [name, entry] of Object.entries(fields)) {
    if (!entry.secret || partial[name] === undefined) continue;
    secrets[name] = partial[name] as string;
    delete partial[name];
  }
  const open = Object.fromEntries(Object.entries(fields).filter(([, entry]) => !entry.secret));
  const spec = parse(open, { ...before?.spec, ...partial }).values as Record<string, Json | undefined>;
  return { spec, secrets };
}

/** The fields given, older names replaced by today's. Without a warning, as in Vault: an answer with one would be no 204. */
function renamed(call: CoreCall, resource: Resource): Readonly<Record<string, unknown>> {
  const given: Record<string, unknown> = { ...call.data };
  for (const [old, name] of Object.entries(resource.aliases ?? {})) {
    if (given[old] === undefined) continue;
    given[name] ??= given[old];
    delete given[old];
  }
  return given;
}

/** A new object begins with nothing that a former one of its name left. */
async function settle({ core, mounted }: CoreCall, resource: Resource, name: string): Promise<void> {
  const subject = `${mounted.accessor} ${resource.kind} ${name}`;
  if (!(await core.tasks.waiting(subject))) return;
  await core.tasks.run();
  if (!(await core.tasks.waiting(subject))) return;
  throw new VaultError("conflict", `what the former ${resource.name}/${name} left is still being removed; try again`);
}

function refuseFields({ request }: CoreCall, { refuses = {} }: Resource): void {
  for (const [name, reason] of Object.entries(refuses)) {
    if (request.data[name] !== undefined) throw new VaultError("invalid", `${name}: ${reason}`);
  }
}

function checkNeeds(
  { needs = [] }: Resource,
  before: Declaration | null,
  secrets: Readonly<Record<string, string>>,
): void {
  const missing = before === null ? needs.find((name) => secrets[name] === undefined) : undefined;
  if (missing !== undefined) throw new VaultError("invalid", `missing ${missing}`);
}

async function write(
  call: CoreCall,
  resource: Resource,
  given: Readonly<Record<string, unknown>> = renamed(call, resource),
): Promise<null> {
  const name = nameOf(call, resource);
  const mount = call.mounted.mount;
  if (name === "") throw new VaultError("invalid", "the name is empty");
  const now = declarationOf(call, resource, name);
  refuseManaged(call.generation, now, `${resource.name}/${name}`);
  refuseFields(call, resource);
  const first = specOf(resource.fields, given, now);
  const faults = [...rootFaults(resource.fields, first.spec), ...(resource.check?.(first.spec) ?? [])];
  for (const { path, message } of faults) throw new VaultError("invalid", `${path.join(".")}: ${message}`);
  checkNeeds(resource, now, first.secrets);
  await settle(call, resource, name);
  if (Object.keys(first.secrets).length > 0) {
    await resource.seed?.({ mount: call.mounted.context, name }, first.secrets);
  }
  await call.core.ledger.edit((table) => {
    const before = table.get(resource.kind, mount, name);
    refuseManaged(call.core.generation, before, `${resource.name}/${name}`);
    const { spec, secrets } = specOf(resource.fields, given, before);
    checkNeeds(resource, before, secrets);
    return {
      put: [{ kind: resource.kind, mount, name, metadata: { name }, spec, secrets: {}, source: null }],
      remove: [],
    };
  });
  return null;
}

async function remove(call: CoreCall, resource: Resource): Promise<null> {
  const name = nameOf(call, resource);
  const mount = call.mounted.mount;
  await call.core.ledger.edit((table) => {
    const before = table.get(resource.kind, mount, name);
    refuseManaged(call.core.generation, before, `${resource.name}/${name}`);
    return { put: [], remove: before === null ? [] : [before] };
  });
  return null;
}

/** One field as a path of its own: read, set, or put back to its default. */
function partRoute(resource: Resource, part: string, name: string): Route {
  const entry = resource.fields[name];
  if (entry === undefined) throw new VaultError("internal", `${resource.kind} has no field ${name}`);
  const { required: _required, default: value, ...rest } = entry;
  const older = Object.entries(resource.aliases ?? {}).flatMap(([old, now]) => (now === name ? [old] : []));
  const names = [name, ...older];
  const declared = (call: CoreCall): Declaration | null => declarationOf(call, resource, nameOf(call, resource));
  return {
    path: `${resource.path}/${part}`,
    on: {
      read: coreHandler({
        summary: `Read ${name}`,
        run: async (call) => {
          const declaration = declared(call);
          if (declaration === null) throw new VaultError("not_found", []);
          const all = shown(resource, declaration);
          return { data: Object.fromEntries(names.flatMap((each) => (each in all ? [[each, all[each]]] : []))) };
        },
      }),
      update: coreHandler({
        summary: `Set ${name}`,
        fields: Object.fromEntries(names.map((each) => [each, rest])),
        run: async (call) => {
          const given = call.data as Readonly<Record<string, unknown>>;
          if (!names.some((each) => given[each] !== undefined)) throw new VaultError("invalid", `missing ${name}`);
          if (declared(call) === null) {
            throw new VaultError("not_found", `${JSON.stringify(nameOf(call, resource))} does not exist`);
          }
          return write(call, resource);
        },
      }),
      delete: coreHandler({
        summary: `Put ${name} back to its default`,
        run: async (call) => (declared(call) === null ? null : write(call, resource, { [name]: value })),
      }),
    },
  };
}

function routesOf(resource: Resource): Route[] {
  const folder = resource.path.slice(0, resource.path.lastIndexOf("/"));
  const api: Fields = Object.fromEntries(
    Object.entries(resource.fields).map(([name, entry]) => {
      const { required: _required, default: _default, ...rest } = entry;
      return [name, rest];
    }),
  );
  const aliases = Object.fromEntries(
    Object.entries(resource.aliases ?? {}).flatMap(([old, name]) => (api[name] ? [[old, api[name]]] : [])),
  ) as Fields;
  const one: Route = {
    path: resource.path,
    exists: async (call) => declarationOf(call as CoreCall, resource, nameOf(call as CoreCall, resource)) !== null,
    on: {
      read: coreHandler({
        summary: `Read ${resource.description}`,
        run: async (call) => {
          const declaration = declarationOf(call, resource, nameOf(call, resource));
          if (declaration === null) throw new VaultError("not_found", []);
          return { data: shown(resource, declaration) };
        },
      }),
      update: coreHandler({
        summary: `Create or change ${resource.description}`,
        fields: { ...api, ...aliases },
        run: (call) => write(call as CoreCall, resource),
      }),
      delete: coreHandler({ summary: `Delete ${resource.description}`, run: (call) => remove(call, resource) }),
    },
  };
  const list: Route = {
    path: folder,
    on: {
      list: coreHandler({
        summary: `List ${resource.name}`,
        fields: pageFields,
        run: async (call) => {
          const all = [...call.generation.table.shelf(resource.kind, call.mounted.mount).keys()].sort();
          const keys = partOf(all, call.data);
          if (keys.length === 0) throw new VaultError("not_found", []);
          return { data: { keys } };
        },
      }),
    },
  };
  const parts = Object.entries(resource.parts ?? {}).map(([part, name]) => partRoute(resource, part, name));
  return [one, list, ...parts];
}

export const resourceRoutes = (resources: readonly Resource[]): Route[] => resources.flatMap(routesOf);
