// What is matched against policy is what is run: on a real socket, in front of a real vault, no spelling of a path gets
// round a rule that denies.

import { afterAll, beforeAll, expect, test } from "vitest";
import { declare, type Harness, harness, mountOf, setOf, userOf } from "../core/harness.ts";
import { type Answered, exchange, type Server, start } from "./fixture.ts";

const secret = "s3cret-value";
const rules = [
  { path: "*", capabilities: ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] },
  { path: "secret/data/closed", capabilities: ["deny"] },
  { path: "secret/data/closed/*", capabilities: ["deny"] },
  { path: "secret/metadata/closed", capabilities: ["deny"] },
  { path: "secret/metadata/closed/*", capabilities: ["deny"] },
  { path: "old/closed/*", capabilities: ["deny"] },
  { path: "auth/userpass/users/mallory", capabilities: ["deny"] },
  { path: "auth/userpass/users/mallory/*", capabilities: ["deny"] },
  { path: "auth/approle/role/robot", capabilities: ["deny"] },
  { path: "auth/approle/role/robot/*", capabilities: ["deny"] },
  { path: "sys/policies/acl/ceiling", capabilities: ["deny"] },
  { path: "sys/policy/ceiling", capabilities: ["deny"] },
  { path: "sys/mounts/secret", capabilities: ["deny"] },
  { path: "sys/mounts/secret/*", capabilities: ["deny"] },
];

let h: Harness;
let token = "";
let port = 0;

beforeAll(async () => {
  h = await harness();
  await h.target.apply(
    setOf(
      "aa",
      mountOf("SecretEngine", "secret", "kv", { options: { version: "2" } }),
      mountOf("SecretEngine", "old", "kv", { options: { version: "1" } }),
      mountOf("AuthMethod", "userpass", "userpass"),
      declare("Policy", "wide", { rules }),
      userOf("alice", []),
    ),
    [],
  );
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  await h.ask("update", "secret/data/closed/a", { data: { v: secret } });
  await h.ask("update", "secret/data/Closed/b", { data: { v: "another secret" } });
  await h.ask("update", "old/closed/a", { v: secret });
  await h.ask("update", "auth/userpass/users/mallory", { password: "first-password", token_policies: ["mark"] });
  await h.ask("update", "auth/approle/role/robot", { token_policies: ["mark"] });
  await h.ask("update", "sys/policies/acl/ceiling", { policy: `path "${secret}" { capabilities = ["read"] }` });
  token = (await h.ask("update", "auth/token/create", { policies: ["wide"] })).auth?.client_token ?? "";
});

/** A server that ends with its test. */
async function serve(): Promise<Server> {
  const server = await start({ door: { handle: (request) => h.vault.handle(request) } });
  ({ port } = server);
  return server;
}

const send = (line: string, body = ""): Promise<Answered> => exchange(port, line, [`X-Vault-Token: ${token}`], body);

/** Every way that came to mind of writing a path whose plain form is denied. */
function spellings(path: string): readonly string[] {
  const slash = path.lastIndexOf("/");
  const [folder, name] = [path.slice(0, slash), path.slice(slash + 1)];
  const first = name[0] ?? "";
  const hex = Buffer.from(first).toString("hex");
  const wide = String.fromCodePoint((first.codePointAt(0) ?? 0) + 0xfee0);
  const encode = encodeURIComponent;
  return [
    path,
    `${path}/`,
    `${path}//`,
    `${folder}//${name}`,
    `/${path}`,
    `${folder}/./${name}`,
    `${folder}/x/../${name}`,
    `x/../${path}`,
    `../v1/${path}`,
    `${folder}/%2e/${name}`,
    `${folder}/x/%2e%2e/${name}`,
    `${folder}/x/.%2E/${name}`,
    `${folder}/x/%252e%252e/${name}`,
    `${folder}%2f${name}`,
    `${folder}%2F${name}`,
    `${folder}%252f${name}`,
    `${folder}%5c${name}`,
    `${folder}\\${name}`,
    `${folder}/${name}%2f`,
    `${folder}/${name}%00`,
    `${folder}/${name}%20`,
    `${folder}/%20${name}`,
    `${folder}/${name}+`,
    `${folder}/${name}%09`,
    `${folder}/${name};x=1`,
    `${folder}/${name}%3fx`,
    `${folder}/${name}%23`,
    `${folder}/${name}?`,
    `${folder}/${name}?x=/../`,
    `${folder}/%${hex}${name.slice(1)}`,
    `${folder}/%25${hex}${name.slice(1)}`,
    `${folder}/${name.toUpperCase()}`,
    `${folder}/${first.toUpperCase()}${name.slice(1)}`,
    `${folder.toUpperCase()}/${name}`,
    `${folder}/${encode(wide)}${name.slice(1)}`,
    `${folder}/${name}${encode("\u200b")}`,
    `${folder}/${encode("\u00ad")}${name}`,
    `${folder}/${name}${encode("\u3000")}`,
    `${folder}/${name}${encode("\u0301")}`,
    `${folder}${encode("\uff0f")}${name}`,
    `${folder}${encode("\u2044")}${name}`,
    `${folder}/${encode("\uff0e\uff0e")}/${name}`,
    `${folder}/x/${encode("\u2025")}/${name}`,
    `${folder}/%c0%ae%c0%ae/${name}`,
    `${folder}/%e0%80%af${name}`,
    `${folder}/%u0061${name}`,
    `http://writ/v1/${path}`,
  ];
}

const targetOf = (spelling: string): string => (spelling.startsWith("http:") ? spelling : `/v1/${spelling}`);

/** Follows a move as clients do. */
async function sendOn(method: string, target: string, body = ""): Promise<Answered> {
  const answer = await send(`${method} ${target}`, body);
  const to = answer.headers["location"];
  return answer.status === 307 && to !== undefined ? send(`${method} ${to}`, body) : answer;
}

test.each([
  "secret/data/closed/a",
  "secret/data/closed",
  "old/closed/a",
  "auth/userpass/users/mallory",
  "auth/approle/role/robot",
  "auth/approle/role/robot/role-id",
  "sys/policies/acl/ceiling",
  "sys/policy/ceiling",
  "sys/mounts/secret",
])("no spelling of %s reads what is denied", async (path) => {
  const { logged } = await serve();
  for (const spelling of spellings(path)) {
    for (const method of ["GET", "HEAD"]) {
      const answer = await sendOn(method, targetOf(spelling));
      const told = `${method} ${spelling}: ${answer.status} ${answer.body}`;
      expect(answer.body, told).not.toMatch(/s3cret-value|"mark"|"role_id"|"accessor":"kv/);
      expect(answer.status, told).toBeGreaterThanOrEqual(400);
      expect(answer.status, told).toBeLessThan(500);
    }
  }
  expect((await send(`GET /v1/${path}`)).status).toBe(403);
  expect(logged).toEqual([]);
});

test.each(["secret/metadata/closed", "secret/metadata/closed/a"])("no spelling of %s lists it", async (path) => {
  await serve();
  for (const spelling of spellings(path)) {
    for (const method of ["LIST", "SCAN"]) {
      const answer = await sendOn(method, targetOf(spelling));
      expect(answer.body, `${method} ${spelling}`).not.toMatch(/"keys":\["a/);
    }
    const target = targetOf(spelling);
    const answer = await sendOn("GET", `${target}${target.includes("?") ? "&" : "?"}list=true`);
    expect(answer.body, spelling).not.toMatch(/"keys":\["a/);
  }
  for (const line of [`LIST /v1/${path}`, `LIST /v1/${path}/`, `GET /v1/${path}?list=true`, `SCAN /v1/${path}`]) {
    expect((await send(line)).status, line).toBe(403);
  }
});

test.each<[string, unknown]>([
  ["secret/data/closed/a", { data: { v: "changed" } }],
  ["old/closed/a", { v: "changed" }],
  ["auth/userpass/users/mallory", { password: "second-password" }],
  ["auth/userpass/users/mallory/password", { password: "second-password" }],
  ["auth/approle/role/robot", { token_policies: ["root-like"] }],
  ["sys/policies/acl/ceiling", { policy: 'path "*" { capabilities = ["sudo"] }' }],
  ["sys/mounts/secret/tune", { description: "changed" }],
])("no spelling of %s writes or deletes it", async (path, body) => {
  await serve();
  const shown = async (): Promise<unknown> => [
    (await h.ask("read", "secret/data/closed/a")).data,
    (await h.ask("read", "old/closed/a")).data,
    (await h.ask("read", "auth/userpass/users/mallory")).data,
    (await h.ask("read", "auth/approle/role/robot")).data,
    (await h.ask("read", "sys/policies/acl/ceiling")).data,
    (await h.ask("read", "sys/mounts/secret")).data,
    (await h.ask("update", "auth/userpass/login/mallory", { password: "first-password" }, null)).auth?.policies,
  ];
  const before = await shown();
  for (const spelling of spellings(path)) {
    // What another mount is called is no matter of this rule.
    if (spelling.includes("SYS/")) continue;
    for (const method of ["POST", "PUT", "DELETE"]) {
      const answer = await sendOn(method, targetOf(spelling), method === "DELETE" ? "" : JSON.stringify(body));
      expect(answer.status, `${method} ${spelling} ${answer.body}`).toBeLessThan(500);
    }
  }
  expect(await shown()).toEqual(before);
});

test("what a token is told it may is what it may, however the path is spelled", async () => {
  const paths = ["mallory", "MALLORY", " mallory\u200b", "\uff2dallory"].map((name) => `auth/userpass/users/${name}`);
  const more = ["sys/policies/acl/Ceiling", "/auth/approle/role/ROBOT/role-id"];
  const { data } = await h.ask("update", "sys/capabilities-self", { paths: [...paths, ...more] }, token);
  for (const path of [...paths, ...more]) expect(data?.[path], path).toEqual(["deny"]);
  const open = await h.ask("update", "sys/capabilities-self", { path: "secret/data/Closed/b" }, token);
  expect(open.data?.["capabilities"]).toContain("read");
});

test("the audit has the path that was asked about", async () => {
  await serve();
  const from = h.tape.lines.length;
  expect((await send("GET /v1/auth/userpass/users/%20MALLORY")).status).toBe(403);
  expect((await send("GET /v1/auth/userpass/users/ALICE")).status).toBe(200);
  const paths = h.tape.lines
    .slice(from)
    .map((line) => (JSON.parse(line) as { request: { path: string } }).request.path);
  expect(new Set(paths)).toEqual(new Set(["auth/userpass/users/mallory", "auth/userpass/users/alice"]));
});

afterAll(() => h.vault.seal());
