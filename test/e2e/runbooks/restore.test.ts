// The runbook of a machine that is gone, run as it stands on the operations page.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, expect } from "vitest";
import { until } from "../server.ts";
import { Machine, onLinux } from "./machine.ts";
import { stepsOf } from "./runbook.ts";

let old: Machine;
let machine: Machine;
beforeAll(async () => {
  old = await Machine.make();
  machine = await Machine.bare({}, old.forge);
});
afterAll(async () => {
  await machine?.remove();
  await old?.remove();
});

const secret = "secret/data/payments/db";
const env = (token: string): { env: Record<string, string> } => ({ env: { VAULT_TOKEN: token } });

onLinux("Restore from backup", async () => {
  const identity = await generateX25519Identity();
  writeFileSync(join(machine.folder, "identity.txt"), `${identity}\n`, { mode: 0o600 });
  const [kept, revoked] = [await old.login(), await old.login()];
  const [, backup = "exit 99"] = stepsOf("Be ready");
  const options = { env: { RECIPIENT: await identityToRecipient(identity) } };
  await old.must(backup, options);
  const BACKUP = (await old.must("ls -1 $PWD/writ-*.age")).trim();

  // What the backup does not have.
  await old.must("writ token revoke", { input: revoked });
  await old.must("writ kv put secret/payments/db password=second", env(old.root));
  const late = await old.login();
  await old.commit("more.yaml", "apiVersion: writ/v1\nkind: Group\nmetadata: { name: late }\nspec: { policies: [] }\n");
  await old.push();
  const head = await old.forge.head("acme/policies");
  await old.must("writ revoke person alice --reason 'a lost laptop'");
  const pushed = join(old.forge.folder, "acme/audit.git");
  await until(
    "the audit at the forge",
    async () => (await old.must(`writ audit log ${pushed} --with sys/blocks/`)) !== "No such line",
  );

  const book = machine.runbook("Restore from backup");
  await book.step("systemctl stop", { on: old });
  await book.step("git clone --mirror", { env: { AUDIT: old.forge.url("acme/audit") } });
  const IDENTITY = join(machine.folder, "identity.txt");
  const restored = await book.step("operator restore", {
    env: { BACKUP, IDENTITY },
    input: old.shares.slice(0, 2).join("\n"),
  });
  const CREATED = /as they were on (\S+)/.exec(restored)?.[1] ?? "";
  machine.connect();
  await book.step("systemctl start");
  await machine.ready();
  for (const [at, input] of old.shares.slice(1).entries())
    await (at === 0 ? book.step("unseal", { input }) : book.again({ input }));
  await machine.must("writ login", { input: old.operator });
  await book.step("verify-storage");
  const since = await book.step("--since", { env: { CREATED } });
  book.over();

  // As it was at the backup: this token reads what there was then; the write, the login and the revocation since are listed.
  const { status, body } = await machine.ask(kept, secret);
  expect([status, body]).toEqual([200, expect.stringContaining('"password":"first"')]);
  expect((await machine.ask(late, secret)).status).toBe(403);
  expect((await machine.ask(revoked, secret)).status).toBe(200);
  expect(since).toMatch(/update +auth\/token\/revoke +ok/);
  expect(since).toMatch(/update +sys\/blocks\/person\/alice +ok/);
  expect(since).toMatch(new RegExp(`(?:create|update) +${secret} +ok`));

  // Git's newest commit counts, and the audit goes on where it ended, in all its places.
  expect(await machine.must("writ status")).toMatch(new RegExp(`^Applied +${head.slice(0, 12)}`, "m"));
  expect(await machine.must("writ status")).not.toMatch(/ALARM|failed/);
  expect(machine.log()).not.toContain('"security":true');
  const [after, line] = [await machine.login(), "auth/userpass/login/alice"];
  await machine.ask(after, secret);
  const lines = async (): Promise<number> =>
    (await machine.must(`writ audit log ${pushed} --with ${line}`)).split("\n").length;
  const before = await lines();
  await until("the new lines at the forge", async () => (await lines()) > before || before > 4);
  for (const log of ["/var/lib/writ/audit.git", "/var/log/writ/audit.log --git /var/lib/writ/audit.git"])
    expect(await machine.must(`writ audit verify ${log}`)).toContain("the log is whole");
});
