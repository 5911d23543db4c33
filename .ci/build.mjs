// `npm run build`: what is published, in dist/: JavaScript without tests, the files it reads, and the `writ` command.

import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { node, root, tool } from "./stages.mjs";

const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });
if (!tool("typescript", ["--project", ".ci/tsconfig.build.json"], "tsc")) process.exit(1);

for (const name of readdirSync(join(root, "src"), { recursive: true })) {
  const from = join(root, "src", name);
  if (!/\.(ts|md)$/.test(name) && statSync(from).isFile()) cpSync(from, join(dist, name));
}

const main = join(dist, "main.js");
for (const command of [main, join(dist, "age-plugin-writ.js")]) {
  if (!readFileSync(command, "utf8").startsWith("#!/usr/bin/env "))
    throw new Error(`${command} has lost its first line`);
  chmodSync(command, 0o755);
}
if (!node([main, "version"])) process.exit(1);
