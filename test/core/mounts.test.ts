// sys/mounts and sys/auth: tuning at any depth, moving a mount with all that belongs to it, and the plugin catalogue.

import { describe, expect, it } from "vitest";
import type { MountPlugin } from "../../src/sdk/mount.ts";
import { handler } from "../../src/sdk/mount.ts";
import { type Harness, harness, mountOf, refusal, setOf } from "./harness.ts";

/** Leases one text at `creds`; what it revoked stands in `ended`. */
function lessor(): { readonly plugin: MountPlugin; readonly ended: string[]; fail: boolean } {
  const state = { ended: [] as string[], fail: false };
  const plugin: MountPlugin = {
    type: "lessor",
    class: "secret",
    description: "leases texts",
    options: {},
    resources: [],
    mount: () => ({
      routes: [
        {
          path: "creds/:name",
          on: {
            read: handler({
              summary: "lease",
              mutates: true,
              run: async (call) => {
                const name = call.params["name"] ?? "";
                await call.lease({ type: "text", ttl: 0, max_ttl: 0 }, { name }, async () => name);
                return { data: { name } };
              },
            }),
          },
        },
      ],
      leases: {
        text: {
          revoke: async ({ name }) => {
            if (state.fail) throw new Error("not now");
            state.ended.push(name as string);
          },
        },
      },
    }),
  };
  return Object.assign(state, { plugin });
}

const dataOf = async (asked: Promise<{ readonly data?: Readonly<Record<string, unknown>> | null }>) =>
  (await asked).data ?? {};

async function status(h: Harness, id: string): Promise<unknown> {
  const data = await dataOf(h.ask("read", `sys/remount/status/${id}`));
  return (data["migration_info"] as { status: string }).status;
}

async function remount(h: Harness, from: string, to: string): Promise<string> {
  return String((await dataOf(h.ask("update", "sys/remount", { from, to })))["migration_id"]);
}

async function settled(h: Harness, id: string): Promise<void> {
  await h.vault.core?.tasks.run();
  expect(await status(h, id)).toBe("success");
}

describe("tuning", () => {
  it("is at hand at any depth of a path, and under sys/mounts for auth methods too", async () => {
    const h = await harness();
    const deep = "teams/red/blue/kv";
    await h.ask("update", `sys/mounts/${deep}`, {
      type: "kv",
      config: { max_lease_ttl: "2h", default_lease_ttl: 600 },
    });
    await h.ask("update", "sys/auth/corp/eu/users", { type: "userpass" });
    await h.ask("update", `sys/mounts/${deep}/tune`, {
      description: "theirs",
      listing_visibility: "unauth",
      default_lease_ttl: "20m",
      audit_non_hmac_request_keys: ["team"],
    });
    expect(await dataOf(h.ask("read", `sys/mounts/${deep}/tune`))).toMatchObject({
      description: "theirs",
      listing_visibility: "unauth",
      default_lease_ttl: 1200,
      max_lease_ttl: 7200,
      audit_non_hmac_request_keys: ["team"],
      options: { version: "1" },
    });
    await h.ask("update", "sys/mounts/auth/corp/eu/users/tune", { token_type: "batch", max_lease_ttl: "30m" });
    const tuned = await dataOf(h.ask("read", "sys/auth/corp/eu/users/tune"));
    expect(tuned).toMatchObject({ token_type: "batch", max_lease_ttl: 1800 });
    expect(await dataOf(h.ask("read", "sys/mounts/auth/corp/eu/users/tune"))).toEqual(tuned);
    // Back to the server's.
    await h.ask("update", "sys/auth/corp/eu/users/tune", { token_type: "", max_lease_ttl: "system" });
    expect(await dataOf(h.ask("read", "sys/auth/corp/eu/users/tune"))).toMatchObject({
      token_type: "default-service",
      max_lease_ttl: 86_400,
    });
    const one = await dataOf(h.ask("read", `sys/mounts/${deep}`));
    expect(one["config"]).toMatchObject({ default_lease_ttl: 1200, audit_non_hmac_request_keys: ["team"] });
  });

  it("takes no way round the sudo that auth methods ask for", async () => {
    const h = await harness();
    await h.ask("update", "sys/auth/corp/users", { type: "userpass" });
    await h.ask("update", "sys/policies/acl/tuner", {
      policy: 'path "sys/mounts/*" { capabilities = ["create", "read", "update"] }',
    });
    const made = await h.ask("update", "auth/token/create", { policies: ["tuner"] });
    const token = made.auth?.client_token ?? "";
    await h.ask("update", "sys/mounts/kv", { type: "kv" }, token);
    await h.ask("update", "sys/mounts/kv/tune", { description: "x" }, token);
    const asked = h.ask("update", "sys/mounts/auth/corp/users/tune", { description: "x" }, token);
    expect(await refusal(asked)).toMatch(/^denied/);
  });

  it("refuses what has no sense, and changes nothing then", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
    await h.ask("update", "kv/config", { max_versions: 3 });
    const tune = (data: Record<string, unknown>) => refusal(h.ask("update", "sys/mounts/kv/tune", data));
    const before = await dataOf(h.ask("read", "sys/mounts/kv/tune"));
    expect(await tune({ default_lease_ttl: "2h", max_lease_ttl: "1h" })).toMatch(/would be less than/);
    expect(await tune({ default_lease_ttl: "1000h" })).toMatch(/greater than system max/);
    expect(await tune({ max_lease_ttl: "soon" })).toMatch(/"max_lease_ttl": expected a duration/);
    expect(await tune({ listing_visibility: "loud" })).toMatch(/listing_visibility/);
    expect(await tune({ token_type: "batch" })).toMatch(/auth mounts/);
    expect(await tune({ plugin_version: "v9.9.9" })).toMatch(/in the catalog/);
    expect(await tune({ options: { version: "1" } })).toMatch(/cannot downgrade/);
    expect(await tune({ options: { version: "3" } })).toMatch(/version/);
    expect(await tune({ options: { other: "1" } })).toMatch(/unknown option/);
    for (const name of ["password", "client_token", "secret_id", "api_key", "PRIVATE_pem", "keys"]) {
      expect(await tune({ audit_non_hmac_request_keys: ["team", name] })).toMatch(/name of a secret/);
      expect(await tune({ audit_non_hmac_response_keys: name })).toMatch(/name of a secret/);
    }
    expect(await dataOf(h.ask("read", "sys/mounts/kv/tune"))).toEqual(before);
    expect(await refusal(h.ask("update", "sys/mounts/sys/tune", { description: "x" }))).toMatch(/cannot tune "sys/);
    expect(await refusal(h.ask("update", "sys/mounts/none/tune", {}))).toMatch(/tune of path "none\/" failed/);
    expect(await refusal(h.ask("read", "sys/mounts/none/tune"))).toMatch(/cannot fetch sysview for path "none\/"/);
    const said = await h.ask("update", "sys/mounts/kv/tune", { passthrough_request_headers: "x-team" });
    expect(said.warnings?.join()).toMatch(/passthrough_request_headers is kept and has no effect/);
  });

  it("shows named fields in the audit, from the next request on", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/kv", { type: "kv" });
    const last = (): { request: { data: unknown }; response?: { data: unknown } } =>
      JSON.parse(h.tape.lines.at(-1) ?? "") as { request: { data: unknown }; response?: { data: unknown } };
    await h.ask("update", "kv/a", { team: "red", pin: "1234" });
    expect(JSON.stringify(last())).not.toContain("red");
    await h.ask("update", "sys/mounts/kv/tune", {
      audit_non_hmac_request_keys: "team",
      audit_non_hmac_response_keys: "team",
    });
    await h.ask("update", "kv/a", { team: "red", pin: "1234" });
    expect(last().request.data).toEqual({ team: "red", pin: expect.stringMatching(/^hmac-sha256:/) });
    await h.ask("read", "kv/a");
    expect(last().response?.data).toEqual({ team: "red", pin: expect.stringMatching(/^hmac-sha256:/) });
  });
});

describe("one mount", () => {
  const shown = async (h: Harness, path: string) => dataOf(h.ask("read", path));

  it("is found below sys/mounts by its whole path, an auth method too", async () => {
    const h = await harness();
    await h.ask("update", "sys/auth/team/people", { type: "userpass", description: "d" });
    const one = await shown(h, "sys/mounts/auth/team/people");
    expect(one).toMatchObject({ type: "userpass", description: "d" });
    expect(one).toEqual(await shown(h, "sys/auth/team/people"));
    expect(await shown(h, "sys/mounts/auth/token")).toMatchObject({ config: { token_type: "default-service" } });
    expect(await refusal(h.ask("read", "sys/mounts/auth/none"))).toBe("invalid: No secret engine mount at auth/none/");
    expect(await refusal(h.ask("read", "sys/auth/none"))).toBe("invalid: No auth engine at none/");
    await h.ask("delete", "sys/mounts/auth/team/people");
    expect(await shown(h, "sys/auth/team/people")).toEqual(one);
  });

  it("keeps the flags that clients compare with what they sent", async () => {
    const h = await harness();
    const flags = { local: true, seal_wrap: "true", external_entropy_access: 1 };
    const all = { local: true, seal_wrap: true, external_entropy_access: true };
    const none = { local: false, seal_wrap: false, external_entropy_access: false };
    await h.ask("update", "sys/mounts/a", { type: "kv", ...flags });
    await h.ask("update", "sys/mounts/b", { type: "kv", local: false });
    await h.ask("update", "sys/auth/c", { type: "userpass", ...flags });
    await h.ask("update", "sys/mounts/a/tune", { description: "new" });
    await settled(h, await remount(h, "a", "moved"));
    const again = await h.reopen();
    expect(await shown(again, "sys/mounts/moved")).toMatchObject({ ...all, description: "new" });
    expect(await shown(again, "sys/mounts/b")).toMatchObject(none);
    expect(await shown(again, "sys/auth/c")).toMatchObject(all);
  });
});

describe("a move", () => {
  it("takes the data along, revokes leases of the old path and leaves those of the new one alone", async () => {
    const { plugin, ended } = lessor();
    const h = await harness({ plugins: [plugin] });
    await h.ask("update", "sys/mounts/old/kv", { type: "kv", options: { version: "2" } });
    await h.ask("update", "old/kv/data/a", { data: { b: "c" } });
    const { accessor, uuid } = await dataOf(h.ask("read", "sys/mounts/old/kv"));
    const id = await remount(h, "old/kv", "new/kv/");
    await settled(h, id);
    expect((await dataOf(h.ask("read", "new/kv/data/a")))["data"]).toEqual({ b: "c" });
    expect(await refusal(h.ask("read", "old/kv/data/a"))).toMatch(/no handler for route/);
    expect(await dataOf(h.ask("read", "sys/mounts/new/kv"))).toMatchObject({ accessor, uuid });
    expect(await dataOf(h.ask("read", `sys/remount/status/${id}`))).toEqual({
      migration_id: id,
      migration_info: { source_mount: "old/kv/", target_mount: "new/kv/", status: "success" },
    });
    // The old path is free, for a mount with nothing in it.
    await h.ask("update", "sys/mounts/old/kv", { type: "kv", options: { version: "2" } });
    expect(await refusal(h.ask("read", "old/kv/data/a"))).toMatch(/^not_found/);
    await h.ask("delete", "sys/mounts/new/kv");
    await h.vault.core?.tasks.run();
    await h.ask("update", "old/kv/data/z", { data: { y: "x" } });

    await h.ask("update", "sys/mounts/db", { type: "lessor" });
    const before = (await h.ask("read", "db/creds/one")).lease?.id ?? "";
    const second = await remount(h, "db", "db2");
    await h.ask("update", "sys/mounts/db", { type: "lessor" });
    const other = (await h.ask("read", "db/creds/two")).lease?.id ?? "";
    const after = (await h.ask("read", "db2/creds/three")).lease?.id ?? "";
    await settled(h, second);
    expect(ended).toEqual(["one"]);
    expect(await refusal(h.ask("update", "sys/leases/lookup", { lease_id: before }))).toMatch(/invalid lease/);
    for (const id of [other, after]) await h.ask("update", "sys/leases/lookup", { lease_id: id });
    expect((await dataOf((await h.reopen()).ask("read", "old/kv/data/z")))["data"]).toEqual({ y: "x" });
  });

  it("is in progress while a lease cannot be revoked, also over a restart", async () => {
    const state = lessor();
    const h = await harness({ plugins: [state.plugin] });
    await h.ask("update", "sys/mounts/db", { type: "lessor" });
    await h.ask("read", "db/creds/one");
    state.fail = true;
    const id = await remount(h, "db", "db2");
    await h.vault.core?.tasks.run();
    expect(await status(h, id)).toBe("in-progress");
    await h.ask("update", "sys/mounts/db", { type: "lessor" });
    const other = (await h.ask("read", "db/creds/two")).lease?.id ?? "";
    await h.vault.seal();
    state.fail = false;
    const again = await h.reopen();
    again.clock.advance(120_000);
    await again.vault.tick();
    await again.vault.tick();
    await settled(again, id);
    expect(state.ended).toEqual(["one"]);
    await again.ask("update", "sys/leases/lookup", { lease_id: other });
  });

  it("takes users, roles and the login names of entities along, and ends the tokens of the old path", async () => {
    const h = await harness();
    await h.ask("update", "sys/auth/users", { type: "userpass" });
    await h.ask("update", "auth/users/users/ada", { password: "engine-no-1", token_policies: "maker" });
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["create", "update"] }',
    });
    const entity = await dataOf(h.ask("update", "identity/entity/name/ada", { policies: ["p"] }));
    const mount_accessor = h.vault.core?.generation.mounts.at("auth/users")?.accessor;
    await h.ask("update", "identity/entity-alias", { name: "ada", canonical_id: entity["id"], mount_accessor });
    const login = async (at: string) =>
      (await h.ask("update", `auth/${at}/login/ada`, { password: "engine-no-1" })).auth;
    const old = await login("users");
    const child = await h.ask("update", "auth/token/create", {}, old?.client_token);
    expect(await refusal(h.ask("update", "sys/remount", { from: "auth/users", to: "people" }))).toMatch(
      /non-auth mount/,
    );
    expect(await refusal(h.ask("update", "sys/remount", { from: "users", to: "people" }))).toMatch(/no matching mount/);
    await settled(h, await remount(h, "auth/users", "auth/corp/people"));
    for (const token of [old?.client_token, child.auth?.client_token]) {
      expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, token))).toMatch(/^unauthenticated/);
    }
    expect(await refusal(h.ask("update", "auth/users/login/ada", { password: "engine-no-1" }))).toMatch(/no handler/);
    const now = await login("corp/people");
    expect(now).toMatchObject({ entity_id: old?.entity_id, identity_policies: ["p"] });
    await h.ask("read", "auth/token/lookup-self", {}, now?.client_token);
    const again = await h.reopen();
    expect(await dataOf(again.ask("read", "auth/corp/people/users/ada"))).toMatchObject({
      token_policies: ["maker"],
    });
  });

  it("is refused where it cannot be, and for what Git manages", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/a", { type: "kv" });
    await h.ask("update", "sys/mounts/b/c", { type: "kv" });
    await h.ask("update", "sys/auth/users", { type: "userpass" });
    await h.target.apply(setOf("c1", mountOf("SecretEngine", "git", "kv", { options: { version: "2" } })), []);
    const move = (from: unknown, to: unknown) => refusal(h.ask("update", "sys/remount", { from, to }));
    expect(await move("a", "b/c")).toMatch(/already in use at b\/c\//);
    expect(await move("a", "b")).toMatch(/already in use/);
    expect(await move("a", "b/c/d")).toMatch(/already in use/);
    expect(await move("none", "x")).toMatch(/no matching mount at the path given/);
    expect(await move("a", "")).toMatch(/must be specified/);
    expect(await move("a", "x ")).toMatch(/trailing whitespace/);
    expect(await move("a", "x/../y")).toMatch(/invalid destination/);
    expect(await move("a", "sys")).toMatch(/belongs to the vault/);
    expect(await move("sys", "x")).toMatch(/cannot remount "sys/);
    expect(await move("auth/token", "auth/x")).toMatch(/cannot remount "auth\/token/);
    expect(await move("auth/users", "auth/token")).toMatch(/belongs to the vault/);
    expect(await move("git", "x")).toMatch(/^managed: .*policies\/all\.yaml:3/);
    expect(await refusal(h.ask("read", "sys/remount/status/nothing"))).toMatch(/^not_found/);
  });

  it("keeps the newest hundred records", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/m0", { type: "kv" });
    const ids: string[] = [];
    for (let at = 0; at < 103; at++) {
      h.clock.advance(1000);
      ids.push(await remount(h, `m${at}`, `m${at + 1}`));
      await h.vault.core?.tasks.run();
    }
    expect(await refusal(h.ask("read", `sys/remount/status/${ids[2]}`))).toMatch(/^not_found/);
    for (const id of ids.slice(3)) expect(await status(h, id)).toBe("success");
  });
});

describe("the plugin catalogue", () => {
  it("has what is built in, and takes nothing", async () => {
    const h = await harness();
    const all = await dataOf(h.ask("read", "sys/plugins/catalog"));
    // Beside the envelope its "auth" would stand where a login does.
    expect((await h.ask("read", "sys/plugins/catalog")).shape).toBeUndefined();
    expect(all).toMatchObject({ auth: ["approle", "userpass"], secret: ["kv"], database: [] });
    expect(all["detailed"]).toContainEqual(expect.objectContaining({ type: "secret", name: "kv", builtin: true }));
    expect(await dataOf(h.ask("list", "sys/plugins/catalog/auth/"))).toEqual({ keys: ["approle", "userpass"] });
    expect(await dataOf(h.ask("read", "sys/plugins/catalog/secret/kv"))).toMatchObject({ name: "kv", builtin: true });
    expect(await refusal(h.ask("read", "sys/plugins/catalog/secret/none"))).toMatch(/^not_found/);
    expect(await refusal(h.ask("list", "sys/plugins/catalog/other/"))).toMatch(/unsupported plugin type/);
    const command = { sha256: "00", command: "sh" };
    expect(await refusal(h.ask("update", "sys/plugins/catalog/secret/kv", command))).toMatch(/^invalid: plugins are/);
    expect(await refusal(h.ask("delete", "sys/plugins/catalog/secret/kv"))).toMatch(/^invalid: plugins are/);
  });

  it("starts a mount's plugin anew, and no other", async () => {
    let made: string[] = [];
    const counted: MountPlugin = {
      ...lessor().plugin,
      type: "counted",
      mount: ({ path }) => {
        made.push(path);
        return { routes: [] };
      },
    };
    const h = await harness({ plugins: [counted] });
    for (const at of ["one", "two"]) await h.ask("update", `sys/mounts/${at}`, { type: "counted" });
    const reload = async (data: Record<string, unknown>): Promise<string[]> => {
      made = [];
      expect((await dataOf(h.ask("update", "sys/plugins/reload/backend", data)))["reload_id"]).toBeTruthy();
      return made;
    };
    expect(await reload({ mounts: ["two/"] })).toEqual(["two/"]);
    expect(await reload({ plugin: "counted" })).toEqual(["one/", "two/"]);
    expect(await reload({ plugin: "kv" })).toEqual([]);
    const refused = (data: Record<string, unknown>) => refusal(h.ask("update", "sys/plugins/reload/backend", data));
    expect(await refused({})).toMatch(/must be provided/);
    expect(await refused({ plugin: "kv", mounts: "one" })).toMatch(/at the same time/);
    expect(await refused({ mounts: "sys" })).toMatch(/no plugin is mounted/);
  });
});
