// What every mount must do (src/sdk/mount.ts), as tests that a plugin's own test file registers. The plugin gives a story
// of requests that succeed, and the reads that tell all of its state.

import { Ajv2020 } from "ajv/dist/2020.js";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isVaultError } from "../../src/sdk/errors.ts";
import { schemaOf } from "../../src/sdk/fields.ts";
import type { MountPlugin, Resource } from "../../src/sdk/mount.ts";
import type { Operation } from "../../src/sdk/request.ts";
import { createKit, type Kit, type KitLease, type KitOptions, normalName } from "./kit.ts";
import { Crash } from "./view.ts";

export interface Step {
  readonly operation: Operation;
  readonly path: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Milliseconds that pass before. */
  readonly after?: number;
}

export interface Declared {
  readonly resource: string;
  readonly name: string;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, string>>;
}

export interface MountStory {
  readonly options?: Readonly<Record<string, string>>;
  readonly objects?: readonly Declared[];
  readonly steps: readonly Step[];
  /** Together they show all that clients can see. */
  readonly observe: readonly Step[];
  /** Values that stand in `steps` or `objects` and must never stand in a key, an error or the log. */
  readonly secrets: readonly string[];
  /** Values for a route's parameters, for requests made at random. */
  readonly params: Readonly<Record<string, readonly string[]>>;
}

const operations: readonly Operation[] = ["read", "update", "patch", "delete", "list"];

async function run(kit: Kit, step: Step): Promise<void> {
  kit.clock.advance(step.after ?? 0);
  await kit.call(step.operation, step.path, step.data);
}

/** What clients see now, as text. */
async function seen(kit: Kit, story: MountStory): Promise<string> {
  const answers: unknown[] = [];
  for (const step of story.observe) {
    try {
      const { response } = await kit.call(step.operation, step.path, step.data);
      answers.push(response === null ? null : { data: response.data, grant: response.grant });
    } catch (error) {
      if (!isVaultError(error)) throw error;
      answers.push([error.code, error.errors, error.data]);
    }
  }
  return JSON.stringify(answers);
}

async function told(plugin: MountPlugin, story: MountStory, upTo: number, options: KitOptions = {}): Promise<Kit> {
  const kit = createKit(plugin, { options: story.options ?? {}, ...options });
  for (const object of story.objects ?? [])
    await kit.declare(object.resource, object.name, object.spec, object.secrets);
  for (const step of story.steps.slice(0, upTo)) await run(kit, step);
  return kit;
}

export function mountConformance(name: string, plugin: MountPlugin, story: MountStory): void {
  describe(`${name} keeps the mount contract`, () => {
    shape(plugin, story);
    resources(plugin, story);
    stories(plugin, story);
    cuts(plugin, story);
    leases(plugin, story);
    noise(plugin, story);
  });
}

function shape(plugin: MountPlugin, story: MountStory): void {
  test("says what it is", () => {
    expect(plugin.type).toMatch(/^[a-z][a-z0-9-]*$/);
    expect(plugin.description).not.toBe("");
    for (const option of Object.values(plugin.options)) {
      expect(option.description).not.toBe("");
      if (option.enum && option.default !== undefined) expect(option.enum).toContain(option.default);
    }
    const { routes } = createKit(plugin, { options: story.options ?? {} });
    expect(new Set(routes.map((route) => route.path)).size).toBe(routes.length);
    for (const route of routes) {
      expect(route.path).toMatch(/^$|^(:?[a-z0-9_-]+)(\/:?[a-z0-9_-]+)*(\*\*?)?$/);
      expect(Object.keys(route.on).length, route.path).toBeGreaterThan(0);
      for (const handler of Object.values(route.on)) expect(handler.summary, route.path).not.toBe("");
    }
  });
}

function resources(plugin: MountPlugin, story: MountStory): void {
  if (plugin.resources.length === 0) return;
  test.each(plugin.resources)("resource $name has a schema, a folder and one spelling of names", (resource) => {
    expect(resource.kind).toMatch(/^[A-Z][A-Za-z0-9]+$/);
    expect(resource.path).toMatch(/^[a-z0-9_-]+(\/[a-z0-9_-]+)*\/:name$/);
    expect(resource.description).not.toBe("");
    expect(() => new Ajv2020({ strict: true, strictTypes: false }).compile(schemaOf(resource.fields))).not.toThrow();
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (given) => {
        const once = normalName(resource, given);
        expect(normalName(resource, once)).toBe(once);
      }),
    );
  });

  test.each(plugin.resources.filter((one) => "seed" in one))(
    "resource $name keeps secrets as state",
    async (resource) => {
      const object = story.objects?.find((one) => one.resource === resource.name && one.secrets);
      if (object?.secrets === undefined) throw new Error("the story needs an object with secrets");
      const kit = createKit(plugin, { options: story.options ?? {} });
      const at = { mount: kit.context, name: normalName(resource, object.name) };
      const seeded = async (): Promise<boolean | undefined> => resource.seeded?.(at);
      expect(await seeded()).toBe(false);
      await resource.seed?.(at, object.secrets);
      await resource.seed?.(at, object.secrets);
      expect(await seeded()).toBe(true);
      kit.restart();
      expect(await seeded()).toBe(true);
      await resource.remove?.(at);
      await resource.remove?.(at);
      expect(await seeded()).toBe(false);
      expect([...kit.store.entries.keys()], "state left behind").toEqual([]);
    },
  );

  test("show hides secrets", () => {
    for (const resource of plugin.resources) {
      const all = Object.fromEntries(Object.keys(resource.fields).map((field) => [field, `canary-${field}`]));
      const shown = JSON.stringify(resource.show?.(all) ?? {});
      for (const field of secretFields(resource)) expect(shown).not.toContain(`canary-${field}`);
    }
  });
}

const secretFields = (resource: Resource): readonly string[] =>
  Object.entries(resource.fields).flatMap(([field, entry]) => (entry.secret ? [field] : []));

function stories(plugin: MountPlugin, story: MountStory): void {
  test("the story is told, and its state outlives a restart and a move", async () => {
    const kit = await told(plugin, story, story.steps.length);
    const before = await seen(kit, story);
    kit.restart();
    expect(await seen(kit, story)).toBe(before);
    kit.restart(plugin.class === "auth" ? "auth/moved/" : "moved/");
    expect(await seen(kit, story)).toBe(
      before.replaceAll(
        plugin.class === "auth" ? `auth/${plugin.type}/` : "secret/",
        plugin.class === "auth" ? "auth/moved/" : "moved/",
      ),
    );
  });

  test("what says that it changes nothing writes nothing", async () => {
    for (const [at, step] of story.steps.entries()) {
      const kit = await told(plugin, story, at);
      kit.clock.advance(step.after ?? 0);
      const before = kit.store.written;
      const { handler, operation } = await kit.call(step.operation, step.path, step.data);
      const mutates = handler.mutates ?? (operation !== "read" && operation !== "list");
      if (!mutates) expect(kit.store.written, `${step.operation} ${step.path}`).toBe(before);
      const after = kit.store.written;
      await seen(kit, story);
      expect(kit.store.written, "reads after it").toBe(after);
    }
  });

  test("a shared answer is one frozen object for as long as its content stands", async () => {
    const kit = await told(plugin, story, story.steps.length);
    for (const step of story.observe) {
      const answer = async (): Promise<unknown> => (await kit.call(step.operation, step.path, step.data)).response;
      const first = (await answer().catch(() => null)) as { data?: object; shared?: true } | null;
      if (first?.shared !== true) continue;
      expect(frozen(first.data)).toBe(true);
      const again = (await answer()) as { data?: object };
      expect(again.data).toBe(first.data);
    }
  });

  test("a write that loses against another is made again, or refused with nothing changed", async () => {
    for (const [at, step] of story.steps.entries()) {
      const kit = await told(plugin, story, at);
      kit.clock.advance(step.after ?? 0);
      const before = await seen(kit, story);
      kit.store.conflict(1);
      try {
        await kit.call(step.operation, step.path, step.data);
        expect(await seen(kit, story)).toBe(await seen(await told(plugin, story, at + 1), story));
      } catch (error) {
        if (!isVaultError(error, "conflict")) throw error;
        expect(await seen(kit, story)).toBe(before);
      }
    }
  });
}

function frozen(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(frozen);
}

function cuts(plugin: MountPlugin, story: MountStory): void {
  test.each([false, true])(
    "a crash after any operation leaves the old state or the new (transactions: %s)",
    async (atomic) => {
      let crashes = 0;
      for (const [at, step] of story.steps.entries()) {
        const old = await told(plugin, story, at, { atomic });
        old.clock.advance(step.after ?? 0);
        const states = [await seen(old, story), await seen(await told(plugin, story, at + 1, { atomic }), story)];
        for (let operations = 0; ; operations++) {
          const kit = await told(plugin, story, at, { atomic });
          kit.store.cut(operations);
          const crashed = await run(kit, step).then(
            () => false,
            (error: unknown) => error instanceof Crash,
          );
          kit.restart();
          const state = await seen(kit, story);
          expect(states, `${step.operation} ${step.path} cut after ${operations}`).toContain(state);
          if (!crashed) break;
          crashes += 1;
          // Whoever got no answer asks again: the same request, and all that follow, must still work.
          await kit.call(step.operation, step.path, step.data).catch((error: unknown) => {
            if (!isVaultError(error, "invalid") && !isVaultError(error, "not_found")) throw error;
          });
          await seen(kit, story);
        }
      }
      expect(crashes).toBeGreaterThan(0);
    },
  );
}

/** Steps that lease something, told up to there. */
async function* leasing(
  plugin: MountPlugin,
  story: MountStory,
): AsyncGenerator<{ readonly at: number; readonly step: Step }> {
  for (const [at, step] of story.steps.entries()) {
    const kit = await told(plugin, story, at);
    const before = kit.leases.length;
    await run(kit, step);
    if (kit.leases.length > before) yield { at, step };
  }
}

async function endLast(kit: Kit): Promise<void> {
  const { type, undo, call } = last(kit);
  await type.revoke(undo, call);
}

function last(kit: Kit): KitLease {
  const lease = kit.leases.at(-1);
  if (lease === undefined) throw new Error("nothing was leased");
  return lease;
}

function leases(plugin: MountPlugin, story: MountStory): void {
  const { leases: types } = plugin.mount(createKit(plugin, { options: story.options ?? {} }).context);
  if (types === undefined) return;

  test("the story leases something of each type, by handlers that mutate", async () => {
    const kit = await told(plugin, story, story.steps.length);
    expect(new Set(kit.leases.map(({ name }) => name))).toEqual(new Set(Object.keys(types)));
    for await (const { at, step } of leasing(plugin, story)) {
      const { handler, operation } = await (await told(plugin, story, at)).call(step.operation, step.path, step.data);
      expect(handler.mutates ?? (operation !== "read" && operation !== "list"), step.path).toBe(true);
    }
  });

  test("revoking undoes what was made, also the second time, after a restart and in a process that knows nothing", async () => {
    for await (const { at, step } of leasing(plugin, story)) {
      const before = await seen(await told(plugin, story, at), story);
      const kit = await told(plugin, story, at);
      await run(kit, step);
      kit.restart();
      await endLast(kit);
      expect(await seen(kit, story), step.path).toBe(before);
      await endLast(kit);
      expect(await seen(kit, story), step.path).toBe(before);
    }
  });

  test("revoking what was never made succeeds and changes nothing", async () => {
    for await (const { at, step } of leasing(plugin, story)) {
      const kit = await told(plugin, story, at);
      const before = await seen(kit, story);
      kit.forget = true;
      await expect(run(kit, step)).rejects.toThrow(Crash);
      kit.restart();
      expect(await seen(kit, story), "made before the undo record was kept").toBe(before);
      await endLast(kit);
      expect(await seen(kit, story), step.path).toBe(before);
    }
  });

  test("revoking undoes what was made in part", async () => {
    for await (const { at, step } of leasing(plugin, story)) {
      for (let operations = 0; ; operations++) {
        const kit = await told(plugin, story, at);
        const before = await seen(kit, story);
        kit.store.cut(operations);
        const crashed = await run(kit, step).then(
          () => false,
          (error: unknown) => error instanceof Crash,
        );
        kit.restart();
        if (!crashed) break;
        await endLast(kit);
        expect(await seen(kit, story), `${step.path} cut after ${operations}`).toBe(before);
      }
    }
  });

  test("what can be renewed is renewed as often as one likes, and revoked all the same", async () => {
    for await (const { at, step } of leasing(plugin, story)) {
      const kit = await told(plugin, story, at);
      const before = await seen(kit, story);
      await run(kit, step);
      const { type, undo, call, granted } = last(kit);
      for (const ttl of [60, 60, 7200]) {
        await type.renew?.(undo, { ...granted, ttl, expiresAt: kit.clock.now() + ttl * 1000 }, call);
      }
      await endLast(kit);
      expect(await seen(kit, story), step.path).toBe(before);
    }
  });

  test("an undo record is plain data that holds no secret of the story", async () => {
    const kit = await told(plugin, story, story.steps.length);
    for (const { given, undo } of kit.leases) {
      expect(given).toEqual(undo);
      for (const secret of story.secrets) expect(JSON.stringify(undo)).not.toContain(secret);
    }
  });
}

function noise(plugin: MountPlugin, story: MountStory): void {
  test("no secret stands in a key, in an error or in the log", async () => {
    const kit = await told(plugin, story, story.steps.length);
    for (const step of story.steps)
      await kit.call(step.operation, step.path, { ...step.data, unknown_field: 1 }).catch(() => {});
    const keys = [...kit.store.entries.keys()].join("\n");
    for (const secret of story.secrets) {
      expect(keys).not.toContain(secret);
      expect(kit.log.join("")).not.toContain(secret);
    }
  });

  test("any request is answered or refused with a VaultError that holds no value it was given", async () => {
    const canary = "canary-5up3r-s3cr3t";
    const kit = await told(plugin, story, story.steps.length);
    const names = new Set(
      kit.routes.flatMap((route) => Object.values(route.on).flatMap((one) => Object.keys(one.fields ?? {}))),
    );
    const value = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom(canary, "", "0", "-1", "1,2", 0, -1, 1.5, 2 ** 53, true, null, [], {}, [canary], {
          cas: canary,
        }),
      },
      { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
    );
    const data = fc.dictionary(fc.constantFrom(...names, "__proto__", "constructor", "unknown"), value, {
      maxKeys: 4,
      noNullPrototype: false,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...operations),
        fc.constantFrom(...pathsOf(kit, story)),
        data,
        async (operation, path, fields) => {
          try {
            await kit.call(operation, path, fields);
          } catch (error) {
            if (!isVaultError(error)) throw error;
            expect(error.code).not.toBe("internal");
            expect(error.errors.join("\n")).not.toContain(canary);
            expect(error.errors.join("\n")).not.toContain("mount/");
          }
        },
      ),
      { numRuns: 400 },
    );
    expect(kit.log.join("")).not.toContain(canary);
  });
}

/** Each route with each value of its parameters. */
function pathsOf(kit: Kit, story: MountStory): readonly string[] {
  return kit.routes.flatMap((route) => {
    let paths = [route.path];
    for (const segment of route.path.split("/").filter((one) => one.startsWith(":"))) {
      const name = segment.replace(/^:|\*+$/g, "");
      const values = story.params[name];
      if (values === undefined) throw new Error(`the story gives no values for :${name}`);
      paths = paths.flatMap((path) => values.map((value) => path.replace(segment, () => value)));
    }
    return paths;
  });
}
