// What the compiler must refuse: an edit, or an answer, with a member that nobody reads. `tsc` is the check: an
// expected error that does not come is one.

import { expect, test } from "vitest";
import { coreHandler } from "../../src/core/call.ts";
import { edit } from "../../src/core/identity/edits.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { handler } from "../../src/sdk/mount.ts";

const lost = (ledger: Ledger, core: Parameters<typeof edit>[0]): readonly unknown[] => [
  // @ts-expect-error -- `op` is no member of an edit
  ledger.edit(() => ({ put: [], remove: [], op: [] })),
  // @ts-expect-error -- nor in work that is done in slices
  ledger.edit(function* () {
    yield;
    return { put: [], remove: [], op: [] };
  }),
  // @ts-expect-error -- nor in an edit of identities
  edit(core, [], () => ({ put: [], remove: [], op: [] })),
  ledger.edit(() => ({ put: [], remove: [], ops: [] })),
  edit(core, [], () => null),
  // @ts-expect-error -- `warning` is no member of an answer
  coreHandler({ summary: "", run: async () => ({ data: {}, warning: [] }) }),
  // @ts-expect-error -- nor where another answer is right
  handler({ summary: "", run: ({ data }) => (data === null ? null : { data: {}, shpae: "bare" }) }),
  handler({ summary: "", run: ({ data }) => (data === null ? null : { data: {}, shape: "bare" }) }),
];

test("members that nobody reads are refused where they are written", () => {
  expect(lost).toBeTypeOf("function");
});
