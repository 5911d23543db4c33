// Two clients that people have, node-vault and hvac, against the server as it is built: what each of them is answered they check
// themselves (nodeVault.ts, hvac_calls.py); what they asked for is compared here with routes.json. `vitest -u` takes over a
// new recording, and `node test/compat/table.ts` writes the README's table from it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { pythonOf } from "../../.ci/tools.mjs";
import { freePort, root, runToEnd, startProcess, until } from "../e2e/server.ts";
import { callNodeVault } from "./nodeVault.ts";
import { type Exchange, record } from "./recorder.ts";
import { faultsOf, recordingFile, recordingOf, textOf } from "./routes.ts";

const built = join(root, "dist/main.js");
const exchanges: Record<string, readonly Exchange[]> = {};
let folder = "";

beforeAll(async () => {
  const { code, stdout, stderr } = await runToEnd(process.execPath, [join(root, ".ci/build.mjs")]);
  if (code !== 0) throw new Error(`the build failed: ${stdout}${stderr}`);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "writ-compat-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A server that is not initialised yet. `run` gets the address of a recorder before it. */
async function recorded(client: string, run: (address: string) => Promise<void>): Promise<void> {
  const port = await freePort();
  const config = {
    storage: { type: "sqlite", path: join(folder, "storage") },
    seal: { type: "shamir" },
    listeners: [{ address: `127.0.0.1:${port}` }],
    audit: [{ type: "file", path: join(folder, "audit.log") }],
    audit_folders: [folder],
  };
  writeFileSync(join(folder, "writ.yaml"), JSON.stringify(config));
  const server = startProcess(process.execPath, [built, "server", "--config", join(folder, "writ.yaml")]);
  const recorder = await record(port);
  try {
    await until("the server", async () => (await fetch(`http://127.0.0.1:${port}/v1/sys/seal-status`)).ok);
    await run(recorder.address).catch((error: unknown) => {
      const last = recorder.exchanges.slice(-3).map(({ method, target, status }) => `${method} ${target} ${status}`);
      throw new Error(`${client} after ${last.join(", ")}: ${error instanceof Error ? error.message : ""}`, {
        cause: error,
      });
    });
    exchanges[client] = recorder.exchanges;
  } finally {
    await recorder.close();
    expect(await server.stop()).toBe(0);
  }
}

test("node-vault", () => recorded("node-vault", (address) => callNodeVault(address, folder)));

const python = pythonOf("hvac");
test.skipIf(python === null)("hvac", () =>
  recorded("hvac", async (address) => {
    const script = fileURLToPath(new URL("./hvac_calls.py", import.meta.url));
    const env = { ...python?.env, VAULT_ADDR: address, AUDIT_FOLDER: folder };
    const { code, stderr } = await runToEnd("python3", [script], { env });
    if (code !== 0) throw new Error(stderr);
  }),
);

test.skipIf(python === null)("together they ask for every route, and see what others see there", async () => {
  const recording = recordingOf(exchanges);
  expect(faultsOf(recording)).toEqual([]);
  await expect(textOf(recording)).toMatchFileSnapshot(fileURLToPath(recordingFile));
});
