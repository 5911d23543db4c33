// The commands and their options. Each loads its own code when it runs, so that every one starts fast.

import { Command, CommanderError, InvalidArgumentError } from "commander";
import { version } from "../version.ts";
import type { VerifyOptions } from "./audit.ts";
import { CommandError, createClient } from "./client.ts";
import type { BackupOptions } from "./backup.ts";
import type { ExportOptions } from "./exportKeyring.ts";
import { processIo, type Io } from "./io.ts";
import type { RekeyOptions, RootOptions } from "./keys.ts";
import type { PlanOptions } from "./plan.ts";
import type { RestoreOptions } from "./restore.ts";

function count(text: string): number {
  const value = Number(text);
  if (!/^\d{1,3}$/.test(text) || value < 1 || value > 255) throw new InvalidArgumentError("must be 1 to 255");
  return value;
}

type Run = (code: Promise<number>) => Promise<void>;

function servers(program: Command, io: Io, run: Run): void {
  program
    .command("server")
    .description("Runs the server; it never initialises or unseals itself")
    .requiredOption("-c, --config <file>", "the server configuration, such as /etc/writ/writ.yaml")
    .action((options: { config: string }) => run(import("./server.ts").then(({ serve }) => serve(options.config))));
  program
    .command("quickstart")
    .description("Runs a whole vault with example policies in a folder, for trying things out")
    .addHelpText("after", "\nWRIT_PORT chooses the port (8200), WRIT_DATA the folder (./writ-data).")
    .action(() => run(import("../quickstart/index.ts").then(({ quickstart }) => quickstart(io))));
}

function clients(program: Command, io: Io, run: Run): void {
  program
    .command("status")
    .description("Shows where the vault, its Git repository and its audit stand; exit code 2 where it is sealed")
    .option("--json", "prints the answers as they are", false)
    .action((options: { json: boolean }) =>
      run(
        Promise.all([import("./status.ts"), createClient(io.env)]).then(([{ status }, client]) =>
          status(client, io, options),
        ),
      ),
    );
  program
    .command("sync")
    .description("Applies the branch now and shows the result; exit code 1 where it is not applied")
    .option("--allow-deletions <commit>", "allows what this commit deletes, for this commit only")
    .option("--allow-rewind <commit>", "allows this commit although it does not build on what is applied")
    .action((options: { allowDeletions?: string; allowRewind?: string }) =>
      run(
        Promise.all([import("./status.ts"), createClient(io.env)]).then(([{ sync }, client]) =>
          sync(client, io, options),
        ),
      ),
    );
}

function operators(program: Command, io: Io, run: Run): void {
  const operator = program.command("operator").description("Initialises, unseals and seals a vault");
  const loaded = () => Promise.all([import("./operator.ts"), createClient(io.env)]);
  operator
    .command("init")
    .description("Makes the keys of a new vault and prints them, once")
    .option("--key-shares <number>", "how many shares the unseal key is split into", count, 5)
    .option("--key-threshold <number>", "how many of them unseal", count, 3)
    .action((options: { keyShares: number; keyThreshold: number }) =>
      run(
        loaded().then(([{ init }, client]) =>
          init(client, io, { shares: options.keyShares, threshold: options.keyThreshold }),
        ),
      ),
    );
  operator
    .command("unseal")
    .description("Takes one share from standard input; exit code 2 while more are needed")
    .option("--reset", "forgets the shares given so far", false)
    .action((options: { reset: boolean }) => run(loaded().then(([{ unseal }, client]) => unseal(client, io, options))));
  operator
    .command("seal")
    .description("Drops all keys: nothing is served until the vault is unsealed again")
    .action(() => run(loaded().then(([{ seal }, client]) => seal(client, io))));
  operator
    .command("backup")
    .description("Takes everything that the vault has in storage into one age file, while it goes on")
    .requiredOption("-r, --recipient <recipient...>", "who may open the file, age1…")
    .requiredOption("-o, --output <file>", "where it is written")
    .action((options: BackupOptions) =>
      run(
        Promise.all([import("./backup.ts"), createClient(io.env)]).then(([{ backup }, client]) =>
          backup(client, io, options),
        ),
      ),
    );
  operator
    .command("restore")
    .description("Puts a backup into an empty storage, offline, and checks all of it with the vault's unseal keys")
    .argument("<file>", "what writ operator backup wrote")
    .requiredOption("-c, --config <file>", "the server configuration that names the storage")
    .requiredOption("-i, --identity <file>", "age identities of a recipient")
    .option("--unverified", "asks for no unseal keys; the check is left to the first unseal", false)
    .action((file: string, options: RestoreOptions) =>
      run(import("./restore.ts").then(({ restore }) => restore(file, io, options))),
    );
  operator
    .command("export-keyring")
    .description("Gives the keys of stored values, encrypted to age recipients, for age and age-plugin-writ")
    .requiredOption("-r, --recipient <recipient...>", "who may open the file, age1…")
    .option("-o, --output <file>", "where it is written; standard output where left out")
    .action((options: ExportOptions) =>
      run(
        Promise.all([import("./exportKeyring.ts"), createClient(io.env)]).then(([{ exportKeyring }, client]) =>
          exportKeyring(client, io, options),
        ),
      ),
    );
  operator
    .command("verify-storage")
    .description("Has the server read its whole storage; exit code 1 where something is not as it was written")
    .option("--accept", "takes what is there for what was written, once it was looked into", false)
    .action((options: { accept: boolean }) =>
      run(
        Promise.all([import("./verifyStorage.ts"), createClient(io.env)]).then(([{ verifyStorage }, client]) =>
          verifyStorage(client, io, options),
        ),
      ),
    );
  keepers(operator, io, run);
}

/** Rotation, rekey, generation of root tokens. */
function keepers(operator: Command, io: Io, run: Run): void {
  const loaded = () => Promise.all([import("./keys.ts"), createClient(io.env)]);
  operator
    .command("rotate")
    .description("Makes a new key, in which everything is encrypted from now on; what is there stays readable")
    .action(() => run(loaded().then(([{ rotate }, client]) => rotate(client, io))));
  operator
    .command("key-status")
    .description("Shows the key in use")
    .action(() => run(loaded().then(([{ keyStatus }, client]) => keyStatus(client, io))));
  operator
    .command("rekey")
    .description("Takes one share from standard input for a rekey under way; exit code 2 while more are needed")
    .option("--init", "starts one: new shares and a new root key", false)
    .option("--status", "shows how far it is", false)
    .option("--cancel", "gives it up; the present shares stay", false)
    .option("--key-shares <number>", "how many new shares", count, 5)
    .option("--key-threshold <number>", "how many of them are needed", count, 3)
    .option("--no-verify", "the new shares count at once, without being given back first")
    .action((options: RekeyOptions) => run(loaded().then(([{ rekey }, client]) => rekey(client, io, options))));
  operator
    .command("generate-root")
    .description("Takes one share from standard input for a root token; exit code 2 while more are needed")
    .option("--init", "starts it, and prints the one-time password that decodes the token", false)
    .option("--status", "shows how far it is", false)
    .option("--cancel", "gives it up", false)
    .option("--decode <token>", "decodes a token; the one-time password comes from standard input")
    .action((options: RootOptions) =>
      run(loaded().then(([{ generateRoot }, client]) => generateRoot(client, io, options))),
    );
}

const allowOption = ["--allow <name...>", "what the server's config lists under gitops.allow"] as const;

function atLeastZero(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("must be a whole number");
  return Number(text);
}

/** Commands that need no server. */
function offline(program: Command, io: Io, run: Run): void {
  // Their texts bring their own line ends.
  const texts = {
    out: (text: string): void => io.out(text.replace(/\n$/, "")),
    error: (text: string): void => io.err(text.replace(/\n$/, "")),
  };
  program
    .command("check")
    .description("Tells all that is wrong with the documents in a folder, offline; exit code 1 where anything is")
    .argument("[dir]", "the folder of the documents", ".")
    .option(...allowOption)
    .action((dir: string, options: { allow?: string[] }) =>
      run(
        Promise.all([import("./check.ts"), import("../registry.ts")]).then(([{ check }, { kinds }]) =>
          check(dir, texts, kinds, options),
        ),
      ),
    );
  program
    .command("plan")
    .description("Shows what changes from BASE to HEAD, document by document, offline")
    .argument("[base]", "a commit; what is upstream where left out")
    .argument("[head]", "a commit; the files on disk where left out")
    .option("--dir <dir>", "the folder of the documents", ".")
    .option("--max-deletions <number>", "as gitops.max_deletions of the server", atLeastZero)
    .option(...allowOption)
    .action((base: string | undefined, head: string | undefined, options: Omit<PlanOptions, "base" | "head">) =>
      run(
        Promise.all([import("./plan.ts"), import("../registry.ts")]).then(([{ plan }, { kinds }]) =>
          plan({ ...options, ...(base !== undefined && { base }), ...(head !== undefined && { head }) }, texts, kinds),
        ),
      ),
    );
  program
    .command("audit")
    .description("Works on audit logs")
    .command("verify")
    .description("Checks chain and signatures of a log, offline; exit code 1 where it is not whole")
    .argument("<source>", "a log file, a folder of rotated ones, or an audit repository")
    .option("--key <key>", 'a file with public keys, or the line "ssh-ed25519 AAAA…"')
    .option("--head <head>", "a line that must be in the log: SEQ:HASH, or HASH")
    .option("--git <repository>", "an audit repository that knows the head of the log")
    .action((source: string, options: Omit<VerifyOptions, "source">) =>
      run(import("./audit.ts").then(({ verifyAudit }) => verifyAudit({ source, ...options }, io))),
    );
  program
    .command("schemas")
    .description("Writes the JSON Schemas for editors")
    .option("--check", "only says whether they are up to date", false)
    .option("--folder <folder>", "where they are written; the program's own where left out")
    .action((options: { check: boolean; folder?: string }) =>
      run(import("./schemas.ts").then(({ schemas }) => schemas(io, options))),
    );
}

/** Runs one command line (without node and the script) and gives its exit code. */
export async function run(args: readonly string[], io: Io = processIo): Promise<number> {
  let exitCode = 0;
  const program = new Command("writ")
    .description("Authorization as code: a vault whose policies are commits")
    .version(version, "-V, --version")
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.err(text.trimEnd()) });
  const runs: Run = async (code) => {
    exitCode = await code;
  };
  servers(program, io, runs);
  clients(program, io, runs);
  operators(program, io, runs);
  offline(program, io, runs);
  program
    .command("version")
    .description("Prints the version")
    .action(() => io.out(`writ ${version} (node ${process.version})`));
  try {
    await program.parseAsync(args, { from: "user" });
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
