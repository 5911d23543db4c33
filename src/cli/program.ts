// The `writ` command line: all commands, in the order of its help. Each loads its own code when it runs, so that every one
// starts fast.

import { Command, CommanderError } from "commander";
import { CommandError } from "./client.ts";
import { example, type Shell } from "./command.ts";
import { crises } from "./crisis.ts";
import { daily } from "./daily.ts";
import { type Io, processIo } from "./io.ts";
import { audits, offline } from "./offline.ts";
import { operators, repository, servers } from "./operators.ts";

/** In front only: behind a command `--version` is an option of that command. */
const versionFlags = new Set(["-v", "-V", "-version", "--version"]);

/** Vault's commands take their options with one dash, too. */
function doubleDashed(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((arg, at) => ((end < 0 || at < end) && /^-[a-z][a-z-]+(?:=|$)/.test(arg) ? `-${arg}` : arg));
}

/** `args` decide whether the code behind completion is loaded. */
export async function createProgram(shell: Shell, args: readonly string[] = []): Promise<Command> {
  const { io } = shell;
  const program = new Command("writ")
    .description("Authorization as code: a vault whose policies are commits")
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.err(text.trimEnd()) });
  servers(program, shell);
  daily(program, shell);
  repository(program, shell);
  crises(program, shell);
  operators(program, shell);
  audits(program, shell);
  offline(program, shell);
  if (args[0] === "complete") {
    const { default: completion } = await import("@bomb.sh/tab/commander");
    completion(program);
  } else {
    const complete = program
      .command("complete")
      .description("Prints what makes a shell complete these commands: bash, zsh, fish or powershell")
      .argument("<shell>");
    example(complete, "writ complete bash > completion.bash");
  }
  return program;
}

/** Runs one command line (without node and the script) and gives its exit code. */
export async function run(args: readonly string[], io: Io = processIo): Promise<number> {
  let exitCode = 0;
  const shell: Shell = {
    io,
    run: async (code) => {
      exitCode = await code;
    },
  };
  const program = await createProgram(shell, args);
  try {
    const words = versionFlags.has(args[0] ?? "") ? ["version"] : doubleDashed(args);
    await program.parseAsync(words, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    if (error instanceof CommandError) {
      io.err(`writ: ${error.message}`);
      return error.exitCode;
    }
    io.err(`writ: ${error instanceof Error ? error.message : "failed"}`);
    if (io.env["WRIT_DEBUG"] !== undefined && error instanceof Error) io.err(error.stack ?? "");
    return 1;
  }
}
