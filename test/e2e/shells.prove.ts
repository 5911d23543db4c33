// What `writ complete` prints, in the other shells that people have, typed at a terminal. (bash: terminal.test.ts.)

import { lstatSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { environmentOf } from "../../.ci/tools.mjs";
import { main } from "./server.ts";
import { hasTerminal, inTerminal } from "./terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-shells-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(at("writ"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });

interface Shell {
  readonly argv: readonly string[];
  /** What its prompt ends with. */
  readonly prompt: string;
  /** What it reads at its start, for a shell that is unpacked at `root` and not installed. */
  readonly files: (root: string, lib: string) => Readonly<Record<string, string>>;
  /** The first line that is typed. */
  readonly first: string;
}

const shells: Readonly<Record<"zsh" | "fish", Shell>> = {
  zsh: {
    argv: ["zsh", "-i"],
    prompt: "ready> ",
    files: (root, lib) => ({
      ".zshenv": `module_path=(${lib}/zsh/*(/N))\nfpath=(${root}/usr/share/zsh/functions{,/**/*}(/N))\n`,
      // A tab as it is unless it is bound has zsh itself run what stands in $(…) of the word, before any completion is asked for.
      ".zshrc":
        "PS1='ready> '\nbindkey '^I' complete-word\nautoload -Uz compinit\ncompinit -u -D\nsource <(writ complete zsh)\n",
    }),
    first: "true\r",
  },
  fish: {
    argv: ["fish", "-i", "--no-config"],
    prompt: "> ",
    files: () => ({}),
    first: "writ complete fish | source\r",
  },
};

for (const name of ["zsh", "fish"] as const) {
  const tools = environmentOf(name);
  test.skipIf(tools === null || !hasTerminal)(
    `${name} completes commands and options, and evaluates nothing`,
    async () => {
      const lib = (tools?.LD_LIBRARY_PATH ?? "").split(delimiter).find((each) => each.endsWith("-linux-gnu")) ?? "";
      const { argv, prompt, files, first } = shells[name];
      for (const [file, text] of Object.entries(files(resolve(lib, "../../.."), lib))) writeFileSync(at(file), text);
      const env = {
        PATH: `${folder}${delimiter}${tools?.PATH ?? ""}`,
        LD_LIBRARY_PATH: lib,
        ZDOTDIR: folder,
        HOME: folder,
      };
      const steps = [
        { wait: prompt, type: first },
        { wait: prompt, type: "writ operator key-s\t" },
        { wait: "key-status", type: "\u0015writ kv get --for\t" },
        { wait: "--format", type: "\u0015writ kv get secret/$(touch ran-by-tab) --fie\t" },
        // What is typed in front of "=" goes through the shell as well.
        { wait: "--field", type: "\u0015writ kv get --x$(>ran-by-equals)=\t" },
        { wait: "ran-by-equals", type: "\u0015writ kv get --format=js\t" },
        { wait: "--format=json", type: "\u0015exit\r" },
      ];
      const { waited, output } = await inTerminal(argv, steps, { cwd: folder, env, columns: 100 });
      expect([waited, output]).toEqual([[], expect.any(String)]);
      for (const ran of ["ran-by-tab", "ran-by-equals"]) expect(() => lstatSync(at(ran))).toThrow("ENOENT");
    },
  );
}
