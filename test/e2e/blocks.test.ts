// README, when somebody has to go: its commands against a real server, a person who is at work meanwhile, and a process that
// is killed.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import vaultClient from "node-vault";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blocksOf } from "./pages.ts";
import { freePort, git, main, type Result, type Running, runToEnd, startProcess, until } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-blocks-"));
const clone = join(folder, "data", "policies");
let env: Record<string, string> = {};
let password = "";
let quickstart: Running;

async function start(): Promise<void> {
  const url = new URL(env["VAULT_ADDR"] ?? "");
  quickstart = startProcess("sh", ["-c", "exec writ quickstart"], {
    env: { ...env, WRIT_PORT: url.port, WRIT_DATA: join(folder, "data") },
    cwd: folder,
  });
  await quickstart.says("In another terminal");
}

beforeAll(async () => {
  writeFileSync(join(folder, "writ"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
  env = {
    PATH: `${folder}:${process.env["PATH"] ?? ""}`,
    HOME: folder,
    VAULT_ADDR: `http://127.0.0.1:${await freePort()}`,
  };
  await start();
  const text = readFileSync(join(folder, "data", "quickstart.env"), "utf8");
  password = /ALICE_PASSWORD='?([^'\n]+)/.exec(text)?.[1] ?? "";
  env["VAULT_TOKEN"] = /VAULT_TOKEN='?([^'\n]+)/.exec(text)?.[1] ?? "";
});
afterAll(async () => {
  await quickstart.kill();
  rmSync(folder, { recursive: true, force: true });
});

const writ = (text: string, more: Record<string, string> = {}): Promise<Result> =>
  runToEnd("sh", ["-c", text], { cwd: clone, env: { ...env, ...more } });
async function well(text: string): Promise<string> {
  const result = await writ(text);
  expect(result.code, `${text}\n${result.stdout}${result.stderr}`).toBe(0);
  return result.stdout;
}
const clientOf = (token: string): ReturnType<typeof vaultClient> =>
  vaultClient({ endpoint: env["VAULT_ADDR"] ?? "", token });
const statusOf = (asked: Promise<unknown>): Promise<number> =>
  asked.then(
    () => 200,
    ({ response }: { response?: { statusCode?: number } }) => response?.statusCode ?? 0,
  );

test("README, when somebody has to go: what it says happens, to a person at work, and survives a kill", async () => {
  const login = (): Promise<{ auth: { client_token: string } }> =>
    clientOf("").userpassLogin({ username: "alice", password }) as Promise<{ auth: { client_token: string } }>;
  const alice = (await login()).auth.client_token;
  const work = (): Promise<unknown> => clientOf(alice).read("secret/data/payments/db");
  await work();
  const [block = ""] = blocksOf("README.md", "When somebody has to go");
  const lines = block.trimEnd().split("\n");
  const [person = "", mapping = "", mount = "", address = "", list = "", liftMount = "", lift = ""] = lines;
  expect(lines).toHaveLength(7);

  expect(await well(person)).toMatch(/^Blocked person alice: .*\nRevoked 1 token, 0 leases, 0 secret ids\n/);
  expect([await statusOf(work()), await statusOf(login())]).toEqual([403, 403]);
  // Again, of its own accord: the same block.
  expect((await writ(person)).stderr).toContain("it is blocked already");
  await well(mapping);
  await well(mount);
  expect(await statusOf(clientOf(env["VAULT_TOKEN"] ?? "").read("auth/approle/role/payments-api"))).toBe(403);
  await well(address);
  const shown = await well(list);
  for (const what of ["alice", "approle/payments-api", "auth/approle", "203.0.113.0/24", "stolen laptop"]) {
    expect(shown).toContain(what);
  }

  // Neither a kill nor a commit gives anything back.
  await quickstart.kill();
  await start();
  expect([await statusOf(work()), await statusOf(login())]).toEqual([403, 403]);
  const people = readFileSync(join(clone, "people.yaml"), "utf8");
  const planned = await well("writ plan");
  expect(planned).toMatch(/Blocked, whatever is declared: person alice .*: stolen laptop/);
  expect(planned).toContain("Blocked, whatever is declared: address 203.0.113.0/24 ");
  writeFileSync(join(clone, "people.yaml"), `${people}\n# A line more\n`);
  await git(clone, "commit", "-qam", "Change the people");
  await git(clone, "push", "-q");
  await until("the commit", async () => /State +in sync/.test((await writ("writ sync")).stdout));
  expect([await statusOf(work()), await statusOf(login())]).toEqual([403, 403]);
  const status = await well("writ status");
  expect(status).toMatch(/^Blocked +person alice \(people\.yaml:\d+\) since .*, by .*: stolen laptop$/m);
  expect(status).toMatch(/^Not active +Entity alice \(people\.yaml:\d+\): blocked since .*: stolen laptop$/m);

  await well(liftMount);
  await well(lift);
  expect([await statusOf(work()), await statusOf(login())]).toEqual([403, 200]);
  expect(await statusOf(clientOf(env["VAULT_TOKEN"] ?? "").read("auth/approle/role/payments-api"))).toBe(200);
  expect(await writ(lift)).toMatchObject({ code: 2, stderr: expect.stringContaining('person "alice" is not blocked') });
  expect(await writ("writ revoke person nobody --reason x")).toMatchObject({ code: 2 });
  expect(await writ("writ revoke person alice")).toMatchObject({ code: 1 });

  // Who and why, in the audit as it is committed.
  const audit = join(folder, "data", "audit.git");
  await until("the audit", async () => {
    const names = await git(audit, "ls-tree", "-r", "--name-only", "HEAD").catch(() => "");
    for (const name of names.split("\n").filter(Boolean)) {
      if ((await git(audit, "show", `HEAD:${name}`)).includes('"reason":"new laptop, new password"')) return true;
    }
    return false;
  });
});
