// How a vault is taken apart with stock commands, word for word as the pages say: a stored value with an exported keyring,
// and the root key with the identity of the seal.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { environmentOf } from "../../.ci/tools.mjs";
import { silent } from "../../src/lib/log.ts";
import { plugin as sqlite } from "../../src/storage/sqlite/index.ts";
import { blocksOf } from "./pages.ts";
import { freePort, main, root, type Running, runToEnd, startWrit, until } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-apart-"));
const at = (name: string): string => join(folder, name);
let server: Running | null = null;
afterAll(async () => {
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const tools = (["age", "jq"] as const).map((name) => environmentOf(name) as Record<string, string> | null);

test.skipIf(tools.includes(null))("a stored value, and the root key", async () => {
  const joined = (name: string): string => tools.map((each) => each?.[name] ?? "").join(delimiter);
  const env: Record<string, string> = {
    PATH: `${folder}${delimiter}${joined("PATH")}`,
    LD_LIBRARY_PATH: joined("LD_LIBRARY_PATH"),
  };
  for (const [name, file] of [
    ["writ", main],
    ["age-plugin-writ", `${root}src/age-plugin-writ.ts`],
  ] as const)
    writeFileSync(at(name), `#!/bin/sh\nexec "${process.execPath}" "${file}" "$@"\n`, { mode: 0o755 });
  const own = execFileSync("age-keygen", { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const recipient = /age1\S+/.exec(own)?.[0] ?? "";
  for (const name of ["identity.txt", "own-identity.txt"]) writeFileSync(at(name), own, { mode: 0o600 });
  const port = await freePort();
  writeFileSync(
    at("writ.yaml"),
    `storage: { type: sqlite, path: storage }
seal: { type: recipients, identity_file: identity.txt }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: audit.log }]
`,
  );
  server = startWrit(["server", "--config", at("writ.yaml")]);
  await server.says("server started");
  env["VAULT_ADDR"] = `http://127.0.0.1:${port}`;
  const inShell = async (text: string): Promise<string> => {
    const result = await runToEnd("bash", ["--norc", "-euo", "pipefail", "-c", text], { cwd: folder, env });
    expect([text, result.code, result.stderr]).toEqual([text, 0, result.stderr]);
    return result.stdout;
  };
  const made = await inShell("writ operator init");
  expect(made).toContain("Recovery Key 1: ");
  env["VAULT_TOKEN"] = /^Initial Root Token: (.+)$/m.exec(made)?.[1] ?? "";
  await until("the vault", async () => (await inShell("writ status")).includes("unsealed"));
  await inShell("writ secrets enable --version 1 --path plain kv && writ write plain/first password=hunter2");
  const [exporting = "", ...opening] = (blocksOf("SECURITY.md", "Taking a vault apart")[0] ?? "").trimEnd().split("\n");
  await inShell(exporting.replace("age1…", recipient));
  expect(await server.stop()).toBe(0);

  const storage = await sqlite.open({ path: at("storage") }, silent);
  try {
    const [mount = ""] = await storage.list("mount/");
    const stored = await storage.get(`mount/${mount}plain/first`);
    writeFileSync(at("stored-value"), stored?.value ?? "");
    const seal = await storage.get("core/seal");
    writeFileSync(at("seal-record.json"), seal?.value ?? "");
  } finally {
    await storage.close();
  }
  expect(opening).toHaveLength(2);
  expect(await inShell(`${opening.join("\n")}\ntail -c 24 plain`)).toMatch(/"password":"hunter2"/);
  const [root32 = ""] = blocksOf("src/seals/recipients/README.md", "recipients");
  expect(await inShell(`${root32.trimEnd()} | wc -c`)).toMatch(/^\s*32\s*$/);
});
