// Random requests against a plain model of KV version 2, with crashes in the middle, and against each other.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createKit, type Kit } from "../../../test/conformance/kit.ts";
import { Crash, TestView } from "../../../test/conformance/view.ts";
import { isVaultError } from "../../sdk/errors.ts";
import { plugin } from "./index.ts";

interface ModelVersion {
  number: number;
  data: unknown;
  deleted: boolean;
  destroyed: boolean;
}

interface ModelSecret {
  current: number;
  max: number;
  casRequired: boolean;
  custom: Record<string, string>;
  /** Oldest first. */
  versions: ModelVersion[];
}

type Model = Map<string, ModelSecret>;

interface Request {
  readonly operation: "update" | "patch" | "delete";
  readonly path: string;
  readonly data?: Record<string, unknown>;
  /** What it does to the model; false where it is refused. */
  readonly act: (model: Model) => boolean;
}

const paths = ["a", "a/b", "c"] as const;
const secretOf = (model: Model, path: string): ModelSecret => {
  const found = model.get(path) ?? { current: 0, max: 0, casRequired: false, custom: {}, versions: [] };
  model.set(path, found);
  return found;
};

function mayWrite(secret: ModelSecret | undefined, cas: number | null): boolean {
  return cas === null ? secret?.casRequired !== true : cas === (secret?.current ?? 0);
}

function push(secret: ModelSecret, data: unknown): void {
  secret.current += 1;
  secret.versions.push({ number: secret.current, data, deleted: false, destroyed: false });
  const keep = secret.max === 0 ? 10 : secret.max;
  secret.versions = secret.versions.filter((version) => version.number > secret.current - keep);
}

const path = fc.constantFrom(...paths);
// A name that is a backslash alone is refused by the barrier.
const value = fc.jsonValue({ maxDepth: 2 }).filter((json) => !JSON.stringify(json).includes(String.raw`"\\":`));
const fields = fc.dictionary(fc.constantFrom("x", "y", "__proto__"), value, { noNullPrototype: true });
// Some are too large for the entry of their secret.
const body = fc.tuple(fields, fc.boolean()).map(([data, large]) => (large ? { ...data, z: "z".repeat(1100) } : data));
const cas = fc.option(fc.nat(4));
const numbers = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 3 });
const options = (given: number | null): Record<string, unknown> => (given === null ? {} : { options: { cas: given } });

const put = fc.record({ path, data: body, cas }).map((given): Request => ({
  operation: "update",
  path: `data/${given.path}`,
  data: { data: given.data, ...options(given.cas) },
  act: (model) => {
    if (!mayWrite(model.get(given.path), given.cas)) return false;
    push(secretOf(model, given.path), given.data);
    return true;
  },
}));

/** Only names that come and go: merging trees has its own test. */
const patch = fc
  .record({ path, name: fc.constantFrom("x", "y"), to: fc.option(fc.integer()), cas })
  .map((given): Request => ({
    operation: "patch",
    path: `data/${given.path}`,
    data: { data: { [given.name]: given.to }, ...options(given.cas) },
    act: (model) => {
      const secret = model.get(given.path);
      const last = secret?.versions.at(-1);
      if (secret === undefined || !mayWrite(secret, given.cas)) return false;
      if (last === undefined || last.deleted || last.destroyed) return false;
      const rest = Object.entries(last.data as object).filter(([name]) => name !== given.name);
      push(secret, Object.fromEntries(given.to === null ? rest : [...rest, [given.name, given.to]]));
      return true;
    },
  }));

const mark = fc
  .record({ path, numbers, verb: fc.constantFrom("delete", "undelete", "destroy") })
  .map((given): Request => ({
    operation: "update",
    path: `${given.verb}/${given.path}`,
    data: { versions: given.numbers },
    act: (model) => {
      for (const version of model.get(given.path)?.versions ?? []) {
        if (!given.numbers.includes(version.number)) continue;
        if (given.verb === "destroy") version.destroyed = true;
        else if (!version.destroyed) version.deleted = given.verb === "delete";
      }
      return true;
    },
  }));

const remove = fc.record({ path, all: fc.boolean() }).map((given): Request => ({
  operation: "delete",
  path: `${given.all ? "metadata" : "data"}/${given.path}`,
  act: (model) => {
    if (given.all) model.delete(given.path);
    const last = model.get(given.path)?.versions.at(-1);
    if (last?.destroyed === false) last.deleted = true;
    return true;
  },
}));

const settings = fc
  .record({ path, max: fc.nat(4), casRequired: fc.boolean(), custom: fc.constantFrom("v", "w") })
  .map((given): Request => ({
    operation: "update",
    path: `metadata/${given.path}`,
    data: { max_versions: given.max, cas_required: given.casRequired, custom_metadata: { k: given.custom } },
    act: (model) => {
      const secret = secretOf(model, given.path);
      secret.max = given.max;
      secret.casRequired = given.casRequired;
      secret.custom = { k: given.custom };
      return true;
    },
  }));

const request = fc.oneof({ weight: 4, arbitrary: put }, patch, mark, remove, settings);

const ordered = (tree: unknown): unknown =>
  JSON.parse(
    JSON.stringify(tree, (_name, item: unknown) =>
      typeof item === "object" && item !== null && !Array.isArray(item)
        ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
        : item,
    ),
  );

/** All that clients can see, in the terms of the model. */
async function seen(kit: Kit): Promise<unknown> {
  const secrets: unknown[] = [];
  for (const name of paths) {
    const metadata = await kit.data("read", `metadata/${name}`).catch(() => null);
    if (!metadata) continue;
    const versions: unknown[] = [];
    for (const [number, raw] of Object.entries(metadata["versions"] as object)) {
      const state = raw as { deletion_time: string; destroyed: boolean };
      const read = await kit
        .data("read", `data/${name}`, { version: number })
        .catch((error: unknown) => (isVaultError(error, "not_found") ? error.data : Promise.reject(error as Error)));
      const deleted = state.deletion_time !== "";
      versions.push({ number: Number(number), data: read?.["data"], deleted, destroyed: state.destroyed });
    }
    secrets.push({
      name,
      current: metadata["current_version"],
      max: metadata["max_versions"],
      casRequired: metadata["cas_required"],
      custom: metadata["custom_metadata"] ?? {},
      versions,
    });
  }
  const listed = await kit.data("list", "metadata").catch(() => null);
  return ordered({ secrets, listed: listed?.["keys"] ?? [] });
}

function expected(model: Model): unknown {
  const secrets = paths.flatMap((name) => {
    const secret = model.get(name);
    if (secret === undefined) return [];
    const versions = secret.versions.map((version) => ({
      ...version,
      data: version.deleted || version.destroyed ? null : version.data,
    }));
    return [{ name, ...secret, versions }];
  });
  const listed = [
    ...(model.has("a") ? ["a"] : []),
    ...(model.has("a/b") ? ["a/"] : []),
    ...(model.has("c") ? ["c"] : []),
  ];
  return ordered({ secrets, listed });
}

/** Runs one request on both; a crash leaves the model where the store is. */
async function step(kit: Kit, before: Model, { act, ...given }: Request, cut: number | null): Promise<Model> {
  const after = structuredClone(before);
  const accepted = act(after);
  if (cut !== null) kit.store.cut(cut);
  const crashed = await kit.call(given.operation, given.path, given.data).then(
    () => (accepted ? false : expect.fail(`${JSON.stringify(given)} was not refused`)),
    (error: unknown) => {
      if (error instanceof Crash) return true;
      if (!isVaultError(error, "invalid") && !isVaultError(error, "not_found")) throw error;
      if (accepted) throw error;
      return false;
    },
  );
  kit.clock.advance(1);
  if (cut !== null) kit.restart();
  const now = await seen(kit);
  const old = accepted ? before : after;
  if (crashed && JSON.stringify(now) === JSON.stringify(expected(old))) return old;
  expect(now, JSON.stringify(given)).toEqual(expected(after));
  return after;
}

const steps = fc.array(fc.record({ request, cut: fc.option(fc.nat(5), { freq: 3 }) }), { maxLength: 25 });

test.each([true, false])(
  "any requests, crashes among them, do what the model does (transactions: %s)",
  async (atomic) => {
    await fc.assert(
      fc.asyncProperty(steps, async (given) => {
        const kit = createKit(plugin, { options: { version: "2" }, atomic });
        let model: Model = new Map();
        for (const { request: one, cut } of given) model = await step(kit, model, one, cut);
        // Nothing but what the model holds is left once all is removed.
        for (const name of paths) await kit.call("delete", `metadata/${name}`);
        expect(kit.store.entries.size).toBe(0);
      }),
      { numRuns: 150 },
    );
  },
);

/** A client of its own: the same mount, or as another process would have it. */
function writers(kit: Kit, count: number, apart: boolean): Kit["call"][] {
  return Array.from({ length: count }, () => {
    const other = createKit(plugin, { options: { version: "2" } });
    const context = { ...kit.context, accessor: apart ? other.context.accessor : kit.context.accessor };
    const { routes } = plugin.mount({
      ...context,
      view: new TestView(kit.store, "mount/00000000-0000-4000-8000-000000000000/"),
    });
    return async (operation, path, data = {}) => {
      const route = routes.find((one) => one.path === "data/:path*");
      const handler = route?.on[operation];
      if (handler === undefined) throw new Error("no handler");
      const request = { path: `secret/${path}`, data, operation } as never;
      const params = { path: path.slice("data/".length) };
      const response = await handler.run({ request, params, data: { version: 0, ...data }, warn: () => {} } as never);
      return { response, warnings: [], operation, handler };
    };
  });
}

test.each([
  ["one process", false, 32],
  ["two processes", true, 4],
])("writers of one path at the same time each get a version of their own (%s)", async (_name, apart, count) => {
  await fc.assert(
    fc.asyncProperty(fc.infiniteStream(fc.nat(3)), async (ticks) => {
      const kit = createKit(plugin, { options: { version: "2" } });
      await kit.call("update", "metadata/a", { max_versions: 100 });
      kit.store.onGet = async () => {
        for (let left = ticks.next().value ?? 0; left > 0; left--) await Promise.resolve();
      };
      const state = { done: false };
      const reader = (async () => {
        for (let last = 0; !state.done;) {
          const found = await kit.data("read", "data/a").catch(() => null);
          const metadata = found?.["metadata"] as { version: number } | undefined;
          if (metadata === undefined) continue;
          expect(metadata.version).toBeGreaterThanOrEqual(last);
          last = metadata.version;
        }
      })();
      const writes = writers(kit, count, apart).map((call, who) => call("update", "data/a", { data: { who } }));
      const answers = await Promise.all(writes).finally(() => {
        state.done = true;
      });
      await reader;
      const versions = answers.map((answer) => answer.response?.data?.["version"]);
      expect(new Set(versions)).toEqual(new Set(Array.from({ length: count }, (_, at) => at + 1)));
      for (const [who, version] of versions.entries()) {
        expect(await kit.data("read", "data/a", { version })).toMatchObject({ data: { who } });
      }
    }),
    { numRuns: 20 },
  );
});

test("of writers that name the same version to follow, one wins", async () => {
  for (const apart of [false, true]) {
    const kit = createKit(plugin, { options: { version: "2" } });
    await kit.call("update", "data/a", { data: {} });
    const results = await Promise.allSettled(
      writers(kit, 8, apart).map((call, who) => call("update", "data/a", { data: { who }, options: { cas: 1 } })),
    );
    const won = results.findIndex((result) => result.status === "fulfilled");
    const lost = results.filter((result) => result.status === "rejected");
    expect(lost.map((result) => (result.reason as { code: string }).code)).toEqual(
      Array.from({ length: 7 }, () => "invalid"),
    );
    expect(await kit.data("read", "data/a")).toMatchObject({ data: { who: won }, metadata: { version: 2 } });
  }
});
