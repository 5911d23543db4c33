import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, it } from "vitest";
import { envelopeOf } from "../../src/core/envelope.ts";
import type { Operation, Response } from "../../src/sdk/request.ts";
import { type Harness, harness, refusal } from "./harness.ts";

async function prepared(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "secret/data/app", { data: { password: "s3cret" } });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  await h.ask("update", "auth/userpass/users/ann", { password: "ann-password", token_policies: ["default"] });
  return h;
}

const wrapped = async (
  h: Harness,
  operation: Operation = "read",
  path = "secret/data/app",
  data: Record<string, unknown> = {},
  wrapTtl = 60,
  token: string | null = h.root,
) => {
  const response = await h.ask(operation, path, data, token, { wrapTtl, id: "the-request" });
  if (response.wrapInfo === undefined) throw new Error("not wrapped");
  expect(response.data ?? response.auth ?? response.raw).toBeUndefined();
  return response.wrapInfo;
};

const unwrap = (h: Harness, token: string, asker: string | null = h.root): Promise<Response> =>
  asker === token
    ? h.ask("update", "sys/wrapping/unwrap", {}, token)
    : h.ask("update", "sys/wrapping/unwrap", { token }, asker);

const gone = "invalid: wrapping token is not valid or does not exist";

const entries = async (h: Harness, folder: string): Promise<readonly string[]> =>
  (await h.vault.core?.root.list(folder)) ?? [];

describe("a wrapped answer", () => {
  it("is the envelope that the client would have got, once", async () => {
    const h = await prepared();
    const info = await wrapped(h);
    expect(info).toMatchObject({ ttl: 60, creation_path: "secret/data/app" });
    expect(info.wrapped_accessor).toBeUndefined();
    const { raw, data } = await unwrap(h, info.token);
    const inner = JSON.parse(raw ?? "") as Record<string, unknown>;
    expect(inner).toMatchObject({
      request_id: "the-request",
      wrap_info: null,
      auth: null,
      data: { data: { password: "s3cret" } },
    });
    expect(inner["data"]).toEqual(data);
    expect(await refusal(unwrap(h, info.token))).toBe(gone);
    expect(await refusal(unwrap(h, info.token, info.token))).toBe(gone);
    expect(await refusal(h.ask("update", "sys/wrapping/lookup", { token: info.token }, null))).toBe(gone);
    await h.vault.tick();
    expect(await entries(h, "cubbyhole/")).toEqual([]);
    expect(await entries(h, "token/id/")).toHaveLength(1);
  });

  it("is told in Vault's form", async () => {
    const h = await prepared();
    const text = envelopeOf("x", await h.ask("read", "secret/data/app", {}, h.root, { wrapTtl: 90 })) ?? "";
    const info: unknown = expect.objectContaining({ ttl: 90, creation_time: "2026-01-01T00:00:00.000000000Z" });
    expect(JSON.parse(text)).toEqual({
      request_id: "",
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data: null,
      wrap_info: info,
      warnings: null,
      auth: null,
      mount_type: "",
    });
  });

  it("opens with its own token as the caller's, and that token can do nothing else", async () => {
    const h = await prepared();
    const { token } = await wrapped(h);
    const { raw } = await unwrap(h, token, token);
    expect(raw).toContain("s3cret");
    expect(await refusal(unwrap(h, token, token))).toBe(gone);
    for (const [operation, path] of [
      ["read", "auth/token/lookup-self"],
      ["update", "auth/token/create"],
      ["update", "auth/token/renew-self"],
      ["update", "sys/wrapping/rewrap"],
      ["update", "cubbyhole/response"],
      ["read", "cubbyhole/other"],
      ["read", "secret/data/app"],
    ] as const) {
      const other = (await wrapped(h)).token;
      expect(await refusal(h.ask(operation, path, {}, other)), path).toMatch(/^denied/);
      // Tried and used up.
      expect(await refusal(unwrap(h, other))).toBe(gone);
    }
  });

  it.each(["body", "own", "both"])("goes to one of many who ask at once, by %s token", async (how) => {
    const h = await prepared();
    for (let round = 0; round < 10; round++) {
      const { token } = await wrapped(h);
      const asked = Array.from({ length: 6 }, (_, n) =>
        unwrap(h, token, how === "own" || (how === "both" && n % 2 === 0) ? token : h.root).then(
          ({ raw }) => raw,
          () => null,
        ),
      );
      expect((await Promise.all(asked)).filter((raw) => raw?.includes("s3cret"))).toHaveLength(1);
    }
  });

  it("is refused for tokens that wrap nothing", async () => {
    const h = await prepared();
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["default"] });
    const plain = auth?.client_token ?? "";
    for (const path of ["unwrap", "lookup", "rewrap"]) {
      for (const [data, token] of [
        [{ token: plain }, h.root],
        [{ token: "hvs.nothing" }, h.root],
        [{ token: h.root }, h.root],
        [{}, plain],
        [{}, null],
      ] as const) {
        expect(await refusal(h.ask("update", `sys/wrapping/${path}`, data, token))).toBe(gone);
      }
    }
    expect((await h.ask("read", "auth/token/lookup-self", {}, plain)).data).toBeTruthy();
    expect(await refusal(h.ask("update", "auth/token/create", { policies: ["response-wrapping"] }))).toBe(
      'invalid: cannot assign policy "response-wrapping"',
    );
  });

  it("ends with its time, and takes nothing with it", async () => {
    const h = await prepared();
    const info = await wrapped(h, "update", "auth/userpass/login/ann", { password: "ann-password" }, 60, null);
    const [, login] = h.tape.lines.slice(-2);
    expect(login).not.toContain('"auth":{"client_token"');
    h.clock.advance(60_000);
    expect(await refusal(unwrap(h, info.token))).toBe(gone);
    await h.vault.tick();
    await h.vault.tick();
    expect(await entries(h, "cubbyhole/")).toEqual([]);
    // As in Vault the login lives on.
    const found = await h.ask("update", "auth/token/lookup-accessor", { accessor: info.wrapped_accessor });
    expect(found.data).toMatchObject({ display_name: "userpass-ann" });
  });

  it("lasts no longer than the longest lease, and survives a restart", async () => {
    const h = await prepared();
    const info = await wrapped(h, "read", "secret/data/app", {}, 10_000_000);
    expect(info.ttl).toBe(86_400);
    await h.vault.seal();
    const again = await h.reopen();
    expect((await unwrap(again, info.token)).raw).toContain("s3cret");
  });

  it("is looked up without a token, and tells nothing of what is inside", async () => {
    const h = await prepared();
    const info = await wrapped(h);
    const expected = {
      creation_path: "secret/data/app",
      creation_time: "2026-01-01T00:00:00.000000000Z",
      creation_ttl: 60,
    };
    expect((await h.ask("update", "sys/wrapping/lookup", { token: info.token }, null)).data).toEqual(expected);
    expect((await h.ask("read", "sys/wrapping/lookup", {}, info.token)).data).toEqual(expected);
    expect((await unwrap(h, info.token)).raw).toContain("s3cret");
  });

  it("moves to a new token with the old one's content, path and time", async () => {
    const h = await prepared();
    const first = await wrapped(h);
    h.clock.advance(10_000);
    const { wrapInfo: second } = await h.ask("update", "sys/wrapping/rewrap", { token: first.token });
    expect(second).toMatchObject({ ttl: 60, creation_path: "secret/data/app" });
    expect(second?.token).not.toBe(first.token);
    expect(await refusal(unwrap(h, first.token))).toBe(gone);
    const { wrapInfo: third } = await h.ask("update", "sys/wrapping/rewrap", { token: second?.token }, h.root, {
      wrapTtl: 20,
    });
    expect(third).toMatchObject({ ttl: 20 });
    expect((await unwrap(h, third?.token ?? "")).raw).toContain("s3cret");
    const { token } = await wrapped(h);
    const tries = Array.from({ length: 5 }, () =>
      h.ask("update", "sys/wrapping/rewrap", { token }).then(
        ({ wrapInfo }) => wrapInfo?.token,
        () => undefined,
      ),
    );
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
    expect(await entries(h, "token/id/")).toHaveLength(2);
  });

  it("wraps what a client gives, and only where it is asked to", async () => {
    const h = await prepared();
    expect(await refusal(h.ask("update", "sys/wrapping/wrap", { a: "b" }))).toMatch(
      /^invalid: endpoint requires response wrapping to be used/,
    );
    const { token } = await wrapped(h, "update", "sys/wrapping/wrap", { a: "b", n: [1] });
    expect(JSON.parse((await unwrap(h, token)).raw ?? "")).toMatchObject({ data: { a: "b", n: [1] } });
    const { wrapInfo, data } = await h.ask("read", "secret/data/app", {}, h.root, { wrapTtl: 0 });
    expect(wrapInfo).toBeUndefined();
    expect(data).toBeTruthy();
  });

  it("is not made of errors, of empty answers or of what cannot be kept", async () => {
    const h = await prepared();
    expect(await refusal(h.ask("read", "secret/data/none", {}, h.root, { wrapTtl: 60 }))).toMatch(/^not_found/);
    expect((await h.ask("delete", "secret/data/app", {}, h.root, { wrapTtl: 60 })).wrapInfo).toBeUndefined();
    expect(await entries(h, "token/id/")).toHaveLength(1);
    const share = new Uint8Array(33);
    expect(await refusal(h.ask("update", "sys/rekey/update", {}, h.root, { wrapTtl: 60, share }))).toMatch(
      /cannot be wrapped/,
    );
    for (const [operation, path, data] of [
      ["read", "sys/metrics", { format: "prometheus" }],
      // Read back, it would spoil what others' JSON says.
      ["update", "sys/capabilities-self", { paths: ["\\"] }],
      ["update", "sys/wrapping/wrap", { a: [{ "\\": "b" }] }],
      ["update", "sys/storage/backup", { recipients: [await identityToRecipient(await generateX25519Identity())] }],
    ] as const) {
      expect(await refusal(h.ask(operation, path, data, h.root, { wrapTtl: 60 })), path).toMatch(/cannot be wrapped/);
    }
    const long = `secret/metadata/${"x".repeat(900)}`;
    expect(await refusal(h.ask("read", long, {}, h.root, { wrapTtl: 60 }))).toMatch(/^invalid/);
  });

  it("gives the accessor of what is inside", async () => {
    const h = await prepared();
    await h.ask("update", "sys/auth/approle", { type: "approle" });
    await h.ask("update", "auth/approle/role/app", { token_policies: ["default"] });
    const secret = await wrapped(h, "update", "auth/approle/role/app/secret-id");
    const { data } = await unwrap(h, secret.token);
    expect(secret.wrapped_accessor).toBe(data?.["secret_id_accessor"]);
    const made = await wrapped(h, "update", "auth/token/create", { policies: ["default"] });
    const { raw } = await unwrap(h, made.token);
    const { auth } = JSON.parse(raw ?? "") as { auth: { accessor: string; client_token: string } };
    expect(made.wrapped_accessor).toBe(auth.accessor);
    expect((await h.ask("read", "auth/token/lookup-self", {}, auth.client_token)).data).toBeTruthy();
  });

  it("stands in the audit as HMACs, and what is inside does not", async () => {
    const h = await prepared();
    h.tape.lines.length = 0;
    const info = await wrapped(h, "update", "auth/userpass/login/ann", { password: "ann-password" }, 60, null);
    const { raw } = await unwrap(h, info.token);
    const { auth } = JSON.parse(raw ?? "") as { auth: { accessor: string; client_token: string } };
    const text = h.tape.lines.join("\n");
    for (const secret of [info.token, info.accessor, auth.client_token, auth.accessor, "ann-password"]) {
      expect(text).not.toContain(secret);
    }
    const hash = (value: string): string => h.vault.core?.broker.hash(value) ?? "";
    const lines = h.tape.lines.map(
      (line) => JSON.parse(line) as { request: { wrap_ttl?: number }; response?: { wrap_info?: object } },
    );
    expect(lines[0]?.request.wrap_ttl).toBe(60);
    expect(lines[1]?.response?.wrap_info).toEqual({
      token: hash(info.token),
      accessor: hash(info.accessor),
      wrapped_accessor: hash(auth.accessor),
      ttl: 60,
      creation_time: info.creation_time,
      creation_path: "auth/userpass/login/ann",
    });
    // Who opened it, and what came out, can be asked.
    expect(text).toContain(hash(auth.client_token));
  });

  it("is all that a policy lets a token ask for, where it says so", async () => {
    const h = await prepared();
    await h.ask("update", "sys/policies/acl/carry", {
      policy: 'path "secret/data/*" { capabilities = ["read"] min_wrapping_ttl = 30 max_wrapping_ttl = 90 }',
    });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["carry"] });
    const token = auth?.client_token ?? "";
    expect(await refusal(h.ask("read", "secret/data/app", {}, token))).toMatch(/^denied/);
    for (const wrapTtl of [0, 29, 91]) {
      expect(await refusal(h.ask("read", "secret/data/app", {}, token, { wrapTtl }))).toMatch(/^denied/);
    }
    const info = await wrapped(h, "read", "secret/data/app", {}, 30, token);
    expect((await unwrap(h, info.token)).raw).toContain("s3cret");
  });

  it("leaves nothing behind where its audit entry is not kept", async () => {
    const h = await prepared();
    h.tape.fail = true;
    expect(
      await refusal(h.ask("update", "auth/token/create", { policies: ["default"] }, h.root, { wrapTtl: 60 })),
    ).toMatch(/^audit/);
    expect(await refusal(h.ask("read", "secret/data/app", {}, h.root, { wrapTtl: 60 }))).toMatch(/^audit/);
    h.tape.fail = false;
    await h.vault.tick();
    expect(await entries(h, "token/id/")).toHaveLength(1);
    expect(await entries(h, "cubbyhole/")).toEqual([]);
  });
});
