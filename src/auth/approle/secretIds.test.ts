// Secret ids that are used, taken and ended at the same moment.

import { expect, test, vi } from "vitest";
import { createKit } from "../../../test/conformance/kit.ts";
import { plugin } from "./index.ts";
import { SecretIds, type Terms } from "./secretIds.ts";

const secret = "c0rrect-h0rse-battery";
const other = "another-battery-staple";
const terms = (more: Partial<Terms> = {}): Terms => ({
  ttl: 0,
  num_uses: 0,
  metadata: {},
  cidr_list: [],
  token_bound_cidrs: [],
  ...more,
});

function prepared() {
  const { context, store, clock } = createKit(plugin);
  const ids = new SecretIds(context);
  /** Comes between what the next write was decided on and the write. */
  const before = (act: () => Promise<unknown>): void => {
    vi.spyOn(context.view, "write").mockImplementationOnce(async (ops) => {
      await act();
      return context.view.write(ops);
    });
  };
  const stored = (): string[] => [...store.entries.keys()].filter((key) => /\/(secret|due)\//.test(key));
  return { ids, context, clock, before, stored };
}

test.each([1, 2])(
  "a login with one of %i uses left that meets the role's end is none, and brings nothing back",
  async (num_uses) => {
    const { ids, before, stored } = prepared();
    const accessor = await ids.create("app", secret, terms({ num_uses, ttl: 60 }));
    before(() => ids.clear("app"));
    expect(await ids.use("app", accessor)).toBe(false);
    expect(stored()).toEqual([]);
  },
);

test("one that is used up meanwhile is gone already", async () => {
  const { ids, context, before, stored } = prepared();
  const accessor = await ids.create("app", secret, terms({ num_uses: 1 }));
  // Another lock: the version alone decides.
  before(() => new SecretIds(context).use("app", accessor));
  expect(await ids.use("app", accessor)).toBe(false);
  expect(stored()).toEqual([]);
});

test("of two who take the same one, one is told that it is taken", async () => {
  const { ids, before } = prepared();
  before(() => ids.create("app", secret, terms({ num_uses: 5 })));
  await expect(ids.create("app", secret, terms())).rejects.toThrow("SecretID is already registered");
  expect(await ids.find("app", ids.accessor("app", secret))).toMatchObject({ num_uses: 5 });
});

test("one is removed from its very millisecond on, and not before", async () => {
  const { ids, clock, stored } = prepared();
  await ids.create("app", secret, terms({ ttl: 60 }));
  clock.advance(59_999);
  await ids.tidy();
  expect(stored()).toHaveLength(2);
  clock.advance(1);
  await ids.tidy();
  expect(stored()).toEqual([]);
});

test("ends those that are meant, of one role or of all, and leaves no index behind", async () => {
  const { ids, clock, stored } = prepared();
  for (const role of ["app", "job"]) {
    await ids.create(role, secret, terms({ ttl: 60, metadata: { old: role } }));
    await ids.create(role, other, terms({ ttl: 90 }));
  }
  const isOld = ({ metadata }: Terms): boolean => metadata["old"] !== undefined;
  expect(await ids.clear("app", isOld)).toBe(1);
  expect(await ids.list("app")).toEqual([ids.accessor("app", other)]);
  expect(await ids.list("job")).toHaveLength(2);
  expect(await ids.endWhere(isOld)).toBe(1);
  expect(await ids.list("job")).toEqual([ids.accessor("job", other)]);
  expect(stored()).toHaveLength(4);
  clock.advance(90_000);
  await ids.tidy();
  expect(stored()).toEqual([]);
});
