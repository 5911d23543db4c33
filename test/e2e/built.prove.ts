// The built command beside the source: what is wrong with a configuration is said in the same words.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build } from "../crash/server.ts";

const root = resolve(import.meta.dirname, "../..");
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "writ-built-"));
  build();
});
afterAll(() => rmSync(folder, { recursive: true }));

const serve = (main: string): string => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(root, main), "server", "--config", join(folder, "writ.yaml")],
    { encoding: "utf8", timeout: 30_000 },
  );
  expect(status).toBe(1);
  return stderr;
};

test.each([
  ["storage: { type: sqlite }\nseal: {}\nlisteners: []\naudits: []\n", 5],
  [
    "storage: { type: sql, path: 7 }\nseal: { type: shamir, of: 3 }\nlisteners: [{ address: 7 }]\naudit: [{ type: file }]\n",
    4,
  ],
  ["gitops: { remote: [], poll_interval: soon, secrets: [{ path: x }] }\nmax_lease_ttl: x\nlog: { level: loud }\n", 6],
])("%j", (text, least) => {
  writeFileSync(join(folder, "writ.yaml"), text);
  const built = serve("dist/main.js");
  expect(built).toBe(serve("src/main.ts"));
  expect(built.trim().split("\n").length).toBeGreaterThanOrEqual(least);
});
