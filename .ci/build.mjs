// `npm run build`: what is published, in dist/: JavaScript without tests, the files it reads, and the `writ` command. Our
// modules are joined into few files: to find, read and link 250 of them took a fifth of a second of every start.
// Packages stay outside. Types are not checked here.

import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import standaloneCode from "ajv/dist/standalone/index.js";
import { rolldown } from "rolldown";
import { tables } from "../src/cli/tables.ts";
import { configSchema } from "../src/config.ts";
import { createAjv } from "../src/configCheck.ts";
import { node, root } from "./stages.mjs";

const dist = join(root, "dist");
const src = join(root, "src");
const files = readdirSync(src, { recursive: true }).map((name) => name.replaceAll(sep, "/"));
/** Modules that are run, or loaded by their address, keep their place in dist/. */
const commands = ["main.ts", "age-plugin-writ.ts"];
const addressed = ["registry.ts", "gitops/compile.ts", "storage/file/spreader.ts", "quickstart/deliver.ts"];
const entries = [...commands, ...addressed, ...files.filter((name) => posix.basename(name) === "worker.ts")];
const built = (name) => name.replace(/\.ts$/, ".js");

/** A module that is joined with others goes on to know its own address: where it would stand by itself. */
const addresses = {
  name: "addresses",
  transform(code, id) {
    if (!code.includes("import.meta.")) return null;
    const own = JSON.stringify(built(relative(src, id).replaceAll(sep, "/")));
    const text = code.replaceAll("import.meta.url", `ADDRESS_OF(${own})`);
    if (text.includes("import.meta.")) throw new Error(`${id}: only import.meta.url is known to the build`);
    return { code: text, moduleType: "ts" };
  },
  renderChunk(code, { fileName }) {
    const up = posix.relative(posix.dirname(fileName), ".") || ".";
    return code.replace(
      /ADDRESS_OF\("([^"]+)"\)/g,
      (_, name) => `new URL(${JSON.stringify(`${up}/${name}`)}, import.meta.url).href`,
    );
  },
};

/** The server's configuration is checked by code that its schema became here. */
const compiled = {
  name: "compiled",
  load(id) {
    if (id !== join(src, "cli/configCheck.ts")) return null;
    const ajv = createAjv({ source: true, esm: true });
    const code = standaloneCode.default(ajv, ajv.compile(configSchema(tables)));
    if (code.includes("require(")) throw new Error("the configuration's schema needs a part of ajv at run time");
    return { code, moduleType: "js" };
  },
};

rmSync(dist, { recursive: true, force: true });
const bundle = await rolldown({
  input: Object.fromEntries(entries.map((name) => [name.replace(/\.ts$/, ""), join(src, name)])),
  platform: "node",
  external: (id) => !id.startsWith(".") && !id.startsWith(src),
  plugins: [compiled, addresses],
});
await bundle.write({ dir: dist, format: "esm", entryFileNames: "[name].js", chunkFileNames: "parts/[name]-[hash].js" });
await bundle.close();

for (const name of files) {
  const from = join(src, name);
  if (!/\.(ts|md)$/.test(name) && statSync(from).isFile()) cpSync(from, join(dist, name));
}

for (const command of commands.map((name) => join(dist, built(name)))) {
  if (!readFileSync(command, "utf8").startsWith("#!/usr/bin/env "))
    throw new Error(`${command} has lost its first line`);
  chmodSync(command, 0o755);
}
if (!node([join(dist, "main.js"), "version"])) process.exit(1);
