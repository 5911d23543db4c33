// Every example that the help of a command shows, run by a shell against a real server.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../../src/cli/client.ts";
import { exampleOf, type Shell } from "../../src/cli/command.ts";
import { processIo } from "../../src/cli/io.ts";
import { createProgram } from "../../src/cli/program.ts";
import { blocksOf } from "./pages.ts";
import { freePort, main, type Result, type Running, runToEnd, startProcess, until } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-examples-"));
const bin = join(folder, "bin");
const own = join(folder, "own");
let environment: Record<string, string> = {};
let alicePassword = "";
let quickstart: Running;
let server: Running;

beforeAll(async () => {
  for (const path of [bin, own]) mkdirSync(path);
  const identity = await generateX25519Identity();
  writeFileSync(join(own, "identity.txt"), `${identity}\n`, { mode: 0o600 });
  writeFileSync(join(own, "recipient.txt"), await identityToRecipient(identity));
  writeFileSync(join(bin, "writ"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
  const port = await freePort();
  const data = join(folder, "data");
  environment = { PATH: `${bin}:${process.env["PATH"] ?? ""}`, HOME: folder, VAULT_ADDR: `http://127.0.0.1:${port}` };
  quickstart = startProcess("sh", ["-c", "exec writ quickstart"], {
    env: { ...environment, WRIT_PORT: String(port), WRIT_DATA: data },
    cwd: folder,
  });
  await quickstart.says("In another terminal");
  const text = readFileSync(join(data, "quickstart.env"), "utf8");
  alicePassword = /ALICE_PASSWORD='?([^'\n]+)/.exec(text)?.[1] ?? "";
  environment["VAULT_TOKEN"] = /VAULT_TOKEN='?([^'\n]+)/.exec(text)?.[1] ?? "";
  // The examples stand in the clone that the quickstart made.
  writeFileSync(join(data, "policies", "recipient.txt"), await identityToRecipient(identity));
});
afterAll(async () => {
  await quickstart.kill();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const shell: Shell = { io: processIo, run: async (code) => void (await code) };
const commands = new Map<string, Command>();
const walk = (command: Command, name: string): void => {
  if (command.commands.length === 0) commands.set(name, command);
  for (const child of command.commands) walk(child, name === "" ? child.name() : `${name} ${child.name()}`);
};
walk(await createProgram(shell), "");

const inShell = (text: string, cwd: string, env: Record<string, string> = environment): Promise<Result> =>
  runToEnd("sh", ["-c", text], { cwd, env });
/** Its example, which has to end well. */
async function runExample(name: string, cwd: string, env?: Record<string, string>): Promise<Result> {
  const result = await inShell(`set -e\n${example(name)}`, cwd, env);
  expect(result, name).toMatchObject({ code: 0 });
  return result;
}
function example(name: string): string {
  const command = commands.get(name);
  return (command && exampleOf(command)) ?? "exit 99";
}

// They need a vault of their own.
const life = [
  "server",
  "doctor",
  "operator init",
  "operator unseal",
  "operator backup",
  "operator restore",
  "operator rekey",
  "audit enable",
  "audit disable",
];
const ending = ["operator generate-root", "operator seal", "seal"];
const elsewhere = new Set([...life, ...ending, "quickstart", "logout"]);

test("every command has an example, which its help shows", () => {
  expect([...commands].filter(([, command]) => exampleOf(command) === null).map(([name]) => name)).toEqual([]);
  expect(commands.size).toBeGreaterThan(50);
});

describe("the examples of", () => {
  const names = [...commands.keys()].filter((name) => !elsewhere.has(name));
  const clone = (): string => join(folder, "data", "policies");

  test.each(names)("writ %s", async (name) => {
    const client = await createClient(environment);
    // Two versions each time, whatever the example before left.
    await client.call("DELETE", "secret/metadata/app");
    for (const owner of ["bob", "ada"])
      await client.call("POST", "secret/data/app", { data: { greeting: "hello", owner } });
    if (name.startsWith("lease ")) await client.call("POST", "auth/token/create", { ttl: "1h", policies: ["default"] });
    // No engine leases anything here, and what a token is, renews elsewhere.
    const refused = name === "lease renew" ? "tokens cannot be renewed through this endpoint" : null;
    const result = await inShell(`set -e\n${example(name)}`, clone());
    expect([result.code, result.stderr]).toEqual(
      refused === null ? [0, expect.any(String)] : [2, expect.stringContaining(refused)],
    );
  });

  test("what they print", async () => {
    await inShell("printf hello | writ kv put secret/app greeting=- owner=ada", clone());
    await inShell("writ kv patch secret/app owner=bob", clone());
    expect((await runExample("kv rollback", clone())).stdout).toMatch(/version \d+\n$/);
    const { stdout, stderr } = await runExample("kv get", clone());
    expect([stdout, stderr]).toEqual(["hello", ""]);
    expect((await runExample("run", clone())).stdout).toBe("hello\n");
    expect((await runExample("unwrap", clone())).stdout).toMatch(/greeting +hello/);
    expect((await runExample("token capabilities", clone())).stdout).toMatch(/secret\/data\/app +\[root\]/);
    const history = await inShell("writ kv history -format=json secret/app", clone());
    expect(Object.keys(JSON.parse(history.stdout) as object).length).toBeGreaterThan(1);
  });

  test("README, from the command line", async () => {
    const [block = ""] = blocksOf("README.md", "From the command line");
    writeFileSync(join(own, "password.txt"), "from a file");
    writeFileSync(join(own, "server"), '#!/bin/sh\necho "and $DB_PASSWORD"\n', { mode: 0o755 });
    const result = await runToEnd("sh", ["-e", "-c", block], {
      cwd: own,
      env: environment,
      input: `${alicePassword}\n`,
    });
    expect(result).toMatchObject({ code: 0, stdout: expect.stringMatching(/from a fileand from a file\n$/) });
    expect(readFileSync(join(folder, ".vault-token"), "utf8")).toMatch(/^hvs\./);
    expect(statSync(join(folder, ".vault-token")).mode & 0o777).toBe(0o600);
  });

  test("writ logout", async () => {
    const made = await inShell("writ token create --policy default --field token", clone());
    const env = { ...environment, VAULT_TOKEN: made.stdout };
    await runExample("logout", clone(), env);
    expect((await inShell("writ token lookup --self", clone(), env)).code).toBe(2);
  });
});

test("the examples of a vault's life", async () => {
  const port = await freePort();
  const config = (storage: string): string => `storage: { type: sqlite, path: ${storage} }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
audit_folders: [extra]
`;
  mkdirSync(join(own, "extra"), { mode: 0o700 });
  writeFileSync(join(own, "writ.yaml"), config("storage"));
  writeFileSync(join(own, "restored.yaml"), config("restored"));
  const { VAULT_TOKEN: _token, ...rest } = environment;
  const env: Record<string, string> = { ...rest, VAULT_ADDR: `http://127.0.0.1:${port}` };
  expect((await runExample("doctor", own, env)).stdout).toContain("nothing is wrong");
  server = startProcess("sh", ["-c", `exec ${example("server")}`], { env, cwd: own });
  await server.says("server started");
  expect((await inShell("writ status", own, env)).code).toBe(2);
  await runExample("operator init", own, env);
  expect((await runExample("operator unseal", own, env)).stdout).toBe("Unsealed\n");
  const keys = readFileSync(join(own, "keys.txt"), "utf8");
  env["VAULT_TOKEN"] = /^Initial Root Token: (.+)$/m.exec(keys)?.[1] ?? "";
  await runExample("audit enable", own, env);
  expect(statSync(join(own, "extra", "audit.log")).size).toBeGreaterThan(0);
  await runExample("audit disable", own, env);
  await runExample("operator backup", own, env);
  expect((await runExample("operator rekey", own, env)).stdout).toContain("The new shares are valid");
  // From now on the share is the new one.
  const fresh = readFileSync(join(own, "new.txt"), "utf8").replace(/^Key 1/m, "Unseal Key 1");
  writeFileSync(join(own, "keys.txt"), fresh);
  expect((await runExample("operator generate-root", own, env)).stdout).toContain("Encoded token:");
  expect((await runExample("seal", own, env)).stdout).toMatch(/No outside account is left\.\nSealed\n$/);
  await runExample("operator unseal", own, env);
  expect((await runExample("operator seal", own, env)).stdout).toBe("No outside account stays alive.\nSealed\n");
  const refused = await inShell("writ kv get secret/a", own, env);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/sealed; 1 of 1 shares are missing/)]);
  await server.stop();
  await until("the port", async () => (await inShell("writ status", own, env)).code === 1);
  // The backup was made under the first share.
  writeFileSync(join(own, "keys.txt"), keys);
  await runExample("operator restore", own, env);
});
