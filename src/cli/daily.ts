// The commands of every day, as they are declared: what they do is in a file for each group.

import { Argument, type Command } from "commander";
import { atLeastZero, each, example, listed, online, type Shell, shown, wrappable } from "./command.ts";
import type { Client } from "./client.ts";
import type * as kvs from "./kv.ts";
import type { KvOptions } from "./kv.ts";
import type { LoginOptions } from "./login.ts";
import type { PathOptions } from "./paths.ts";
import { places } from "./places.ts";
import { rights } from "./rights.ts";
import type { RunOptions } from "./run.ts";

const kv = () => import("./kv.ts");
const paths = () => import("./paths.ts");

const dataHelp = "key=@FILE, key=- (standard input), @FILE or - for a JSON object; key=value where others may see it";

export function daily(program: Command, shell: Shell): void {
  logins(program, shell);
  anyPath(program, shell);
  secrets(program.command("kv").description("Reads and writes secrets of KV engines"), shell);
  rights(program, shell);
  places(program, shell);
}

function logins(program: Command, shell: Shell): void {
  const { io } = shell;
  const login = program
    .command("login")
    .description("Gets a token, and keeps it for the commands that follow; what is secret is asked for")
    .argument("[data...]", dataHelp)
    .option("-m, --method <method>", "token, userpass or approle", "token")
    .option("--path <mount>", "where the method is mounted, below auth/; its name where left out")
    .option("--no-store", "prints the token and keeps nothing")
    .action((words: string[], options: LoginOptions) =>
      online(
        shell,
        () => import("./login.ts"),
        (module, client) => module.login(client, io, words, options),
      ),
    );
  example(shown(login), "printf '%s' \"$VAULT_TOKEN\" | writ login");
  const logout = program
    .command("logout")
    .description("Revokes the caller's token, and forgets it")
    .action(() =>
      online(
        shell,
        () => import("./login.ts"),
        (module, client) => module.logout(client, io),
      ),
    );
  example(logout, "writ logout");
  const print = program
    .command("print")
    .description("Prints the token that is used here")
    .addArgument(new Argument("<what>", "the token").choices(["token"]))
    .action(() =>
      shell.run(import("./client.ts").then(async ({ tokenOf }) => (io.out((await tokenOf(io.env)) ?? ""), 0))),
    );
  example(print, "writ print token | writ login");
  const run = program
    .command("run")
    .description("Runs a command with secrets in its environment; renews meanwhile, and revokes at its end")
    .argument("<command...>", "the command, behind --")
    .option("-e, --env <name=path#field>", "one variable from one field; may be given again, as all of these", each)
    .option("--from <path>", "a variable for each field of a secret", each)
    .option("--prefix <prefix>", "stands before the names of --from", "")
    .option("--upcase", "names of --from in capitals", false)
    .action((command: string[], options: RunOptions) =>
      shell.run(
        Promise.all([import("./run.ts"), import("./client.ts")]).then(async ([module, { createClient }]) =>
          module.runCommand(await createClient(io.env), io, command, options),
        ),
      ),
    );
  example(run, "writ run --env GREETING=secret/data/app#greeting -- sh -c 'echo \"$GREETING\"'");
}

function anyPath(program: Command, shell: Shell): void {
  const { io } = shell;
  const read = program
    .command("read")
    .description("Reads any path of the API")
    .argument("<path>", "such as auth/token/lookup-self")
    .argument("[data...]", "key=value for the query")
    .action((path: string, words: string[], options: PathOptions) =>
      online(shell, paths, (module, client) => module.read(client, io, path, words, options)),
    );
  example(wrappable(shown(read)), "writ read auth/token/lookup-self");
  const write = program
    .command("write")
    .description("Writes to any path of the API")
    .argument("<path>", "such as sys/tools/random/16")
    .argument("[data...]", dataHelp)
    .option("-f, --force", "writes without data", false)
    .action((path: string, words: string[], options: PathOptions) =>
      online(shell, paths, (module, client) => module.write(client, io, path, words, options)),
    );
  example(wrappable(shown(write)), "writ write sys/wrapping/wrap greeting=hello --field token --wrap-ttl 60");
  const list = program
    .command("list")
    .description("Lists what is below any path of the API")
    .argument("<path>", "such as sys/policies/acl")
    .action((path: string, options: PathOptions) =>
      online(shell, paths, (module, client) => module.list(client, io, path, options)),
    );
  example(listed(list), "writ list sys/policies/acl");
  const remove = program
    .command("delete")
    .description("Deletes at any path of the API")
    .argument("<path>", "such as cubbyhole/note")
    .action((path: string, options: PathOptions) =>
      online(shell, paths, (module, client) => module.remove(client, io, path, options)),
    );
  example(listed(remove), "writ delete cubbyhole/note");
  const unwrap = program
    .command("unwrap")
    .description(
      "Opens what a wrapping token holds, once: the caller's own token, or with - one that is typed or piped in",
    )
    .argument("[source]", "-")
    .action((source: string | undefined, options: PathOptions) =>
      online(shell, paths, (module, client) => module.unwrap(client, io, source, options)),
    );
  const help = program
    .command("path-help")
    .description("Tells what can be asked at a path of the API")
    .argument("<path>", "such as sys/policies/acl")
    .action((path: string) => online(shell, paths, (module, client) => module.help(client, io, path)));
  example(help, "writ path-help sys/policies/acl");
  example(shown(unwrap), "writ write sys/wrapping/wrap greeting=hello --wrap-ttl 60 --field token | writ unwrap -");
}

const mountOption = ["--mount <mount>", "where the engine is mounted, if not the path's first part"] as const;

type KvRun = (client: Client, io: Shell["io"], path: string, options: KvOptions) => Promise<number>;

function secrets(group: Command, shell: Shell): void {
  const { io } = shell;
  const on = (parent: Command, name: string, about: string, pick: (module: typeof kvs) => KvRun): Command =>
    parent
      .command(name)
      .description(about)
      .argument("<path>", "such as secret/app")
      .option(...mountOption)
      .action((path: string, options: KvOptions) =>
        online(shell, kv, (module, client) => pick(module)(client, io, path, options)),
      );
  const writer = (name: "put" | "patch", about: string): Command =>
    group
      .command(name)
      .description(about)
      .argument("<path>", "such as secret/app")
      .argument("<data...>", dataHelp)
      .option(...mountOption)
      .option("--cas <version>", "only where this version is the newest; 0: where there is none", atLeastZero)
      .action((path: string, words: string[], options: KvOptions) =>
        online(shell, kv, (module, client) => module[name](client, io, path, words, options)),
      );
  const versions = ["--versions <versions>", "which versions, such as 1,2"] as const;
  const version = ["--version <version>", "which version; the newest where left out"] as const;
  example(shown(writer("put", "Writes a secret")), "printf '%s' hello | writ kv put secret/app greeting=- owner=ada");
  example(shown(writer("patch", "Changes some fields of a secret")), "writ kv patch secret/app owner=bob");
  example(
    shown(on(group, "get", "Reads a secret", ({ get }) => get)).option(...version),
    "writ kv get --field greeting secret/app",
  );
  const list = group
    .command("list")
    .description("Lists secrets and folders")
    .argument("[path]", "such as secret/", "")
    .option(...mountOption)
    .action((path: string, options: KvOptions) =>
      online(shell, kv, (module, client) => module.list(client, io, path, options)),
    );
  example(listed(list), "writ kv list secret/");
  example(
    listed(on(group, "history", "Shows the versions of a secret", ({ history }) => history)),
    "writ kv history secret/app",
  );
  example(
    shown(on(group, "rollback", "Writes an old version again, as the newest", ({ rollback }) => rollback)).option(
      ...version,
    ),
    "writ kv rollback --version 1 secret/app",
  );
  example(
    on(group, "delete", "Deletes the newest version, or those named", ({ remove }) => remove).option(...versions),
    "writ kv delete --versions 2 secret/app",
  );
  example(
    on(group, "undelete", "Brings deleted versions back", ({ undelete }) => undelete).option(...versions),
    "writ kv undelete --versions 2 secret/app",
  );
  example(
    on(group, "destroy", "Destroys versions for good", ({ destroy }) => destroy).option(...versions),
    "writ kv destroy --versions 2 secret/app",
  );
  const metadata = group.command("metadata").description("Shows and changes what is kept about a secret");
  const settings = (command: Command): Command =>
    command
      .option("--max-versions <number>", "how many versions are kept", atLeastZero)
      .option("--cas-required", "every write must name the version it builds on")
      .option("--delete-version-after <duration>", "each version is deleted that long after its time")
      .option("--custom-metadata <key=value>", "notes about the secret", each);
  example(shown(on(metadata, "get", "Shows it", ({ getMetadata }) => getMetadata)), "writ kv metadata get secret/app");
  example(
    settings(
      on(
        metadata,
        "put",
        "Sets it",
        ({ writeMetadata }) =>
          (...args) =>
            writeMetadata(args[0], args[1], "POST", args[2], args[3]),
      ),
    ),
    "writ kv metadata put --max-versions 5 --custom-metadata owner=ada secret/app",
  );
  example(
    settings(
      on(
        metadata,
        "patch",
        "Changes some of it",
        ({ writeMetadata }) =>
          (...args) =>
            writeMetadata(args[0], args[1], "PATCH", args[2], args[3]),
      ),
    ),
    "writ kv metadata patch --custom-metadata team=payments secret/app",
  );
  example(
    on(metadata, "delete", "Deletes a secret with all its versions", ({ deleteMetadata }) => deleteMetadata),
    "writ kv metadata delete secret/app",
  );
}
