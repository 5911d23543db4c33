// What is mounted where. A declaration says that a mount is wanted; its state (mountStates.ts) is made on first use, and
// survives a change or a move.
// Must hold: no mount lies below another; a path leads to one mount in one generation.

import { type KeyObject, randomBytes, randomUUID } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Mount, MountContext, MountPlugin, Route } from "../sdk/mount.ts";
import type { View, ViewOp } from "../sdk/view.ts";
import type { Exchange } from "./exchange.ts";
import { type MountSpec, mountPathOf } from "./kinds.ts";
import { Paths } from "./mountPaths.ts";
import { type MountState, MountStates, stateKey } from "./mountStates.ts";
import { resourceRoutes } from "./resources.ts";
import { compileRoutes, type Matcher } from "./routes.ts";
import { spelled } from "./spelling.ts";
import type { Table } from "./table.ts";

/** What is known of a mount that was removed. */
export interface GoneMount extends Omit<MountState, "name"> {
  readonly path: string;
  readonly options: Readonly<Record<string, string>>;
}

/** One mount as the router sees it. */
export interface Mounted {
  /** "secret/" or "auth/userpass/". */
  readonly path: string;
  readonly class: "auth" | "secret" | "system";
  readonly type: string;
  readonly accessor: string;
  readonly uuid: string;
  readonly description: string;
  /** Name that resources carry as their mount; null for system mounts. */
  readonly mount: string | null;
  readonly plugin: MountPlugin | null;
  readonly declaration: Declaration | null;
  readonly spec: MountSpec | null;
  readonly context: MountContext;
  readonly match: Matcher;
  /** What `match` chooses from. */
  readonly routes: readonly Route[];
  /** Null where it leases nothing. */
  readonly leases: Mount["leases"] | null;
  /** Null where it issues nothing. */
  readonly endIssued: NonNullable<Mount["endIssued"]> | null;
  /** Null where a login has one name. */
  readonly namesOf: NonNullable<Mount["namesOf"]> | null;
  /** The `mount` of an audit entry. */
  readonly audit: NonNullable<Exchange["mount"]>;
}

export type SystemMount = Pick<Mounted, "path" | "type" | "description"> & { readonly routes: readonly Route[] };

const classes = { SecretEngine: "secret", AuthMethod: "auth" } as const;
export const mountKinds = Object.keys(classes) as (keyof typeof classes)[];
/** Refuses a declaration. */
type Fail = (declaration: Declaration, message: string) => never;

export interface MountsOptions {
  readonly plugins: readonly MountPlugin[];
  /** `mounts/` for states, and `mount/<uuid>/` for data, below the barrier's root. */
  readonly root: View;
  readonly clock: Clock;
  readonly log: Logger;
  /** Seconds: of mounts that are not tuned. */
  readonly defaultLeaseTtl: number;
  /** A key of the barrier for one purpose. */
  mac(purpose: string): KeyObject;
}

/** Immutable: the mounts of one generation. */
export class MountTable {
  readonly #paths: ReadonlyMap<string, Mounted>;
  readonly #accessors: ReadonlyMap<string, Mounted>;

  constructor(paths: ReadonlyMap<string, Mounted>) {
    this.#paths = paths;
    this.#accessors = new Map([...paths.values()].map((mounted) => [mounted.accessor, mounted]));
  }

  /** The mount that `path` lies in or is (with or without its trailing slash). */
  route(path: string): Mounted | null {
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const found = this.#paths.get(path.slice(0, slash + 1));
      if (found !== undefined) return found;
    }
    return this.#paths.get(`${path}/`) ?? null;
  }

  byAccessor(accessor: string): Mounted | null {
    return this.#accessors.get(accessor) ?? null;
  }

  at(path: string): Mounted | null {
    return this.#paths.get(path.endsWith("/") ? path : `${path}/`) ?? null;
  }

  [Symbol.iterator](): Iterator<Mounted> {
    return this.#paths.values();
  }
}

export class Mounts {
  readonly #plugins: ReadonlyMap<string, MountPlugin>;
  readonly #options: MountsOptions;
  readonly states: MountStates;
  /** By accessor: how the leases end of mounts that are not there any more. */
  readonly #gone = new Map<string, Mount["leases"] | null>();
  readonly #built = new WeakMap<Declaration, Mounted>();
  #system: readonly Mounted[] = [];

  constructor(options: MountsOptions) {
    this.#options = options;
    this.states = new MountStates(options.root.sub("mounts/"));
    this.#plugins = new Map(options.plugins.map((plugin) => [`${plugin.class}/${plugin.type}`, plugin]));
  }

  /** Reads the states of all mounts; the system mounts are part of every generation. */
  async open(system: readonly SystemMount[]): Promise<void> {
    this.#system = system.map((mount) => this.#systemMount(mount));
    await this.states.load();
  }

  plugin(kind: string, type: string): MountPlugin | null {
    const mountClass = classes[kind as keyof typeof classes];
    return this.#plugins.get(`${mountClass}/${type}`) ?? null;
  }

  get plugins(): readonly MountPlugin[] {
    return this.#options.plugins;
  }

  state({ kind, name }: Pick<Declaration, "kind" | "name">): MountState | null {
    const mountClass = classes[kind as keyof typeof classes];
    return mountClass === undefined ? null : this.states.get({ class: mountClass, name });
  }

  /** A removed mount, before its leases are revoked. The tasks that follow its removal tell of it after each start. */
  remember({ accessor, class: mountClass, type, uuid, path, options }: GoneMount): void {
    const plugin = this.#plugins.get(`${mountClass}/${type}`);
    const context = this.#context(path, { accessor, uuid }, options);
    this.#gone.set(accessor, plugin?.mount(context).leases ?? null);
  }

  /** How the leases end of a removed mount. */
  leasesOf(accessor: string): Mount["leases"] | null {
    return this.#gone.get(accessor) ?? null;
  }

  /** Its leases have ended. */
  release(accessor: string): void {
    this.#gone.delete(accessor);
  }

  /** For ending the state of objects of a mount that is not mounted any more. */
  contextOf(state: MountState): MountContext {
    return this.#context("", state, {});
  }

  pluginOf(state: MountState): MountPlugin | null {
    return this.#plugins.get(`${state.class}/${state.type}`) ?? null;
  }

  /** States that `declarations` need and that do not exist yet, to be written with the generation that wants them. `fail`
   *  is called where one cannot follow what is mounted `live`. */
  prepare(
    declarations: Iterable<Declaration>,
    live: MountTable,
    fail: Fail,
  ): { readonly ops: ViewOp[]; readonly states: readonly MountState[] } {
    const states: MountState[] = [];
    for (const declaration of declarations) {
      const mountClass = classes[declaration.kind as keyof typeof classes];
      if (mountClass === undefined) continue;
      const spec = declaration.spec as unknown as MountSpec;
      const known = this.state(declaration);
      if (known !== null && known.type !== spec.type) {
        throw new VaultError(
          "invalid",
          `${declaration.name} holds data of type ${known.type}, which ${spec.type} cannot read`,
        );
      }
      if (known !== null) {
        const before = live.byAccessor(known.accessor);
        const plugin = this.plugin(declaration.kind, spec.type);
        if (before === null || plugin?.change === undefined) continue;
        const { refused } = plugin.change(before.context.options, optionsOf(declaration, plugin, fail));
        if (refused !== undefined) fail(declaration, refused);
        continue;
      }
      states.push({
        class: mountClass,
        name: declaration.name,
        type: spec.type,
        uuid: randomUUID(),
        accessor: `${mountClass === "auth" ? "auth_" : ""}${spec.type}_${randomBytes(4).toString("hex")}`,
      });
    }
    const ops = states.map((state) => ({ key: stateKey(state), value: state }));
    return { ops, states };
  }

  /** The mounts that a table of declarations asks for. `pending` are states prepared but not written yet. Throws
   *  VaultError `invalid` where two paths collide; `fail` receives the declaration at fault. */
  build(table: Table, pending: readonly MountState[], fail: Fail): MountTable {
    const paths = new Paths();
    for (const mount of this.#system) paths.add(mount);
    for (const kind of mountKinds) {
      for (const declaration of table.shelf(kind, null).values()) {
        const mounted = this.#mounted(declaration, pending, fail);
        const clash = paths.clash(mounted.path);
        if (clash !== null) {
          const owner =
            clash.declaration === null ? "the vault itself" : `${clash.declaration.kind} ${clash.declaration.name}`;
          fail(declaration, `path is already in use at ${clash.path} by ${owner}`);
        }
        paths.add(mounted);
      }
    }
    return new MountTable(paths.at);
  }

  #mounted(declaration: Declaration, pending: readonly MountState[], fail: Fail): Mounted {
    const known = this.#built.get(declaration);
    if (known !== undefined && this.state(declaration)?.uuid === known.uuid) return known;
    const mountClass = classes[declaration.kind as keyof typeof classes];
    const spec = declaration.spec as unknown as MountSpec;
    const plugin = this.plugin(declaration.kind, spec.type);
    if (plugin === null)
      return fail(declaration, `unknown ${mountClass} type "${spec.type}"; there are ${this.#types(mountClass)}`);
    const state =
      pending.find((one) => one.class === mountClass && one.name === declaration.name) ?? this.state(declaration);
    if (state === null) return fail(declaration, "has no state");
    const mount = mountPathOf(declaration.name, spec);
    const path = mountClass === "auth" ? `auth/${mount}/` : `${mount}/`;
    const context = this.#context(
      path,
      state,
      optionsOf(declaration, plugin, fail),
      spec.config.default_lease_ttl || undefined,
    );
    const made: Mount = plugin.mount(context);
    const routes = spelled(plugin.resources, [...resourceRoutes(plugin.resources), ...made.routes]);
    const mounted: Mounted = {
      path,
      class: mountClass,
      type: spec.type,
      accessor: state.accessor,
      uuid: state.uuid,
      description: spec.description,
      mount,
      plugin,
      declaration,
      spec,
      context,
      match: compileRoutes(routes),
      routes,
      leases: made.leases ?? null,
      endIssued: made.endIssued?.bind(made) ?? null,
      namesOf: made.namesOf?.bind(made) ?? null,
      audit: { path, type: spec.type, accessor: state.accessor, class: mountClass, clear: clearOf(spec.config) },
    };
    this.#built.set(declaration, mounted);
    return mounted;
  }

  #context(
    path: string,
    { accessor, uuid }: Pick<MountState, "accessor" | "uuid">,
    options: MountContext["options"],
    defaultLeaseTtl = this.#options.defaultLeaseTtl,
  ): MountContext {
    const { root, clock, log } = this.#options;
    const mac = (purpose: string): KeyObject => this.#options.mac(`mount\n${uuid}\n${purpose}`);
    return { path, accessor, view: root.sub(`mount/${uuid}/`), options, defaultLeaseTtl, clock, log, mac };
  }

  #types(mountClass: string): string {
    return this.#options.plugins
      .filter((plugin) => plugin.class === mountClass)
      .map((plugin) => plugin.type)
      .join(", ");
  }

  #systemMount(mount: SystemMount): Mounted {
    const accessor = `${mount.type}_00000000`;
    return {
      path: mount.path,
      class: "system",
      type: mount.type,
      accessor,
      uuid: "",
      description: mount.description,
      mount: null,
      plugin: null,
      declaration: null,
      spec: null,
      context: {
        path: mount.path,
        accessor,
        view: this.#options.root.sub(`system/${mount.type}/`),
        options: {},
        defaultLeaseTtl: this.#options.defaultLeaseTtl,
        clock: this.#options.clock,
        log: this.#options.log,
        mac: (purpose) => this.#options.mac(`system\n${mount.type}\n${purpose}`),
      },
      match: compileRoutes(mount.routes),
      routes: mount.routes,
      leases: null,
      endIssued: null,
      namesOf: null,
      audit: {
        path: mount.path,
        type: mount.type,
        accessor,
        class: mount.path.startsWith("auth/") ? "auth" : "secret",
        clear: null,
      },
    };
  }
}

/** A mount's options as its plugin gets them: defaults filled in. */
function optionsOf(declaration: Declaration, plugin: MountPlugin, fail: Fail): MountContext["options"] {
  const spec = declaration.spec as unknown as MountSpec;
  const options: Record<string, string> = {};
  for (const [name, option] of Object.entries(plugin.options)) {
    const value = spec.options[name] ?? option.default;
    if (value === undefined) continue;
    if (option.enum && !option.enum.includes(value))
      fail(declaration, `option ${name} must be one of ${option.enum.join(", ")}`);
    options[name] = value;
  }
  const extra = Object.keys(spec.options).find((name) => !Object.hasOwn(plugin.options, name));
  if (extra !== undefined) fail(declaration, `unknown option "${extra}" for type ${spec.type}`);
  return options;
}

function clearOf(config: MountSpec["config"]): Mounted["audit"]["clear"] {
  const { audit_non_hmac_request_keys: request = [], audit_non_hmac_response_keys: response = [] } = config;
  return request.length + response.length === 0 ? null : { request: new Set(request), response: new Set(response) };
}
