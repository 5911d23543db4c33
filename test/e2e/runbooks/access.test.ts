// The runbooks about people and their tokens, run as they stand on the operations page.

import { afterEach, beforeEach, expect } from "vitest";
import { until } from "../server.ts";
import { Machine, onLinux } from "./machine.ts";

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.make();
});
afterEach(() => machine.remove());

interface Made {
  readonly client_token: string;
  readonly accessor: string;
}

/** A token that this one makes. */
async function make(token: string, how: "create" | "create-orphan"): Promise<Made> {
  const { status, body } = await machine.ask(token, `auth/token/${how}`, "--data", "{}");
  expect(status).toBe(200);
  return (JSON.parse(body) as { auth: Made }).auth;
}

const secret = "secret/data/payments/db";
const reads = async (token: string): Promise<boolean> => (await machine.ask(token, secret)).status === 200;

onLinux("Leaked token", async () => {
  const leaked = await machine.login();
  const child = await make(leaked, "create");
  const orphan = await make(leaked, "create-orphan");
  const below = [await make(orphan.client_token, "create"), await make(orphan.client_token, "create-orphan")];
  for (const token of [leaked, child.client_token, orphan.client_token]) expect(await reads(token)).toBe(true);
  const [second, third] = [await make(await machine.login(), "create"), await make(await machine.login(), "create")];

  const book = machine.runbook("Leaked token");
  await book.step("writ token revoke", { input: leaked });
  await book.step("--accessor", { env: { ACCESSOR: second.accessor } });
  const hashOf = (input: string): Promise<string> => machine.must("writ audit hash file", { input });
  await book.step("--hash", { env: { HASH: await hashOf(third.accessor) } });
  for (const token of [leaked, child.client_token, second.client_token, third.client_token])
    expect(await reads(token)).toBe(false);
  // Orphans are nobody's children.
  for (const { client_token: token } of [orphan, ...below]) expect(await reads(token)).toBe(true);

  const HASH = (await book.step("audit hash", { input: leaked })).trim();
  await until("the log to have it all", async () => (await machine.must("writ audit list")).includes("file"));
  const did = await book.step("audit log", { env: { HASH } });
  expect(did).toMatch(new RegExp(`userpass-alice +127\\.0\\.0\\.1 +read +${secret} +ok`));
  expect(did).toMatch(/update +auth\/token\/create-orphan +ok +hmac-sha256:/);
  expect(did).not.toContain(await hashOf(third.accessor));
  // The child has ended with its parent.
  const ended = await book.step("--made", { env: { HASH }, codes: [0, 2, 123] });
  for (const { accessor } of [orphan, ...below]) expect(ended).toContain(`${await hashOf(accessor)}: revoked`);
  expect(ended).toContain(`${await hashOf(child.accessor)}: no token that there is`);
  for (const { client_token: token } of [orphan, ...below]) expect(await reads(token)).toBe(false);
  await book.step("lookup", { input: leaked, codes: [2] });
  book.over();
  // Nobody else lost anything.
  expect(await reads(await machine.login())).toBe(true);
  await machine.must("writ token lookup --self");
});

onLinux("Everybody out", async () => {
  const token = await machine.login();
  const book = machine.runbook("Everybody out");
  const REASON = "something is wrong";
  const SINCE = new Date().toISOString().slice(0, 13);
  await book.step("writ revoke address", { env: { REASON } });
  // On the network nobody, root neither.
  expect([await reads(token), await reads(machine.root)]).toEqual([false, false]);
  expect((await machine.ask("", "auth/userpass/login/alice", "--data", '{"password":"12345678"}')).status).toBe(403);
  await book.step("writ seal", {});
  expect((await machine.run("writ status", {})).text).toContain("sealed, 0 of 2 shares given");
  expect(await book.step("audit log", { env: { SINCE } })).toMatch(/userpass-alice|auth\/userpass\/login\/alice/);
  await machine.unseal();
  // It has stayed so.
  expect(await reads(machine.root)).toBe(false);
  await book.step("writ restore");
  book.over();
  // Nothing was lost.
  expect([await reads(machine.root), await reads(token), await reads(await machine.login())]).toEqual([
    true,
    true,
    true,
  ]);
});
