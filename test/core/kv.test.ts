// KV as its mount is tuned: from version 1 to version 2 on a whole vault, by the API and from Git.

import { expect, test } from "vitest";
import { type Harness, harness, mountOf, refusal, setOf } from "./harness.ts";

const leased = async ({ ask }: Harness, path: string): Promise<unknown> => (await ask("read", path)).lease?.duration;

test("version 1 tells how long to wait: what the secret says, the mount's tuning, the server's default", async () => {
  const vault = await harness();
  const { ask } = vault;
  await ask("update", "sys/mounts/kv1", { type: "kv" });
  await ask("update", "kv1/a", { x: "1" });
  await ask("update", "kv1/b", { ttl: "90s" });
  await ask("update", "kv1/c", { lease: 7, ttl: "nonsense" });
  expect(await leased(vault, "kv1/a")).toBe(3600);
  await ask("update", "sys/mounts/kv1/tune", { default_lease_ttl: "5m" });
  expect([await leased(vault, "kv1/a"), await leased(vault, "kv1/b"), await leased(vault, "kv1/c")]).toEqual([
    300, 90, 300,
  ]);
});

test("tuning version 1 to version 2 keeps its secrets, and there is no way back", async () => {
  const vault = await harness();
  const { ask } = vault;
  await ask("update", "sys/mounts/kv", { type: "kv", options: { version: "1" } });
  for (const path of ["a", "b/c"]) await ask("update", `kv/${path}`, { of: path });
  const tuned = await ask("update", "sys/mounts/kv/tune", { options: { version: "2" } });
  expect(tuned.warnings?.join()).toContain("Upgrading mount from version 1 to version 2.");
  expect((await ask("update", "sys/mounts/kv/tune", { options: { version: "2" } })).warnings).toBeUndefined();
  expect((await ask("read", "kv/data/b/c")).data).toMatchObject({ data: { of: "b/c" }, metadata: { version: 1 } });
  expect((await ask("list", "kv/metadata/")).data).toEqual({ keys: ["a", "b/"] });
  for (const version of ["1", undefined]) {
    const options = version === undefined ? { options: { other: "x" } } : { options: { version } };
    expect(await refusal(ask("update", "sys/mounts/kv/tune", options))).toContain(
      version === "1" ? "invalid: cannot downgrade mount from version 2" : "unknown option",
    );
  }
  const again = await vault.reopen();
  expect((await again.ask("read", "kv/data/a")).data).toMatchObject({ data: { of: "a" } });
});

test("a commit that takes a mount back to version 1 is refused at its line", async () => {
  const { target, ask } = await harness();
  const engine = (version: string) => mountOf("SecretEngine", "kv", "kv", { options: { version } });
  await target.apply(setOf("a", engine("1")), []);
  await ask("update", "kv/a", { x: "1" });
  await target.apply(setOf("b", engine("2")), []);
  expect((await ask("read", "kv/data/a")).data).toMatchObject({ data: { x: "1" } });
  await expect(target.apply(setOf("c", engine("1")), [])).rejects.toThrow(
    "policies/all.yaml:3:1: SecretEngine kv: cannot downgrade mount from version 2",
  );
  expect((await ask("read", "kv/data/a")).data).toMatchObject({ data: { x: "1" } });
  // A document that went, and comes back with the version that the data is not of, destroys nothing.
  await target.apply(setOf("d"), []);
  await target.apply(setOf("e", engine("1")), []);
  expect(await refusal(ask("update", "kv/a", { x: "2" }))).toContain("set its option version to 2");
  await target.apply(setOf("f", engine("2")), []);
  expect((await ask("read", "kv/data/a")).data).toMatchObject({ data: { x: "1" } });
  // Once it holds nothing versioned, it is as good as new.
  await ask("delete", "kv/metadata/a");
  await target.apply(setOf("g"), []);
  await target.apply(setOf("h", engine("1")), []);
  await ask("update", "kv/b", { x: "3" });
  expect((await ask("read", "kv/b")).data).toEqual({ x: "3" });
});

test("the document of the API leaves out what only says how to ask", async () => {
  const { ask } = await harness();
  await ask("update", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  const { text } = await ask("read", "sys/internal/specs/openapi");
  const { paths } = JSON.parse(text?.body ?? "{}") as { paths: Record<string, object> };
  expect(Object.keys(paths)).toContain("/kv/detailed-metadata/{path}");
  expect(Object.keys(paths)).not.toContain("/kv/{path}");
  expect(Object.keys(paths["/kv/metadata"] ?? {})).toEqual(["description", "get"]);
});
