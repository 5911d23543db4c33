// The README's five minutes, word for word: its commands are taken from the page and run in a folder that looks like a
// fresh clone.

import { mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blocksOf } from "./pages.ts";
import { freePort, root, type Running, runToEnd, runWrit, startProcess } from "./server.ts";

let checkout = "";
let running: Running | null = null;
let blocks: readonly string[] = [];
let environment: Record<string, string> = {};

beforeAll(async () => {
  checkout = await mkdtemp(join(tmpdir(), "writ-readme-"));
  const own = new Set([".git", "writ-data", "dist", ".cache"]);
  for (const name of await readdir(root)) if (!own.has(name)) await symlink(join(root, name), join(checkout, name));
  blocks = blocksOf("README.md", "Five minutes");
  // The page says 8200; a test must not depend on that port being free.
  environment = { WRIT_PORT: String(await freePort()), HOME: checkout, npm_config_update_notifier: "false" };
});

afterAll(async () => {
  await running?.stop();
  await rm(checkout, { recursive: true, force: true });
});

async function start(command: string): Promise<void> {
  const [program = "", ...args] = command.split(" ");
  running = startProcess(program, args, { cwd: checkout, env: environment });
  await running.says("In another terminal");
}

test("the first block starts a vault; the others do what the page says, in one shell", async () => {
  const [first = "", ...rest] = blocks;
  expect(first).toBe("npm ci\nnpm start\n");
  expect(rest).toHaveLength(4);
  await start("npm start");
  expect(running?.output()).toContain("WARNING: quickstart");

  const all = [...rest, ...blocksOf("README.md", "How a pull request flows")];
  const marked = all.map((block, at) => `echo "== ${at}"\n${block}\necho\n`).join("");
  const { code, stdout, stderr } = await runToEnd("bash", ["-euo", "pipefail", "-c", marked], {
    cwd: checkout,
    env: environment,
  });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const [, login = "", granted = "", reverted = "", audit = "", flow = ""] = stdout.split(/^== \d$/m);
  expect(login).toContain('"username":"payments"');
  expect(login).toContain("permission denied");
  expect(granted).toContain('"summary":"a good quarter"');
  expect(stderr).toContain("told the vault of refs/heads/main");
  expect(reverted).toContain("permission denied");
  expect(reverted).toMatch(/State +in sync/);
  expect(audit).toMatch(/requests\/\d{4}\//);
  expect(flow).toMatch(/no problems[^]*\nNo changes/);
});

test("a second start finds its state, and a second process is told that there is one", async () => {
  const file = join(checkout, "writ-data/quickstart.env");
  const before = await readFile(file, "utf8");
  const second = await runWrit(["quickstart"], { cwd: checkout, env: environment });
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/in use|another process|process \d+/);
  await running?.stop();
  await start("npm start");
  expect(await readFile(file, "utf8")).toBe(before);
});
