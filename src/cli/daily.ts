// The commands of every day, as they are declared: what they do is in a file for each group.

import { Argument, type Command, Option } from "commander";
import { each, example, listed, online, type Shell, shown } from "./command.ts";
import type * as accesses from "./access.ts";
import type { CreateOptions, LeaseOptions, TokenOptions } from "./access.ts";
import type { Client } from "./client.ts";
import type * as kvs from "./kv.ts";
import type { KvOptions } from "./kv.ts";
import type { LoginOptions } from "./login.ts";
import type { PathOptions } from "./paths.ts";
import { places } from "./places.ts";
import type { RunOptions } from "./run.ts";
import type { ShowOptions } from "./show.ts";

const access = () => import("./access.ts");
const kv = () => import("./kv.ts");
const paths = () => import("./paths.ts");

const dataHelp = "key=@FILE, key=- (standard input), @FILE or - for a JSON object; key=value where others may see it";

const wrappable = (command: Command): Command =>
  command.option("--wrap-ttl <duration>", "wraps the answer: prints a token that opens it once");

export function daily(program: Command, shell: Shell): void {
  logins(program, shell);
  anyPath(program, shell);
  secrets(program.command("kv").description("Reads and writes secrets of KV engines"), shell);
  tokens(program.command("token").description("Makes, shows, renews and revokes tokens"), shell);
  policies(program.command("policy").description("Shows and changes policies that the API made"), shell);
  leases(program.command("lease").description("Shows, renews and revokes leases"), shell);
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
    .description("Prints what is used here")
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
      .option("--cas <version>", "only where this version is the newest; 0: where there is none")
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
      .option("--max-versions <number>", "how many versions are kept")
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

function tokens(group: Command, shell: Shell): void {
  const { io } = shell;
  const create = group
    .command("create")
    .description("Makes a token below the caller's, which ends with it")
    .option("-p, --policy <name>", "its policies; the caller's where left out", each)
    .option("--ttl <duration>", "how long it lasts unless renewed")
    .option("--explicit-max-ttl <duration>", "how long it lasts at most")
    .option("--period <duration>", "it can be renewed for ever, by this long each time")
    .option("--use-limit <number>", "how many requests it may make")
    .option("--display-name <name>", "its name in the audit log")
    .option("--metadata <key=value>", "facts about it, in the audit log too", each)
    .option("--orphan", "it does not end with the caller's", false)
    .option("--role <name>", "as this token role says")
    .addOption(new Option("--type <type>", "service or batch").choices(["service", "batch"]))
    .option("--no-default-policy", "without the policy default")
    .action((options: CreateOptions) =>
      online(shell, access, (module, client) => module.createToken(client, io, options)),
    );
  example(wrappable(shown(create)), "writ token create --policy default --ttl 1h");
  const which = (name: string, about: string, act: (module: typeof accesses) => typeof accesses.lookupToken) =>
    group
      .command(name)
      .description(about)
      .argument("[source]", "- for a token that is typed or piped in")
      .option("--self", "the caller's own", false)
      .option("--accessor <accessor>", "the one of this accessor")
      .option("--hash <hash...>", "the one whose accessor stands in the audit log as this hash; revoke takes several")
      .action((source: string | undefined, options: TokenOptions) =>
        online(shell, access, (module, client) => act(module)(client, io, { ...options, source })),
      );
  example(
    shown(which("lookup", "Shows a token, the caller's own where none is named", ({ lookupToken }) => lookupToken)),
    "writ token lookup",
  );
  example(
    shown(
      which("renew", "Renews a token, the caller's own where none is named", ({ renewToken }) => renewToken),
    ).option("--increment <duration>", "by how long"),
    "writ token create --ttl 1h --policy default --field token | writ token renew --increment 2h -",
  );
  example(
    which(
      "revoke",
      "Revokes a token and its children; it is typed or piped in where none is named",
      ({ revokeToken }) => revokeToken,
    ).option("--mode <mode>", "orphan: its children stay"),
    "writ token create --policy default --field token | writ token revoke",
  );
  const capabilities = group
    .command("capabilities")
    .description("Shows what the caller, or the token of an accessor, may do at paths")
    .argument("<path...>", "such as secret/data/app")
    .option("--accessor <accessor>", "the token of this accessor")
    .action((where: string[], options: TokenOptions) =>
      online(shell, access, (module, client) => module.capabilities(client, io, where, options)),
    );
  example(listed(capabilities), "writ token capabilities secret/data/app sys/seal");
}

function policies(group: Command, shell: Shell): void {
  const { io } = shell;
  const list = group
    .command("list")
    .description("Names of all policies")
    .action((options: ShowOptions) =>
      online(shell, access, (module, client) => module.listPolicies(client, io, options)),
    );
  example(listed(list), "writ policy list");
  const read = group
    .command("read")
    .description("Shows a policy")
    .argument("<name>")
    .action((name: string, options: ShowOptions) =>
      online(shell, access, (module, client) => module.readPolicy(client, io, name, options)),
    );
  example(shown(read), "writ policy read default");
  const write = group
    .command("write")
    .description("Writes a policy in HCL or JSON; those of Git are changed there")
    .argument("<name>")
    .argument("<file>", "- is standard input")
    .action((name: string, file: string) =>
      online(shell, access, (module, client) => module.writePolicy(client, io, name, file)),
    );
  example(write, 'echo \'path "secret/data/app" { capabilities = ["read"] }\' | writ policy write app-read -');
  const remove = group
    .command("delete")
    .description("Deletes a policy that the API made")
    .argument("<name>")
    .action((name: string) => online(shell, access, (module, client) => module.deletePolicy(client, io, name)));
  example(remove, "writ policy delete app-read");
}

function leases(group: Command, shell: Shell): void {
  const { io } = shell;
  const on = (
    name: string,
    about: string,
    act: (
      module: typeof accesses,
    ) => (client: Client, io: Shell["io"], id: string, options: LeaseOptions) => Promise<number>,
  ): Command =>
    group
      .command(name)
      .description(about)
      .argument("<id>", "a lease, or where it says so the beginning of many")
      .action((id: string, options: LeaseOptions) =>
        online(shell, access, (module, client) => act(module)(client, io, id, options)),
      );
  example(
    listed(on("list", "Lists leases below a path", ({ listLeases }) => listLeases)).option(
      "--full",
      "one whole id a line",
      false,
    ),
    "writ lease list auth/token/create",
  );
  const first = '"$(writ lease list --full auth/token/create | head -n 1)"';
  example(shown(on("lookup", "Shows a lease", ({ lookupLease }) => lookupLease)), `writ lease lookup ${first}`);
  example(
    shown(on("renew", "Renews a lease", ({ renewLease }) => renewLease)).option(
      "--increment <duration>",
      "by how long",
    ),
    `writ lease renew ${first}`,
  );
  example(
    on("revoke", "Ends a lease", ({ revokeLease }) => revokeLease)
      .option("--prefix", "ends all leases that begin so", false)
      .option("--force", "with --prefix: forgets those that cannot be ended, too", false),
    "writ lease revoke --prefix auth/token/create",
  );
}
