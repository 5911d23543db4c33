import { describe, expect, test } from "vitest";
import { plugin as approle } from "../../src/auth/approle/index.ts";
import { createUserpass } from "../../src/auth/userpass/index.ts";
import { coreKinds } from "../../src/core/kinds.ts";
import { Passwords } from "../../src/lib/password.ts";
import { silent } from "../../src/lib/log.ts";
import type { Response } from "../../src/sdk/request.ts";
import { storageWith } from "../../src/sdk/storage.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness, type HarnessOptions, mountOf, refusal, setOf, userOf } from "./harness.ts";

const untuned = mountOf("AuthMethod", "x", "userpass").spec["config"] as object;

async function vault(options: HarnessOptions = {}): Promise<Harness> {
  const h = await harness(options);
  for (const path of ["userpass", "staff"]) {
    await h.ask("update", `sys/auth/${path}`, { type: "userpass" });
    await h.ask("update", `auth/${path}/users/alice`, { password: "s3cret" });
  }
  return h;
}

const login = (h: Harness, name: string, password: string, path = "userpass"): Promise<Response> =>
  h.ask("update", `auth/${path}/login/${name}`, { password }, null);
const wrong = "invalid: invalid username or password";
const locked = "denied: permission denied";

async function lock(h: Harness, name: string, path?: string): Promise<void> {
  for (let time = 0; time < 5; time++) expect(await refusal(login(h, name, "guess", path))).toBe(wrong);
  expect(await refusal(login(h, name, "guess", path))).toBe(locked);
}

const accessorOf = (h: Harness, path: string): string =>
  h.vault.core?.generation.mounts.at(`auth/${path}`)?.accessor ?? "";
const lockedUsers = async (h: Harness, data = {}): Promise<unknown> =>
  (await h.ask("read", "sys/locked-users", data)).data;

describe("a locked name", () => {
  test.each(["alice", "nobody"])("%s, known or not, is refused alike, with the right password too", async (name) => {
    const h = await vault();
    await lock(h, name);
    expect(await refusal(login(h, name, "s3cret"))).toBe(locked);
    h.clock.advance(15 * 60_000);
    if (name === "alice") expect((await login(h, name, "s3cret")).auth).toBeDefined();
    else expect(await refusal(login(h, name, "s3cret"))).toBe(wrong);
  });

  test("is locked in every spelling, at this mount alone", async () => {
    const h = await vault();
    for (const name of ["alice", "ALICE", " alice", "al\u200bice", "\uff21lice"]) {
      expect(await refusal(login(h, name, "guess"))).toBe(wrong);
    }
    for (const name of ["alice", "Alice ", "ALICE"]) expect(await refusal(login(h, name, "s3cret"))).toBe(locked);
    expect((await login(h, "alice", "s3cret", "staff")).auth).toBeDefined();
  });

  test("stays locked when its mount is changed or moves, and when its password or itself is changed", async () => {
    const h = await vault();
    await lock(h, "alice");
    await h.ask("update", "sys/auth/userpass/tune", { description: "people" });
    await h.ask("update", "auth/userpass/users/alice", { token_ttl: 60 });
    await h.ask("update", "auth/userpass/users/alice/password", { password: "s3cret" });
    expect(await refusal(login(h, "alice", "s3cret"))).toBe(locked);
    await h.ask("update", "sys/remount", { from: "auth/userpass", to: "auth/people" });
    expect(await refusal(login(h, "alice", "s3cret", "people"))).toBe(locked);
    await h.ask("update", "sys/remount", { from: "auth/people", to: "auth/userpass" });
    await h.ask("delete", "auth/userpass/users/alice");
    await h.ask("update", "auth/userpass/users/alice", { password: "s3cret" });
    expect(await refusal(login(h, "alice", "s3cret"))).toBe(locked);
  });

  test("is locked after five tries that come at once", async () => {
    const h = await vault();
    const results = await Promise.all(Array.from({ length: 40 }, () => refusal(login(h, "alice", "guess"))));
    expect(results.filter((result) => result === wrong)).toHaveLength(5);
    expect(results.filter((result) => result === locked)).toHaveLength(35);
  });

  test("is shown, and let out by whoever may, in any spelling", async () => {
    const h = await vault();
    expect(await lockedUsers(h)).toEqual({
      by_namespace: [{ namespace_id: "root", namespace_path: "", counts: 0, mount_accessors: [] }],
      total: 0,
    });
    await lock(h, "alice");
    await lock(h, "bob");
    await lock(h, "alice", "staff");
    const [people, staff] = [accessorOf(h, "userpass"), accessorOf(h, "staff")];
    expect(await lockedUsers(h)).toEqual({
      by_namespace: [
        {
          namespace_id: "root",
          namespace_path: "",
          counts: 3,
          mount_accessors: [
            { mount_accessor: people, counts: 2, alias_identifiers: ["alice", "bob"] },
            { mount_accessor: staff, counts: 1, alias_identifiers: ["alice"] },
          ],
        },
      ],
      total: 3,
    });
    expect(await lockedUsers(h, { mount_accessor: staff })).toMatchObject({ total: 1 });
    expect(await h.ask("update", `sys/locked-users/${people}/unlock/Alice`)).toEqual({ mountType: "system" });
    expect((await login(h, "alice", "s3cret")).auth).toBeDefined();
    expect(await refusal(login(h, "alice", "s3cret", "staff"))).toBe(locked);
    for (const path of [`${people}/unlock/nobody`, "unknown/unlock/alice"]) {
      expect((await h.ask("update", `sys/locked-users/${path}`)).data).toBeUndefined();
    }
    h.clock.advance(15 * 60_000);
    expect(await lockedUsers(h)).toMatchObject({ total: 0 });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["default"] });
    const token = auth?.client_token ?? "";
    expect(await refusal(h.ask("read", "sys/locked-users", {}, token))).toMatch(/^denied/);
    expect(await refusal(h.ask("update", `sys/locked-users/${people}/unlock/alice`, {}, token))).toMatch(/^denied/);
  });

  test("takes the same work whether it is known or not", async () => {
    const h = await vault();
    const names = ["alice", "nobody"] as const;
    for (const name of names) await lock(h, name);
    const times: Record<(typeof names)[number], number[]> = { alice: [], nobody: [] };
    for (let turn = 0; turn < 300; turn++) {
      for (const name of turn % 2 === 0 ? names : names.toReversed()) {
        const begun = performance.now();
        await refusal(login(h, name, "guess"));
        times[name].push(performance.now() - begun);
      }
    }
    // The middle one: garbage collection, the compiler and other processes fall on whichever login they meet. (CPU time
    // is counted in ticks of milliseconds on some machines, more than a login takes.)
    const [alice = 0, nobody = 0] = names.map((name) => times[name].toSorted((a, b) => a - b)[150]);
    expect(alice).toBeLessThan(nobody * 3);
    expect(nobody).toBeLessThan(alice * 3);
  });

  test("stays locked over a seal and a restart, and who has failed has only what is left of his tries", async () => {
    const h = await vault();
    await lock(h, "alice");
    for (let time = 0; time < 4; time++) expect(await refusal(login(h, "bob", "guess"))).toBe(wrong);
    await h.vault.seal();
    await h.unseal();
    expect(await refusal(login(h, "alice", "s3cret"))).toBe(locked);
    await h.vault.seal();
    const after = await h.reopen();
    expect(await refusal(login(after, "bob", "guess"))).toBe(wrong);
    for (const name of ["alice", "bob"]) expect(await refusal(login(after, name, "s3cret"))).toBe(locked);
    await after.ask("update", `sys/locked-users/${accessorOf(after, "userpass")}/unlock/alice`);
    await after.vault.seal();
    const last = await h.reopen();
    expect((await login(last, "alice", "s3cret")).auth).toBeDefined();
    expect(await refusal(login(last, "bob", "guess"))).toBe(locked);
    last.clock.advance(15 * 60_000);
    expect(await refusal(login(last, "bob", "guess"))).toBe(wrong);
  });

  test("stays locked over a crash too, once ten seconds have gone by, at one write for all", async () => {
    const inner = await memory.open({}, silent);
    let writes = 0;
    const storage = storageWith(inner, {
      write: (ops) => {
        writes += ops.filter(({ key }) => key.includes("lockout/")).length;
        return inner.write(ops);
      },
    });
    const h = await vault({ storage });
    await h.vault.tick();
    await lock(h, "alice");
    h.clock.advance(10_000);
    for (let turn = 0; turn < 5; turn++) await h.vault.tick();
    await lock(h, "bob");
    await h.vault.tick();
    expect(writes).toBe(1);
    const after = await h.reopen();
    expect(await refusal(login(after, "alice", "s3cret"))).toBe(locked);
    expect(await refusal(login(after, "bob", "guess"))).toBe(wrong);
  });

  test("that is damaged in storage keeps no vault sealed, is told of, and is saved anew", async () => {
    const h = await vault();
    await lock(h, "alice");
    await h.vault.seal();
    const key = "lockout/failures";
    const stored = await h.storage.get(key);
    const value = Uint8Array.from(stored?.value ?? []).map((byte, at, all) =>
      at === all.length - 1 ? byte ^ 1 : byte,
    );
    await h.storage.write([{ key, value, version: stored?.version ?? 1 }]);
    const after = await h.reopen();
    expect(after.log.join("\n")).toMatch(/"security":true.*failed logins from before cannot be read/);
    expect((await login(after, "alice", "s3cret")).auth).toBeDefined();
    await lock(after, "bob");
    await after.vault.seal();
    const last = await h.reopen();
    expect(last.log.join("\n")).not.toContain("cannot be read");
    expect(await refusal(login(last, "bob", "s3cret"))).toBe(locked);
  });

  test("says so in the security log, once", async () => {
    const h = await vault();
    await lock(h, "alice");
    const lines = h.log.filter((line) => line.includes("locked after failed logins"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"security":true');
    expect(h.log.join("\n")).not.toContain("guess");
  });
});

describe("rules of a mount", () => {
  test("are tuned by the API, in Vault's words, and shown", async () => {
    const h = await vault();
    const tune = (user_lockout_config: object) => h.ask("update", "sys/auth/userpass/tune", { user_lockout_config });
    const shown = async () => (await h.ask("read", "sys/auth/userpass/tune")).data;
    expect(await shown()).not.toHaveProperty("user_lockout_threshold");
    await tune({ lockout_threshold: "2", lockout_duration: "10m", lockout_counter_reset_duration: "60" });
    expect(await shown()).toMatchObject({
      user_lockout_threshold: 2,
      user_lockout_duration: 600,
      user_lockout_counter_reset_duration: 60,
      user_lockout_disable: false,
    });
    for (let time = 0; time < 2; time++) expect(await refusal(login(h, "alice", "guess"))).toBe(wrong);
    expect(await refusal(login(h, "alice", "s3cret"))).toBe(locked);
    await tune({ lockout_disable: true, lockout_duration: "system" });
    expect((await login(h, "alice", "s3cret")).auth).toBeDefined();
    expect(await shown()).toMatchObject({
      user_lockout_threshold: 2,
      user_lockout_duration: 0,
      user_lockout_disable: true,
    });
    const mounts = (await h.ask("read", "sys/auth")).data?.["userpass/"];
    expect(mounts).toMatchObject({ config: { user_lockout_config: { user_lockout_threshold: 2 } } });
    for (const config of [{ lockout_threshold: -1 }, { lockout_duration: "soon" }, { lockout_for: 1 }]) {
      expect(await refusal(tune(config))).toMatch(/^invalid/);
    }
    expect(await shown()).toMatchObject({ user_lockout_threshold: 2 });
  });

  test("may be given when it is enabled, and not where nothing is guessed", async () => {
    const h = await vault();
    const config = { user_lockout_config: { lockout_threshold: 1 } };
    await h.ask("update", "sys/auth/strict", { type: "userpass", config });
    expect(await refusal(login(h, "alice", "guess", "strict"))).toBe(wrong);
    expect(await refusal(login(h, "alice", "guess", "strict"))).toBe(locked);
    const refused = [
      ["sys/auth/approle", { type: "approle", config }],
      ["sys/mounts/secret", { type: "kv", config }],
    ] as const;
    for (const [path, data] of refused) expect(await refusal(h.ask("update", path, data))).toMatch(/lockout/);
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    expect(await refusal(h.ask("update", "sys/auth/approle/tune", config))).toMatch(/not allowed/);
  });

  test("are refused where nothing is guessed, in documents too", () => {
    const kind = coreKinds([createUserpass(new Passwords()), approle]).find((one) => one.name === "AuthMethod");
    const config = { ...untuned, user_lockout_config: { lockout_threshold: 2 } };
    const faults = (type: string) => kind?.check?.(mountOf("AuthMethod", type, type, { config }));
    expect(faults("userpass")).toEqual([]);
    expect(faults("approle")).toMatchObject([{ path: ["config", "user_lockout_config"] }]);
  });

  test("come from Git", async () => {
    const h = await harness();
    const config = {
      ...untuned,
      user_lockout_config: {
        lockout_threshold: 2,
        lockout_duration: 60,
        lockout_counter_reset_duration: 30,
        lockout_disable: false,
      },
    };
    const mount = mountOf("AuthMethod", "userpass", "userpass", { config });
    await h.target.apply(setOf("a", mount, userOf("alice", [])), []);
    await h.ask("update", "auth/userpass/users/alice/password", { password: "s3cret" });
    for (let time = 0; time < 2; time++) expect(await refusal(login(h, "alice", "guess"))).toBe(wrong);
    expect(await refusal(login(h, "alice", "s3cret"))).toBe(locked);
    h.clock.advance(60_000);
    expect(await refusal(login(h, "alice", "guess"))).toBe(wrong);
    h.clock.advance(30_000);
    expect(await refusal(login(h, "alice", "guess"))).toBe(wrong);
    expect((await login(h, "alice", "s3cret")).auth).toBeDefined();
  });
});
