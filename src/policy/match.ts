// Which rule decides a request: all policies of a token merged once into an index, then asked for each request.
// Must hold: the most specific path wins, found as Vault finds it: an equal path first, then the best of all patterns
// that match (see pattern.ts). Nothing falls back to a broader rule; no rule is a denial. A lookup visits each node of
// the index at most once, whatever the path.

import { sliced, whole, type Work } from "../lib/slices.ts";
import type { Operation } from "../sdk/request.ts";
import { type Capability, namesOf, needs, sudo } from "./capability.ts";
import type { Policy } from "./compile.ts";
import type { Facts } from "./facts.ts";
import { isMoreSpecific } from "./pattern.ts";
import { type Decision, Rule } from "./rule.ts";
import { bind, type Bindings } from "./template.ts";

export type { Decision } from "./rule.ts";
export type { Bindings } from "./template.ts";

/** One segment deep in the tree of patterns. */
interface Node {
  readonly children: Map<string, Node>;
  /** Any one segment. */
  plus: Node | null;
  /** A pattern that ends here. */
  end: Rule | null;
  /** Patterns that end in `*` in the next segment, by what it must start with, and the lengths of those, longest first. */
  readonly tails: Map<string, Rule>;
  lengths: readonly number[];
}

const node = (): Node => ({ children: new Map(), plus: null, end: null, tails: new Map(), lengths: [] });

const nothing: Decision = Object.freeze({ allowed: false, sudo: false, rule: null });
const help: Decision = Object.freeze({ allowed: true, sudo: false, rule: null });
const everything: Decision = Object.freeze({
  allowed: true,
  sudo: true,
  rule: Object.freeze({ path: "*", policies: Object.freeze(["root"]) }),
});
/** What capabilities are asked one by one. */
const operations: readonly Operation[] = ["create", "read", "update", "patch", "delete", "list", "scan"];
const rootOnly: readonly string[] = Object.freeze(["root"]);

const better = (one: Rule | null, other: Rule | null): Rule | null => {
  if (one === null || other === null) return one ?? other;
  return isMoreSpecific(one.pattern, other.pattern) ? one : other;
};

/** The longest tail that the segment at `from` starts with: it is the most specific of this node. */
function tailAt(at: Node, path: string, from: number): Rule | null {
  for (const length of at.lengths) {
    const rule = from + length <= path.length ? at.tails.get(path.slice(from, from + length)) : undefined;
    if (rule !== undefined) return rule;
  }
  return null;
}

/** The best pattern below `at` for the segments from `from` on; one past the end means that there are none left. */
function bestFrom(at: Node, path: string, from: number): Rule | null {
  if (from > path.length) return at.end;
  let best = at.lengths.length > 0 ? tailAt(at, path, from) : null;
  const slash = path.indexOf("/", from);
  const end = slash < 0 ? path.length : slash;
  if (at.children.size > 0) {
    const child = at.children.get(path.slice(from, end));
    if (child !== undefined) best = better(bestFrom(child, path, end + 1), best);
  }
  if (at.plus !== null) best = better(bestFrom(at.plus, path, end + 1), best);
  return best;
}

/** Rules between two places where merging may be left. */
const run = 64;

const grants = (rule: Rule): boolean => namesOf(rule.mask)[0] !== "deny";

/** Every rule in and below these nodes. */
function* rulesBelow(nodes: readonly Node[]): IterableIterator<Rule> {
  const open = [...nodes];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (at.end !== null) yield at.end;
    yield* at.tails.values();
    for (const child of at.children.values()) open.push(child);
    if (at.plus !== null) open.push(at.plus);
  }
}

/** What a set of policies allows. */
export class Acl {
  /** Includes the policy `root`: everything is allowed. */
  readonly root: boolean;
  readonly #exact = new Map<string, Rule>();
  readonly #patterns = node();
  #hasPatterns = false;
  #conditional = false;
  /** Mounts asked for. */
  readonly #reach = new Map<string, boolean>();

  private constructor(root: boolean) {
    this.root = root;
  }

  /** Those with equal paths are joined, once. */
  static *of(root: boolean, rules: Iterable<Rule>): Work<Acl> {
    const acl = new Acl(root);
    const byPath = new Map<string, { readonly first: Rule; readonly others: Rule[] }>();
    let count = 0;
    for (const rule of rules) {
      if (rule.conditional) acl.#conditional = true;
      const had = byPath.get(rule.pattern.path);
      if (had === undefined) byPath.set(rule.pattern.path, { first: rule, others: [] });
      else had.others.push(rule);
      if (++count % run === 0) yield;
    }
    for (const { first, others } of byPath.values()) {
      acl.#add(Rule.joined(first, others));
      if (++count % run === 0) yield;
    }
    return acl;
  }

  /** Some rule waits for a condition or has an end: `check` wants facts. */
  get conditional(): boolean {
    return this.#conditional;
  }

  /** `data` are the request's fields: a rule that restricts them refuses where they are left out. Without `facts` every
   *  rule with a condition or an end is withheld. `wrapTtl` is for how many seconds the answer is to be wrapped. */
  check(
    path: string,
    operation: Operation,
    data?: Readonly<Record<string, unknown>>,
    facts: Facts | null = null,
    wrapTtl = 0,
  ): Decision {
    if (this.root) return everything;
    if (operation === "help") return help;
    const rule = this.rule(path, operation);
    return rule === null ? nothing : rule.decide(operation, data, facts, wrapTtl);
  }

  /** The rule that decides, null where there is none; for explaining what `check` says. */
  rule(path: string, operation: Operation): Rule | null {
    return this.#find(path, operation === "list" || operation === "scan");
  }

  /** Sorted; ["deny"] where there are none, ["root"] for root. Frozen. Where conditions are met, each operation is asked
   *  with the facts that `factsOf` gives for it; without, what waits for something is left out. */
  capabilities(path: string, factsOf?: (operation: Operation) => Facts): readonly (Capability | "root")[] {
    if (this.root) return rootOnly as readonly "root"[];
    const rule = this.#find(path, true);
    if (rule === null || !rule.conditional) return namesOf(rule?.mask ?? 0);
    const masks = operations.map((operation) => {
      const { mask } = rule.holding(factsOf?.(operation) ?? null);
      return mask & (needs[operation] | sudo);
    });
    return namesOf(masks.reduce((sum, mask) => sum | mask, 0));
  }

  /** Whether anything at or below a mount may be allowed, once conditions hold: some rule that grants could match a path there, and is not
   *  wholly behind one that covers the mount. `prefix` ends in "/"; without it, it counts as inside, because a list is
   *  asked there too. */
  reachable(prefix: string): boolean {
    if (this.root) return true;
    let known = this.#reach.get(prefix);
    if (known === undefined) {
      known = this.#reaches(prefix);
      if (this.#reach.size >= 1000) this.#reach.clear();
      this.#reach.set(prefix, known);
    }
    return known;
  }

  #reaches(prefix: string): boolean {
    const bare = prefix.slice(0, -1);
    for (const [path, rule] of this.#exact) {
      if ((path === bare || path.startsWith(prefix)) && grants(rule)) return true;
    }
    // The best rule that matches all paths there; nodes are those where patterns go on that match some.
    let all: Rule | null = null;
    let nodes: Node[] = [this.#patterns];
    for (const segment of bare.split("/")) {
      const next: Node[] = [];
      for (const at of nodes) {
        all = better(all, tailAt(at, segment, 0));
        const child = at.children.get(segment);
        if (child !== undefined) next.push(child);
        if (at.plus !== null) next.push(at.plus);
      }
      nodes = next;
    }
    for (const at of nodes) all = better(all, at.tails.get("") ?? null);
    if (all !== null && grants(all)) return true;
    for (const rule of rulesBelow(nodes)) {
      if (grants(rule) && (all === null || (rule !== all && !isMoreSpecific(all.pattern, rule.pattern)))) return true;
    }
    return false;
  }

  /** Every merged rule once: for showing what a token may. */
  *rules(): IterableIterator<Rule> {
    yield* this.#exact.values();
    yield* rulesBelow([this.#patterns]);
  }

  #find(asked: string, folder: boolean): Rule | null {
    let path = asked;
    while (path.startsWith("/")) path = path.slice(1);
    const bare = folder && path.endsWith("/") ? path.slice(0, -1) : null;
    const exact = this.#exact.get(path) ?? (bare === null ? undefined : this.#exact.get(bare));
    if (exact !== undefined || !this.#hasPatterns) return exact ?? null;
    const found = bestFrom(this.#patterns, path, 0);
    return found === null && bare !== null ? bestFrom(this.#patterns, bare, 0) : found;
  }

  /** There is none with its path yet. */
  #add(rule: Rule): void {
    const { pattern } = rule;
    if (pattern.exact) {
      this.#exact.set(pattern.path, rule);
      return;
    }
    this.#hasPatterns = true;
    let at = this.#patterns;
    for (const segment of pattern.segments) {
      let next = segment === "+" ? at.plus : at.children.get(segment);
      if (!next) {
        next = node();
        if (segment === "+") at.plus = next;
        else at.children.set(segment, next);
      }
      at = next;
    }
    const { tail } = pattern;
    if (tail === null) {
      at.end = rule;
      return;
    }
    at.tails.set(tail, rule);
    if (!at.lengths.includes(tail.length)) at.lengths = [...at.lengths, tail.length].sort((one, other) => other - one);
  }
}

/** What the policies' templates become for this entity; null for those that stay without a value. */
function* boundPaths(policies: readonly Policy[], bindings: Bindings | null): Work<readonly (string | null)[]> {
  const paths: (string | null)[] = [];
  for (const { templates } of policies) {
    for (const { template } of templates) {
      paths.push(bindings === null ? null : bind(template, bindings));
      if (paths.length % run === 0) yield;
    }
  }
  return paths;
}

function* rulesOf(policies: readonly Policy[], paths: readonly (string | null)[]): IterableIterator<Rule> {
  let at = 0;
  for (const policy of policies) {
    yield* policy.rules;
    for (const { spec, guard } of policy.templates) {
      const path = paths[at++];
      if (typeof path === "string") yield Rule.of(policy.name, path, spec, guard);
    }
  }
}

function mergeBound(policies: readonly Policy[], paths: readonly (string | null)[]): Work<Acl> {
  const root = policies.some((policy) => policy.root);
  return Acl.of(root, root ? [] : rulesOf(policies, paths));
}

/** What these policies allow together. `root` among them makes the others meaningless, as in Vault. Rules with holes need
 *  `bindings`; one that they do not fill is left out. */
export function merge(policies: readonly Policy[], bindings: Bindings | null = null): Acl {
  const distinct = [...new Set(policies)];
  return whole(mergeBound(distinct, whole(boundPaths(distinct, bindings))));
}

/** Policies, each once, what their templates became, and the key of both. */
interface PolicySet {
  readonly key: string;
  readonly policies: readonly Policy[];
  readonly paths: readonly (string | null)[];
}

/** Acls by the policies, as objects, and by what their templates became. Least recently used go first. */
export class AclCache {
  readonly #limit: number;
  readonly #acls = new Map<string, { readonly acl: Acl; readonly weight: number }>();
  /** Those that are being merged. */
  readonly #merging = new Map<string, Promise<Acl>>();
  readonly #ids = new WeakMap<Policy, number>();
  #next = 0;
  #weight = 0;

  /** `limit` counts rules, over all sets. */
  constructor(limit = 200_000) {
    this.#limit = limit;
  }

  merge(policies: readonly Policy[], bindings: Bindings | null = null): Acl {
    const set = whole(this.#setOf(policies, bindings));
    return this.#known(set.key) ?? this.#keep(set, whole(mergeBound(set.policies, set.paths)));
  }

  /** The same bit by bit: policies may have a hundred thousand rules together. Once for all who ask meanwhile: each would
   *  take the time and the memory of all of them again. */
  async gather(policies: readonly Policy[], bindings: Bindings | null = null): Promise<Acl> {
    const set = await sliced(this.#setOf(policies, bindings));
    const known = this.#known(set.key);
    if (known !== null) return known;
    let merging = this.#merging.get(set.key);
    if (merging === undefined) {
      merging = sliced(mergeBound(set.policies, set.paths))
        .then((acl) => this.#known(set.key) ?? this.#keep(set, acl))
        .finally(() => this.#merging.delete(set.key));
      this.#merging.set(set.key, merging);
    }
    return merging;
  }

  *#setOf(policies: readonly Policy[], bindings: Bindings | null): Work<PolicySet> {
    const sorted = [...new Set(policies)].sort((one, other) => this.#id(one) - this.#id(other));
    const paths = yield* boundPaths(sorted, bindings);
    const ids = sorted.map((policy) => this.#id(policy)).join(" ");
    const key = paths.some((path) => path !== null) ? `${ids} ${JSON.stringify(paths)}` : ids;
    return { key, policies: sorted, paths };
  }

  #known(key: string): Acl | null {
    const kept = this.#acls.get(key);
    if (kept === undefined) return null;
    this.#acls.delete(key);
    this.#acls.set(key, kept);
    return kept.acl;
  }

  #keep({ key, policies }: PolicySet, acl: Acl): Acl {
    const weight = policies.reduce((sum, policy) => sum + policy.specs.length, 1);
    this.#acls.set(key, { acl, weight });
    this.#weight += weight;
    for (const [oldest, entry] of this.#acls) {
      if (this.#weight <= this.#limit || oldest === key) break;
      this.#acls.delete(oldest);
      this.#weight -= entry.weight;
    }
    return acl;
  }

  #id(policy: Policy): number {
    let id = this.#ids.get(policy);
    if (id === undefined) {
      id = ++this.#next;
      this.#ids.set(policy, id);
    }
    return id;
  }
}
