import { afterAll, describe, expect, test } from "vitest";
import { parse } from "../../src/sdk/fields.ts";
import type { Call, Handler } from "../../src/sdk/mount.ts";
import type { Operation } from "../../src/sdk/request.ts";
import { gitopsRoutes } from "../../src/gitops/routes.ts";
import { bench, sweep, Upstream } from "./kit.ts";

afterAll(sweep);

/** What the core does with a route, without the core: fields are parsed, the rest of a call is not looked at. */
function ask(
  routes: ReturnType<typeof gitopsRoutes>,
  path: string,
  operation: Operation,
  data: Readonly<Record<string, unknown>> = {},
) {
  const found = routes.find((route) => route.path === path)?.on[operation] as Handler;
  const caller = { displayName: "token-ops", entityId: "", policies: [] };
  return found.run({ data: parse(found.fields ?? {}, data).values, caller, operation, params: {} } as unknown as Call);
}

describe("sys/gitops", () => {
  test("sync waits for the result; status tells it, the documents where asked", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "alpha\n" }, { subject: "First" });
    const { reconciler, timer } = await bench(upstream);
    const routes = gitopsRoutes(reconciler, timer);
    expect(routes.map(({ path, sudo }) => [path, sudo === true])).toEqual([
      ["gitops/status", false],
      ["gitops/sync", true],
      ["gitops/pin", true],
    ]);
    const before = await ask(routes, "gitops/status", "read");
    expect(before?.data).toMatchObject({
      state: "waiting",
      remote_commit: null,
      applied_commit: null,
      in_sync: false,
      last_fetch: null,
    });
    const synced = await ask(routes, "gitops/sync", "update");
    expect(synced?.outcome).toBeUndefined();
    expect(synced?.data).toMatchObject({
      state: "applied",
      in_sync: true,
      applied_commit: { commit: first, subject: "First" },
    });
    expect(synced?.data).not.toHaveProperty("documents");
    const after = await ask(routes, "gitops/status", "read");
    expect(after?.data).toMatchObject({
      remote: upstream.dir,
      branch: "main",
      documents: [{ name: "alpha" }],
      next_poll: expect.any(String),
    });
    expect(JSON.parse(JSON.stringify(after?.data))).toEqual(after?.data);
    await reconciler.close();
  });

  test("allowances name whole commits and are told with who allowed them", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha protect\n" });
    const { reconciler, timer, target } = await bench(upstream);
    const routes = gitopsRoutes(reconciler, timer);
    await ask(routes, "gitops/sync", "update");
    const held = upstream.commit({ "a.yaml": "beta\n" });
    const answer = await ask(routes, "gitops/sync", "update");
    expect(answer?.data).toMatchObject({
      state: "held",
      held: { commit: held, allow: `writ sync --allow-deletions ${held}` },
    });
    for (const wrong of ["main", held.slice(0, 12), "HEAD", held.toUpperCase()]) {
      await expect(ask(routes, "gitops/sync", "update", { allow_deletions: wrong })).rejects.toThrow("whole commit id");
    }
    await expect(ask(routes, "gitops/sync", "update", { allow_deletions: "1".repeat(40) })).rejects.toThrow(held);
    await expect(ask(routes, "gitops/sync", "update", { allow_rewind: held })).resolves.toMatchObject({
      data: { state: "held" },
    });
    expect((await ask(routes, "gitops/sync", "update", { allow_deletions: held }))?.data).toMatchObject({
      state: "applied",
    });
    expect(target.entries.filter(({ result }) => result === "allowed")).toMatchObject([
      { commit: held, by: "token-ops" },
    ]);
    await reconciler.close();
  });

  test("a sync that takes longer than asked answers what is known, and goes on", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, timer, target } = await bench(upstream);
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    target.onApply = () => {
      reached.resolve();
      return gate.promise;
    };
    const answer = ask(gitopsRoutes(reconciler, timer), "gitops/sync", "update", { wait: "5s" });
    await reached.promise;
    timer.pass(5_000);
    expect(await answer).toMatchObject({ outcome: "accepted", data: { running: true } });
    gate.resolve();
    expect((await reconciler.sync()).result).toBe("applied");
    await reconciler.close();
  });

  test("a pin is made, shown and taken away, with what it changes and who did it", async () => {
    const upstream = new Upstream();
    const good = upstream.commit({ "a.yaml": "alpha\n" });
    const { reconciler, timer, target } = await bench(upstream);
    const routes = gitopsRoutes(reconciler, timer);
    await ask(routes, "gitops/sync", "update");
    const bad = upstream.commit({ "a.yaml": "evil\n" });
    await ask(routes, "gitops/sync", "update");
    await expect(ask(routes, "gitops/pin", "read")).rejects.toMatchObject({ code: "not_found" });
    for (const commit of ["main", "HEAD~1", "abc123", good.toUpperCase(), `${good} `, "-".repeat(8)]) {
      await expect(ask(routes, "gitops/pin", "update", { commit })).rejects.toThrow("commit id in lower-case hex");
    }
    for (const reason of ["two\nlines", "x".repeat(201)]) {
      expect(() => ask(routes, "gitops/pin", "update", { commit: good, reason })).toThrow("reason");
    }
    const answer = await ask(routes, "gitops/pin", "update", { commit: good.slice(0, 12), reason: "bad merge" });
    const pinned = { commit: good, by: "token-ops", reason: "bad merge", behind: 1 };
    expect(answer?.data).toMatchObject({
      state: "pinned",
      in_sync: false,
      pinned,
      changed: [
        { action: "create", kind: "Policy", mount: null, name: "alpha" },
        { action: "delete", kind: "Policy", mount: null, name: "evil" },
      ],
    });
    expect((await ask(routes, "gitops/pin", "read"))?.data).toMatchObject(pinned);
    expect((await ask(routes, "gitops/sync", "update"))?.data).toMatchObject({ state: "pinned", in_sync: false });
    const after = await ask(routes, "gitops/pin", "delete");
    expect(after?.data).toMatchObject({
      state: "applied",
      in_sync: true,
      pinned: null,
      applied_commit: { commit: bad },
    });
    expect(target.entries.filter(({ by }) => by === "token-ops").map(({ phase }) => phase)).toEqual([
      "pinned",
      "unpinned",
    ]);
    await reconciler.close();
  });
});
