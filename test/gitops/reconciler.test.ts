import { afterAll, describe, expect, test } from "vitest";
import { ApplyError } from "../../src/sdk/kind.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import type { Compile } from "../../src/gitops/workshop.ts";
import { bench, FakeTarget, lines, sweep, Upstream } from "./kit.ts";

afterAll(sweep);

describe("commits", () => {
  test("the first commit, a change and a removal are applied, each told to the audit before and after", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\nbeta\n", "README.md": "hello" }, { subject: "First" });
    const { reconciler, target } = await bench(upstream);
    expect(await reconciler.sync()).toMatchObject({ result: "applied", commit: { id: first, subject: "First" } });
    expect(target.names()).toEqual(["alpha", "beta"]);
    const second = upstream.commit({ "b.yaml": "gamma\n", "a.yaml": "alpha read\n" });
    expect(await reconciler.sync()).toMatchObject({ result: "applied", commit: { id: second, parents: [first] } });
    expect(target.names().toSorted()).toEqual(["alpha", "gamma"]);
    expect(target.applies[1]?.changes.map(({ action, name }) => `${action} ${name}`)).toEqual([
      "update alpha",
      "create gamma",
      "delete beta",
    ]);
    expect(target.told()).toEqual(["planned", "finished:applied", "planned", "finished:applied"]);
    expect(target.entries[2]).toMatchObject({
      type: "reconcile",
      commit: second,
      previous: first,
      author: "Ada <ada@example.org>",
      plan: { create: 1, update: 1, delete: 1 },
    });
    await reconciler.sync();
    expect(target.entries).toHaveLength(4);
    await reconciler.close();
  });

  test("a commit that changes no document still becomes the applied one", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const second = upstream.commit({ "README.md": "words" });
    await reconciler.sync();
    expect(target.applied?.commit.id).toBe(second);
    expect(target.applies[1]?.changes).toEqual([]);
    await reconciler.close();
  });

  test("what is applied is the same whether sent whole or as differences", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a1\na2\n", "b.yaml": "b1\n" });
    const one = await bench(upstream);
    await one.reconciler.sync();
    upstream.commit({ "a.yaml": "new\na2 read\n", "b.yaml": null, "c.yaml": "b1\n" });
    await one.reconciler.sync();
    const other = await bench(upstream);
    await other.reconciler.sync();
    const sorted = (target: FakeTarget) => target.applied?.declarations.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    expect(sorted(one.target)).toEqual(sorted(other.target));
    expect(Object.isFrozen(one.target.applied?.declarations[0]?.spec["words"])).toBe(true);
    await one.reconciler.close();
    await other.reconciler.close();
  });

  test("an invalid commit changes nothing, is compiled and told once, and its mending is applied", async () => {
    const upstream = new Upstream();
    const good = upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target, workshop, timer } = await bench(upstream);
    await reconciler.sync();
    const bad = upstream.commit({ "a.yaml": "alpha\nbeta bad\n", "z.yaml": "gamma bad\n" });
    expect(await reconciler.sync()).toMatchObject({
      result: "invalid",
      problems: [{ file: "a.yaml", line: 2 }, { file: "z.yaml" }],
    });
    expect(target.applied?.commit.id).toBe(good);
    const compiles = workshop.compiles;
    for (let polls = 0; polls < 3; polls += 1) {
      timer.pass(61_000);
      await idle(reconciler);
    }
    expect(workshop.fetches).toBeGreaterThanOrEqual(5);
    expect(workshop.compiles).toBe(compiles);
    expect(target.told().filter((entry) => entry === "finished:invalid")).toHaveLength(1);
    expect(JSON.stringify(target.entries)).not.toContain("excerpt");
    expect(target.entries.at(-1)).toMatchObject({ problems: { count: 2, at: ["a.yaml:2:1", "z.yaml:1:1"] } });
    expect(await reconciler.status({ documents: true })).toMatchObject({
      state: "invalid",
      in_sync: false,
      remote_commit: { commit: bad },
      applied_commit: { commit: good },
      last_error: { commit: bad, problems: [{ message: "is bad" }, {}] },
      documents: [{ kind: "Policy", name: "alpha", file: "a.yaml", line: 1, state: "active" }],
    });
    const mended = upstream.commit({ "a.yaml": "alpha\nbeta\n", "z.yaml": null });
    expect(await reconciler.sync()).toMatchObject({ result: "applied", commit: { id: mended } });
    expect(await reconciler.status({ documents: false })).toMatchObject({
      in_sync: true,
      last_error: null,
      document_count: 2,
    });
    await reconciler.close();
  });

  test("a restart comes back without the remote and says so", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const before = await bench(upstream);
    await before.reconciler.sync();
    await before.reconciler.close();
    const after = await bench({ dir: `${upstream.dir}-gone` }, { target: before.target, folder: before.folder });
    expect(await after.reconciler.sync()).toMatchObject({ result: "failed", commit: null });
    expect(await after.reconciler.status({ documents: false })).toMatchObject({
      state: "failed",
      applied_commit: { commit: first },
      last_error: { message: expect.stringContaining("no such repository") },
    });
    expect(before.target.names()).toEqual(["alpha"]);
    await after.reconciler.close();
  });
});

/** The run that is under way, if any, has ended: a poll's run is joined without asking for another fetch. */
async function idle(reconciler: { standing(): { running: boolean } }): Promise<void> {
  do await new Promise((resolve) => setImmediate(resolve));
  while (reconciler.standing().running);
}

describe("holds", () => {
  test("a rewritten branch is held until a descendant appears", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const rewritten = upstream.commit({ "a.yaml": "evil\n" }, { parent: null });
    expect(await reconciler.sync()).toMatchObject({
      result: "held",
      held: { for: "rewind" },
      commit: { id: rewritten },
    });
    expect(target.applied?.commit.id).toBe(first);
    expect(await reconciler.status({ documents: false })).toMatchObject({
      state: "held",
      held: { commit: rewritten, allow: `writ sync --allow-rewind ${rewritten}` },
    });
    expect(target.told().at(-1)).toBe("finished:held");
    const next = upstream.commit({ "a.yaml": "alpha\nbeta\n" }, { parent: first });
    expect(await reconciler.sync()).toMatchObject({ result: "applied", commit: { id: next } });
    await reconciler.close();
  });

  test("a rewind to an older commit is held, and applied once allowed for that commit", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const second = upstream.commit({ "a.yaml": "alpha read\n" });
    await reconciler.sync();
    upstream.commit({ "a.yaml": "alpha\n" }, { parent: null });
    const rewritten = upstream.head() ?? "";
    expect((await reconciler.sync()).result).toBe("held");
    await expect(reconciler.sync({ allow: { rewind: first } })).rejects.toThrow(VaultError);
    expect(target.applied?.commit.id).toBe(second);
    expect(await reconciler.sync({ allow: { rewind: rewritten }, by: "ops" })).toMatchObject({ result: "applied" });
    expect(target.applied?.commit.id).toBe(rewritten);
    expect(target.entries.find(({ result }) => result === "allowed")).toMatchObject({ commit: rewritten, by: "ops" });
    await reconciler.close();
  });

  test("too many deletions are held whole, and allowed for that commit only", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a\nb\nc\nd\ne\n" });
    const { reconciler, target, timer } = await bench(upstream, { settings: { max_deletions: 2 } });
    await reconciler.sync();
    const held = upstream.commit({ "a.yaml": "a\nnew\n" });
    expect(await reconciler.sync()).toMatchObject({ result: "held", held: { for: "deletions" }, commit: { id: held } });
    expect(target.names()).toHaveLength(5);
    const later = upstream.commit({ "a.yaml": "new\n" });
    await expect(reconciler.sync({ allow: { deletions: held }, by: "ops" })).rejects.toThrow(later);
    expect(target.names()).toHaveLength(5);
    timer.pass(120_000);
    await idle(reconciler);
    expect(target.names()).toHaveLength(5);
    expect(await reconciler.sync({ allow: { deletions: later }, by: "ops" })).toMatchObject({ result: "applied" });
    expect(target.names()).toEqual(["new"]);
    upstream.commit({ "a.yaml": "x\ny\nz\n" });
    await reconciler.sync();
    const again = upstream.commit({ "a.yaml": "" });
    expect(await reconciler.sync()).toMatchObject({ result: "held", commit: { id: again } });
    await reconciler.close();
  });

  test("an allowance that was kept survives a restart; one for another commit does nothing", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a protect\nb\n" });
    const one = await bench(upstream);
    await one.reconciler.sync();
    const held = upstream.commit({ "a.yaml": "b\n" });
    expect(await one.reconciler.sync()).toMatchObject({ result: "held", held: { reasons: ["a is protected"] } });
    one.target.faults.apply = new Error("disk");
    expect(await one.reconciler.sync({ allow: { deletions: held } })).toMatchObject({ result: "failed" });
    await one.reconciler.close();
    delete one.target.faults.apply;
    const two = await bench(upstream, { target: one.target, folder: one.folder });
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: held } });
    expect(two.target.saved.get("reconciler")).toMatchObject({ deletions: null, attempt: null });
    await two.reconciler.close();
  });

  test("an allowance that is still open does not cover a later commit", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a protect\nb protect\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const held = upstream.commit({ "a.yaml": "b protect\n" });
    await reconciler.sync();
    target.faults.apply = new Error("disk");
    await reconciler.sync({ allow: { deletions: held } });
    expect(target.saved.get("reconciler")).toMatchObject({ deletions: held });
    delete target.faults.apply;
    const later = upstream.commit({ "a.yaml": "" });
    expect(await reconciler.sync()).toMatchObject({ result: "held", commit: { id: later } });
    expect(target.names()).toEqual(["a", "b"]);
    await reconciler.close();
  });

  test("a commit held for one reason and then for another is told twice", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a protect\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const rewritten = upstream.commit({ "a.yaml": "b\n" }, { parent: null });
    await reconciler.sync();
    expect(await reconciler.sync({ allow: { rewind: rewritten } })).toMatchObject({ held: { for: "deletions" } });
    expect(await reconciler.sync({ allow: { deletions: rewritten } })).toMatchObject({ result: "applied" });
    const told = target.told();
    expect(told.slice(2)).toEqual([
      "finished:held",
      "planned:allowed",
      "finished:held",
      "planned:allowed",
      "planned",
      "finished:applied",
    ]);
    await reconciler.close();
  });

  test("an allowance that the audit does not keep allows nothing", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "a protect\n" });
    const { reconciler, target } = await bench(upstream);
    await reconciler.sync();
    const held = upstream.commit({ "a.yaml": "b\n" });
    await reconciler.sync();
    target.faults.audit = new VaultError("audit", "no device");
    expect(await reconciler.sync({ allow: { deletions: held } })).toMatchObject({ result: "failed" });
    delete target.faults.audit;
    expect(await reconciler.sync()).toMatchObject({ result: "held" });
    expect(target.names()).toEqual(["a"]);
    await reconciler.close();
  });
});

describe("failures", () => {
  test("nothing is applied that the audit did not keep", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    target.faults.audit = new VaultError("audit", "no device");
    expect(await reconciler.sync()).toMatchObject({
      result: "failed",
      message: expect.stringContaining("nothing was applied"),
    });
    expect(target.applies).toEqual([]);
    delete target.faults.audit;
    expect((await reconciler.sync()).result).toBe("applied");
    await reconciler.close();
  });

  test("an end that the audit did not keep is told by the next run, before anything new", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    target.onApply = () => {
      target.faults.audit = new VaultError("audit", "no device");
    };
    expect((await reconciler.sync()).result).toBe("applied");
    expect(target.told()).toEqual(["planned"]);
    upstream.commit({ "a.yaml": "beta\n" });
    target.onApply = () => {};
    expect((await reconciler.sync()).result).toBe("failed");
    expect(target.applied?.commit.id).toBe(first);
    delete target.faults.audit;
    expect((await reconciler.sync()).result).toBe("applied");
    expect(target.told()).toEqual(["planned", "finished:applied", "planned", "finished:applied"]);
    expect(target.entries[1]).toMatchObject({ commit: first });
    await reconciler.close();
  });

  test("an attempt that died is told as interrupted by the next process", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const target = new FakeTarget();
    target.saved.set("reconciler", { attempt: first, told: null, deletions: null, rewind: null });
    const { reconciler } = await bench(upstream, { target });
    await reconciler.sync();
    expect(target.told()).toEqual(["finished:interrupted", "planned", "finished:applied"]);
    await reconciler.close();
  });

  test("what the vault cannot take is shown with its places, and tried again later, not at each wake", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target, timer } = await bench(upstream);
    target.faults.apply = new ApplyError([{ file: "a.yaml", line: 1, column: 1, message: "the API made it" }]);
    expect(await reconciler.sync()).toMatchObject({ result: "failed", problems: [{ message: "the API made it" }] });
    for (let wakes = 0; wakes < 5; wakes += 1) {
      reconciler.wake();
      await idle(reconciler);
    }
    expect(target.told()).toEqual(["planned", "finished:failed"]);
    delete target.faults.apply;
    timer.pass(3_000);
    await idle(reconciler);
    expect(target.told()).toEqual(["planned", "finished:failed", "planned", "finished:applied"]);
    await reconciler.close();
  });

  test("a run that the shutdown stops is not told as the commit's failure", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const compiling = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<never>();
    const compile = () => {
      compiling.resolve();
      return stopped.promise;
    };
    const { reconciler, target } = await bench(upstream, { compile });
    const run = reconciler.sync();
    await compiling.promise;
    const closing = reconciler.close();
    stopped.reject(new Error("stopped"));
    await closing;
    expect((await run).result).toBe("failed");
    expect(target.entries).toEqual([]);
  });

  test("a remote that fails is tried again with growing pauses, at most the poll interval", async () => {
    const upstream = new Upstream();
    const { reconciler, workshop, timer } = await bench(upstream);
    await reconciler.sync();
    const pauses: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      const { nextPoll } = reconciler.standing();
      pauses.push(((nextPoll ?? 0) - timer.clock.now()) / 1_000);
      timer.pass((nextPoll ?? 0) - timer.clock.now());
      await idle(reconciler);
    }
    expect(pauses).toEqual([2, 4, 8, 16, 32, 60, 60]);
    expect(workshop.fetches).toBe(8);
    expect(await reconciler.status({ documents: false })).toMatchObject({
      last_error: { message: expect.stringContaining("no such branch") },
    });
    await reconciler.close();
  });
});

describe("waking", () => {
  test("100 wakes cost at most two fetches, a second apart", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, workshop, timer } = await bench(upstream, { spacing: 1_000 });
    for (let wakes = 0; wakes < 50; wakes += 1) reconciler.wake();
    expect(workshop.fetches).toBeLessThanOrEqual(1);
    for (let wakes = 0; wakes < 50; wakes += 1) reconciler.wake();
    await idle(reconciler);
    expect(workshop.fetches).toBe(1);
    timer.pass(999);
    await idle(reconciler);
    expect(workshop.fetches).toBe(1);
    timer.pass(1);
    await idle(reconciler);
    expect(workshop.fetches).toBe(2);
    timer.pass(20_000);
    await idle(reconciler);
    expect(workshop.fetches).toBe(2);
    await reconciler.close();
  });

  test("polling finds what nobody told, with jitter", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target, timer } = await bench(upstream, { settings: { poll_interval: "30s" } });
    reconciler.start();
    await idle(reconciler);
    upstream.commit({ "a.yaml": "beta\n" });
    timer.pass(29_000);
    await idle(reconciler);
    expect(target.names()).toEqual(["alpha"]);
    timer.pass(1_000);
    await idle(reconciler);
    expect(target.names()).toEqual(["beta"]);
    await reconciler.close();
  });

  test("a sealed vault postpones: the wake is done at resume, and nothing is fetched before", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const target = new FakeTarget();
    target.sealed = true;
    const { reconciler, workshop } = await bench(upstream, { target });
    reconciler.wake();
    await idle(reconciler);
    expect(reconciler.standing().verdict.result).toBe("sealed");
    expect(workshop.fetches).toBe(0);
    target.sealed = false;
    // Whoever is answered finds it open: how the branch stands is not known yet.
    expect(await reconciler.status({ documents: false })).toMatchObject({ state: "waiting", last_error: null });
    reconciler.resume();
    await idle(reconciler);
    expect(target.names()).toEqual(["alpha"]);
    await reconciler.close();
  });

  test("a release that refuses what is live leaves it live, and says what to mend", async () => {
    const upstream = new Upstream();
    const live = upstream.commit({ "a.yaml": "alpha old\nbeta\n" });
    const before = await bench(upstream);
    await before.reconciler.sync();
    await before.reconciler.close();
    const strict: Compile = (files, kinds, options) =>
      lines(
        files.map((file) => ({
          ...file,
          bytes: Buffer.from(Buffer.from(file.bytes).toString().replace("old", "bad")),
        })),
        kinds,
        options,
      );
    const { target, folder } = before;
    const after = await bench(upstream, { target, folder, compile: strict });
    after.reconciler.resume();
    await idle(after.reconciler);
    expect(target.applied?.commit.id).toBe(live);
    expect(target.names()).toEqual(["alpha", "beta"]);
    expect(await after.reconciler.status({ documents: false })).toMatchObject({
      state: "invalid",
      applied_commit: { commit: live },
      last_error: { message: expect.stringContaining("Mend the documents"), problems: [{ file: "a.yaml", line: 1 }] },
    });
    // Not even a commit about something else, until it is mended.
    upstream.commit({ "b.yaml": "gamma\n" });
    expect(await after.reconciler.sync()).toMatchObject({ result: "invalid" });
    expect(target.names()).toEqual(["alpha", "beta"]);
    upstream.commit({ "a.yaml": "alpha\nbeta\n" });
    expect(await after.reconciler.sync()).toMatchObject({ result: "applied" });
    await after.reconciler.close();
  });

  test("a vault sealed in the middle of an apply is settled at resume", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, target } = await bench(upstream);
    target.onApply = () => {
      target.sealed = true;
      throw new VaultError("sealed", "Vault is sealed");
    };
    expect((await reconciler.sync()).result).toBe("sealed");
    target.sealed = false;
    target.onApply = () => {};
    reconciler.resume();
    await idle(reconciler);
    expect(target.told()).toEqual(["planned", "finished:interrupted", "planned", "finished:applied"]);
    await reconciler.close();
  });
});
