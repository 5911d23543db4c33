// One million random cases against the reference; `npm test` runs a tenth of it.

import { expect, test } from "vitest";
import * as compile from "../../src/policy/compile.ts";
import * as facts from "../../src/policy/facts.ts";
import * as hcl from "../../src/policy/hcl.ts";
import * as match from "../../src/policy/match.ts";
import { compareWithReference } from "./random.ts";

const cases = 1_000_000;

test("the matcher decides a million random cases as the reference does", () => {
  const outcome = compareWithReference({ compile, facts, hcl, match }, 20_261_124, cases);
  expect(outcome.difference).toBeNull();
  expect(outcome.cases).toBe(cases);
  expect(outcome.allowed / cases).toBeGreaterThan(0.3);
  expect(outcome.allowed / cases).toBeLessThan(0.7);
});
