// The `writ` command line: all commands, in the order of its help. Each loads its own code when it runs, so that every one
// starts fast.

import { Argument, Command, CommanderError, Option } from "commander";
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

/** Vault's, on every command: the option, and the variable in place of which it stands. */
const overrides = [
  ["--address <url>", "VAULT_ADDR"],
  ["--namespace <path>", "VAULT_NAMESPACE"],
  ["--ca-cert <file>", "VAULT_CACERT"],
  ["--client-cert <file>", "VAULT_CLIENT_CERT"],
  ["--client-key <file>", "VAULT_CLIENT_KEY"],
  ["--tls-server-name <name>", "VAULT_TLS_SERVER_NAME"],
] as const;

function overridable(program: Command, env: Record<string, string | undefined>): void {
  for (const [flags, variable] of overrides) {
    const option = new Option(flags, `in place of ${variable}`).helpGroup("Options of every command:");
    program.addOption(option);
    program.on(`option:${option.name()}`, (value: string) => (env[variable] = value));
  }
}

/** As the help shows them. */
const groups = [
  ["Every day", daily],
  ["What is applied", repository],
  ["When somebody has to go", crises],
  ["The server", servers],
  ["Operators", operators],
  ["The audit", audits],
  ["Policy repositories, and this program", offline],
] as const;

async function printCompletion(shell: "bash" | "zsh" | "fish", io: Io): Promise<number> {
  if (shell === "fish") (await import("@bomb.sh/tab")).script(shell, "writ", "writ");
  else io.raw((await import("./completion.ts")).completions[shell]);
  return 0;
}

/** `args` decide whether the code behind completion is loaded. */
export async function createProgram(shell: Shell, args: readonly string[] = []): Promise<Command> {
  const { io, run } = shell;
  const program = new Command("writ")
    .description("Authorization as code: a vault whose policies are commits")
    .exitOverride()
    .showHelpAfterError("(writ help, or --help behind the command, shows how)")
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.err(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error:/, "writ:")),
    });
  for (const [group, declare] of groups) {
    program.commandsGroup(`${group}:`);
    declare(program, shell);
  }
  if (args[0] === "complete" && args[1] === "--") {
    const { default: completion } = await import("@bomb.sh/tab/commander");
    completion(program);
  } else {
    const complete = program
      .command("complete")
      .description("Prints what makes a shell complete these commands")
      .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
      .action((name: "bash" | "zsh" | "fish") => run(printCompletion(name, io)));
    example(complete, "writ complete bash > completion.bash");
  }
  return program;
}

/** Runs one command line (without node and the script) and gives its exit code. */
export async function run(args: readonly string[], io: Io = processIo): Promise<number> {
  let exitCode = 0;
  const env = { ...io.env };
  const shell: Shell = {
    io: { ...io, env },
    run: async (code) => {
      exitCode = await code;
    },
  };
  const program = await createProgram(shell, args);
  overridable(program, env);
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
