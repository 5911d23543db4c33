// The commands for who may what, and until when: tokens, policies, leases. As they are declared; access.ts does it.

import { type Command, Option } from "commander";
import type * as accesses from "./access.ts";
import type { CreateOptions, LeaseOptions, TokenOptions } from "./access.ts";
import type { Client } from "./client.ts";
import { atLeastZero, each, example, listed, online, type Shell, shown, wrappable } from "./command.ts";
import type { ShowOptions } from "./show.ts";

const access = () => import("./access.ts");

export function rights(program: Command, shell: Shell): void {
  tokens(program.command("token").description("Makes, shows, renews and revokes tokens"), shell);
  policies(program.command("policy").description("Shows and changes policies that the API made"), shell);
  leases(program.command("lease").description("Shows, renews and revokes leases"), shell);
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
    .option("--use-limit <number>", "how many requests it may make", atLeastZero)
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
