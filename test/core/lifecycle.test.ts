import { describe, expect, it } from "vitest";
import { declare, harness, refusal } from "./harness.ts";

describe("the vault's life", () => {
  it("is initialised once", async () => {
    const h = await harness();
    expect(await refusal(h.vault.initialize({ shares: 1, threshold: 1 }))).toMatch(/already initialized/);
  });

  it("needs as many shares as it was told, one at a time", async () => {
    const h = await harness({ shares: 3, threshold: 2 });
    expect(h.vault.sealStatus()).toMatchObject({ initialized: true, sealed: true, t: 2, n: 3, progress: 0, nonce: "" });
    const give = (at: number, reset = false) =>
      h.vault.unseal(reset ? null : Uint8Array.from(h.shares[at] ?? []), { reset });
    const first = await give(2);
    expect(first).toMatchObject({ sealed: true, progress: 1 });
    expect(first.nonce).not.toBe("");
    expect(await give(0, true)).toMatchObject({ sealed: true, progress: 0, nonce: "" });
    await give(1);
    const given = Uint8Array.from(h.shares[2] ?? []);
    expect(await h.vault.unseal(given, { reset: false })).toMatchObject({ sealed: false, progress: 0 });
    expect(given.every((byte) => byte === 0)).toBe(true);
    const idle = Uint8Array.from(h.shares[0] ?? []);
    expect(await h.vault.unseal(idle, { reset: false })).toMatchObject({ sealed: false });
    expect(idle.every((byte) => byte === 0)).toBe(true);
    await h.ask("read", "sys/mounts");
  });

  it("forgets an attempt with a wrong share", async () => {
    const h = await harness({ shares: 3, threshold: 2 });
    await h.vault.unseal(Uint8Array.from(h.shares[0] ?? []), { reset: false });
    const wrong = Uint8Array.from(h.shares[1] ?? []).map((byte, at) => (at === 3 ? byte ^ 1 : byte));
    expect(await refusal(h.vault.unseal(wrong, { reset: false }))).toMatch(
      /^invalid: the shares do not open this vault/,
    );
    expect(h.vault.sealStatus()).toMatchObject({ sealed: true, progress: 0 });
  });

  it("seals: no request is served after the answer, and unseal brings everything back", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    await h.ask("update", "sys/seal");
    expect(h.vault.sealStatus().sealed).toBe(true);
    expect(h.vault.core).toBeNull();
    expect(await refusal(h.ask("read", "secret/data/x"))).toBe("sealed: Vault is sealed");
    await h.unseal();
    expect((await h.ask("read", "secret/data/x")).data).toMatchObject({ data: { a: "1" } });
  });

  it("writes nothing of an edit that a seal cut off, also where it is open again by then", async () => {
    const h = await harness();
    const write = (name: string) =>
      h.ask("update", `sys/policies/acl/${name}`, { policy: 'path "a" { capabilities = ["read"] }' });
    await write("before");
    const [begun, go] = [Promise.withResolvers<void>(), { now: false }];
    const cut = h.vault.core?.ledger.edit(function* () {
      begun.resolve();
      while (!go.now) yield;
      return { put: [declare("Policy", "cut", { rules: [{ path: "a", capabilities: ["read"] }] })], remove: [] };
    });
    const ended = expect(cut).rejects.toMatchObject({ code: "sealed" });
    await begun.promise;
    await h.vault.seal();
    await h.unseal();
    go.now = true;
    await ended;
    const { core } = h.vault;
    expect((await core?.root.getJson("generation/current"))?.value).toEqual(core?.generation.record);
    await write("after");
    await h.vault.seal();
    const again = await h.reopen();
    expect((await again.ask("list", "sys/policies/acl")).data?.["keys"]).toEqual([
      "after",
      "before",
      "default",
      "root",
    ]);
  });

  it("seals only for those with sudo", async () => {
    const h = await harness();
    await h.ask("update", "sys/policies/acl/p", { policy: 'path "sys/seal" { capabilities = ["update"] }' });
    const token = (await h.ask("update", "auth/token/create", { policies: ["p"] })).auth?.client_token ?? "";
    expect(await refusal(h.ask("update", "sys/seal", {}, token))).toMatch(/^denied/);
    expect(h.vault.sealStatus().sealed).toBe(false);
  });

  it("seals under load: every request ends whole or sealed, none after the answer", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    await h.ask("update", "secret/data/x", { data: { a: "1" } });
    let sealedAt = Number.POSITIVE_INFINITY;
    let count = 0;
    const one = async (n: number): Promise<void> => {
      try {
        const { data } =
          n % 2 === 0
            ? await h.ask("read", "secret/data/x")
            : await h.ask("update", `secret/data/y${n}`, { data: { n } });
        expect(data).toBeTruthy();
        expect(count).toBeLessThan(sealedAt);
      } catch (error) {
        expect(error).toMatchObject({ code: "sealed" });
      }
      count += 1;
    };
    const running = Array.from({ length: 200 }, (_, n) => one(n));
    await h.ask("update", "sys/seal");
    sealedAt = count;
    await Promise.all(running);
    expect(await refusal(h.ask("read", "secret/data/x"))).toMatch(/^sealed/);
  });

  it("seals even when no audit device keeps anything, and answers nothing else then", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    h.tape.fail = true;
    expect(await refusal(h.ask("read", "sys/mounts"))).toMatch(/^audit/);
    expect(await refusal(h.ask("update", "sys/mounts/other", { type: "kv" }))).toMatch(/^audit/);
    expect(h.vault.core?.generation.mounts.at("other")).toBeNull();
    await h.ask("update", "sys/seal");
    expect(h.vault.sealStatus().sealed).toBe(true);
  });

  it("audits each request with two lines that hold no secret", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    const before = h.tape.lines.length;
    await h.ask("update", "secret/data/x", { data: { password: "very-secret-value" } });
    await h.ask("read", "secret/data/x");
    await refusal(h.ask("read", "secret/data/x", {}, "hvs.nobody"));
    const lines = h.tape.lines.slice(before).map(
      (line) =>
        JSON.parse(line) as {
          type: string;
          request: { path: string; operation: string };
          error?: string;
          generation: string;
        },
    );
    expect(lines.map((line) => `${line.type} ${line.request.operation}`)).toEqual([
      "request create",
      "response create",
      "request read",
      "response read",
      "request read",
      "response read",
    ]);
    expect(lines[5]?.error).toMatch(/permission denied/);
    expect(lines[0]?.generation).toBe(h.vault.core?.generation.id);
    expect(h.tape.lines.join("\n")).not.toContain("very-secret-value");
    expect(h.tape.lines.join("\n")).not.toContain(h.root);
    expect(h.log.join("\n")).not.toContain(h.root);
  });

  it("shows mounts and capabilities to an ordinary token as Vault does", async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv-v2" });
    await h.ask("update", "sys/mounts/hidden", { type: "kv", options: { version: "2" } });
    await h.ask("update", "sys/policies/acl/p", {
      policy: 'path "secret/data/app/*" { capabilities = ["read", "list"] }',
    });
    const token = (await h.ask("update", "auth/token/create", { policies: ["p"] })).auth?.client_token ?? "";
    const mounts = (await h.ask("read", "sys/internal/ui/mounts", {}, token)).data as {
      secret: Record<string, unknown>;
    };
    expect(Object.keys(mounts.secret)).toContain("secret/");
    expect(Object.keys(mounts.secret)).not.toContain("hidden/");
    expect((await h.ask("read", "sys/internal/ui/mounts/secret/data/app", {}, token)).data).toMatchObject({
      path: "secret/",
      type: "kv",
      options: { version: "2" },
    });
    expect((await h.ask("read", "sys/internal/ui/mounts/auth/token/create")).data).toMatchObject({ path: "token/" });
    expect(await refusal(h.ask("read", "sys/internal/ui/mounts/hidden/x", {}, token))).toMatch(/^denied: preflight/);
    const can = await h.ask("update", "sys/capabilities-self", { paths: ["secret/data/app/x", "sys/seal"] }, token);
    expect(can.data).toMatchObject({ "secret/data/app/x": ["list", "read"], "sys/seal": ["deny"] });
    expect((await h.ask("update", "sys/capabilities-self", { path: "x" })).data).toMatchObject({
      capabilities: ["root"],
    });
    expect((await h.ask("read", "sys/mounts")).data).toMatchObject({
      "secret/": { type: "kv", options: { version: "2" } },
      "sys/": { type: "system" },
    });
    expect((await h.ask("read", "sys/mounts/secret/tune")).data).toMatchObject({
      default_lease_ttl: 3600,
      max_lease_ttl: 86_400,
    });
    await h.ask("delete", "sys/mounts/nothing-there");
  });
});
