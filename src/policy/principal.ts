// Who asks in a policy test: from the documents of a commit to policies, bindings and facts, as a login would have them.
// Must hold: what the documents do not tell (ids, accessors, what a login says of itself, addresses) is missing until the
// test gives it, so that a test never passes on a fact that was made up.
// Known gap: token_bound_cidrs are not asked; templates that need an id or an accessor have no value.

import type { Declaration, Documents, Fault } from "../sdk/kind.ts";
import type { TokenSpec } from "../sdk/token.ts";
import { defaultPolicy, normalizeName, type Policy, policyOf, rootPolicy } from "./compile.ts";
import { type Asking, type Fact, Facts, type Value } from "./facts.ts";
import { allGroups } from "./groups.ts";
import { AclCache, type Acl, type Bindings } from "./match.ts";

/** As a test declares it. */
export interface PrincipalSpec {
  readonly name: string;
  readonly entity?: string | undefined;
  readonly login?: { readonly mount: string; readonly name: string } | undefined;
  readonly groups?: readonly string[] | undefined;
  readonly policies?: readonly string[] | undefined;
}

export interface Principal {
  readonly acl: Acl;
  readonly policies: readonly string[];
  readonly entity: Asking["entity"];
  readonly disabled: boolean;
  readonly groups: readonly string[] | null;
  readonly login: Asking["login"];
  readonly displayName: string | undefined;
}

interface EntitySpec {
  readonly aliases: readonly { readonly mount: string; readonly name: string }[];
  readonly policies: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly disabled: boolean;
}

interface GroupSpec {
  readonly policies: readonly string[];
  readonly member_entities: readonly string[];
  readonly member_groups: readonly string[];
}

type Found = Declaration | null;
const entityOf = (found: Found): EntitySpec | null => (found?.spec ?? null) as unknown as EntitySpec | null;
const groupOf = (found: Found): GroupSpec | null => (found?.spec ?? null) as unknown as GroupSpec | null;
const tokenOf = (found: Found): TokenSpec | null => (found?.spec ?? null) as unknown as TokenSpec | null;
const trim = (path: string): string => path.replace(/^\/+|\/+$/g, "");
const fault = (path: Fault["path"], message: string): Fault => ({ path, message });

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** The documents of one commit, seen by those who ask. Made once for all tests of the commit. */
export class World {
  readonly #all: Documents;
  readonly #direct = new Map<string, string[]>();
  readonly #parents = new Map<string, string[]>();
  /** What logins are declared on a mount, by mount and name. */
  readonly #logins = new Map<string, Declaration>();
  readonly #entities = new Map<string, Declaration>();
  readonly #methods = new Map<string, string>();
  readonly #acls = new AclCache();
  readonly #merged = new Set<string>();
  /** Questions asked, and rules put together for them. */
  spent = 0;

  constructor(all: Documents) {
    this.#all = all;
    for (const declaration of all.declarations) this.#learn(declaration);
  }

  #learn(declaration: Declaration): void {
    const { kind, mount, name, spec } = declaration;
    if (kind === "AuthMethod") {
      const { path, type } = spec;
      if (typeof type === "string") this.#methods.set(trim(typeof path === "string" ? path : name), type);
    } else if (kind === "Group") {
      const group = groupOf(declaration);
      for (const member of group?.member_entities ?? []) push(this.#direct, member, name);
      for (const member of group?.member_groups ?? []) push(this.#parents, member, name);
    } else if (kind === "Entity") {
      // Logins have their names in the one spelling of their kind, which is lower case where it is not as written.
      for (const { mount: on, name: alias } of entityOf(declaration)?.aliases ?? []) {
        for (const each of new Set([alias, normalizeName(alias)]))
          this.#entities.set(`${trim(on)}\n${each}`, declaration);
      }
    } else if (mount !== null && Array.isArray(spec["token_policies"])) {
      this.#logins.set(`${mount}\n${name}`, declaration);
    }
  }

  /** Faults lead on from the principal. */
  principal(spec: PrincipalSpec): Principal | readonly Fault[] {
    const faults: Fault[] = [];
    const mapping = spec.login === undefined ? null : this.#mapping(spec.login, faults);
    const entity = this.#entity(spec, mapping, faults);
    const known = entityOf(entity);
    const direct = [...(entity === null ? [] : (this.#direct.get(entity.name) ?? [])), ...(spec.groups ?? [])];
    const groups = allGroups(direct, this.#parents, (name) => this.#all.get("Group", null, name) !== null);
    for (const [at, name] of (spec.groups ?? []).entries()) {
      if (!groups.includes(name)) faults.push(fault(["groups", at], external("Group", name)));
    }
    const names = new Set(spec.policies ?? []);
    for (const name of known?.policies ?? []) names.add(name);
    for (const group of groups) {
      for (const name of groupOf(this.#all.get("Group", null, group))?.policies ?? []) names.add(name);
    }
    const token = tokenOf(mapping);
    for (const name of token?.token_policies ?? []) names.add(normalizeName(name));
    if (token !== null && !token.token_no_default_policy) names.add("default");
    const policies = [...names].sort();
    const found = policies.flatMap((name) => this.#policy(name, spec, faults) ?? []);
    if (faults.length > 0) return faults;
    const holder = entity === null || known === null ? null : { name: entity.name, metadata: known.metadata };
    const bindings: Bindings | null = holder && {
      entity: { id: "", aliases: [], ...holder },
      groups: groups.map((name) => ({ id: "", name })),
    };
    this.#count(policies, found);
    return {
      acl: this.#acls.merge(found, bindings),
      policies,
      entity: holder && { id: undefined, ...holder },
      disabled: known?.disabled ?? false,
      groups: entity === null && spec.groups === undefined ? null : groups,
      login: spec.login === undefined ? null : this.#login(spec.login),
      displayName: spec.login && `${trim(spec.login.mount).replaceAll("/", "-")}-${spec.login.name}`,
    };
  }

  /** What is put together once serves all who have the same, but for templates. */
  #count(names: readonly string[], policies: readonly Policy[]): void {
    const key = names.join();
    if (this.#merged.has(key) && policies.every(({ templates }) => templates.length === 0)) return;
    this.#merged.add(key);
    this.spent += policies.reduce((sum, { specs }) => sum + specs.length, 0);
  }

  #mapping({ mount, name }: NonNullable<PrincipalSpec["login"]>, faults: Fault[]): Declaration | null {
    const path = trim(mount);
    const found = this.#logins.get(`${path}\n${name}`) ?? this.#logins.get(`${path}\n${normalizeName(name)}`);
    if (found !== undefined) return found;
    const message = `no document declares a login ${JSON.stringify(name)} on ${JSON.stringify(path)}; declare it, or name the policies that it would give`;
    faults.push(fault(["login", "name"], message));
    return null;
  }

  #entity(spec: PrincipalSpec, mapping: Declaration | null, faults: Fault[]): Declaration | null {
    if (spec.entity === undefined) {
      return mapping === null ? null : (this.#entities.get(`${mapping.mount ?? ""}\n${mapping.name}`) ?? null);
    }
    const entity = this.#all.get("Entity", null, spec.entity);
    if (entity === null) faults.push(fault(["entity"], external("Entity", spec.entity)));
    return entity;
  }

  #policy(name: string, spec: PrincipalSpec, faults: Fault[]): Policy | null {
    const declaration = this.#all.get("Policy", null, name);
    if (declaration !== null) return policyOf(declaration);
    if (name === "default") return defaultPolicy;
    if (name === "root") return rootPolicy;
    const at = (spec.policies ?? []).indexOf(name);
    faults.push(fault(at < 0 ? ["name"] : ["policies", at], external("Policy", name)));
    return null;
  }

  #login({ mount }: NonNullable<PrincipalSpec["login"]>): Asking["login"] {
    const path = trim(mount);
    return { mount: path, type: this.#methods.get(path), accessor: undefined, metadata: {} };
  }
}

const external = (kind: string, name: string): string =>
  `${kind} ${JSON.stringify(name)} is not among these documents, so no test can tell what it says`;

/** One request of a test. */
export interface Question {
  readonly path: string;
  readonly operation: Asking["operation"];
  /** Milliseconds since 1970. */
  readonly time: number | null;
}

/** Facts of the principal and the question, those that a test gives first. */
export class GivenFacts extends Facts {
  readonly #given: ReadonlyMap<string, Value>;

  constructor(principal: Principal, question: Question, given: ReadonlyMap<string, Value>) {
    super({
      ...question,
      remoteAddress: "",
      entity: principal.entity,
      groups: principal.groups,
      login: principal.login,
      token: {
        type: "service",
        displayName: principal.displayName,
        policies: principal.policies,
        orphan: principal.login === null ? undefined : true,
        createdAt: undefined,
        expiresAt: 0,
      },
    });
    this.#given = given;
  }

  protected override find(fact: Fact): Value | undefined {
    return this.#given.get(fact.key) ?? super.find(fact);
  }
}
