import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it, vi } from "vitest";
import { Passwords } from "../../src/lib/password.ts";
import { ApplyError } from "../../src/sdk/kind.ts";
import { declare, harness, mountOf, refusal, setOf, userOf } from "./harness.ts";

const engine = (name: string, path = name, more: Record<string, unknown> = {}) =>
  mountOf("SecretEngine", name, "kv", { path, options: { version: "2" }, ...more });
const policy = (name: string, path: string) => declare("Policy", name, { rules: [{ path, capabilities: ["read"] }] });

async function problemsOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApplyError) return error.message;
    throw error;
  }
  throw new Error("was applied");
}

describe("generations", () => {
  it("applies a commit whole and comes back to it after a restart", async () => {
    const h = await harness();
    await h.target.apply(setOf("a1", engine("secret"), policy("p", "secret/data/x")), []);
    const id = h.vault.core?.generation.id;
    expect(id).toBe(`a1${"0".repeat(38)}+0`);
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.vault.seal();
    const again = await h.reopen();
    expect(again.vault.core?.generation.id).toBe(id);
    expect(again.target.current()?.declarations).toHaveLength(2);
    expect((await again.ask("read", "secret/data/x")).data).toMatchObject({ data: { a: "1" } });
  });

  it("comes back to what a release took that had fewer rules, as that decided it", async () => {
    const h = await harness();
    const entity = (name: string) =>
      declare("Entity", name, { policies: ["p"], aliases: [], metadata: {}, disabled: false });
    const group = (name: string) =>
      declare("Group", name, { policies: [], member_entities: [], member_groups: [], metadata: {} });
    const rules = [
      { path: "secret/data/x", capabilities: ["read"] },
      { path: "a//b", capabilities: ["read"] },
      { path: "a/../b", capabilities: ["deny"] },
    ];
    const config = { default_lease_ttl: 7200, max_lease_ttl: 3600, listing_visibility: "" };
    const all = [entity("ada"), entity("Ada"), group("team"), group("TEAM"), declare("Policy", "p", { rules })];
    await h.target.apply(setOf("a2", engine("secret", "secret", { config }), ...all), []);
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.vault.seal();
    const again = await h.reopen();
    expect(again.vault.core?.generation.id).toBe(`a2${"0".repeat(38)}+0`);
    expect(again.target.current()?.declarations).toHaveLength(6);
    const { auth } = await again.ask("update", "auth/token/create", { policies: ["p"] });
    const token = auth?.client_token ?? "";
    expect((await again.ask("read", "secret/data/x", {}, token)).data).toMatchObject({ data: { a: "1" } });
    await again.target.apply(setOf("a3", engine("secret"), policy("p", "secret/data/y")), []);
    expect(await refusal(again.ask("read", "secret/data/x", {}, token))).toMatch(/^denied/);
  });

  it("refuses to write over the API what Git manages, with the place to change", async () => {
    const h = await harness();
    await h.target.apply(setOf("b2", engine("secret"), policy("p", "secret/data/x")), []);
    const where =
      /managed by Git: change it in policies\/all\.yaml:3 and push; git show b20000000000:policies\/all\.yaml shows it/;
    expect(
      await refusal(h.ask("update", "sys/policies/acl/p", { policy: 'path "a" { capabilities = ["read"] }' })),
    ).toMatch(where);
    expect(await refusal(h.ask("delete", "sys/policies/acl/p"))).toMatch(where);
    expect(await refusal(h.ask("delete", "sys/mounts/secret"))).toMatch(where);
    expect(await refusal(h.ask("update", "sys/mounts/secret/tune", { max_lease_ttl: "1h" }))).toMatch(where);
    expect(await refusal(h.ask("update", "sys/mounts/secret", { type: "kv" }))).toMatch(/path is already in use/);
    expect((await h.ask("read", "sys/policies/acl/p")).data?.["policy"]).toContain("secret/data/x");
  });

  it("takes over what the API made only with adopt", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.ask("update", "sys/policies/acl/p", { policy: 'path "a" { capabilities = ["read"] }' });
    const before = h.vault.core?.generation.id;
    expect(await problemsOf(h.target.apply(setOf("c3", policy("p", "b")), []))).toMatch(
      /policies\/all\.yaml:3:1: Policy p: the API made/,
    );
    expect(await problemsOf(h.target.apply(setOf("c3", engine("other", "secret")), []))).toMatch(/the API made/);
    expect(h.vault.core?.generation.id).toBe(before);
    const adopted = [
      { ...policy("p", "b"), metadata: { name: "p", adopt: true } },
      { ...engine("secret"), metadata: { name: "secret", adopt: true } },
    ];
    await h.target.apply(setOf("c4", ...adopted), []);
    expect((await h.ask("read", "sys/policies/acl/p")).data?.["policy"]).toContain('"b"');
    expect((await h.ask("read", "secret/data/x")).data).toMatchObject({ data: { a: "1" } });
  });

  it("takes a person or group that the API made for the same in whatever case", async () => {
    const h = await harness();
    await h.ask("update", "identity/entity", { name: "Zoe" });
    await h.ask("update", "identity/group", { name: "Team" });
    const before = h.vault.core?.generation.id;
    const person = { aliases: [], policies: [], metadata: {}, disabled: false };
    const team = { policies: [], member_entities: [], member_groups: [], metadata: {} };
    const people = (adopt: boolean, ...[one, group]: readonly [string, string]) => [
      declare("Entity", one, person, { metadata: { name: one, adopt } }),
      declare("Group", group, team, { metadata: { name: group, adopt } }),
    ];
    const refused = await problemsOf(h.target.apply(setOf("c3", ...people(false, "zoe", "TEAM")), []));
    expect(refused).toMatch(/Entity zoe: the API made an object of this name/);
    expect(refused).toMatch(/Group TEAM: the API made an object of this name/);
    expect(await problemsOf(h.target.apply(setOf("c3", ...people(true, "zoe", "TEAM")), []))).toMatch(
      /the API made it under the name "Zoe"; give the document that name to take it over/,
    );
    expect(h.vault.core?.generation.id).toBe(before);
    await h.target.apply(setOf("c4", ...people(true, "Zoe", "Team")), []);
    // What it is called in Git may change.
    await h.target.apply(setOf("c5", ...people(false, "zoe", "TEAM")), []);
    expect((await h.ask("read", "identity/entity/name/ZOE")).data).toMatchObject({ name: "zoe" });
  });

  it("keeps the data of a mount that Git removes, and gives it back", async () => {
    const h = await harness();
    await h.target.apply(setOf("d1", engine("secret")), []);
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.target.apply(setOf("d2"), []);
    expect(await refusal(h.ask("read", "secret/data/x"))).toBe(
      'not_found: no handler for route "secret/data/x". route entry not found.',
    );
    await h.target.apply(setOf("d3", engine("secret", "moved/here")), []);
    expect((await h.ask("read", "moved/here/data/x")).data).toMatchObject({ data: { a: "1" } });
    await h.target.apply(setOf("d4", engine("secret", "moved/here", { on_remove: "delete" })), []);
    await h.target.apply(setOf("d5"), []);
    await h.vault.core?.tasks.run();
    await h.target.apply(setOf("d6", engine("secret", "moved/here")), []);
    expect(await refusal(h.ask("read", "moved/here/data/x"))).toMatch(/^not_found/);
    expect(await h.vault.core?.root.list("mounts/state/secret/")).toHaveLength(1);
  });

  it("drops everything of a mount that the API removes", async () => {
    const h = await harness();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await h.ask("update", "auth/userpass/users/ada", { password: "correct horse" });
    const token =
      (await h.ask("update", "auth/userpass/login/ada", { password: "correct horse" }, null)).auth?.client_token ?? "";
    await h.ask("delete", "sys/auth/userpass");
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, token))).toMatch(/^unauthenticated/);
    await h.vault.core?.tasks.run();
    expect(await h.vault.core?.root.list("mount/")).toEqual([]);
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    expect(await refusal(h.ask("read", "auth/userpass/users/ada"))).toMatch(/^not_found/);
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, token))).toMatch(/^unauthenticated/);
  });

  it("refuses mounts inside each other and over the vault's own", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/team/kv", { type: "kv" });
    expect(await refusal(h.ask("update", "sys/mounts/team", { type: "kv" }))).toMatch(/already in use/);
    expect(await refusal(h.ask("update", "sys/mounts/team/kv/deep", { type: "kv" }))).toMatch(/already in use/);
    expect(await refusal(h.ask("update", "sys/mounts/sys", { type: "kv" }))).toMatch(/belongs to the vault/);
    expect(await refusal(h.ask("update", "sys/mounts/x", { type: "nope" }))).toMatch(/not found in the catalog/);
    expect(await problemsOf(h.target.apply(setOf("e1", engine("a", "team/kv/more")), []))).toMatch(
      /already in use at team\/kv\//,
    );
  });

  it("folds edits that wait into one step, and one that fails fails alone", async () => {
    const h = await harness();
    const before = h.vault.core?.generation.record.seq ?? 0;
    const edits = await Promise.allSettled([
      ...Array.from({ length: 40 }, (_, n) =>
        h.ask("update", `sys/policies/acl/p${n}`, { policy: `path "a${n}" { capabilities = ["read"] }` }),
      ),
      h.ask("update", "sys/mounts/one", { type: "kv" }),
      h.ask("update", "sys/mounts/one/two", { type: "kv" }),
    ]);
    expect(edits.filter((one) => one.status === "rejected")).toHaveLength(1);
    expect((await h.ask("list", "sys/policies/acl/")).data?.["keys"]).toHaveLength(42);
    expect((h.vault.core?.generation.record.seq ?? 0) - before).toBeLessThan(60);
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("list", "sys/policies/acl/")).data?.["keys"]).toHaveLength(42);
  });

  it("seeds a secret once, only from where config opens it", async () => {
    const user = userOf("ada", ["p"], { secrets: { password: { path: "secret/data/seed/ada", key: "password" } } });
    const auth = mountOf("AuthMethod", "userpass", "userpass");
    const h = await harness();
    await h.target.apply(setOf("f1", engine("secret"), auth, user, policy("p", "x")), []);
    await h.vault.core?.tasks.run();
    expect(h.target.state(user)).toMatch(/^waiting: from_secret/);
    expect(await h.target.pending()).toMatchObject([{ error: expect.stringMatching(/no text under key password/) }]);
    expect(await refusal(h.ask("update", "auth/userpass/login/ada", { password: "first-password" }, null))).toMatch(
      /^invalid/,
    );
    await h.ask("update", "secret/data/seed/ada", { data: { password: "first-password" } });
    h.clock.advance(120_000);
    await h.vault.tick();
    expect(h.target.state(user)).toBe("active");
    await h.ask("update", "auth/userpass/login/ada", { password: "first-password" }, null);
    await h.ask("update", "auth/userpass/users/ada/password", { password: "second-password" });
    await h.target.apply(
      setOf(
        "f2",
        engine("secret"),
        auth,
        { ...user, metadata: { name: "ada", description: "changed" } },
        policy("p", "x"),
      ),
      [],
    );
    await h.vault.core?.tasks.run();
    await h.ask("update", "auth/userpass/login/ada", { password: "second-password" }, null);
    expect(await refusal(h.ask("update", "auth/userpass/login/ada", { password: "first-password" }, null))).toMatch(
      /^invalid/,
    );
    const lines = h.tape.lines.filter((line) => line.includes("gitops-from_secret"));
    expect(lines).toHaveLength(4);
    expect(h.tape.lines.join("\n")).not.toMatch(/(first|second)-password/);
  });

  it("takes no password over that was on its way when the user ended", async () => {
    const hash = vi.spyOn(Passwords.prototype, "hash");
    const h = await harness();
    const user = userOf("ada", ["p"], { secrets: { password: { path: "secret/data/seed/ada", key: "password" } } });
    const rest = [engine("secret"), mountOf("AuthMethod", "userpass", "userpass"), policy("p", "x")];
    await h.target.apply(setOf("f1", ...rest), []);
    await h.ask("update", "secret/data/seed/ada", { data: { password: "first-password" } });
    await h.target.apply(setOf("f2", ...rest, user), []);
    await h.vault.core?.tasks.run();
    const login = (password: string) => h.ask("update", "auth/userpass/login/ada", { password }, null);
    await login("first-password");
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    hash.mockImplementationOnce(async function (this: Passwords, password) {
      await ended;
      return this.hash(password);
    });
    const late = h.ask("update", "auth/userpass/users/ada/password", { password: "leaver's password" });
    await h.target.apply(setOf("f3", ...rest), []);
    await h.vault.core?.tasks.run();
    end();
    await late;
    await h.target.apply(setOf("f4", ...rest, user), []);
    await h.vault.core?.tasks.run();
    hash.mockRestore();
    expect(await refusal(login("leaver's password"))).toMatch(/^invalid/);
    await login("first-password");
    await h.ask("update", "auth/userpass/users/ada/password", { password: "second-password" });
    await login("second-password");
    await h.target.apply(setOf("f5", ...rest, { ...user, metadata: { name: "ada", description: "changed" } }), []);
    await login("second-password");
  });

  it("goes back to no earlier one that somebody put back while it runs", async () => {
    let h = await harness();
    const current = () => h.storage.get("generation/current");
    const put = (stored: Awaited<ReturnType<typeof current>>) =>
      h.storage.write([{ key: "generation/current", value: null, version: 0, ...stored }]);
    const write = (name: string, path: string) =>
      h.ask("update", `sys/policies/acl/${name}`, { policy: `path "${path}" { capabilities = ["read"] }` });
    const read = async (): Promise<unknown> => (await h.ask("read", "sys/policies/acl/p")).data?.["policy"];
    for (const gone of [false, true]) {
      await write("p", "a");
      const old = await current();
      await write("p", "b");
      const newest = await current();
      await put(gone ? null : old);
      for (let times = 0; times < 3; times++) expect(await refusal(write("q", "a"))).toMatch(/^(conflict|storage)/);
      expect(await read()).toContain('"b"');
      expect(h.log.join("")).toContain("put back to an earlier one");
      await h.vault.seal();
      await put(newest);
      h = await h.reopen();
      expect(await read()).toContain('"b"');
    }
    await write("p", "c");
  });

  it("one request sees one generation", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.ask("update", "sys/policies/acl/p", { policy: 'path "secret/data/x" { capabilities = ["read"] }' });
    const token = (await h.ask("update", "auth/token/create", { policies: ["p"] })).auth?.client_token ?? "";
    const during = h.ask("read", "secret/data/x", {}, token);
    await h.ask("delete", "sys/policies/acl/p");
    await during;
    expect(await refusal(h.ask("read", "secret/data/x", {}, token))).toMatch(/^denied/);
  });
});

it("no generation keeps the one before it in memory", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const h = await harness();
  const made: WeakRef<object>[] = [];
  const note = (): void => void made.push(new WeakRef(h.vault.core?.generation ?? {}));
  for (let at = 0; at < 20; at++) {
    await h.ask("update", "identity/entity", { name: `person-${at}` });
    note();
    await h.ask("update", `sys/policy/p${at}`, { policy: 'path "a" { capabilities = ["read"] }' });
    note();
    await h.ask("update", `sys/mounts/kv${at}`, { type: "kv" });
    await h.ask("update", "identity/group", { name: `group-${at}` });
    note();
    const applied = declare("Policy", `git${at}`, { rules: [{ path: "b", capabilities: ["read"] }] });
    await h.target.apply(setOf(`${at}`, applied), []);
    note();
    const { auth } = await h.ask("update", "auth/token/create", { policies: [`p${at}`] });
    await refusal(h.ask("read", "secret/x", {}, auth?.client_token));
  }
  // A reference is kept for the rest of the turn that looked at it.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise(setImmediate);
    collectGarbage();
  }
  expect(made.filter((one) => one.deref() !== undefined).length).toBeLessThan(10);
});
