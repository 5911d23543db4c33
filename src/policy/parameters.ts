// allowed_parameters, denied_parameters and required_parameters: what the body of a request may hold.
// Must hold: Vault's meaning, merging included, but for numbers, which are compared by value (Vault's never match a
// request's); an allow list in one policy binds the others on the same path too. Where a rule is withheld for its condition,
// the values that it allows are withheld as well, and what it restricts stays restricted.
// Known gap: as in Vault a list in a request is one value, so denying "admin" does not deny ["admin", "dev"].

import type { Json } from "../sdk/view.ts";

type Values = ReadonlyMap<string, readonly Json[]>;
const none: Values = new Map();

export interface Parameters {
  /** By lower-case name; an empty list is any value. */
  readonly allowed: Values;
  /** What of `allowed` is in force: all of it, but for the lists of rules that are withheld. */
  readonly accepted: Values;
  readonly denied: Values;
  /** Lower case. */
  readonly required: readonly string[];
}

/** As declared. */
export interface ParameterSpec {
  readonly allowed_parameters?: Readonly<Record<string, readonly Json[]>> | undefined;
  readonly denied_parameters?: Readonly<Record<string, readonly Json[]>> | undefined;
  readonly required_parameters?: readonly string[] | undefined;
}

/** All values of a name in one list; any value in one list is any value in all. The lists are joined once, however many
 *  there are. */
function join(all: Iterable<readonly [string, readonly Json[]]>): Values {
  const lists = new Map<string, (readonly Json[])[]>();
  for (const [name, list] of all) {
    const had = lists.get(name);
    if (had === undefined) lists.set(name, [list]);
    else had.push(list);
  }
  const values = new Map<string, readonly Json[]>();
  for (const [name, found] of lists) values.set(name, found.some((list) => list.length === 0) ? [] : found.flat());
  return values;
}

function valuesOf(spec: Readonly<Record<string, readonly Json[]>> | undefined): Values {
  if (spec === undefined) return none;
  return join(Object.entries(spec).map(([name, list]) => [name.toLowerCase(), list]));
}

/** Null where nothing is asked. */
export function parametersOf(spec: ParameterSpec): Parameters | null {
  const allowed = valuesOf(spec.allowed_parameters);
  const denied = valuesOf(spec.denied_parameters);
  const required = (spec.required_parameters ?? []).map((name) => name.toLowerCase());
  return allowed.size + denied.size + required.length === 0 ? null : { allowed, accepted: allowed, denied, required };
}

/** What several rules on one path ask. */
export function joinParameters(all: readonly (Parameters | null)[]): Parameters | null {
  const given = all.filter((one) => one !== null);
  if (given.length < 2) return given[0] ?? null;
  const allowed = join(given.flatMap((one) => [...one.allowed]));
  return {
    allowed,
    accepted: allowed,
    denied: join(given.flatMap((one) => [...one.denied])),
    required: [...new Set(given.flatMap((one) => one.required))],
  };
}

/** All that `parameters` restrict, with only those values accepted that `held` allow. */
export function acceptOnly(parameters: Parameters | null, held: Parameters | null): Parameters | null {
  return parameters === null ? null : { ...parameters, accepted: held?.allowed ?? new Map() };
}

/** `*` at one end or at both, in texts of two and more characters. */
function globMatches(glob: string, text: string): boolean {
  if (glob.length < 2) return text === glob;
  const head = glob.startsWith("*");
  const tail = glob.endsWith("*");
  if (head && tail) return text.includes(glob.slice(1, -1));
  if (head) return text.endsWith(glob.slice(1));
  if (tail) return text.startsWith(glob.slice(0, -1));
  return text === glob;
}

function equal(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) || Array.isArray(other)) {
    if (!Array.isArray(one) || !Array.isArray(other) || one.length !== other.length) return false;
    return one.every((item, at) => equal(item, other[at]));
  }
  const left = one as Record<string, unknown>;
  const right = other as Record<string, unknown>;
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && equal(left[name], right[name]));
}

const isIn = (list: readonly Json[], value: unknown): boolean =>
  list.length === 0 ||
  list.some((item) =>
    typeof item === "string" && typeof value === "string" ? globMatches(item, value) : equal(item, value),
  );

/** Whether a request with these fields may pass. */
export function permits(parameters: Parameters, data: Readonly<Record<string, unknown>>): boolean {
  const { allowed, accepted, denied, required } = parameters;
  if (required.some((name) => !Object.hasOwn(data, name))) return false;
  const given = Object.keys(data);
  if (given.length === 0) return true;
  if (denied.has("*")) return false;
  const others = allowed.size === 0 || accepted.has("*");
  const all = others && allowed.size < 2;
  return given.every((name) => {
    const refused = denied.get(name.toLowerCase());
    if (refused !== undefined && isIn(refused, data[name])) return false;
    if (all || !allowed.has(name.toLowerCase())) return others;
    const values = accepted.get(name.toLowerCase());
    return values !== undefined && isIn(values, data[name]);
  });
}
