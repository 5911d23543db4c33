// The runbooks about Git and its forge, run as they stand on the operations page.

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect } from "vitest";
import { git, until } from "../server.ts";
import { Machine, onLinux } from "./machine.ts";

let machine: Machine;
beforeEach(async () => {
  // Long enough that what is applied meanwhile came by a delivery.
  machine = await Machine.make({ config: (text) => text.replace(/^gitops:$/m, "gitops:\n  poll_interval: 1h") });
});
afterEach(() => machine.remove());

/** A push that changes something; resolves once it is applied. */
async function change(n: number): Promise<void> {
  const rule = `{ path: secret/data/n${n}, capabilities: [read] }`;
  await machine.commit(
    "more.yaml",
    `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: more }\nspec: { rules: [${rule}] }\n`,
  );
  await machine.push();
}

onLinux("Leaked webhook secret", async () => {
  const { forge } = machine;
  const leaked = forge.secret;
  expect(await forge.deliver("somebody-guesses-a-secret")).toBe(401);
  const book = machine.runbook("Leaked webhook secret");
  const files = '"message":"deliveries of the forge may be signed by these files"';
  const times = (): number => machine.log().split(files).length - 1;

  await book.step("cp -p");
  await until("both secrets", async () => times() === 1);
  // The forge has the old one still.
  await change(1);
  forge.secret = (await book.step("cat")).trim();
  expect(forge.secret).toMatch(/^[0-9a-f]{64}$/);
  await change(2);
  expect(await forge.deliver(leaked)).toBe(202);

  await book.step("rm webhook.old");
  await until("the new secret alone", async () => times() === 2);
  expect(await forge.deliver(leaked)).toBe(401);
  await change(3);
  await until("the forge to hear of it", async () => forge.answers.length > 3);
  expect(forge.answers).toEqual([202, 202, 202, 202]);
  await book.step("writ sync");
  book.over();

  // A file that others may read counts for nothing: what is in use stays.
  await machine.must("chmod 644 /etc/writ/webhook.secret; systemctl reload writ");
  await machine.says("the webhook goes on with the secrets that it has");
  expect(await forge.deliver(forge.secret)).toBe(202);
});

onLinux("Bad commit merged", async () => {
  const { forge } = machine;
  const clone = `${machine.folder}/policies`;
  await change(1);
  const GOOD = await forge.head("acme/policies");
  const token = await machine.login();
  const read = async (): Promise<number> => (await machine.ask(token, "secret/data/board/plans")).status;
  await machine.must("writ kv put secret/board/plans a=b", { env: { VAULT_TOKEN: machine.root } });
  expect(await read()).toBe(403);
  const opened = readFileSync(`${clone}/vault.yaml`, "utf8").replace("secret/data/payments/*", "secret/data/*");
  const BAD = await machine.commit("vault.yaml", opened);
  await machine.push();
  await change(2);
  expect(await read()).toBe(200);

  const book = machine.runbook("Bad commit merged");
  const pinned = await book.step("writ pin", { env: { GOOD, REASON: "everybody reads everything" } });
  expect(pinned).toContain("everybody reads everything");
  expect(await read()).toBe(403);
  expect(await forge.head("acme/policies")).not.toBe(GOOD);
  // Nor does a push change that.
  const before = forge.answers.length;
  await book.step("git revert", { env: { BAD }, cwd: clone });
  await until("the delivery", async () => forge.answers.length > before);
  expect(await machine.must("writ status")).toContain(`Applied     ${GOOD.slice(0, 12)}`);
  expect(await book.step("writ unpin")).toContain(`Applied     ${(await forge.head("acme/policies")).slice(0, 12)}`);
  expect(await read()).toBe(403);
  const used = await book.step("audit log", { env: { BAD }, cwd: clone });
  book.over();
  // The read that was let through, and the one that the revert refused: neither the one before nor the one while it was pinned.
  const lines = used.match(/userpass-alice .*secret\/data\/board\/plans +\S.*/g) ?? [];
  expect(lines.map((line) => /plans +(ok|permission denied)/.exec(line)?.[1])).toEqual(["ok", "permission denied"]);
});

onLinux("Forge down", async () => {
  const { forge } = machine;
  const token = await machine.login();
  await forge.stop();
  // As a delivery that came before it went, or the next look.
  await machine.run("writ sync", {});
  const book = machine.runbook("Forge down");
  await book.step("writ status");
  // Service goes on.
  expect((await machine.ask(token, "secret/data/payments/db")).status).toBe(200);
  await machine.login();
  await machine.must("writ kv put secret/payments/db password=second", { env: { VAULT_TOKEN: machine.root } });

  const root = { env: { VAULT_TOKEN: machine.root } };
  const given = /^token +(\S+)$/m.exec(await book.step("emergency-payments", root))?.[1] ?? "";
  const written = ["--data", '{"data":{"password":"third"}}'];
  expect((await machine.ask(given, "secret/data/payments/db", ...written)).status).toBe(200);
  expect((await machine.ask(given, "secret/data/payments/db")).status).toBe(403);

  const clone = `${machine.folder}/policies`;
  await book.step("git clone --bare", { env: { CLONE: clone } });
  await machine.ready();
  const [first = "", second = ""] = machine.shares;
  await book.step("unseal", { input: first });
  await book.again({ input: second });
  const rule = "{ path: secret/data/reports/*, capabilities: [read] }";
  const text = `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: more }\nspec: { rules: [${rule}] }\n`;
  const head = await machine.commit("more.yaml", text);
  expect(await book.step("push", { env: { CLONE: clone } })).toContain(`Applied     ${head.slice(0, 12)}`);

  await forge.start();
  await git(clone, "push", "--quiet", "origin", "HEAD:main");
  await book.step("mv ");
  await machine.ready();
  await machine.unseal();
  await book.step("policy delete");
  book.over();
  expect((await machine.ask(given, "secret/data/payments/db", ...written)).status).toBe(403);
  expect(await machine.must("writ status")).toContain(`Applied     ${head.slice(0, 12)}`);
  // What waited is pushed.
  await until("the audit at the forge", async () => /: ok, \d+ lines$/m.test(await machine.must("writ status")));
});
