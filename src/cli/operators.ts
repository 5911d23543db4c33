// The commands of operators, as they are declared: running a server, its life, its keys, its repository.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { BackupOptions } from "./backup.ts";
import { example, listed, online, type Shell } from "./command.ts";
import type { ExportOptions } from "./exportKeyring.ts";
import type { InitOptions, UnsealOptions } from "./operator.ts";
import type { RekeyOptions, RootOptions } from "./keys.ts";
import type { PinOptions } from "./pin.ts";
import type { RestoreOptions } from "./restore.ts";
import type { ShowOptions } from "./show.ts";
import type { SyncOptions } from "./status.ts";
import type { SealOptions } from "./seal.ts";

function count(text: string): number {
  const value = Number(text);
  if (!/^\d{1,3}$/.test(text) || value < 1 || value > 255) throw new InvalidArgumentError("must be 1 to 255");
  return value;
}

export function servers(program: Command, { io, run }: Shell): void {
  const server = program
    .command("server")
    .description("Runs the server; it never initialises or unseals itself")
    .requiredOption("-c, --config <file>", "the server configuration, such as /etc/writ/writ.yaml")
    .action((options: { config: string }) => run(import("./server.ts").then(({ serve }) => serve(options.config))));
  example(server, "writ server --config writ.yaml");
  const doctor = program
    .command("doctor")
    .description(
      "Looks at each part of the server's configuration, and says what to do; exit code 1 where something is wrong",
    )
    .requiredOption("-c, --config <file>", "the server configuration, such as /etc/writ/writ.yaml")
    .addOption(new Option("--format <format>", "table or json").choices(["table", "json"]))
    .action((options: { config: string; format?: string }) =>
      run(import("./doctor.ts").then((module) => module.doctor(io, options))),
    );
  example(doctor, "writ doctor --config writ.yaml");
  const quickstart = program
    .command("quickstart")
    .description("Runs a whole vault with example policies in a folder, for trying things out")
    .addHelpText("after", "\nWRIT_PORT chooses the port (8200), WRIT_DATA the folder (./writ-data).")
    .action(() => run(import("../quickstart/index.ts").then(({ quickstart: start }) => start(io))));
  example(quickstart, "writ quickstart");
}

export function repository(program: Command, shell: Shell): void {
  const { io } = shell;
  const load = () => import("./status.ts");
  const status = program
    .command("status")
    .description("Shows where the vault, its Git repository and its audit stand; exit code 2 where it is sealed")
    .option("--json", "the same as --format json", false)
    .option("--format <format>", "table or json")
    .action((options: { json: boolean; format?: string }) =>
      online(shell, load, (module, client) => module.status(client, io, options)),
    );
  example(status, "writ status");
  const sync = program
    .command("sync")
    .description("Applies the branch now and shows the result; exit code 1 where it is not applied")
    .option("--allow-deletions <commit>", "allows what this commit deletes, for this commit only")
    .option("--allow-rewind <commit>", "allows this commit although it does not build on what is applied")
    .action((options: SyncOptions) => online(shell, load, (module, client) => module.sync(client, io, options)));
  example(listed(sync), "writ sync");
  const pins = () => import("./pin.ts");
  const pin = program
    .command("pin")
    .description("Applies a commit that the branch has or had, and holds the vault there, whatever is pushed")
    .argument("<commit>", "its id, or a beginning of it that no other has")
    .option("--reason <text>", "why, for status and the audit", "")
    .option(
      "--allow-protected",
      "removes what is protected too, and mounts with their data, where that commit lacks them",
      false,
    )
    .action((commit: string, options: PinOptions) =>
      online(shell, pins, (module, client) => module.pin(client, io, commit, options)),
    );
  example(pin, 'writ pin "$(git rev-parse HEAD)" --reason "a bad merge is being looked into"');
  const unpin = program
    .command("unpin")
    .description("Goes on with the branch; exit code 1 where its tip is not applied")
    .action(() => online(shell, pins, (module, client) => module.unpin(client, io)));
  example(unpin, "writ unpin");
  example(sealing(program, shell), "writ seal --revoke-first");
}

/** The same command at both of its names. */
function sealing(parent: Command, shell: Shell): Command {
  const load = () => import("./seal.ts");
  return parent
    .command("seal")
    .description("Drops all keys: nothing is served until the vault is unsealed again. Says what stays alive outside")
    .option("--revoke-first", "ends all leases first, and seals only once nothing is left; else exit code 2", false)
    .option("--timeout <duration>", "how long --revoke-first tries", "2m")
    .action((options: SealOptions) => online(shell, load, (module, client) => module.seal(client, shell.io, options)));
}

/** The share of a vault with one, out of what init printed. */
const share = "sed -n 's/^Unseal Key 1: //p' keys.txt";

export function operators(program: Command, shell: Shell): void {
  const { io, run } = shell;
  const operator = program
    .command("operator")
    .description("Initialises, unseals and seals a vault, keeps its keys and its data");
  const load = () => import("./operator.ts");
  const init = operator
    .command("init")
    .description("Makes the keys of a new vault and prints them, once")
    .option("--key-shares <number>", "how many shares the unseal key is split into", count, 5)
    .option("--key-threshold <number>", "how many of them unseal", count, 3)
    .option("--status", "only says whether it has been done; exit code 2 where not", false)
    .action((options: InitOptions) => online(shell, load, (module, client) => module.init(client, io, options)));
  example(listed(init), "writ operator init --key-shares 1 --key-threshold 1 > keys.txt");
  const unseal = operator
    .command("unseal")
    .description("Takes one share, which is typed or piped in")
    .argument("[source]", "-")
    .option("--reset", "forgets the shares given so far", false)
    .action((source: string | undefined, options: UnsealOptions) =>
      online(shell, load, (module, client) => module.unseal(client, io, source, options)),
    );
  example(listed(unseal), `${share} | writ operator unseal`);
  example(sealing(operator, shell), "writ operator seal");
  const backup = operator
    .command("backup")
    .description("Takes everything that the vault has in storage into one age file, while it goes on")
    .requiredOption("-r, --recipient <recipient...>", "who may open the file, age1…")
    .requiredOption("-o, --output <file>", "where it is written")
    .action((options: BackupOptions) =>
      online(
        shell,
        () => import("./backup.ts"),
        (module, client) => module.backup(client, io, options),
      ),
    );
  example(backup, 'writ operator backup --recipient "$(cat recipient.txt)" --output vault.age');
  const restore = operator
    .command("restore")
    .description("Puts a backup into an empty storage, offline, and checks all of it with the vault's unseal keys")
    .argument("<file>", "what writ operator backup wrote")
    .requiredOption("-c, --config <file>", "the server configuration that names the storage")
    .requiredOption("-i, --identity <file>", "age identities of a recipient")
    .option("--unverified", "asks for no unseal keys; the check is left to the first unseal", false)
    .action((file: string, options: RestoreOptions) =>
      run(import("./restore.ts").then((module) => module.restore(file, io, options))),
    );
  example(restore, `${share} | writ operator restore vault.age --config restored.yaml --identity identity.txt`);
  const keyring = operator
    .command("export-keyring")
    .description("Gives the keys of stored values, encrypted to age recipients, for age and age-plugin-writ")
    .requiredOption("-r, --recipient <recipient...>", "who may open the file, age1…")
    .option("-o, --output <file>", "where it is written; standard output where left out")
    .action((options: ExportOptions) =>
      online(
        shell,
        () => import("./exportKeyring.ts"),
        (module, client) => module.exportKeyring(client, io, options),
      ),
    );
  example(keyring, 'writ operator export-keyring --recipient "$(cat recipient.txt)" --output keyring.age');
  const verify = operator
    .command("verify-storage")
    .description("Has the server read its whole storage; exit code 1 where something is not as it was written")
    .option("--accept", "takes what is there for what was written, once it was looked into", false)
    .action((options: { accept: boolean }) =>
      online(
        shell,
        () => import("./verifyStorage.ts"),
        (module, client) => module.verifyStorage(client, io, options),
      ),
    );
  example(verify, "writ operator verify-storage");
  keepers(operator, shell);
}

/** Rotation, rekey, generation of root tokens. */
function keepers(operator: Command, shell: Shell): void {
  const { io } = shell;
  const load = () => import("./keys.ts");
  const rotate = operator
    .command("rotate")
    .description("Makes a new key, in which everything is encrypted from now on; what is there stays readable")
    .action((options: ShowOptions) => online(shell, load, (module, client) => module.rotate(client, io, options)));
  example(listed(rotate), "writ operator rotate");
  const keyStatus = operator
    .command("key-status")
    .description("Shows the key in use")
    .action((options: ShowOptions) => online(shell, load, (module, client) => module.keyStatus(client, io, options)));
  example(listed(keyStatus), "writ operator key-status");
  const rekey = operator
    .command("rekey")
    .description("Takes one share from standard input for a rekey under way")
    .option("--init", "starts one: new shares and a new root key", false)
    .option("--status", "shows how far it is", false)
    .option("--cancel", "gives it up; the present shares stay", false)
    .option("--key-shares <number>", "how many new shares", count, 5)
    .option("--key-threshold <number>", "how many of them are needed", count, 3)
    .option(
      "--no-verify",
      "the new shares count without being given back; the present ones too, until new ones are used",
    )
    .action((options: RekeyOptions) => online(shell, load, (module, client) => module.rekey(client, io, options)));
  example(
    listed(rekey),
    `writ operator rekey --init --key-shares 1 --key-threshold 1\n${share} | writ operator rekey > new.txt\n` +
      "sed -n 's/^Key 1: //p' new.txt | writ operator rekey",
  );
  const generateRoot = operator
    .command("generate-root")
    .description("Takes one share from standard input for a root token")
    .option("--init", "starts it, and prints the one-time password that decodes the token", false)
    .option("--status", "shows how far it is", false)
    .option("--cancel", "gives it up", false)
    .option("--decode <token>", "decodes a token; the one-time password comes from standard input")
    .action((options: RootOptions) =>
      online(shell, load, (module, client) => module.generateRoot(client, io, options)),
    );
  example(
    listed(generateRoot),
    `writ operator generate-root --init > password.txt\n${share} | writ operator generate-root`,
  );
}
