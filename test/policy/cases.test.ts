// The cases of test/cases/policy: one YAML file a topic, each case policies as text and what follows from them.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { compileRules } from "../../src/policy/compile.ts";
import { parsePolicy } from "../../src/policy/hcl.ts";
import { type Acl, type Bindings, merge } from "../../src/policy/match.ts";
import type { Operation } from "../../src/sdk/request.ts";
import { answer, capabilitiesAt, type PlainPolicy, type PlainRule } from "./reference.ts";

interface Ask {
  readonly path: string;
  readonly operation: Operation;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly wrapTtl?: number;
  readonly allowed: boolean;
  readonly sudo?: boolean;
  readonly by: string | null;
  readonly policies?: readonly string[];
}

interface Case {
  readonly name: string;
  readonly policies: Readonly<Record<string, string>>;
  readonly caller?: Bindings;
  readonly ask?: readonly Ask[];
  readonly capabilities?: Readonly<Record<string, readonly string[]>>;
  readonly reachable?: Readonly<Record<string, boolean>>;
}

const folder = join(import.meta.dirname, "../cases/policy");

function aclOf(given: Case): Acl {
  const policies = Object.entries(given.policies).map(([name, text]) => {
    const { rules, time_zone } = parsePolicy(text);
    return compileRules(name, rules, time_zone);
  });
  return merge(policies, given.caller);
}

function asks(given: Case): void {
  const acl = aclOf(given);
  const plain: PlainPolicy[] = Object.entries(given.policies).map(([name, text]) => ({
    name,
    rules: parsePolicy(text).rules as readonly PlainRule[],
  }));
  for (const ask of given.ask ?? []) {
    const decision = acl.check(ask.path, ask.operation, ask.data ?? {}, null, ask.wrapTtl);
    const what = `${ask.operation} ${ask.path}`;
    expect({ what, allowed: decision.allowed, by: decision.rule?.path ?? null }).toEqual({
      what,
      allowed: ask.allowed,
      by: ask.by,
    });
    if (ask.sudo !== undefined) expect(decision.sudo, what).toBe(ask.sudo);
    if (ask.policies !== undefined) expect(decision.rule?.policies, what).toEqual(ask.policies);
    if (given.caller !== undefined) continue;
    const reference = answer(plain, {}, { data: {}, ...ask });
    expect(decision, what).toEqual(reference);
  }
  for (const [path, names] of Object.entries(given.capabilities ?? {})) {
    expect(acl.capabilities(path), path).toEqual(names);
    expect(capabilitiesAt(plain, {}, path), path).toEqual(names);
  }
  for (const [prefix, wanted] of Object.entries(given.reachable ?? {}))
    expect(acl.reachable(prefix), prefix).toBe(wanted);
}

describe.each(readdirSync(folder).filter((name) => name.endsWith(".yaml")))("%s", (file) => {
  const cases = parse(readFileSync(join(folder, file), "utf8")) as readonly Case[];
  test.each(cases.map((each) => ({ name: each.name, each })))("$name", ({ each }) => asks(each));
});
