// What operators ask of a running vault: sys/tools, loggers, the node, its history, password policies, capabilities, and
// policies by the API.

import { hostname } from "node:os";
import { describe, expect, test } from "vitest";
import { declare, harness, refusal, setOf } from "./harness.ts";

/** A token with one rule. */
async function tokenWith(
  { ask }: Awaited<ReturnType<typeof harness>>,
  rule: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  await ask("update", "sys/policies/acl/probe", { policy: rule });
  const made = await ask("update", "auth/token/create", { policies: ["probe"], ...more });
  return made.auth?.client_token ?? "";
}

describe("tools", () => {
  test("random bytes, by path or by field", async () => {
    const { ask } = await harness();
    const bytes = async (path: string, data = {}): Promise<string> =>
      String((await ask("update", `sys/tools/random${path}`, data)).data?.["random_bytes"]);
    expect(Buffer.from(await bytes(""), "base64")).toHaveLength(32);
    expect(Buffer.from(await bytes("/7"), "base64")).toHaveLength(7);
    expect(Buffer.from(await bytes("/all/9", { format: "hex" }), "hex")).toHaveLength(9);
    expect(Buffer.from(await bytes("/platform", { bytes: "131072" }), "base64")).toHaveLength(131_072);
    expect(await bytes("")).not.toBe(await bytes(""));
    expect((await ask("update", "sys/tools/random/seal")).warnings?.join()).toContain("entropy");
    for (const [path, data, why] of [
      ["/0", {}, "'bytes' cannot be less than 1"],
      ["", { bytes: 131_073 }, "'bytes' should be less than 131072"],
      ["/moon", {}, "unsupported entropy source"],
      ["/all/x", {}, "error converting input"],
      ["", { format: "rot13" }, 'must be "hex" or "base64"'],
    ] as const)
      expect(await refusal(ask("update", `sys/tools/random${path}`, data))).toContain(why);
  });

  test("hashes", async () => {
    const { ask } = await harness();
    const sum = async (path: string, data: Record<string, unknown>): Promise<unknown> =>
      (await ask("update", `sys/tools/hash${path}`, data)).data?.["sum"];
    const input = Buffer.from("abc").toString("base64");
    const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect(await sum("", { input })).toBe(sha256);
    expect(await sum("/sha2-256", { input, format: "base64" })).toBe(Buffer.from(sha256, "hex").toString("base64"));
    // FIPS 202, and FIPS 180-4.
    expect(await sum("", { input, algorithm: "sha3-256" })).toBe(
      "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    );
    expect(await sum("/sha2-224", { input: "" })).toBe("d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f");
    for (const [data, why] of [
      [{ input: "a" }, "unable to decode input as base64"],
      [{ input: "YQ=" }, "unable to decode input as base64"],
      [{ input, algorithm: "md5" }, "unsupported algorithm"],
      [{ input, format: "x" }, "unsupported encoding format"],
    ] as const)
      expect(await refusal(ask("update", "sys/tools/hash", data))).toContain(`invalid: ${why}`);
  });
});

describe("the node", () => {
  test("is alone, hands over to nobody, and says what it runs on to whoever has sudo", async () => {
    const vault = await harness();
    const { ask } = vault;
    const { data } = await ask("read", "sys/ha-status");
    expect(data?.["nodes"]).toMatchObject([
      { hostname: hostname(), active_node: true, last_echo: null, version: "2.0.0" },
    ]);
    expect(await ask("update", "sys/step-down")).toEqual({ mountType: "system" });
    expect((await ask("read", "sys/ha-status")).data).toEqual(data);
    const info = (await ask("read", "sys/host-info")).data;
    expect(Object.keys(info ?? {}).sort()).toEqual(["cpu", "cpu_times", "disk", "host", "memory", "timestamp"]);
    expect(info?.["memory"]).toMatchObject({ total: expect.any(Number), usedPercent: expect.any(Number) });
    const plain = await tokenWith(vault, 'path "sys/*" { capabilities = ["read", "update", "delete"] }');
    for (const [operation, path] of [
      ["read", "sys/host-info"],
      ["update", "sys/step-down"],
      ["update", "sys/loggers"],
      ["delete", "sys/loggers/writ"],
    ] as const)
      expect(await refusal(ask(operation, path, { level: "error" }, plain))).toContain("denied: permission denied");
    expect((await ask("read", "sys/loggers", {}, plain)).data).toEqual({ writ: "debug" });
  });

  test("does not give its storage away", async () => {
    const { ask } = await harness();
    for (const path of ["sys/raw", "sys/raw/core/seal", "sys/monitor", "sys/pprof/heap"])
      expect(await refusal(ask("read", path))).toBe(
        `not_found: no handler for route "${path}". route entry not found.`,
      );
  });

  test("remembers the versions that served it", async () => {
    const vault = await harness();
    const history = async ({ ask }: typeof vault): Promise<unknown> => (await ask("list", "sys/version-history/")).data;
    const first = {
      keys: ["2.0.0"],
      key_info: {
        "2.0.0": {
          build_date: "",
          previous_version: null,
          timestamp_installed: "2026-01-01T00:00:00.000000000Z",
        },
      },
    };
    expect(await history(vault)).toEqual(first);
    vault.clock.advance(1000);
    const view = vault.vault.core?.root.sub("history/");
    await view?.write([{ key: "2.1.0", value: { version: "2.1.0", at: vault.clock.now() } }]);
    vault.clock.advance(1000);
    expect(await history(await vault.reopen())).toMatchObject({
      keys: ["2.0.0", "2.1.0"],
      key_info: {
        ...first.key_info,
        "2.1.0": { previous_version: "2.0.0", timestamp_installed: "2026-01-01T00:00:01.000000000Z" },
      },
    });
  });

  test("says as much in its log as it is told to", async () => {
    const { ask, vault, log } = await harness();
    const said = (text: string): boolean => log.some((line) => line.includes(text));
    await ask("update", "sys/loggers/writ", { level: "ERR" });
    expect((await ask("read", "sys/loggers/writ")).data).toEqual({ writ: "error" });
    expect(said('"message":"the level of the log is set","to":"error"')).toBe(true);
    vault.core?.log.warn("a quiet one");
    vault.core?.log.security("an attack");
    expect([said("a quiet one"), said("an attack")]).toEqual([false, true]);
    await ask("update", "sys/loggers", { level: "trace" });
    vault.core?.log.debug("a small one");
    await ask("update", "sys/loggers", { level: "error" });
    expect(await ask("delete", "sys/loggers")).toEqual({ mountType: "system" });
    vault.core?.log.debug("another small one");
    expect([said("a small one"), said("another small one")]).toEqual([true, true]);
    for (const [path, data, why] of [
      ["sys/loggers", {}, "level is required"],
      ["sys/loggers", { level: "loud" }, "invalid level provided"],
      ["sys/loggers/core", { level: "info" }, 'logger "core" not found'],
    ] as const)
      expect(await refusal(ask("update", path, data))).toContain(`invalid: ${why}`);
  });
});

describe("password policies", () => {
  const text = 'length = 12\nrule "charset" { charset = "abc" min-chars = 2 }\nrule "charset" { charset = "123" }\n';

  test("are written as text, and give passwords", async () => {
    const vault = await harness();
    const { ask } = vault;
    expect(await refusal(ask("list", "sys/policies/password/"))).toBe("not_found: ");
    expect(await refusal(ask("read", "sys/policies/password/a"))).toBe("not_found: policy does not exist");
    expect(await refusal(ask("read", "sys/policies/password/a/generate"))).toBe("not_found: policy does not exist");
    expect(await ask("update", "sys/policies/password/a", { policy: Buffer.from(text).toString("base64") })).toEqual({
      mountType: "system",
    });
    await ask("update", "sys/policies/password/b", { policy: text });
    expect((await ask("read", "sys/policies/password/a")).data).toEqual({ policy: text });
    expect((await ask("list", "sys/policies/password/")).data).toEqual({ keys: ["a", "b"] });
    expect((await ask("list", "sys/policies/password/", { after: "a", limit: 1 })).data).toEqual({ keys: ["b"] });
    expect((await ask("list", "sys/policies/password/", { limit: 1 })).data).toEqual({ keys: ["a"] });
    expect((await ask("list", "sys/policies/password/", { limit: 0 })).data).toEqual({ keys: ["a", "b"] });
    const password = String((await ask("read", "sys/policies/password/a/generate")).data?.["password"]);
    expect(password).toMatch(/^[abc123]{12}$/);
    expect(vault.tape.lines.join()).not.toContain(password);
    for (const [data, why] of [
      [{}, "missing policy"],
      [{ policy: "length = 2" }, "invalid password policy: passwords must be between 4 and 100 characters"],
      [{ policy: "[" }, "invalid password policy: 1:1"],
    ] as const)
      expect(await refusal(ask("update", "sys/policies/password/a", data))).toContain(`invalid: ${why}`);
    await ask("delete", "sys/policies/password/a");
    await ask("delete", "sys/policies/password/a");
    const again = await vault.reopen();
    expect((await again.ask("list", "sys/policies/password/")).data).toEqual({ keys: ["b"] });
  });

  test("of Git are Git's", async () => {
    const { ask, target } = await harness();
    const spec = { length: 8, rules: [{ charset: "xy", min_chars: 8 }] };
    await target.apply(setOf("a", declare("PasswordPolicy", "strong", spec)), []);
    expect((await ask("read", "sys/policies/password/strong")).data?.["policy"]).toBe(
      'length = 8\n\nrule "charset" {\n  charset = "xy"\n  min-chars = 8\n}\n',
    );
    expect((await ask("read", "sys/policies/password/strong/generate")).data?.["password"]).toMatch(/^[xy]{8}$/);
    const managed = "managed: password policy strong is managed by Git: change it in policies/all.yaml:3";
    expect(await refusal(ask("update", "sys/policies/password/strong", { policy: text }))).toContain(managed);
    expect(await refusal(ask("delete", "sys/policies/password/strong"))).toContain(managed);
  });
});

describe("policies by the API", () => {
  const policy = 'path "secret/*" { capabilities = ["read"] }';

  test("have lists in pages and by folder, and Vault's warnings and texts", async () => {
    const { ask } = await harness();
    for (const name of ["team/a", "team/b", "other"]) await ask("update", `sys/policies/acl/${name}`, { policy });
    const all = ["default", "other", "root", "team/a", "team/b"];
    for (const operation of ["list", "read"] as const) {
      expect((await ask(operation, "sys/policies/acl")).data).toEqual({ keys: all });
      expect((await ask(operation, "sys/policy")).data).toEqual({ keys: all, policies: all });
    }
    expect((await ask("list", "sys/policies/acl/", { after: "other", limit: 2 })).data?.["keys"]).toEqual([
      "root",
      "team/a",
    ]);
    expect((await ask("list", "sys/policies/acl/team/")).data?.["keys"]).toEqual(["team/a", "team/b"]);
    expect(await refusal(ask("list", "sys/policies/acl/none/"))).toBe("not_found: ");
    const named = await ask("update", "sys/policy/MiXed", { rules: Buffer.from(policy).toString("base64") });
    expect(named.warnings).toEqual([
      "'rules' is deprecated, please use 'policy' instead",
      "policy name was converted to mixed",
    ]);
    expect((await ask("read", "sys/policy/MIXED")).data).toEqual({ name: "mixed", rules: policy });
    const json = JSON.stringify({ path: { "secret/*": { capabilities: ["read"] } } });
    expect(await ask("update", "sys/policies/acl/json", { policy: json })).toEqual({ mountType: "system" });
    expect((await ask("read", "sys/policies/acl/json")).data).toEqual({ name: "json", policy: json });
    expect(await refusal(ask("read", "sys/policies/acl/none"))).toBe("not_found: ");
    for (const [operation, name, text] of [
      ["delete", "root", 'cannot delete "root" policy'],
      ["delete", "default", "cannot delete default policy"],
      ["update", "root", 'cannot update "root" policy'],
    ] as const)
      expect(await refusal(ask(operation, `sys/policies/acl/${name}`, { policy }))).toBe(`invalid: ${text}`);
    expect(await refusal(ask("update", "sys/policies/acl/a", {}))).toBe(
      "invalid: 'policy' parameter not supplied or empty",
    );
  });
});

describe("capabilities", () => {
  test("are told for each path, of one's own token, of another's, and by accessor", async () => {
    const vault = await harness();
    const { ask, clock } = vault;
    const rule =
      'path "secret/a" { capabilities = ["update", "read", "create"] }\npath "secret/b" { capabilities = ["deny"] }';
    const token = await tokenWith(vault, rule, { ttl: "1h" });
    const paths = ["secret/a", "/secret/b", "none"];
    const each = { "secret/a": ["create", "read", "update"], "/secret/b": ["deny"], none: ["deny"] };
    const accessor = String((await ask("read", "auth/token/lookup-self", {}, token)).data?.["accessor"]);
    expect((await ask("update", "sys/capabilities-self", { paths }, token)).data).toEqual(each);
    expect((await ask("update", "sys/capabilities", { paths, token })).data).toEqual(each);
    expect((await ask("update", "sys/capabilities-accessor", { paths, accessor })).data).toEqual(each);
    expect((await ask("update", "sys/capabilities-self", { path: "secret/a" }, token)).data).toEqual({
      "secret/a": ["create", "read", "update"],
      capabilities: ["create", "read", "update"],
    });
    expect((await ask("update", "sys/capabilities-self", { paths: "x,y" })).data).toEqual({ x: ["root"], y: ["root"] });
    expect(await refusal(ask("update", "sys/capabilities-self", {}))).toBe("invalid: paths must be supplied");
    const many = Array.from({ length: 10_001 }, () => "a");
    expect(await refusal(ask("update", "sys/capabilities-self", { paths: many }))).toContain("at most 10000 paths");
    expect(await refusal(ask("update", "sys/capabilities", { paths, token: "hvs.none" }))).toBe(
      "invalid: invalid token",
    );
    expect(await refusal(ask("update", "sys/capabilities-accessor", { paths, accessor: "none" }))).toBe(
      "invalid: invalid accessor",
    );
    clock.advance(3_600_000);
    expect(await refusal(ask("update", "sys/capabilities", { paths, token }))).toBe("invalid: invalid token");
  });
});
