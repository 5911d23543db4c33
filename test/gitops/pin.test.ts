// Pins: one commit is held, whatever the branch does, on real repositories.

import { execFileSync } from "node:child_process";
import { renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ApplyError } from "../../src/sdk/kind.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import type { Wanted } from "../../src/gitops/pin.ts";
import type { Compilation, Compile } from "../../src/gitops/workshop.ts";
import { type Bench, bench, git, lines, sweep, Upstream } from "./kit.ts";

afterAll(sweep);

const wanted = (name: string, more: Partial<Wanted> = {}): Wanted => ({
  name,
  reason: "bad merge",
  by: "ops",
  allowProtected: false,
  ...more,
});

const idleTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The run that is under way, if any, has ended. */
async function idle({ reconciler }: Bench): Promise<void> {
  do await idleTurn();
  while (reconciler.standing().running);
}

/** A remote that never answers from now on. */
function silence({ dir }: Upstream): void {
  // Whoever opens it waits for ever.
  rmSync(join(dir, "HEAD"));
  execFileSync("mkfifo", [join(dir, "HEAD")]);
}

/** What a client is told. */
async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof VaultError)) throw new Error("was not refused");
  return `${error.code}: ${error.errors.join("; ")}`;
}

/** Three commits, the last of which is bad and applied. */
async function crisis(
  options: Parameters<typeof bench>[1] = {},
): Promise<Bench & Record<"good" | "bad" | "first", string> & { upstream: Upstream }> {
  const upstream = new Upstream();
  const first = upstream.commit({ "a.yaml": "alpha\n" });
  const one = await bench(upstream, options);
  await one.reconciler.sync();
  const good = upstream.commit({ "a.yaml": "alpha\nbeta\n" });
  await one.reconciler.sync();
  const bad = upstream.commit({ "a.yaml": "evil\nworse\nworst\n" });
  await one.reconciler.sync({ allow: { deletions: bad } });
  expect(one.target.names()).toEqual(["evil", "worse", "worst"]);
  return { ...one, upstream, first, good, bad };
}

/** A reconciler after a restart: on what the one before left. */
const restarted = (before: Bench & { upstream: Upstream }): Promise<Bench> =>
  bench(before.upstream, { target: before.target, folder: before.folder });

describe("a pin", () => {
  test("applies the commit at once, deletions and all, tells what changed, who and why, and stays over polls and pushes", async () => {
    const one = await crisis({ settings: { max_deletions: 1 } });
    const { reconciler, target, upstream, good, bad, timer } = one;
    const changes = await reconciler.pin(wanted(good));
    expect(changes.map(({ action, name }) => `${action} ${name}`)).toEqual([
      "create alpha",
      "create beta",
      "delete evil",
      "delete worse",
      "delete worst",
    ]);
    expect(target.names()).toEqual(["alpha", "beta"]);
    expect(target.told().slice(-3)).toEqual(["pinned", "planned", "finished:applied"]);
    expect(target.entries.at(-3)).toMatchObject({
      phase: "pinned",
      commit: good,
      previous: bad,
      by: "ops",
      reason: "bad merge",
      plan: { create: 2, delete: 3 },
    });
    await idle(one);
    upstream.commit({ "a.yaml": "more\n" });
    timer.pass(120_000);
    await idle(one);
    reconciler.wake();
    await idle(one);
    expect(await reconciler.sync()).toMatchObject({ result: "applied", commit: { id: good } });
    expect(target.names()).toEqual(["alpha", "beta"]);
    expect(await reconciler.status({ documents: false })).toMatchObject({
      state: "pinned",
      in_sync: false,
      last_error: null,
      remote_commit: { commit: upstream.head() },
      applied_commit: { commit: good },
      pinned: { commit: good, by: "ops", reason: "bad merge", behind: 2, since: expect.stringMatching(/Z$/) },
    });
    expect(target.told().filter((entry) => entry === "finished:applied")).toHaveLength(4);
    await reconciler.close();
  });

  test("ends with unpin, which goes to the tip by the usual way", async () => {
    const one = await crisis();
    const { reconciler, target, upstream, good, bad } = one;
    await reconciler.pin(wanted(good));
    await idle(one);
    const mended = upstream.commit({ "a.yaml": "alpha\nbeta\ngamma\n" });
    expect(await reconciler.unpin("ops")).toBe(true);
    expect(target.applied?.commit.id).toBe(mended);
    expect(target.entries.find(({ phase }) => phase === "unpinned")).toMatchObject({ commit: good, by: "ops" });
    expect(await reconciler.status({ documents: false })).toMatchObject({
      state: "applied",
      in_sync: true,
      pinned: null,
    });
    expect(await reconciler.pinned()).toBeNull();
    expect(await reconciler.unpin("ops")).toBe(false);
    expect(target.entries.filter(({ phase }) => phase === "unpinned")).toHaveLength(1);
    expect(bad).not.toBe(mended);
    await reconciler.close();
  });

  test("after which deletions of the tip wait as ever", async () => {
    const one = await crisis({ settings: { max_deletions: 0 } });
    // The bad one could only come by a word.
    expect(one.target.applied?.commit.id).toBe(one.bad);
    await one.reconciler.pin(wanted(one.good));
    await one.reconciler.unpin("ops");
    expect(one.reconciler.standing().verdict).toMatchObject({ result: "held", held: { for: "deletions" } });
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await one.reconciler.close();
  });

  test("of what is live freezes it", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.bad));
    one.upstream.commit({ "a.yaml": "next\n" });
    await one.reconciler.sync();
    expect(one.target.applied?.commit.id).toBe(one.bad);
    await one.reconciler.close();
  });

  test("can be moved, and a beginning of a name that no other has is enough", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    await one.reconciler.pin(wanted(one.first.slice(0, 7), { reason: "", by: "eve" }));
    expect(one.target.names()).toEqual(["alpha"]);
    expect((await one.reconciler.pinned())?.pin).toMatchObject({ commit: one.first, by: "eve", reason: "" });
    await one.reconciler.close();
  });

  test("two at once are done one after the other", async () => {
    const one = await crisis();
    await Promise.all([one.reconciler.pin(wanted(one.good)), one.reconciler.pin(wanted(one.first))]);
    expect(one.target.applied?.commit.id).toBe(one.first);
    expect((await one.reconciler.pinned())?.pin.commit).toBe(one.first);
    expect(one.target.entries.filter(({ phase }) => phase === "pinned")).toHaveLength(2);
    await one.reconciler.close();
  });

  test("keeps out what is pushed while it is being made", async () => {
    const one = await crisis();
    one.target.onApply = () => void one.upstream.commit({ "a.yaml": "late\n" });
    await one.reconciler.pin(wanted(one.good));
    one.target.onApply = () => {};
    await one.reconciler.sync();
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await one.reconciler.close();
  });
});

describe("without the remote", () => {
  test("what an earlier process fetched is enough, and what it did not fetch cannot be pinned", async () => {
    const one = await crisis();
    await one.reconciler.close();
    rmSync(one.upstream.dir, { recursive: true });
    const two = await restarted(one);
    expect(await refusalOf(two.reconciler.pin(wanted("1".repeat(40))))).toMatch(
      /known here.*; the branch could not be read anew/,
    );
    await two.reconciler.pin(wanted(one.good));
    expect(two.target.names()).toEqual(["alpha", "beta"]);
    await two.reconciler.close();
  });

  test("a pin is made, and stays over a restart", async () => {
    const one = await crisis();
    rmSync(one.upstream.dir, { recursive: true });
    await one.reconciler.pin(wanted(one.good));
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await idle(one);
    await one.reconciler.sync();
    expect(await one.reconciler.status({ documents: false })).toMatchObject({
      state: "pinned",
      pinned: { behind: 1 },
      last_error: { message: expect.stringContaining("could not be read"), commit: one.good },
    });
    await one.reconciler.close();
    const two = await restarted(one);
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: one.good } });
    expect(await two.reconciler.status({ documents: false })).toMatchObject({ state: "pinned", pinned: { behind: 1 } });
    await two.reconciler.close();
  });

  test("a pin does not wait for a remote that never answers, nor does the one after it", async () => {
    const one = await crisis();
    silence(one.upstream);
    const before = one.workshop.fetches;
    const stuck = one.reconciler.sync();
    while (one.workshop.fetches === before) await idleTurn();
    await one.reconciler.pin(wanted(one.good));
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    // It was cut short for the pin, and looked again.
    expect(await stuck).toMatchObject({ result: "applied", commit: { id: one.good } });
    await one.reconciler.pin(wanted(one.first));
    expect(one.target.names()).toEqual(["alpha"]);
    expect(one.target.told()).not.toContain("finished:failed");
    await one.reconciler.close();
  });

  test.each<[string, (one: Bench) => Promise<string>, string]>([
    ["an unpin", ({ reconciler }) => reconciler.unpin("ops").then(String), "true"],
    [
      "a pin that is mistyped",
      ({ reconciler }) => refusalOf(reconciler.pin(wanted("1".repeat(40)))),
      "could not be read anew",
    ],
  ])("%s that waits for a remote that never answers does not hold up the next pin", async (_, begin, end) => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    await idle(one);
    silence(one.upstream);
    const before = one.workshop.fetches;
    const looked = one.reconciler.sync();
    while (one.workshop.fetches < before + 1) await idleTurn();
    const stuck = begin(one);
    while (one.workshop.fetches < before + 2) await idleTurn();
    // Two that wait do not cut each other short: neither needs the remote.
    const next = [one.good, one.first].map((id) => one.reconciler.pin(wanted(id)));
    expect(await stuck).toContain(end);
    await Promise.all(next);
    // Who asked before them all hears what came of the last.
    expect(await looked).toMatchObject({ result: "applied", commit: { id: one.first } });
    expect(one.target.names()).toEqual(["alpha"]);
    expect((await one.reconciler.pinned())?.pin.commit).toBe(one.first);
    expect(one.target.told()).not.toContain("finished:failed");
    await one.reconciler.close();
  });

  test("a pin that looks for its commit while the next one waits leaves the remote alone", async () => {
    const one = await crisis();
    silence(one.upstream);
    const before = one.workshop.fetches;
    const mistyped = refusalOf(one.reconciler.pin(wanted("1".repeat(40)))).then((told) => {
      expect(told).toContain("something else came first");
      expect(one.workshop.fetches).toBe(before);
    });
    await one.reconciler.pin(wanted(one.good));
    await mistyped;
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await one.reconciler.close();
  });

  test("a pin that is live stays without a clone, too", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    await one.reconciler.close();
    rmSync(one.upstream.dir, { recursive: true });
    rmSync(one.folder, { recursive: true });
    const two = await restarted(one);
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: one.good } });
    await two.reconciler.close();
  });
});

describe("a loss of power", () => {
  const damage: Readonly<Record<string, (clone: string, kept: string) => void>> = {
    "HEAD is gone": (clone) => rmSync(join(clone, "HEAD")),
    "HEAD is empty": (clone) => truncateSync(join(clone, "HEAD")),
    "config is cut": (clone) => truncateSync(join(clone, "config"), 4),
    "a kept ref is empty": (clone, kept) => truncateSync(join(clone, "refs/writ/kept", kept)),
    "a kept ref is zeros": (clone, kept) => writeFileSync(join(clone, "refs/writ/kept", kept), "\0".repeat(41)),
  };
  const keptOf = ({ folder }: Bench): string[] =>
    git(join(folder, "clone.git"), ["for-each-ref", "refs/writ/kept", "--format=%(refname:lstrip=3)"]).split("\n");

  test.each(Object.entries(damage))("after which %s: the next start takes what was pushed", async (_, harm) => {
    const one = await crisis();
    await one.reconciler.close();
    harm(join(one.folder, "clone.git"), one.good);
    const narrower = one.upstream.commit({ "a.yaml": "evil\nworse\n" });
    const two = await restarted(one);
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: narrower } });
    expect(two.target.names()).toEqual(["evil", "worse"]);
    expect(keptOf(two).toSorted()).toEqual([one.first, one.good, one.bad, narrower].toSorted());
    await two.reconciler.close();
  });

  test.each(Object.entries(damage))("after which %s: what is pinned stays, and can be unpinned", async (_, harm) => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    await idle(one);
    await one.reconciler.close();
    harm(join(one.folder, "clone.git"), one.good);
    const pushed = one.upstream.commit({ "a.yaml": "alpha\nbeta\ngamma\n" });
    const two = await restarted(one);
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: one.good }, message: null });
    expect(await two.reconciler.status({ documents: false })).toMatchObject({ state: "pinned", pinned: { behind: 2 } });
    expect(await two.reconciler.unpin("ops")).toBe(true);
    expect(two.target.applied?.commit.id).toBe(pushed);
    expect(keptOf(two)).toContain(one.good);
    await two.reconciler.close();
  });

  test("again and again without the remote: what is pinned and live stays", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    await idle(one);
    await one.reconciler.close();
    rmSync(one.upstream.dir, { recursive: true });
    const two = await restarted(one);
    for (let times = 0; times < 2; times += 1) {
      rmSync(join(one.folder, "clone.git/HEAD"));
      expect(await two.reconciler.sync()).toMatchObject({
        result: "applied",
        commit: { id: one.good },
        message: expect.stringContaining("could not be read"),
      });
    }
    await two.reconciler.close();
  });

  test("a kept ref that breaks while the server runs is made anew", async () => {
    const one = await crisis();
    truncateSync(join(one.folder, "clone.git/refs/writ/kept", one.good));
    const dir = `${one.upstream.dir}-away`;
    renameSync(one.upstream.dir, dir);
    expect((await one.reconciler.sync()).result).toBe("failed");
    renameSync(dir, one.upstream.dir);
    for (let times = 0; times < 2; times += 1) await one.reconciler.sync();
    expect(keptOf(one)).toContain(one.good);
    await one.reconciler.close();
  });
});

describe("a branch that was rewritten", () => {
  test("leaves what is pinned, which no repack drops", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    one.upstream.commit({ "a.yaml": "other\n" }, { parent: null });
    const before = one.upstream.head();
    await one.reconciler.sync();
    const clone = join(one.folder, "clone.git");
    git(clone, ["repack", "-a", "-d", "-q"]);
    await one.reconciler.close();
    const two = await restarted(one);
    expect(await two.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: one.good } });
    expect(git(clone, ["cat-file", "-t", one.good])).toBe("commit");
    expect(await two.reconciler.status({ documents: false })).toMatchObject({ remote_commit: { commit: before } });
    await two.reconciler.unpin("ops");
    expect(two.reconciler.standing().verdict).toMatchObject({ result: "held", held: { for: "rewind" } });
    await two.reconciler.close();
  });

  test("leaves what was applied before, so that it can be pinned", async () => {
    const one = await crisis();
    one.upstream.commit({ "a.yaml": "other\n" }, { parent: null });
    const rewritten = one.upstream.head() ?? "";
    await one.reconciler.sync({ allow: { rewind: rewritten } });
    expect(one.target.applied?.commit.id).toBe(rewritten);
    const clone = join(one.folder, "clone.git");
    git(clone, ["repack", "-a", "-d", "-q"]);
    expect(
      git(clone, ["for-each-ref", "refs/writ/kept", "--format=%(refname:lstrip=3)"]).split("\n").toSorted(),
    ).toEqual([one.first, one.good, one.bad, rewritten].toSorted());
    await one.reconciler.pin(wanted(one.good));
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await one.reconciler.close();
  });
});

describe("a rewind after unpin is judged as if nothing had been pinned:", () => {
  const restart = async (one: Bench & { upstream: Upstream }, when: boolean): Promise<Bench> => {
    if (!when) return one;
    await one.reconciler.close();
    return restarted(one);
  };
  const rewindOf = ({ reconciler }: Bench) => reconciler.standing().verdict;

  test.each([false, true])("what builds on the pinned commit alone is held, restarts between: %s", async (restarts) => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    one.upstream.commit({ "a.yaml": "alpha\nbeta\ntaken\n" }, { parent: one.good });
    const two = await restart(one, restarts);
    await two.reconciler.unpin("ops");
    expect(rewindOf(two)).toMatchObject({
      result: "held",
      held: { for: "rewind", reasons: [expect.stringContaining(one.bad.slice(0, 12))] },
    });
    expect(two.target.names()).toEqual(["alpha", "beta"]);
    const three = await restart({ ...two, upstream: one.upstream }, restarts);
    expect(await three.reconciler.sync()).toMatchObject({ result: "held", held: { for: "rewind" } });
    // What builds on what the branch gave last is taken by itself.
    const mended = one.upstream.commit({ "a.yaml": "alpha\nbeta\n" }, { parent: one.bad });
    expect(await three.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: mended } });
    one.upstream.commit({ "a.yaml": "alpha\nbeta\n" }, { parent: one.bad, subject: "Another" });
    expect(await three.reconciler.sync()).toMatchObject({ result: "held", held: { for: "rewind" } });
    await three.reconciler.close();
  });

  test("a branch set back to the pinned commit is held until it is allowed, and then builds on that", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    git(one.upstream.dir, ["update-ref", "refs/heads/main", one.good]);
    await one.reconciler.unpin("ops");
    expect(rewindOf(one)).toMatchObject({ result: "held", held: { for: "rewind" } });
    expect(await one.reconciler.sync({ allow: { rewind: one.good } })).toMatchObject({ result: "applied" });
    const next = one.upstream.commit({ "a.yaml": "alpha\nbeta\ngamma\n" });
    expect(await one.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: next } });
    // The word was for once.
    git(one.upstream.dir, ["update-ref", "refs/heads/main", one.good]);
    expect(await one.reconciler.sync()).toMatchObject({ result: "held", held: { for: "rewind" } });
    await one.reconciler.close();
  });

  test("a branch that did not change is no rewind of a pinned commit from before it was rewritten", async () => {
    const one = await crisis();
    const rewritten = one.upstream.commit({ "a.yaml": "other\n" }, { parent: null });
    await one.reconciler.sync({ allow: { rewind: rewritten } });
    await one.reconciler.pin(wanted(one.good));
    await one.reconciler.pin(wanted(one.first));
    await one.reconciler.unpin("ops");
    expect(rewindOf(one)).toMatchObject({ result: "applied", commit: { id: rewritten } });
    await one.reconciler.close();
  });

  test("a process that dies once the branch is applied judges the next commit by that", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    const next = one.upstream.commit({ "a.yaml": "evil\nworse\n" });
    let before: ReturnType<typeof one.target.saved.get>;
    one.target.onApply = () => void (before = one.target.saved.get("reconciler"));
    await one.reconciler.unpin("ops");
    expect(one.target.applied?.commit.id).toBe(next);
    await one.reconciler.close();
    one.target.onApply = () => {};
    if (before !== undefined) one.target.saved.set("reconciler", before);
    const two = await restarted(one);
    one.upstream.commit({ "a.yaml": "evil\n" }, { parent: one.bad });
    expect(await two.reconciler.sync()).toMatchObject({ result: "held", held: { for: "rewind" } });
    await two.reconciler.close();
  });

  test("a pin that cannot be applied leaves what the branch is judged by", async () => {
    const one = await crisis();
    one.target.faults.apply = new ApplyError([{ file: "a.yaml", line: 1, column: 1, message: "the API made it" }]);
    await refusalOf(one.reconciler.pin(wanted(one.good)));
    delete one.target.faults.apply;
    const next = one.upstream.commit({ "a.yaml": "evil\n" });
    expect(await one.reconciler.sync()).toMatchObject({ result: "applied", commit: { id: next } });
    one.upstream.commit({ "a.yaml": "evil\n" }, { parent: one.bad });
    expect(await one.reconciler.sync()).toMatchObject({ result: "held", held: { for: "rewind" } });
    await one.reconciler.close();
  });
});

describe("refused are", () => {
  test("commits that were never on the branch, and names that no commit has", async () => {
    const one = await crisis();
    const { reconciler, upstream } = one;
    const aside = upstream.commit({ "a.yaml": "aside\n" }, { branch: "feature", parent: one.good });
    expect(await refusalOf(reconciler.pin(wanted(aside)))).toMatch(/^invalid: no commit .* does not have it/);
    // It gets into the clone by a merge that is rewritten before it is applied.
    git(upstream.dir, ["update-ref", "refs/heads/main", aside]);
    expect((await reconciler.sync()).result).toBe("held");
    git(upstream.dir, ["update-ref", "refs/heads/main", one.bad]);
    await reconciler.sync();
    expect(await refusalOf(reconciler.pin(wanted(aside)))).toMatch(/not on branch main and was not applied/);
    expect(await refusalOf(reconciler.pin(wanted("1".repeat(40))))).toMatch(/^invalid: no commit 1{40}/);
    const tree = git(upstream.dir, ["rev-parse", `${one.good}^{tree}`]);
    expect(await refusalOf(reconciler.pin(wanted(tree)))).toMatch(/^invalid: no commit/);
    expect(await reconciler.pinned()).toBeNull();
    expect(one.target.applied?.commit.id).toBe(one.bad);
    expect(one.target.entries.some(({ phase }) => phase === "pinned")).toBe(false);
    await reconciler.close();
  });

  test("the beginning of a name that several commits have", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, workshop } = await bench(upstream);
    const many = Array.from({ length: 1_000 }, (_, at) => {
      const who = `committer Ada <ada@example.org> ${1_770_000_000 + at} +0000`;
      return `commit refs/heads/main\n${who}\ndata 1\nx\n${at === 0 ? "from refs/heads/main^0\n" : ""}\n`;
    });
    git(upstream.dir, ["fast-import", "--quiet", "--done"], `${many.join("")}done\n`);
    await reconciler.sync();
    const ids = git(upstream.dir, ["rev-list", "main"]).split("\n");
    // Seven digits would take a hundred times as many.
    const heads = ids.map((id) => id.slice(0, 4));
    const shared = heads.find((head, at) => heads.indexOf(head) !== at) ?? "";
    expect(await workshop.find(shared)).toBe("several");
    workshop.find = () => Promise.resolve("several");
    expect(await refusalOf(reconciler.pin(wanted("1234567")))).toMatch(/^invalid: several commits begin with 1234567/);
    await reconciler.close();
  });

  test("a commit that is not fetched yet is fetched", async () => {
    const one = await crisis();
    const next = one.upstream.commit({ "a.yaml": "alpha\n" });
    one.upstream.commit({ "a.yaml": "evil\n" });
    await one.reconciler.pin(wanted(next));
    expect(one.target.names()).toEqual(["alpha"]);
    await one.reconciler.close();
  });

  test("a commit with problems: the pin before, and the verdict on the branch, stay", async () => {
    const one = await crisis();
    const broken = one.upstream.commit({ "a.yaml": "alpha\nbeta bad\n" });
    one.upstream.commit({ "a.yaml": "fine\n" });
    await one.reconciler.sync();
    const refused = await refusalOf(one.reconciler.pin(wanted(broken)));
    expect(refused).toMatch(
      /^invalid: [0-9a-f]{40} is not pinned, nothing was changed: 1 problem; .*; a\.yaml:2:1: is bad$/,
    );
    expect(one.reconciler.standing().verdict.result).toBe("applied");
    await one.reconciler.pin(wanted(one.good));
    await refusalOf(one.reconciler.pin(wanted(broken)));
    expect((await one.reconciler.pinned())?.pin.commit).toBe(one.good);
    expect(one.target.names()).toEqual(["alpha", "beta"]);
    await one.reconciler.close();
  });

  test("a commit that lacks what is protected, unless that is allowed", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const one = await bench(upstream);
    await one.reconciler.sync();
    upstream.commit({ "a.yaml": "alpha\nguard protect\n" });
    await one.reconciler.sync();
    expect(await refusalOf(one.reconciler.pin(wanted(first)))).toMatch(
      /^invalid: .*allow_protected.*; guard is protected$/,
    );
    expect(await one.reconciler.pinned()).toBeNull();
    await one.reconciler.pin(wanted(first, { allowProtected: true }));
    expect(one.target.names()).toEqual(["alpha"]);
    await one.reconciler.close();
  });

  test("a commit that lacks a mount which takes its data along, unless that is allowed", async () => {
    const compile: typeof lines = async (...args) => {
      const found = await lines(...args);
      const declarations = found.declarations.map((each) =>
        each.name === "store" ? { ...each, kind: "SecretEngine", spec: { ...each.spec, on_remove: "delete" } } : each,
      );
      return { ...found, declarations };
    };
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" });
    const one = await bench(upstream, { compile });
    await one.reconciler.sync();
    upstream.commit({ "a.yaml": "alpha\nstore\n" });
    await one.reconciler.sync();
    expect(await refusalOf(one.reconciler.pin(wanted(first)))).toMatch(
      /^invalid: .*allow_protected.*; SecretEngine store says on_remove: delete.*its data would go$/,
    );
    expect(one.target.names()).toEqual(["alpha", "store"]);
    await one.reconciler.pin(wanted(first, { allowProtected: true }));
    expect(one.target.names()).toEqual(["alpha"]);
    await one.reconciler.close();
  });

  test("a commit that the running vault cannot take: the pin before stays, and the audit hears the end", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.first));
    one.target.faults.apply = new ApplyError([{ file: "a.yaml", line: 1, column: 1, message: "the API made it" }]);
    expect(await refusalOf(one.reconciler.pin(wanted(one.good)))).toMatch(/nothing was changed: .*the API made it/);
    delete one.target.faults.apply;
    expect((await one.reconciler.pinned())?.pin.commit).toBe(one.first);
    expect(one.target.told()).toContain("finished:failed");
    await one.reconciler.sync();
    expect(one.target.names()).toEqual(["alpha"]);
    await one.reconciler.close();
  });

  test("a pin that no audit device keeps", async () => {
    const one = await crisis();
    one.target.faults.audit = new VaultError("audit", "no device");
    expect(await refusalOf(one.reconciler.pin(wanted(one.good)))).toMatch(/^audit/);
    delete one.target.faults.audit;
    expect(await one.reconciler.pinned()).toBeNull();
    await one.reconciler.pin(wanted(one.good));
    one.target.faults.audit = new VaultError("audit", "no device");
    await expect(one.reconciler.unpin("ops")).rejects.toThrow();
    delete one.target.faults.audit;
    expect((await one.reconciler.pinned())?.pin.commit).toBe(one.good);
    await one.reconciler.close();
  });

  test("allowances of sync while something is pinned", async () => {
    const one = await crisis();
    await one.reconciler.pin(wanted(one.good));
    expect(await refusalOf(one.reconciler.sync({ allow: { rewind: one.bad } }))).toMatch(/is pinned.*writ unpin/);
    await one.reconciler.close();
  });
});

test("a vault that is sealed while the pin is applied goes on with it after the unseal", async () => {
  const one = await crisis();
  const { target, reconciler } = one;
  target.onApply = () => {
    target.sealed = true;
    throw new VaultError("sealed", "Vault is sealed");
  };
  expect(await refusalOf(reconciler.pin(wanted(one.good)))).toBe("sealed: Vault is sealed");
  target.sealed = false;
  target.onApply = () => {};
  reconciler.resume();
  await idle(one);
  expect(target.names()).toEqual(["alpha", "beta"]);
  expect((await reconciler.pinned())?.pin.commit).toBe(one.good);
  await reconciler.close();
});

test("a release that refuses the pinned commit leaves it live, and tells no one to push", async () => {
  const one = await crisis();
  await one.reconciler.pin(wanted(one.good));
  await one.reconciler.close();
  const { target, folder, upstream } = one;
  const refuses: Compile = (files, kinds, options) => ({
    ...(lines(files, kinds, options) as Compilation),
    problems: [{ file: "a.yaml", line: 2, column: 1, message: "is not taken any more" }],
  });
  const two = await bench(upstream, { target, folder, compile: refuses });
  await two.reconciler.sync();
  expect(target.applied?.commit.id).toBe(one.good);
  const status = await two.reconciler.status({ documents: false });
  expect(status).toMatchObject({
    state: "invalid",
    pinned: { commit: one.good },
    applied_commit: { commit: one.good },
  });
  expect(status["last_error"]).toMatchObject({
    message: expect.stringMatching(/^1 problem; nothing was changed\. .*writ unpin$/),
  });
  await two.reconciler.close();
});

test("a process that dies between the record and the commit pins in the next one", async () => {
  const one = await crisis();
  await one.reconciler.close();
  const pin = { commit: one.good, reason: "", by: "ops", since: 0, allowProtected: false };
  one.target.saved.set("reconciler", { ...one.target.saved.get("reconciler"), pin });
  const two = await restarted(one);
  await two.reconciler.sync();
  expect(two.target.names()).toEqual(["alpha", "beta"]);
  await two.reconciler.close();
});
