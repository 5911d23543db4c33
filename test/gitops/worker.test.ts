import { execFileSync } from "node:child_process";
import { appendFileSync, rmSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import { systemTimer } from "../../src/lib/flight.ts";
import { silent } from "../../src/lib/log.ts";
import { Reconciler } from "../../src/gitops/reconciler.ts";
import { openWorkshop } from "../../src/gitops/worker.ts";
import { FakeTarget, holding, planning, scratch, settingsOf, sweep, Upstream } from "./kit.ts";

afterAll(sweep);
const program = new URL("./program.ts", import.meta.url);

/** Documents as the project's own compiler reads them. */
const rule = (name: string, words: readonly string[] = []): string =>
  `apiVersion: writ/v1\nkind: Rule\nmetadata: { name: ${name} }\nspec: { words: [${words.join(", ")}], ttl: 1h }\n`;

async function threaded(upstream: { readonly dir: string }, compilerModule?: URL) {
  const settings = await settingsOf(upstream);
  const workshop = openWorkshop({
    settings,
    folder: join(scratch(), "source"),
    kindsModule: program,
    ...(compilerModule !== undefined && { compilerModule }),
  });
  const target = new FakeTarget();
  const options = {
    target,
    workshop,
    planning,
    holding,
    settings,
    clock: systemClock,
    timer: systemTimer,
    random: Math.random,
    log: silent,
  };
  return { workshop, target, reconciler: new Reconciler({ ...options, spacing: 0 }) };
}

test("the thread does the work: sets cross as differences, errors keep their meaning", async () => {
  const upstream = new Upstream();
  upstream.commit({ "a.yaml": "a\nb\n", "b.yaml": "c\n" });
  const { workshop, target, reconciler } = await threaded(upstream, program);
  expect((await reconciler.sync()).result).toBe("applied");
  upstream.commit({ "b.yaml": "d\n" });
  const head = await workshop.fetch();
  const parcel = await workshop.compile(head, 1);
  expect(parcel).toMatchObject({ base: 1, removed: ["Policy\n\nc"], changed: [{ name: "d" }] });
  // The reconciler never got that parcel: it asks with what it has and is sent everything.
  expect((await reconciler.sync()).result).toBe("applied");
  expect(target.names()).toEqual(["a", "b", "d"]);
  await expect(workshop.compile({ ...head, id: "1".repeat(40) }, null)).rejects.toMatchObject({ name: "SourceError" });
  await reconciler.close();
});

test("a fetch that hangs is cut short where something else comes first; once closed, nothing is asked any more", async () => {
  const upstream = new Upstream();
  const id = upstream.commit({ "a.yaml": "a\n" });
  const { workshop } = await threaded(upstream, program);
  const head = await workshop.fetch();
  await workshop.hurry();
  // Whoever opens it waits for ever.
  rmSync(join(upstream.dir, "HEAD"));
  execFileSync("mkfifo", [join(upstream.dir, "HEAD")]);
  const fetched = workshop.fetch();
  await workshop.hurry();
  await expect(fetched).rejects.toMatchObject({ message: "stopped", cause: "remote" });
  expect(await workshop.find(id.slice(0, 8))).toEqual(head);
  expect((await workshop.compile(head, null)).changed).toMatchObject([{ name: "a" }]);
  await workshop.close();
  await expect(workshop.find(id)).rejects.toMatchObject({ name: "SourceError", message: "stopped" });
});

test("a thread that cannot start or dies fails its question, and the next one gets another", async () => {
  const upstream = new Upstream();
  upstream.commit({ "a.yaml": "a\n" });
  const settings = await settingsOf(upstream);
  const module = join(scratch(), "kinds.mjs");
  appendFileSync(
    module,
    "if (!globalThis.process.env.WRIT_TEST_OK) throw new Error('no such plugin');\nexport const kinds = [];\n",
  );
  const workshop = openWorkshop({
    settings,
    folder: join(scratch(), "source"),
    kindsModule: new URL(`file://${module}`),
    compilerModule: program,
  });
  await expect(workshop.fetch()).rejects.toMatchObject({
    name: "SourceError",
    detail: expect.stringContaining("no such plugin"),
  });
  process.env["WRIT_TEST_OK"] = "1";
  await expect(workshop.fetch()).resolves.toMatchObject({ parents: [] });
  delete process.env["WRIT_TEST_OK"];
  await workshop.close();
});

test("YAML through the whole chain: typed values, problems with their masked lines, no secret anywhere", async () => {
  const upstream = new Upstream();
  upstream.commit({ "rules/a.yaml": rule("a", ["x"]), "README.md": "# Rules" });
  const { target, reconciler } = await threaded(upstream);
  expect(await reconciler.sync()).toMatchObject({ result: "applied" });
  expect(target.applied?.declarations).toMatchObject([
    {
      kind: "Rule",
      name: "a",
      spec: { words: ["x"], ttl: 3_600 },
      source: { file: "rules/a.yaml", line: 1, column: 1 },
    },
  ]);
  upstream.commit({ "rules/b.yaml": rule("b").replace("ttl: 1h", "password: hunter2hunter2") });
  const verdict = await reconciler.sync();
  expect(verdict).toMatchObject({ result: "invalid", problems: [{ file: "rules/b.yaml", line: 4 }] });
  const told = JSON.stringify([verdict, target.entries, await reconciler.status({ documents: true })]);
  expect(told).not.toContain("hunter2");
  expect(target.names()).toEqual(["a"]);
  await reconciler.close();
});

test("one file of 1,000 documents changes: from the wake to apply, and the serving thread's share", async () => {
  const upstream = new Upstream();
  upstream.commit(
    Object.fromEntries(
      Array.from({ length: 1_000 }, (_, at) => [`team${at % 20}/p${at}.yaml`, rule(`p${at}`, ["read"])]),
    ),
  );
  const { target, reconciler } = await threaded(upstream);
  await reconciler.sync();
  const took: number[] = [];
  const busy: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    upstream.commit({ "team0/p0.yaml": rule("p0", [`round${round}`]) });
    const applied = Promise.withResolvers<number>();
    target.onApply = () => applied.resolve(performance.now());
    const idle = performance.eventLoopUtilization();
    const begun = performance.now();
    reconciler.wake();
    took.push((await applied.promise) - begun);
    busy.push(performance.eventLoopUtilization(idle).active);
    await reconciler.sync();
  }
  const median = took.sort((a, b) => a - b)[4] ?? 0;
  console.info(
    `one changed file of 1,000: ${median.toFixed(0)} ms from wake to apply (asked: 150; ${took.map((ms) => ms.toFixed(0)).join(" ")}), ${(busy.sort((a, b) => a - b)[4] ?? 0).toFixed(1)} ms of it in the serving thread`,
  );
  expect(target.applies.at(-1)?.changes).toHaveLength(1);
  await reconciler.close();
});
