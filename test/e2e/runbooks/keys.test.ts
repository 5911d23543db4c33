// The runbooks about shares, run as they stand on the operations page.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, expect } from "vitest";
import { git, until } from "../server.ts";
import { Machine, onLinux } from "./machine.ts";
import type { Runbook } from "./runbook.ts";

let machine: Machine;
let recipient: Readonly<Record<string, string>> = {};
beforeEach(async () => {
  machine = await Machine.make();
  recipient = { RECIPIENT: await identityToRecipient(await generateX25519Identity()) };
});
afterEach(() => machine.remove());

/** The steps that both have; the new shares. */
async function rekey(book: Runbook, present: readonly string[]): Promise<readonly string[]> {
  const [first = "", last = ""] = present;
  expect(await book.step("rekey", { input: first })).toContain("1 of 2 present shares given");
  const shown = await book.again({ input: last });
  return [...shown.matchAll(/^Key \d: (.+)$/gm)].map((match) => match[1] ?? "");
}

async function verify(book: Runbook, fresh: readonly string[]): Promise<void> {
  const [first = "", last = ""] = fresh;
  await book.again({ input: first });
  expect(await book.again({ input: last })).toContain("The new shares are valid, those from before are not");
}

/** The old shares open nothing, and any two of the new ones do. */
async function expectShares(old: readonly string[], fresh: readonly string[]): Promise<void> {
  expect(fresh).toHaveLength(3);
  await machine.must("writ operator seal");
  expect(await machine.unseal(old)).not.toContain("Unsealed");
  await machine.run("writ operator unseal --reset", {});
  expect(await machine.unseal(fresh.slice(1))).toContain("Unsealed");
  expect((await machine.ask(await machine.login(), "secret/data/payments/db")).body).toContain('"password":"first"');
}

onLinux("Lost share", async () => {
  const book = machine.runbook("Lost share");
  book.sees(await machine.must("writ status"));
  // The first one is lost.
  const present = machine.shares.slice(1);
  await book.step("rekey --init");
  const fresh = await rekey(book, present);
  await book.step("rekey", { input: fresh[0] ?? "" });
  await book.again({ input: fresh[2] ?? "" });
  await book.step("backup", { env: recipient });

  book.over();
  await expectShares(present, fresh);
});

onLinux("Leaked unseal share", async () => {
  const book = machine.runbook("Leaked unseal share");
  const old = machine.shares.slice(0, 2);
  writeFileSync(join(machine.folder, "stolen"), old.join("\n"));
  expect(await book.step("security")).toContain("nothing");
  await book.step("rekey --init");
  const fresh = await rekey(book, old);
  await verify(book, fresh);
  await book.step("rotate");
  await book.step("key-status");
  await until("everything to be under the new key", async () => (await book.again()).includes("all, "));
  await book.step("backup", { env: recipient });
  book.over();
  await expectShares(old, fresh);
});

onLinux("Break glass", async () => {
  const book = machine.runbook("Break glass");
  const [first = "", second = ""] = machine.shares;
  const password = /One-time password: (.+)/.exec(await book.step("--init"))?.[1] ?? "";
  await book.step("generate-root", { input: first });
  const ENCODED = /Encoded token: (.+)/.exec(await book.again({ input: second }))?.[1] ?? "";
  const VAULT_TOKEN = (await book.step("--decode", { input: password, env: { ENCODED } })).trim();
  expect(await machine.must("writ token lookup --self --field policies", { env: { VAULT_TOKEN } })).toBe('["root"]');
  await book.step("revoke --self", { env: { VAULT_TOKEN } });
  expect((await machine.run("writ token lookup --self", { env: { VAULT_TOKEN } })).code).toBe(2);

  // Nobody has a token.
  rmSync(join(machine.folder, "home/.vault-token"));
  expect((await machine.run("writ operator generate-root --init", {})).code).toBe(2);
  await book.step("allow_unauthenticated");
  await machine.ready();
  await book.step("unseal", { input: first });
  await book.again({ input: second });
  await machine.must("writ operator generate-root --init");
  await machine.must("writ operator generate-root", { input: first });
  expect(await machine.must("writ operator generate-root", { input: second })).toContain("Encoded token: ");
  await book.step("mv ");
  await machine.ready();
  await machine.unseal();
  book.over();
  expect((await machine.run("writ operator generate-root --init", {})).code).toBe(2);
});

onLinux("Lost operator", async () => {
  const [env, clone] = [{ env: { VAULT_TOKEN: machine.root } }, join(machine.folder, "policies")];
  const entity = "apiVersion: writ/v1\nkind: Entity\nmetadata: { name: grace }\n";
  const spec = "spec: { aliases: [{ mount: userpass, name: grace }], policies: [payments-read] }\n";
  await machine.commit("grace.yaml", entity + spec);
  await machine.push();
  await machine.must("printf 12345678 | writ write auth/userpass/users/grace password=- token_policies=operator", env);
  const login = () =>
    machine.run("printf 12345678 | writ login -method userpass username=grace -no-store -field token", {});
  const { text: hers } = await login();
  const made = await machine.must("writ token create --orphan --field token", { env: { VAULT_TOKEN: hers } });
  const reads = async (token: string): Promise<boolean> =>
    (await machine.ask(token, "secret/data/payments/db")).status === 200;
  expect([await reads(hers), await reads(made)]).toEqual([true, true]);
  const old = machine.shares.slice(0, 2);

  const book = machine.runbook("Lost operator");
  await book.step("writ revoke person", { env: { NAME: "grace", REASON: "left the bank" } });
  expect([await reads(hers), await reads(made), (await login()).code]).toEqual([false, false, 2]);
  const [ENTITY = ""] = JSON.parse(await book.step("entity_ids", { env: { NAME: "grace" } })) as string[];
  const did = await book.step("audit log", { env: { ENTITY } });
  expect(did.match(/secret\/data\/payments\/db +ok/g)).toHaveLength(2);
  await book.step("rekey --init");
  const fresh = await rekey(book, old);
  await verify(book, fresh);
  expect(await book.step("git grep", { env: { NAME: "grace" }, cwd: clone })).toContain("grace.yaml:3:");
  await git(clone, "rm", "--quiet", "grace.yaml");
  await git(clone, "commit", "--quiet", "--message", "Grace has left");
  await machine.push();
  // No document says who that was, and the password is right; the block is about the login too.
  expect((await login()).code).toBe(2);
  await book.step("writ delete", { env: { NAME: "grace" } });
  expect(await book.step("writ blocks")).toContain("left the bank");
  book.over();
  await expectShares(old, fresh);
});
