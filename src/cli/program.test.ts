import { createServer, type IncomingMessage, type Server } from "node:http";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Io } from "./io.ts";
import { run } from "./program.ts";

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
  readonly body: unknown;
  /** Where one is given. */
  readonly namespace?: string;
}
type Reply = {
  readonly status: number;
  readonly body?: unknown;
  readonly location?: string;
  readonly retryAfter?: string;
};

let server: Server;
let seen: Seen[] = [];
let replies: Record<string, Reply> = {};
let address = "";
let home = "";

async function answer(request: IncomingMessage): Promise<Reply> {
  const sent = await text(request);
  const path = request.url ?? "";
  seen.push({
    method: request.method ?? "",
    path,
    token: request.headers["x-vault-token"] as string | undefined,
    body: sent === "" ? null : (JSON.parse(sent) as unknown),
    ...(request.headers["x-vault-namespace"] && { namespace: String(request.headers["x-vault-namespace"]) }),
  });
  return (
    replies[path.replace("/v1/", "")] ??
    replies[path.slice(4).replace("?list=true", "")] ?? { status: 404, body: { errors: [] } }
  );
}

beforeEach(async () => {
  seen = [];
  replies = { "sys/seal-status": { status: 200, body: unsealed } };
  server = createServer((request, response) => {
    answer(request).then(
      ({ status, body, location, retryAfter }) =>
        response
          .writeHead(status, { ...(location && { location }), ...(retryAfter && { "retry-after": retryAfter }) })
          .end(body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body)),
      () => response.destroy(),
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  address = typeof bound === "object" && bound !== null ? `http://127.0.0.1:${bound.port}` : "";
  home = await mkdtemp(join(tmpdir(), "writ-home-"));
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(home, { recursive: true, force: true });
});

const unsealed = { initialized: true, sealed: false, progress: 0, t: 3, version: "2.0.0", storage_type: "sqlite" };
const commit = "1a".repeat(20);
const git = {
  remote: "https://git.example.com/policies",
  branch: "main",
  state: "applied",
  in_sync: true,
  remote_commit: { commit, author: "Ada", time: "2026-01-01T00:00:00Z", subject: "First" },
  applied_commit: {
    commit,
    author: "Ada",
    time: "2026-01-01T00:00:00Z",
    subject: "First\u001b[2J",
    since: "2026-01-02",
  },
  last_error: null,
  held: null,
  pending: [],
  document_count: 7,
};

async function command(
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly secret?: string } = {},
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const lines = { out: "", err: "" };
  const io: Io = {
    out: (line) => (lines.out += `${line}\n`),
    err: (line) => (lines.err += `${line}\n`),
    env: { VAULT_ADDR: address, HOME: home, ...options.env },
    secret: () => Promise.resolve(Buffer.from(options.secret ?? "")),
    input: () => Promise.resolve(""),
    progress: () => {},
    raw: (text) => (lines.out += text),
  };
  return { code: await run(args, io), ...lines };
}

describe("status", () => {
  test("shows where vault and Git stand; what servers send cannot drive the terminal", async () => {
    replies["sys/gitops/status"] = { status: 200, body: { data: git } };
    const { code, out } = await command(["status"], { env: { VAULT_TOKEN: "t" } });
    expect(code).toBe(0);
    expect(out).toContain("Applied     1a1a1a1a1a1a since 2026-01-02, by Ada: First?[2J");
    expect(out).toContain("State       in sync");
  });

  test("exits 2 where the vault is sealed or not initialised, and says what to do", async () => {
    replies["sys/seal-status"] = { status: 200, body: { ...unsealed, sealed: true, progress: 1 } };
    expect(await command(["status"])).toMatchObject({
      code: 2,
      out: expect.stringContaining("sealed, 1 of 3 shares given: writ operator unseal"),
    });
    replies["sys/seal-status"] = { status: 200, body: { ...unsealed, sealed: true, recovery_seal: true } };
    expect((await command(["status"])).out).toContain("sealed, 0 of 3 recovery shares given: restart it, see its log");
    replies["sys/seal-status"] = { status: 200, body: { ...unsealed, sealed: true, initialized: false } };
    expect(await command(["status"])).toMatchObject({ code: 2, out: expect.stringContaining("writ operator init") });
  });

  test("shows faults at their places, holds with the way out, and pending work", async () => {
    const problems = [{ file: "a.yaml", line: 3, column: 5, message: "unknown field", excerpt: "  pth: ••••" }];
    const last = { message: "the commit is not valid", commit, time: "t", problems };
    const held = {
      commit,
      for: "deletions",
      reasons: ["deletes 12 documents"],
      allow: `writ sync --allow-deletions ${commit}`,
    };
    const pending = [{ task: "seed UserpassUser alice", since: "t", error: "no such secret" }];
    const body = { data: { ...git, in_sync: false, state: "held", last_error: last, held, pending } };
    replies["sys/gitops/status"] = { status: 200, body };
    const { out } = await command(["status"], { env: { VAULT_TOKEN: "t" } });
    expect(out).toContain("a.yaml:3:5: unknown field\n      pth: ••••");
    expect(out).toContain(`to allow it: writ sync --allow-deletions ${commit}`);
    expect(out).toContain("Pending     seed UserpassUser alice, since t: no such secret");
  });

  test("shows each audit device: how far it is, its alarms, and the key that verifies it", async () => {
    const facts = {
      alarm: "the remote has foreign commits\u0007",
      error: "null",
      lag: "3",
      publicKey: "ssh-ed25519 AAAA",
    };
    replies["sys/audit"] = {
      status: 200,
      body: {
        data: {
          "log/": { type: "file", options: { head: "12", state: "behind", required: "false" } },
          "git/": { type: "git", options: { head: "12", state: "ok", required: "true", ...facts } },
        },
      },
    };
    const { code, out } = await command(["status"], { env: { VAULT_TOKEN: "t" } });
    expect(code).toBe(0);
    expect(out).toContain("Audit       log (file): behind, 12 lines\n");
    expect(out).toContain(
      "Audit       git (git, required): ok, 12 lines, 3 not committed yet\n" +
        "  ALARM: the remote has foreign commits?\n" +
        "  signs as ssh-ed25519 AAAA\n",
    );
    expect(out).not.toContain("failed");
    replies["sys/audit"] = { status: 403, body: { errors: [] } };
    expect((await command(["status"], { env: { VAULT_TOKEN: "t" } })).out).toContain("may not read sys/audit");
  });

  test.each([
    [403, "may not read sys/gitops/status"],
    [404, "not configured"],
  ])("a %i for the Git part is no failure", async (status, words) => {
    replies["sys/gitops/status"] = { status, body: { errors: [] } };
    expect(await command(["status"], { env: { VAULT_TOKEN: "t" } })).toMatchObject({
      code: 0,
      out: expect.stringContaining(words),
    });
  });
});

describe("sync", () => {
  test("sends the commit whose deletions are allowed; the result decides the exit code", async () => {
    replies["sys/gitops/sync"] = { status: 200, body: { data: git } };
    expect((await command(["sync", "--allow-deletions", commit], { env: { VAULT_TOKEN: "t" } })).code).toBe(0);
    expect(seen).toEqual([
      { method: "POST", path: "/v1/sys/gitops/sync", token: "t", body: { allow_deletions: commit } },
    ]);
    replies["sys/gitops/sync"] = { status: 200, body: { data: { ...git, in_sync: false, state: "invalid" } } };
    expect((await command(["sync"], { env: { VAULT_TOKEN: "t" } })).code).toBe(1);
  });

  test("an abbreviated commit is refused before anything is sent", async () => {
    expect(await command(["sync", "--allow-deletions", "1a1a"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("whole commit id"),
    });
    expect(seen).toEqual([]);
  });
});

describe("operator", () => {
  test("unseal takes the share from its input, and says how many more are needed", async () => {
    replies["sys/unseal"] = { status: 200, body: { ...unsealed, sealed: true, progress: 1 } };
    expect(await command(["operator", "unseal"], { secret: "c2hhcmU=" })).toMatchObject({
      code: 0,
      out: "Sealed: 1 of 3 shares given\n",
    });
    expect(seen.map(({ body }) => body)).toEqual([{ key: "c2hhcmU=" }]);
    replies["sys/unseal"] = { status: 200, body: unsealed };
    expect(await command(["operator", "unseal"], { secret: "c2hhcmU=" })).toMatchObject({ code: 0, out: "Unsealed\n" });
  });

  test("a share as an argument is refused", async () => {
    expect((await command(["operator", "unseal", "c2hhcmU="])).code).toBe(1);
    expect((await command(["operator", "unseal"])).err).toContain("no unseal key was given");
    expect(seen).toEqual([]);
  });

  test("as JSON: what Vault's command prints of an init, and the answer of an unseal", async () => {
    replies["sys/init"] = { status: 200, body: { keys: ["6f"], keys_base64: ["b25l"], root_token: "hvs.root" } };
    const made = await command(["operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json"]);
    expect(JSON.parse(made.out)).toEqual({
      unseal_keys_b64: ["b25l"],
      unseal_keys_hex: ["6f"],
      unseal_shares: 1,
      unseal_threshold: 1,
      recovery_keys_b64: [],
      recovery_keys_hex: [],
      recovery_keys_shares: 0,
      recovery_keys_threshold: 0,
      root_token: "hvs.root",
    });
    replies["sys/unseal"] = { status: 200, body: { ...unsealed, sealed: true, progress: 1 } };
    const given = await command(["operator", "unseal", "-format=json", "-"], { secret: "c2hhcmU=" });
    expect(JSON.parse(given.out)).toMatchObject({ sealed: true, progress: 1, t: 3 });
    replies["sys/init"] = { status: 200, body: { initialized: false } };
    expect(await command(["operator", "init", "-status"])).toMatchObject({ code: 2 });
  });

  test("init prints each share and the root token once", async () => {
    replies["sys/init"] = { status: 200, body: { keys_base64: ["b25l", "dHdv"], root_token: "hvs.root" } };
    const { code, out } = await command(["operator", "init", "--key-shares", "2", "--key-threshold", "2"]);
    expect(code).toBe(0);
    expect(out).toBe("Unseal Key 1: b25l\nUnseal Key 2: dHdv\nInitial Root Token: hvs.root\n");
    expect(seen.flatMap(({ body }) => body ?? [])).toEqual([{ secret_shares: 2, secret_threshold: 2 }]);
    expect((await command(["operator", "init", "--key-shares", "256"])).code).toBe(1);
  });
});

test("tokens by the hash of their accessor: each is asked for until it is found; what is not there is said, with 2", async () => {
  replies["auth/token/accessors?list=true"] = { status: 200, body: { data: { keys: ["first", "second"] } } };
  replies["sys/audit"] = { status: 200, body: { data: { "file/": { type: "file", options: {} } } } };
  replies["sys/audit-hash/file"] = { status: 200, body: { data: { hash: "hmac-sha256:1" } } };
  replies["auth/token/revoke-accessor"] = { status: 204 };
  const revoked = await command(["token", "revoke", "--hash", "hmac-sha256:1", "hmac-sha256:2"]);
  expect(revoked.code).toBe(2);
  expect(revoked.out).toMatch(/^hmac-sha256:1: revoked\nhmac-sha256:2: no token that there is/);
  expect(seen.filter(({ path }) => path.endsWith("revoke-accessor"))).toHaveLength(1);
  expect(await command(["token", "lookup", "--hash", "hmac-sha256:2"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("it ended, or it is a batch token"),
  });
  expect(await command(["token", "renew", "--hash", "a", "b"])).toMatchObject({ code: 1 });
});

test("a token is the caller's own, one that is typed, or that of an accessor; revoke takes the caller's own by name only", async () => {
  const env = { VAULT_TOKEN: "own" };
  for (const words of [
    ["lookup"],
    ["renew"],
    ["lookup", "-"],
    ["renew", "-"],
    ["revoke"],
    ["revoke", "-"],
    ["revoke", "--self"],
  ])
    await command(["token", ...words], { env, secret: "typed" });
  expect(seen.map(({ path, body }) => [path.replace("/v1/auth/token/", ""), body])).toEqual([
    ["lookup-self", null],
    ["renew-self", {}],
    ["lookup", { token: "typed" }],
    ["renew", { token: "typed" }],
    ["revoke", { token: "typed" }],
    ["revoke", { token: "typed" }],
    ["revoke-self", {}],
  ]);
});

test("a format that there is not is told before anything is asked that answers once", async () => {
  for (const words of [["init"], ["unseal"], ["rekey"], ["generate-root", "--init"]]) {
    const { code, err } = await command(["operator", ...words], { env: { VAULT_FORMAT: "yaml" }, secret: "share" });
    expect([code, err]).toEqual([
      1,
      expect.stringContaining('(--format, or VAULT_FORMAT) is table or json, not "yaml"'),
    ]);
  }
  expect(seen).toEqual([]);
});

test("what is no number is refused, and nothing is written without it", async () => {
  for (const words of [
    ["kv", "put", "--cas", "one", "a/b", "c=d"],
    ["kv", "metadata", "put", "--max-versions=x", "a/b"],
    ["token", "create", "--use-limit", "1e"],
  ])
    expect(await command(words)).toMatchObject({ code: 1, err: expect.stringContaining("must be a whole number") });
  expect(seen).toEqual([]);
});

test("every key is one of the secret's, whatever it is to JavaScript", async () => {
  replies["sys/internal/ui/mounts/a/b"] = { status: 200, body: { data: { path: "a/", options: { version: "1" } } } };
  replies["a/b"] = { status: 204 };
  expect((await command(["kv", "put", "a/b", "constructor=x", "__proto__=y", "toString=z"])).code).toBe(0);
  const sent = seen.at(-1)?.body;
  expect(Object.entries(sent as object)).toEqual([
    ["constructor", "x"],
    ["__proto__", "y"],
    ["toString", "z"],
  ]);
});

test("audit hash asks for the value exactly as it is given", async () => {
  replies["sys/audit-hash/file"] = { status: 200, body: { data: { hash: "hmac-sha256:1" } } };
  expect(await command(["audit", "hash", "file"], { secret: " é " })).toMatchObject({
    code: 0,
    out: "hmac-sha256:1\n",
  });
  expect(seen.map(({ body }) => body)).toEqual([{ input: " é " }]);
});

describe("the client", () => {
  test("takes the token from VAULT_TOKEN, then from ~/.vault-token", async () => {
    replies["sys/seal"] = { status: 204 };
    await writeFile(join(home, ".vault-token"), "from-file\n");
    await command(["operator", "seal"]);
    await command(["operator", "seal"], { env: { VAULT_TOKEN: "from-env" } });
    // A seal counts first.
    expect(seen.map(({ token }) => token)).toEqual(["from-file", "from-file", "from-env", "from-env"]);
  });

  test.each([
    [403, "permission denied", { VAULT_TOKEN: "t-secret" }, /403 permission denied; the token is not valid/],
    [403, "permission denied", {}, /no token is given: writ login, or set VAULT_TOKEN/],
    [503, "Vault is sealed", { VAULT_TOKEN: "t-secret" }, /2 of 3 shares are missing: writ operator unseal/],
  ] as const)("%i says what to do next, and no token", async (status, message, env, words) => {
    replies["sys/seal"] = { status, body: { errors: [message] } };
    replies["sys/seal-status"] = { status: 200, body: { ...unsealed, sealed: true, progress: 1 } };
    const { code, err } = await command(["operator", "seal"], { env });
    expect(code).toBe(2);
    expect(err).toMatch(words);
    expect(err).not.toContain("t-secret");
  });

  test.each([
    ["invalid token", 403, ["permission denied", "invalid token"], /not valid, or not any more: writ login/],
    ["what is missing", 403, ["permission denied", 'lacks the capability "update"'], /lacks the capability "update"$/m],
    ["too many", 429, ["request path: rate limit quota exceeded"], /try again in 7 s/],
    ["another 503", 503, ["no audit device kept it"], /it is unsealed, and cannot answer now/],
  ])("a refusal is told apart: %s", async (_name, status, errors, words) => {
    replies["sys/seal"] = { status, body: { errors }, retryAfter: "7" };
    const { code, err } = await command(["operator", "seal"], { env: { VAULT_TOKEN: "t" } });
    expect([code, err]).toEqual([2, expect.stringMatching(words)]);
    expect(err).not.toContain("shares are missing");
  });

  test("a path of KV version 2 that has no data/ in it says so, for each verb", async () => {
    const mount = { path: "secret/", options: { version: "2" } };
    replies["sys/internal/ui/mounts/secret/app"] = { status: 200, body: { data: mount } };
    const words = { read: [], write: ["a=b"], delete: [], list: [] } as const;
    for (const [verb, more] of Object.entries(words)) {
      const { code, err } = await command([verb, "secret/app", ...more], { env: { VAULT_TOKEN: "t" } });
      const where = verb === "list" ? "secret/metadata/app" : "secret/data/app";
      expect([code, err]).toEqual([2, expect.stringContaining(`is KV version 2: use writ kv, or ${where}`)]);
    }
    replies["sys/internal/ui/mounts/secret/data/app"] = { status: 200, body: { data: mount } };
    expect((await command(["read", "secret/data/app"])).err).toBe("writ: there is nothing at secret/data/app\n");
    expect((await command(["read", "nowhere"])).err).toBe("writ: there is nothing at nowhere\n");
  });

  test("an engine that is not there, or not for this token", async () => {
    const errors = ["preflight capability check returned 403, please ensure client's policies grant access"];
    replies["sys/internal/ui/mounts/nope/a"] = { status: 403, body: { errors } };
    const { err } = await command(["kv", "get", "nope/a"], { env: { VAULT_TOKEN: "t" } });
    expect(err).toMatch(/no engine is there, or the token may do nothing in it/);
    expect(err).not.toContain("writ login");
  });

  test("a namespace goes with every request", async () => {
    await command(["read", "a/b"], { env: { VAULT_NAMESPACE: "team" } });
    await command(["read", "a/b", "-namespace=other"], { env: { VAULT_NAMESPACE: "team" } });
    expect(new Set(seen.map(({ namespace }) => namespace))).toEqual(new Set(["team", "other"]));
    expect(seen.every(({ namespace }) => namespace !== undefined)).toBe(true);
  });

  test("Vault's options stand in place of the variables, in front of or behind the command", async () => {
    const nowhere = { env: { VAULT_ADDR: "http://127.0.0.1:1" } };
    for (const words of [
      ["-address", address, "status"],
      ["status", `-address=${address}`],
    ])
      expect((await command(words, nowhere)).code).toBe(0);
    expect((await command(["status"], nowhere)).err).toContain("nothing listens there");
  });

  test("what is no token in the token file is none, and hinders no login", async () => {
    await writeFile(join(home, ".vault-token"), "two words\n");
    replies["auth/token/lookup-self"] = { status: 200, body: { data: { policies: ["default"] } } };
    expect(await command(["login"], { secret: "fresh" })).toMatchObject({ code: 0 });
    expect(await readFile(join(home, ".vault-token"), "utf8")).toBe("fresh");
    expect((await command(["kv", "get", "a/b"], { env: { VAULT_TOKEN: "two words" } })).err).toContain("one word");
  });

  test("a redirect is not followed", async () => {
    replies["sys/seal"] = { status: 307, location: "http://127.0.0.1:1/" };
    expect((await command(["operator", "seal"], { env: { VAULT_TOKEN: "t" } })).err).toContain("redirect");
    expect(seen.map(({ path }) => path)).toEqual(["/v1/sys/leases/outside", "/v1/sys/seal"]);
  });

  test("nobody there, a wrong address, and something that is no vault are told apart", async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
    expect((await command(["status"])).err).toContain("nothing listens there: start the server");
    expect((await command(["status"], { env: { VAULT_ADDR: "127.0.0.1:8200" } })).err).toContain("VAULT_ADDR must be");
  });

  test("an answer that is no JSON", async () => {
    replies["sys/seal-status"] = { status: 200, body: "<html>" };
    expect((await command(["status"])).err).toContain("is it a vault?");
  });
});

test("an unknown command, and the version", async () => {
  expect((await command(["statsu"])).err).toContain("Did you mean status?");
  expect(await command(["version"])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^writ \d+\.\d+\.\d+ \(speaks Vault's API \d+\.\d+\.\d+; node v/),
  });
  for (const flag of ["--version", "-version", "-V"]) expect((await command([flag])).out).toMatch(/^writ \d/);
  expect((await command(["--help"])).code).toBe(0);
});

test("completion is printed for shells in which it evaluates nothing, and for no other", async () => {
  for (const shell of ["bash", "zsh"]) {
    const { code, out } = await command(["complete", shell]);
    expect([code, out]).toEqual([0, expect.stringContaining("writ complete -- ")]);
    expect(out).not.toMatch(/\beval\b/);
  }
  expect(await command(["complete", "powershell"])).toMatchObject({
    code: 1,
    err: expect.stringContaining("bash, zsh"),
  });
});
