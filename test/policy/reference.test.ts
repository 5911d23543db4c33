// The matcher against the reference on random cases. `million.prove.ts` runs ten times as many from another seed.

import { expect, test } from "vitest";
import * as compile from "../../src/policy/compile.ts";
import * as facts from "../../src/policy/facts.ts";
import * as hcl from "../../src/policy/hcl.ts";
import * as match from "../../src/policy/match.ts";
import { compareWithReference } from "./random.ts";

const cases = 100_000;

test("the matcher decides random cases as the reference does", () => {
  const outcome = compareWithReference({ compile, facts, hcl, match }, 3, cases);
  expect(outcome.difference).toBeNull();
  expect(outcome.cases).toBe(cases);
  expect(outcome.allowed / cases).toBeGreaterThan(0.3);
  expect(outcome.allowed / cases).toBeLessThan(0.7);
});
