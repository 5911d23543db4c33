// What the quickstart keeps through crashes and changes: its key above all.

import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort, type Running, startWrit } from "./server.ts";

let folder = "";
let running: Running;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-quickstart-"));
});
afterEach(async () => {
  await running.kill();
  await rm(folder, { recursive: true, force: true });
});

const data = (name: string): string => join(folder, "data", name);

async function start(port: number): Promise<void> {
  running = startWrit(["quickstart"], { env: { WRIT_PORT: String(port), WRIT_DATA: join(folder, "data") } });
  await running.says("In another terminal");
}

async function environment(): Promise<Readonly<Record<string, string>>> {
  const text = await readFile(data("quickstart.env"), "utf8");
  return Object.fromEntries([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map((match) => [match[1] ?? "", match[2] ?? ""]));
}

async function readDemo(): Promise<number> {
  const { VAULT_ADDR: address = "", VAULT_TOKEN: token = "" } = await environment();
  const answer = await fetch(`${address}/v1/secret/data/payments/db`, { headers: { "x-vault-token": token } });
  await answer.text();
  return answer.status;
}

test("another port later: the same vault at the new address; everything is for its owner only", async () => {
  await mkdir(data("."), { mode: 0o755 });
  await start(await freePort());
  const before = await environment();
  expect(await readDemo()).toBe(200);
  expect((await stat(data("."))).mode & 0o777).toBe(0o700);
  for (const name of ["quickstart.env", "webhook.secret"]) expect((await stat(data(name))).mode & 0o777).toBe(0o600);
  expect(await running.stop()).toBe(0);

  const port = await freePort();
  await start(port);
  const after = await environment();
  expect(after).toEqual({ ...before, VAULT_ADDR: `http://127.0.0.1:${port}` });
  expect(await readDemo()).toBe(200);
  expect(running.output()).toContain("WARNING");
  for (const secret of [after["VAULT_TOKEN"], after["UNSEAL_KEY"]]) expect(running.output()).not.toContain(secret);
});

test("killed between the initialisation and its key on disk: it starts anew; without a sign of that: it refuses", async () => {
  const port = await freePort();
  await start(port);
  await running.kill();
  // The key is gone and nobody knows why: a vault with data must not be thrown away.
  await rename(data("quickstart.env"), data("kept.env"));
  running = startWrit(["quickstart"], { env: { WRIT_PORT: String(port), WRIT_DATA: join(folder, "data") } });
  await running.says("quickstart.env is missing");
  expect(await running.ended()).toBe(1);
  await rename(data("kept.env"), data("quickstart.env"));
  await start(port);
  expect(await readDemo()).toBe(200);
  await running.kill();
  // As after a kill while it was initialised.
  await rename(data("quickstart.env"), data("kept.env"));
  await writeFile(data("quickstart.init"), "");
  await start(port);
  expect(await readDemo()).toBe(200);
});

test("a port in use is told, with what to do", async () => {
  const port = await freePort();
  await start(port);
  const other = startWrit(["quickstart"], { env: { WRIT_PORT: String(port), WRIT_DATA: join(folder, "other") } });
  await other.says(`port ${port} is in use`);
  expect(await other.ended()).toBe(1);
});
