import { describe, expect, it } from "vitest";
import type { TokenEntry } from "../../src/core/tokens/entry.ts";
import { declare, harness, mountOf, refusal, setOf, userOf } from "./harness.ts";

const reader = 'path "secret/data/app/*" { capabilities = ["read"] }';

async function prepared() {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/app/one", { data: { password: "s3cret" } });
  await h.ask("update", "sys/policies/acl/reader", { policy: reader });
  return h;
}

const made = async (h: Awaited<ReturnType<typeof prepared>>, data: Record<string, unknown>, token = h.root) => {
  const { auth } = await h.ask("update", "auth/token/create", data, token);
  if (!auth) throw new Error("no auth");
  return auth;
};

describe("tokens", () => {
  it("keeps ids as HMAC only", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"] });
    const dump: string[] = [];
    const walk = async (prefix: string): Promise<void> => {
      const view = h.vault.core?.root;
      if (!view) throw new Error("sealed");
      for (const name of await view.list(prefix)) {
        if (name.endsWith("/")) await walk(`${prefix}${name}`);
        else if (prefix !== "core/")
          dump.push(
            `${prefix}${name}`,
            Buffer.from((await view.get(`${prefix}${name}`))?.value ?? []).toString("latin1"),
          );
      }
    };
    await walk("");
    expect(dump.length).toBeGreaterThan(10);
    expect(dump.join("\n")).not.toContain(client_token);
    expect(dump.join("\n")).not.toContain(h.root);
  });

  it("allows what the policies say and nothing else", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"] });
    expect((await h.ask("read", "secret/data/app/one", {}, client_token)).data).toMatchObject({
      data: { password: "s3cret" },
    });
    expect(await refusal(h.ask("read", "secret/data/other", {}, client_token))).toMatch(/^denied/);
    expect(await refusal(h.ask("update", "secret/data/app/one", { data: {} }, client_token))).toMatch(/^denied/);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, "hvs.wrong"))).toMatch(/^unauthenticated/);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, null))).toMatch(/^unauthenticated/);
  });

  it("takes a path that ends in a slash for a list only", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/most", {
      policy:
        'path "secret/*" { capabilities = ["read", "list"] } path "secret/data/app/one" { capabilities = ["deny"] }',
    });
    const { client_token } = await made(h, { policies: ["most"] });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^denied/);
    expect(await refusal(h.ask("read", "secret/data/app/one/", {}, client_token))).toMatch(/^not_found: no handler/);
    expect((await h.ask("list", "secret/metadata/app/", {}, client_token)).data).toMatchObject({ keys: ["one"] });
  });

  it("takes older names of a mapping's fields, as Vault does: without a word", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    const answer = await h.ask("update", "auth/userpass/users/eve", { password: "correct horse", policies: "reader" });
    expect([answer.data, answer.warnings]).toEqual([undefined, undefined]);
    expect((await h.ask("read", "auth/userpass/users/eve")).data).toMatchObject({ token_policies: ["reader"] });
  });

  it("makes no user without a password by the API, and takes no hash for one", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    const user = (data: Record<string, unknown>) => h.ask("update", "auth/userpass/users/eve", data);
    const shown = async () => (await h.ask("read", "auth/userpass/users/eve")).data;
    for (const data of [{ token_policies: "reader" }, {}, { password: "" }]) {
      expect(await refusal(user(data))).toBe("invalid: missing password");
    }
    const hash = { password_hash: "$2b$10$abcdefghijklmnopqrstuv" };
    for (const data of [hash, { ...hash, password: "correct horse" }]) {
      expect(await refusal(user(data))).toMatch(/^invalid: password_hash: .*give the password$/);
    }
    expect(await refusal(shown())).toMatch(/^not_found/);
    await user({ password: "correct horse", token_ttl: 60 });
    await user({ token_policies: "reader" });
    const before = await shown();
    expect(before).toMatchObject({ token_ttl: 60, token_policies: ["reader"] });
    expect(await refusal(user({ ...hash, token_ttl: 70 }))).toMatch(/^invalid: password_hash/);
    expect(await shown()).toEqual(before);
    expect((await h.ask("update", "auth/userpass/login/eve", { password: "correct horse" }, null)).auth).toBeDefined();
  });

  it("gives a child no more than its parent, now and later", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    const parent = await made(h, { policies: ["reader", "maker"] });
    expect(await refusal(h.ask("update", "auth/token/create", { policies: ["other"] }, parent.client_token))).toMatch(
      /subset of parent/,
    );
    expect(await refusal(h.ask("update", "auth/token/create", { policies: ["root"] }, parent.client_token))).toMatch(
      /^invalid: root/,
    );
    expect(await refusal(h.ask("update", "auth/token/create", { no_parent: true }, parent.client_token))).toMatch(
      /root or sudo/,
    );
    const child = await made(h, { policies: ["reader"] }, parent.client_token);
    expect((await h.ask("read", "secret/data/app/one", {}, child.client_token)).data).toBeTruthy();
    await h.ask("update", "auth/token/revoke", { token: parent.client_token });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, child.client_token))).toMatch(/^unauthenticated/);
  });

  it("revokes whole trees and leaves no entry behind", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    let { client_token: token } = await made(h, { policies: ["maker"] });
    const first = token;
    for (let depth = 0; depth < 5; depth++) token = (await made(h, {}, token)).client_token;
    await h.ask("update", "auth/token/revoke", { token: first });
    await h.vault.tick();
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(1);
    expect(await h.vault.core?.root.list("token/child/")).toHaveLength(0);
    expect(await h.vault.core?.root.list("lease/")).toHaveLength(0);
    expect(await h.vault.core?.tasks.pending()).toEqual([]);
  });

  it("ends many children of one parent, and goes on with that after a crash", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    for (const children of [3, 100]) {
      const parent = await made(h, { policies: ["maker"] });
      await Promise.all(Array.from({ length: children }, () => made(h, {}, parent.client_token)));
      // The process ends as soon as the client has its answer.
      await h.ask("update", "auth/token/revoke", { token: parent.client_token });
      await h.vault.seal();
      const again = await h.reopen();
      await again.vault.core?.tasks.run();
      await again.vault.tick();
      expect(await again.vault.core?.root.list("token/id/"), `${children} children`).toHaveLength(1);
      expect(await again.vault.core?.root.list("token/child/")).toHaveLength(0);
      expect(await again.vault.core?.root.list("lease/")).toHaveLength(0);
      await again.vault.seal();
      await h.unseal();
    }
  });

  it("ends what is due although an entry that is due too is damaged", async () => {
    const h = await prepared();
    const tokens = await Promise.all(Array.from({ length: 5 }, () => made(h, { policies: ["reader"], ttl: "60s" })));
    const id = h.vault.core?.tokens.idOf(tokens[2]?.client_token ?? "") ?? "";
    await h.vault.seal();
    const stored = await h.storage.get(`token/id/${id}`);
    if (stored === null) throw new Error("no such entry");
    stored.value[stored.value.length - 1] = (stored.value.at(-1) ?? 0) ^ 1;
    await h.storage.write([{ key: `token/id/${id}`, value: stored.value, version: stored.version }]);
    await h.unseal();
    h.clock.advance(60_000);
    await h.vault.tick();
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(2);
    expect(h.log.join("")).toMatch(/expiry stopped/);
  });

  it("ends tokens at their time, by the request's clock and by the index", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"], ttl: "60s" });
    h.clock.advance(59_000);
    await h.ask("read", "secret/data/app/one", {}, client_token);
    h.clock.advance(1_000);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^unauthenticated/);
    await h.vault.tick();
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(1);
    expect(await h.vault.core?.root.list("lease/due/")).toHaveLength(0);
  });

  it("ends a child with its parent, to the millisecond, and lets a renewal of the parent carry it on", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    const parent = await made(h, { policies: ["reader", "maker"], ttl: "60s" });
    const child = await made(h, { policies: ["reader"], ttl: "1h" }, parent.client_token);
    h.clock.advance(50_000);
    await h.ask("read", "secret/data/app/one", {}, child.client_token);
    await h.ask("update", "auth/token/renew-self", { increment: "60s" }, parent.client_token);
    h.clock.advance(59_999);
    await h.ask("read", "secret/data/app/one", {}, child.client_token);
    h.clock.advance(1);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, child.client_token))).toMatch(/^unauthenticated/);
  });

  it("renews up to the maximum and says when it caps", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"], ttl: "1h", explicit_max_ttl: "2h" });
    h.clock.advance(3_000_000);
    const first = await h.ask("update", "auth/token/renew-self", {}, client_token);
    expect(first.auth?.lease_duration).toBe(3600);
    h.clock.advance(3_000_000);
    const second = await h.ask("update", "auth/token/renew-self", {}, client_token);
    expect(second.auth?.lease_duration).toBe(1200);
    expect(second.warnings?.join()).toMatch(/capped/);
    h.clock.advance(1_199_000);
    await h.ask("read", "secret/data/app/one", {}, client_token);
    h.clock.advance(1_000);
    expect(await refusal(h.ask("update", "auth/token/renew-self", {}, client_token))).toMatch(/unauthenticated/);
    expect(await refusal(h.ask("update", "auth/token/renew-self", {}, h.root))).toMatch(/not renewable/);
  });

  it("caps a TTL at the system's maximum with a warning", async () => {
    const h = await prepared();
    const answer = await h.ask("update", "auth/token/create", { policies: ["reader"], ttl: "9999h" });
    expect(answer.auth?.lease_duration).toBe(86_400);
    expect(answer.warnings?.join()).toMatch(/exceeded the effective max_ttl/);
    h.clock.advance(400_000);
    const renewed = await h.ask("update", "auth/token/renew", { token: answer.auth?.client_token, increment: "24h" });
    expect(renewed.auth?.lease_duration).toBe(86_000);
    expect(renewed.warnings?.join()).toContain('TTL of "86400s" exceeded the effective max_ttl of "86000s"');
  });

  it("counts uses, also when they come at once", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"], num_uses: 10 });
    const tries = await Promise.allSettled(
      Array.from({ length: 50 }, () => h.ask("read", "secret/data/app/one", {}, client_token)),
    );
    expect(tries.filter((one) => one.status === "fulfilled")).toHaveLength(10);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, client_token))).toMatch(/^unauthenticated/);
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(1);
  });

  it("shows what is left of its uses after the request that asks", async () => {
    const h = await prepared();
    const { client_token, accessor } = await made(h, { policies: ["reader"], num_uses: 3 });
    const own = async () => (await h.ask("read", "auth/token/lookup-self", {}, client_token)).data?.["num_uses"];
    const other = async () => (await h.ask("update", "auth/token/lookup-accessor", { accessor })).data?.["num_uses"];
    expect([await other(), await own(), await other(), await own(), await other()]).toEqual([3, 2, 2, 1, 1]);
    expect(await own()).toBe(0);
    expect(await refusal(own())).toMatch(/^unauthenticated/);
  });

  it("shows the TTL that it was made with, whatever a renewal gave", async () => {
    const h = await prepared();
    const { client_token, accessor } = await made(h, { policies: ["reader"], ttl: "10m" });
    const ttls = async () => {
      const { data } = await h.ask("update", "auth/token/lookup-accessor", { accessor });
      return [data?.["creation_ttl"], data?.["ttl"]];
    };
    expect(await ttls()).toEqual([600, 600]);
    for (const increment of [600, 300, 900]) {
      await h.ask("update", "auth/token/renew-self", { increment }, client_token);
      expect(await ttls()).toEqual([600, increment]);
    }
    // Of one that was renewed before that was kept, the last is what is known.
    const { core } = h.vault;
    const key = `token/id/${core?.tokens.idOf(client_token)}`;
    const found = await core?.root.getJson<TokenEntry>(key);
    if (!found) throw new Error("no token");
    const { creation_ttl: _none, ...older } = found.value;
    await core?.root.write([{ key, value: older }]);
    expect(await ttls()).toEqual([900, 900]);
    await h.ask("update", "auth/token/renew-self", { increment: 300 }, client_token);
    expect(await ttls()).toEqual([300, 300]);
  });

  it("lists accessors page by page, also after one whose token has ended since", async () => {
    const h = await prepared();
    for (let count = 0; count < 6; count++) await made(h, { policies: ["reader"] });
    const list = async (page: Record<string, unknown> = {}) =>
      (await h.ask("list", "auth/token/accessors/", page)).data?.["keys"] as readonly string[];
    const all = await list();
    expect(all).toHaveLength(7);
    expect(await list({ limit: 3 })).toEqual(all.slice(0, 3));
    expect(await list({ after: all[2], limit: "2" })).toEqual(all.slice(3, 5));
    expect(await list({ after: all[2] })).toEqual(all.slice(3));
    expect(await list({ after: all[6] })).toEqual([]);
    expect(await refusal(list({ after: "a" }))).toBe("invalid: after is no accessor");
    const own = (await h.ask("read", "auth/token/lookup-self")).data?.["accessor"];
    const [ended] = all.slice(2).filter((accessor) => accessor !== own);
    await h.ask("update", "auth/token/revoke-accessor", { accessor: ended });
    expect(await list({ after: ended })).toEqual(all.slice(all.indexOf(ended ?? "") + 1));
  });

  it("is refused once used up, everywhere, where a crash came before its end", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"], num_uses: 1 });
    const { core } = h.vault;
    expect(await core?.useOnce(core.tokens.idOf(client_token))).toBe(0);
    const after = await h.reopen();
    for (const path of ["secret/data/app/one", "sys/internal/ui/mounts"]) {
      expect(await refusal(after.ask("read", path, {}, client_token))).toMatch(/^unauthenticated/);
    }
  });

  it("binds tokens to address ranges", async () => {
    const h = await prepared();
    const far = await made(h, { policies: ["reader"], bound_cidrs: ["10.0.0.0/8"] });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, far.client_token))).toMatch(/^unauthenticated/);
    const near = await made(h, { policies: ["reader"], bound_cidrs: ["127.0.0.0/8"] });
    await h.ask("read", "secret/data/app/one", {}, near.client_token);
    expect(await refusal(h.ask("update", "auth/token/create", { bound_cidrs: ["300.0.0.0/8"] }))).toMatch(/^invalid/);
  });

  it("binds children within their parent's ranges, and orphans that it makes too", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create*" { capabilities = ["update", "sudo"] }',
    });
    const bound = { policies: ["reader", "maker"], bound_cidrs: ["127.0.0.0/16", "10.0.0.0/8"] };
    const parent = (await made(h, bound)).client_token;
    const own = async (data: Record<string, unknown>) =>
      (await h.ask("read", "auth/token/lookup-self", {}, (await made(h, data, parent)).client_token)).data;
    expect(await own({})).toMatchObject({ bound_cidrs: ["127.0.0.0/16", "10.0.0.0/8"], orphan: false });
    expect(await own({ no_parent: true })).toMatchObject({ bound_cidrs: ["127.0.0.0/16", "10.0.0.0/8"], orphan: true });
    expect(await own({ bound_cidrs: ["127.0.0.0/24"] })).toMatchObject({ bound_cidrs: ["127.0.0.0/24"] });
    for (const wider of ["0.0.0.0/0", "127.0.0.0/8", "::/0"]) {
      expect(await refusal(made(h, { bound_cidrs: [wider] }, parent))).toMatch(/within those of the parent/);
      expect(await refusal(made(h, { bound_cidrs: [wider], no_parent: true }, parent))).toMatch(/within those/);
    }
    const grandchild = await made(h, {}, (await made(h, { bound_cidrs: ["127.0.0.0/24"] }, parent)).client_token);
    const { data } = await h.ask("read", "auth/token/lookup-self", {}, grandchild.client_token);
    expect(data).toMatchObject({ bound_cidrs: ["127.0.0.0/24"] });
  });

  it("renews a periodic token as long as it is alive, up to its explicit maximum", async () => {
    const h = await prepared();
    const free = await made(h, { policies: ["reader"], period: "30m" });
    const capped = await made(h, { policies: ["reader"], period: "30m", explicit_max_ttl: "2h" });
    const fixed = await made(h, { policies: ["reader"], period: "30m", renewable: false });
    expect([free, capped, fixed].map((auth) => auth.lease_duration)).toEqual([1800, 1800, 1800]);
    const renew = (token: string) => h.ask("update", "auth/token/renew-self", { increment: "9h" }, token);
    expect(await refusal(renew(fixed.client_token))).toMatch(/not renewable/);
    const got: (number | undefined)[] = [];
    for (let times = 0; times < 5; times++) {
      h.clock.advance(1_500_000);
      await renew(free.client_token);
      got.push((await renew(capped.client_token).catch(() => ({ auth: undefined }))).auth?.lease_duration);
    }
    expect(got).toEqual([1800, 1800, 1800, 1200, undefined]);
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, capped.client_token))).toMatch(/^unauthenticated/);
    for (let times = 0; times < 100; times++) {
      h.clock.advance(1_500_000);
      expect((await renew(free.client_token)).auth?.lease_duration).toBe(1800);
    }
    h.clock.advance(1_800_000);
    expect(await refusal(renew(free.client_token))).toMatch(/^unauthenticated/);
  });

  it("renews for as long as it was made, where no increment is said, and as its mapping says now", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"], ttl: "10m" });
    h.clock.advance(60_000);
    expect((await h.ask("update", "auth/token/renew-self", {}, client_token)).auth?.lease_duration).toBe(600);
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    const user = (data: Record<string, unknown>) => h.ask("update", "auth/userpass/users/eve", data);
    await user({ password: "correct horse", token_ttl: "10m", token_max_ttl: "1h" });
    const login = await h.ask("update", "auth/userpass/login/eve", { password: "correct horse" }, null);
    const renew = async (increment: string) =>
      (await h.ask("update", "auth/token/renew-self", { increment }, login.auth?.client_token)).auth?.lease_duration;
    expect(await renew("2h")).toBe(3600);
    await user({ token_max_ttl: "20m" });
    expect(await renew("2h")).toBe(1200);
    await user({ token_max_ttl: "1h", token_explicit_max_ttl: "15m" });
    expect(await renew("2h")).toBe(900);
    await user({ token_explicit_max_ttl: 0, token_period: "5m" });
    expect(await renew("2h")).toBe(300);
  });

  it("looks up by token and accessor without telling the token", async () => {
    const h = await prepared();
    const { client_token, accessor } = await made(h, { policies: ["reader"], ttl: "1h", meta: { team: "x" } });
    const own = (await h.ask("read", "auth/token/lookup-self", {}, client_token)).data;
    expect(own).toMatchObject({
      id: client_token,
      policies: ["default", "reader"],
      ttl: 3600,
      orphan: false,
      meta: { team: "x" },
    });
    const other = (await h.ask("update", "auth/token/lookup-accessor", { accessor })).data;
    expect(other).toMatchObject({ id: "", accessor });
    expect(await refusal(h.ask("update", "auth/token/lookup", { token: "nothing" }))).toBe("denied: bad token");
    await h.ask("update", "auth/token/revoke-accessor", { accessor });
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, client_token))).toMatch(/^unauthenticated/);
    expect((await h.ask("list", "auth/token/accessors/")).data?.["keys"]).toHaveLength(1);
  });

  it("refuses what would make each entry of the audit long, and takes what is within its limits", async () => {
    const h = await prepared();
    const pairs = (count: number, key: number, value: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`.padEnd(key, "x"), "v".repeat(value)]));
    const most = pairs(64, 128, 512);
    const auth = await made(h, { policies: ["reader"], meta: most, display_name: "n".repeat(256) });
    expect(auth.metadata).toEqual(most);
    await h.ask("update", "auth/token/roles/app", { allowed_policies_glob: "*", allowed_entity_aliases: "*" });
    const held = (await h.ask("list", "auth/token/accessors")).data;
    for (const [data, text] of [
      [{ meta: pairs(65, 4, 1) }, "meta cannot contain more than 64 key/value pairs"],
      [{ meta: pairs(1, 129, 1) }, "meta: a key has 1 to 128 bytes"],
      [{ meta: pairs(1, 4, 513) }, "meta: a key has 1 to 128 bytes"],
      [{ meta: { "": "x" } }, "meta: a key has 1 to 128 bytes"],
      [{ display_name: "n".repeat(257) }, "display_name is longer than 256 characters"],
      [{ entity_alias: "n".repeat(257) }, "entity_alias is longer than 256 characters"],
      [{ policies: Array.from({ length: 4000 }, (_, at) => `policy-${at}`) }, "the names in policies are longer"],
    ] as const) {
      for (const path of ["create", "create-orphan", "create/app"]) {
        for (const type of ["service", "batch"]) {
          const asked = h.ask("update", `auth/token/${path}`, { policies: ["reader"], ttl: "1h", type, ...data });
          expect(await refusal(asked), `${path} ${text}`).toContain(`invalid: ${text}`);
        }
      }
    }
    expect((await h.ask("list", "auth/token/accessors")).data).toEqual(held);
  });

  it("have the accessors that they had, whatever names somebody put among them into storage", async () => {
    const h = await prepared();
    await made(h, { policies: ["reader"] });
    const held = (await h.ask("list", "auth/token/accessors")).data;
    for (const name of ["ab", "f".repeat(63), "F".repeat(64), `${"f".repeat(64)}0`]) {
      await h.storage.write([{ key: `token/id/${name}`, value: Buffer.from("forged"), version: 1, expect: "absent" }]);
    }
    await h.vault.seal();
    await h.unseal();
    expect((await h.ask("list", "auth/token/accessors")).data).toEqual(held);
    const { accessor, client_token } = await made(h, { policies: ["reader"] });
    const found = await h.ask("update", "auth/token/lookup-accessor", { accessor });
    expect(found.data).toMatchObject({ accessor, policies: ["default", "reader"] });
    await h.ask("update", "auth/token/revoke-accessor", { accessor });
    expect(await refusal(h.ask("read", "auth/token/lookup-self", {}, client_token))).toMatch(/^unauthenticated/);
  });

  it("survives a restart", async () => {
    const h = await prepared();
    const { client_token } = await made(h, { policies: ["reader"] });
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("read", "secret/data/app/one", {}, client_token)).data).toMatchObject({
      data: { password: "s3cret" },
    });
  });
});

describe("live tokens", () => {
  const users = (h: Awaited<ReturnType<typeof prepared>>, policies: string[]) =>
    h.target.apply(
      setOf(
        policies.join("") || "none",
        mountOf("AuthMethod", "userpass", "userpass"),
        declare("Policy", "one", { rules: [{ path: "secret/data/app/one", capabilities: ["read"] }] }),
        declare("Policy", "two", { rules: [{ path: "secret/data/app/two", capabilities: ["read"] }] }),
        ...(policies.length === 0 ? [] : [userOf("ada", policies)]),
      ),
      [],
    );

  it("narrows on the next request, widens at the next login, ends with the mapping", async () => {
    const h = await prepared();
    await h.ask("update", "secret/data/app/two", { data: { b: "2" } });
    await users(h, ["one"]);
    await h.ask("update", "auth/userpass/users/ada/password", { password: "correct horse" });
    const login = async () =>
      (await h.ask("update", "auth/userpass/login/ada", { password: "correct horse" }, null)).auth?.client_token ?? "";
    const first = await login();
    const may = async (token: string, path: string) => {
      try {
        await h.ask("read", path, {}, token);
        return true;
      } catch {
        return false;
      }
    };
    expect(await may(first, "secret/data/app/one")).toBe(true);
    await users(h, ["one", "two"]);
    expect(await may(first, "secret/data/app/two")).toBe(false);
    const second = await login();
    expect(await may(second, "secret/data/app/two")).toBe(true);
    await users(h, ["two"]);
    expect(await may(first, "secret/data/app/one")).toBe(false);
    expect(await may(second, "secret/data/app/one")).toBe(false);
    expect(await may(second, "secret/data/app/two")).toBe(true);
    await users(h, []);
    expect(await refusal(h.ask("read", "secret/data/app/two", {}, second))).toMatch(/^unauthenticated/);
    await h.vault.core?.tasks.run();
    expect(await h.vault.core?.root.list("token/id/")).toHaveLength(1);
    await users(h, ["two"]);
    expect(await refusal(h.ask("read", "secret/data/app/two", {}, second))).toMatch(/^unauthenticated/);
    expect(await refusal(h.ask("update", "auth/userpass/login/ada", { password: "correct horse" }, null))).toMatch(
      /^invalid/,
    );
  });

  it("narrows the addresses of a mapping for tokens that exist already", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await h.ask("update", "auth/userpass/users/eve", { password: "correct horse", token_policies: "reader" });
    const login = await h.ask("update", "auth/userpass/login/eve", { password: "correct horse" }, null);
    const token = login.auth?.client_token ?? "";
    await h.ask("read", "secret/data/app/one", {}, token);
    await h.ask("update", "auth/userpass/users/eve", { token_bound_cidrs: "10.0.0.0/8" });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, token))).toMatch(/^unauthenticated/);
    await h.ask("update", "auth/userpass/users/eve", { token_bound_cidrs: "127.0.0.0/8" });
    await h.ask("read", "secret/data/app/one", {}, token);
  });

  it("one person is one entity, whatever the case and the spaces", async () => {
    const h = await prepared();
    await users(h, ["one"]);
    await h.ask("update", "auth/userpass/users/ada/password", { password: "correct horse" });
    const ids = new Set<string>();
    for (const name of ["ada", "Ada", " ADA ", "aDa"]) {
      const { auth } = await h.ask("update", `auth/userpass/login/${name}`, { password: "correct horse" }, null);
      ids.add(auth?.entity_id ?? "none");
    }
    expect(ids.size).toBe(1);
    expect([...ids][0]).toMatch(/^[0-9a-f-]{36}$/);
    expect((await h.ask("list", "identity/entity/id/")).data?.["keys"]).toEqual([...ids]);
  });

  it("gives entity and group policies to a token that exists already, and takes them away", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/userpass", { type: "userpass" });
    await h.ask("update", "auth/userpass/users/bob", { password: "correct horse" });
    const token =
      (await h.ask("update", "auth/userpass/login/bob", { password: "correct horse" }, null)).auth?.client_token ?? "";
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, token))).toMatch(/^denied/);
    const mounts = (await h.ask("read", "sys/auth")).data as Record<string, { accessor: string }>;
    const bob = (await h.ask("update", "identity/entity/name/bob")).data?.["id"];
    const bound = { name: " BOB ", mount_accessor: mounts["userpass/"]?.accessor, canonical_id: bob };
    await h.ask("update", "identity/entity-alias", bound);
    const inner = (await h.ask("update", "identity/group/name/inner", { member_entity_ids: [bob] })).data?.["id"];
    await h.ask("update", "identity/group/name/outer", { member_group_ids: [inner], policies: ["reader"] });
    await h.ask("read", "secret/data/app/one", {}, token);
    await h.ask("update", "identity/group/name/inner", { member_entity_ids: [] });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, token))).toMatch(/^denied/);
    await h.ask("update", "identity/entity/name/bob", { policies: ["reader"] });
    await h.ask("read", "secret/data/app/one", {}, token);
    await h.ask("update", "identity/entity/name/bob", { disabled: true });
    expect(await refusal(h.ask("read", "secret/data/app/one", {}, token))).toMatch(/^unauthenticated/);
    expect(await refusal(h.ask("update", "auth/userpass/login/bob", { password: "correct horse" }, null))).toMatch(
      /^denied/,
    );
    expect(await refusal(h.ask("update", "identity/entity/name/bob", { policies: ["Root"] }))).toMatch(/^invalid/);
  });
});
