// A stored value and Debian's age command: with an exported keyring it opens, and without one it does not.

import { execFileSync, spawnSync } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { environmentOf } from "../../.ci/tools.mjs";
import { type Harness, harness } from "../core/harness.ts";
import { root } from "./server.ts";

const tools = environmentOf("age") as Record<string, string> | null;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-age-"));
  const plugin = join(folder, "age-plugin-writ");
  await writeFile(plugin, `#!/bin/sh\nexec "${process.execPath}" "${root}src/age-plugin-writ.ts" "$@"\n`);
  await chmod(plugin, 0o755);
  env = { ...tools, PATH: `${folder}${delimiter}${tools?.["PATH"] ?? ""}` };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const age = (args: readonly string[]): Buffer => execFileSync("age", args, { env, stdio: ["ignore", "pipe", "pipe"] });
const refused = (args: readonly string[]): string => {
  const { status, stderr } = spawnSync("age", args, { env, encoding: "utf8" });
  expect(status).toBe(1);
  return stderr;
};

/** Exports the keyring the way an operator does, to an identity of age-keygen. */
async function exported(h: Harness, name: string): Promise<string> {
  const own = execFileSync("age-keygen", { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const recipient = /age1\S+/.exec(own)?.[0] ?? "";
  await writeFile(join(folder, "own.txt"), own);
  const { data, warnings } = await h.ask("update", "sys/keyring/export", { recipients: [recipient] });
  expect(warnings?.join("")).toContain("forge every value");
  const text = String(data?.["file"]);
  expect(text).not.toContain("AGE-PLUGIN");
  await writeFile(join(folder, "keyring.age"), text);
  await writeFile(join(folder, name), age(["-d", "-i", join(folder, "own.txt"), join(folder, "keyring.age")]));
  return join(folder, name);
}

/** As SECURITY.md describes it. */
function unframed(plain: Buffer): { path: string; version: number; value: string } {
  const length = plain.readUInt16BE(1);
  expect(plain[0]).toBe(1);
  return {
    path: plain.toString("utf8", 3, 3 + length),
    version: Number(plain.readBigUInt64BE(3 + length)),
    value: plain.toString("utf8", 11 + length),
  };
}

test.skipIf(tools === null)(
  "age opens stored values of all terms with an exported keyring, and no others",
  async () => {
    const h = await harness();
    await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "1" } });
    const stored = async (name: string): Promise<string> => {
      await h.ask("update", `secret/${name}`, { password: `hunter-${name}`, filler: "x".repeat(70_000) });
      const [mount = ""] = await h.storage.list("mount/");
      const entry = await h.storage.get(`mount/${mount}plain/${name}`);
      await writeFile(join(folder, `${name}.age`), entry?.value ?? new Uint8Array(0));
      return join(folder, `${name}.age`);
    };
    const first = await stored("first");
    const early = await exported(h, "early.txt");
    await h.ask("update", "sys/rotate");
    const second = await stored("second");
    const late = await exported(h, "late.txt");
    expect(
      (await readFile(late, "utf8")).split("\n").filter((line) => line.startsWith("AGE-PLUGIN-WRIT-1")),
    ).toHaveLength(1);

    for (const [identity, file, name] of [
      [early, first, "first"],
      [late, first, "first"],
      [late, second, "second"],
    ] as const) {
      const { path, version, value } = unframed(age(["-d", "-i", identity, file]));
      expect(path).toMatch(new RegExp(`^mount/.*/plain/${name}$`));
      expect(version).toBe((await h.storage.get(path))?.version);
      expect(JSON.parse(value)).toMatchObject({ password: `hunter-${name}` });
    }
    expect(refused(["-d", "-i", early, second])).toMatch(/no identity matched/);
    const damaged = await readFile(first);
    damaged[90] = (damaged[90] ?? 0) ^ 1;
    await writeFile(join(folder, "damaged.age"), damaged);
    expect(refused(["-d", "-i", late, join(folder, "damaged.age")])).not.toBe("");
    const other = await exported(await harness(), "other.txt");
    expect(refused(["-d", "-i", other, first])).toMatch(/does not open|no identity matched|writ/);
  },
);
