import { describe, expect, it } from "vitest";
import { type Harness, harness, refusal } from "./harness.ts";

const made = async (h: Harness, data: Record<string, unknown> = {}, token = h.root) => {
  const { auth } = await h.ask("update", "auth/token/create", { policies: ["default"], ...data }, token);
  if (!auth) throw new Error("no auth");
  return auth;
};

/** Keys that are left, decrypted names only. */
async function left(h: Harness, folder = "cubbyhole/"): Promise<readonly string[]> {
  return (await h.vault.core?.root.list(folder)) ?? [];
}

describe("a cubbyhole", () => {
  it("is read, written, listed and deleted by its token alone", async () => {
    const h = await harness();
    const [one, other] = [(await made(h)).client_token, (await made(h)).client_token];
    await h.ask("update", "cubbyhole/a/b", { password: "s3cret" }, one);
    await h.ask("update", "cubbyhole/a/b", { password: "again", n: 1 }, one);
    await h.ask("update", "cubbyhole/top", { x: "y" }, one);
    expect((await h.ask("read", "cubbyhole/a/b", {}, one)).data).toEqual({ password: "again", n: 1 });
    expect((await h.ask("list", "cubbyhole/", {}, one)).data).toEqual({ keys: ["a/", "top"] });
    expect((await h.ask("list", "cubbyhole/a/", {}, one)).data).toEqual({ keys: ["b"] });
    for (const token of [other, h.root]) {
      expect(await refusal(h.ask("read", "cubbyhole/a/b", {}, token))).toMatch(/^not_found/);
      expect(await refusal(h.ask("list", "cubbyhole/", {}, token))).toMatch(/^not_found/);
    }
    await h.ask("delete", "cubbyhole/a/b", {}, one);
    expect(await refusal(h.ask("read", "cubbyhole/a/b", {}, one))).toMatch(/^not_found/);
    expect(await refusal(h.ask("read", "cubbyhole/top/", {}, one))).toMatch(/^not_found/);
    expect(await refusal(h.ask("update", "cubbyhole/top", {}, one))).toMatch(/^invalid: missing data fields/);
    expect(await refusal(h.ask("update", `cubbyhole/${"x".repeat(901)}`, { a: "b" }, one))).toMatch(/^invalid/);
    expect(h.tape.lines.join("\n")).not.toContain("s3cret");
  });

  it("asks for create where nothing is there, and for update where something is", async () => {
    const h = await harness();
    await h.ask("update", "sys/policies/acl/once", { policy: 'path "cubbyhole/*" { capabilities = ["create"] }' });
    const { client_token } = await made(h, { policies: ["once"], no_default_policy: true });
    await h.ask("update", "cubbyhole/a", { n: 1 }, client_token);
    expect(await refusal(h.ask("update", "cubbyhole/a", { n: 2 }, client_token))).toMatch(/^denied/);
  });

  it("is not there for batch tokens", async () => {
    const h = await harness();
    const { client_token } = await made(h, { type: "batch", ttl: "1h" });
    for (const operation of ["read", "update", "list", "delete"] as const) {
      const path = operation === "list" ? "cubbyhole/" : "cubbyhole/a";
      expect(await refusal(h.ask(operation, path, { a: "b" }, client_token))).toMatch(/only supported by 'service'/);
    }
  });

  it.each([
    ["revoked", (h: Harness, token: string) => h.ask("update", "auth/token/revoke", { token })],
    ["revoked by itself", (h: Harness, token: string) => h.ask("update", "auth/token/revoke-self", {}, token)],
    ["revoked by prefix", (h: Harness) => h.ask("update", "sys/leases/revoke-prefix/auth/token/create")],
    ["expired", async (h: Harness) => h.clock.advance(3_700_000)],
  ])("is gone with a token that is %s", async (_how, end) => {
    const h = await harness();
    const { client_token } = await made(h, { ttl: "1h" });
    for (let n = 0; n < 300; n++) await h.ask("update", `cubbyhole/${n % 7}/${n}`, { n }, client_token);
    expect(await left(h)).toHaveLength(1);
    await end(h, client_token);
    await h.vault.tick();
    await h.vault.tick();
    expect(await left(h)).toEqual([]);
    expect(await left(h, "token/child/")).toEqual([]);
    expect(await left(h, "lease/due/")).toEqual([]);
  });

  it("is gone with a parent of many, with the last use, and after a crash", async () => {
    const h = await harness();
    await h.ask("update", "sys/policies/acl/maker", {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    });
    const parent = await made(h, { policies: ["maker", "default"] });
    for (let n = 0; n < 40; n++) {
      const child = await made(h, {}, parent.client_token);
      await h.ask("update", "cubbyhole/a", { n }, child.client_token);
    }
    await h.ask("update", "cubbyhole/own", { n: 1 }, parent.client_token);
    const few = await made(h, { num_uses: 1 });
    await h.ask("update", "cubbyhole/last", { n: 1 }, few.client_token);
    // The process ends as soon as the client has its answer.
    await h.ask("update", "auth/token/revoke", { token: parent.client_token });
    await h.vault.seal();
    const again = await h.reopen();
    for (let round = 0; round < 3; round++) {
      await again.vault.core?.tasks.run();
      await again.vault.tick();
    }
    expect(await left(again)).toEqual([]);
    expect(await left(again, "lease/due/")).toEqual([]);
  });

  it("cannot be moved, tuned or disabled, and is shown", async () => {
    const h = await harness();
    expect((await h.ask("read", "sys/mounts")).data).toMatchObject({ "cubbyhole/": { type: "cubbyhole" } });
    expect(await refusal(h.ask("delete", "sys/mounts/cubbyhole"))).toMatch(/^invalid: cannot unmount/);
    expect(await refusal(h.ask("update", "sys/mounts/cubbyhole", { type: "kv" }))).toMatch(/^invalid/);
    expect(await refusal(h.ask("update", "sys/mounts/cubbyhole/tune", { description: "x" }))).toMatch(/^invalid/);
  });
});
