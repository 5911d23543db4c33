// The runbook of a vault whose shares are gone, run as it stands on the operations page with the stock age and sqlite3.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, expect, test } from "vitest";
import { environmentOf } from "../../../.ci/tools.mjs";
import { root } from "../server.ts";
import { Machine } from "./machine.ts";

const age = environmentOf("age") as Record<string, string> | null;
const hasSqlite = spawnSync("sqlite3", ["-version"]).status === 0;
if (!hasSqlite) console.error("sqlite3 is not to be had: the runbook is skipped");

let machine: Machine | null = null;
afterEach(() => machine?.remove());

test.skipIf(age === null || !hasSqlite)("Too few shares", async () => {
  const one = await Machine.make();
  machine = one;
  const [left = ""] = one.shares;
  const identity = await generateX25519Identity();
  const IDENTITY = join(one.folder, "identity.txt");
  writeFileSync(IDENTITY, `${identity}\n`, { mode: 0o600 });
  const plugin = `#!/bin/sh\nexec "${process.execPath}" "${root}src/age-plugin-writ.ts" "$@"\n`;
  writeFileSync(join(one.folder, "bin/age-plugin-writ"), plugin, { mode: 0o755 });
  const RECIPIENT = await identityToRecipient(identity);

  const book = one.runbook("Too few shares");
  // An operator reads no secret.
  for (const reading of ["operator export-keyring --recipient $RECIPIENT", "kv get secret/payments/db"])
    expect((await one.run(`writ ${reading}`, { env: { RECIPIENT } })).text).toContain(": 403 p");
  const custodian = await one.tokenOf("custodian");
  await book.step("export-keyring", { env: { RECIPIENT, VAULT_TOKEN: custodian } });
  await book.step("backup", { env: { RECIPIENT } });

  // The end of that vault: one share of two.
  await one.must("systemctl restart writ");
  await one.ready();
  expect(await one.unseal([left, left])).not.toContain("Unsealed");
  expect((await one.run("writ status", {})).code).toBe(2);

  const env = {
    PATH: [join(one.folder, "bin"), age?.["PATH"] ?? ""].join(delimiter),
    LD_LIBRARY_PATH: age?.["LD_LIBRARY_PATH"] ?? "",
    IDENTITY,
    SECRET: "payments/db",
  };
  await book.step("operator restore", { env });
  expect(await book.step("sqlite3", { env })).toContain('"password":"first"');
  book.over();
});
