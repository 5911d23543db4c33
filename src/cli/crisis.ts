// The commands for when somebody has to go, as they are declared: `writ revoke`, `writ restore`, `writ blocks`.

import type { Command } from "commander";
import type { BlockType, RestoreOptions, RevokeOptions } from "./blocks.ts";
import { example, listed, online, type Shell } from "./command.ts";
import type { ShowOptions } from "./show.ts";

interface Kind {
  readonly type: BlockType;
  readonly what: string;
  readonly name: string;
  readonly such: string;
}

const kinds: readonly Kind[] = [
  {
    type: "person",
    what: "a person or a service, with all logins",
    name: "an entity's name or id, or a login as MOUNT/LOGIN",
    such: "alice",
  },
  {
    type: "mapping",
    what: "what gives tokens to a login: a user, a role of machines, a token role",
    name: "MOUNT/NAME, such as approle/payments-api or token/ci",
    such: "approle/payments-api",
  },
  {
    type: "mount",
    what: "a secret engine or an auth method, with all below it",
    name: "its path, such as secret or auth/userpass",
    such: "auth/approle",
  },
  {
    type: "address",
    what: "a range of addresses",
    name: "an address or a range, such as 203.0.113.0/24",
    such: "203.0.113.0/24",
  },
];

const load = () => import("./blocks.ts");

export function crises(program: Command, shell: Shell): void {
  const { io } = shell;
  const revoke = program
    .command("revoke")
    .description("Ends the access of a person, a mapping, a mount or an address range at once, whatever Git says");
  for (const { type, what, name, such } of kinds) {
    const command = revoke
      .command(type)
      .description(`Blocks ${what}, at once, and revokes what was got before; exit code 2 while something is left`)
      .argument("<name>", name)
      .requiredOption("-r, --reason <text>", "why; it stands in the audit in clear")
      .option("--force", "also where it takes your own access", false)
      .option("--no-wait", "does not wait for the revocation, which goes on in the server");
    if (type === "address") command.option("--keep", "refuses requests, and keeps what was got from there");
    command.action((given: string, options: RevokeOptions) =>
      online(shell, load, (module, client) => module.revoke(client, io, type, given, options)),
    );
    example(command, `writ revoke ${type} ${such} --reason "stolen laptop"`);
  }
  const restore = program
    .command("restore")
    .description("Gives back what Git says to whom writ revoke took it from; what was revoked stays revoked");
  for (const { type, what, name, such } of kinds) {
    const command = restore
      .command(type)
      .description(`Lifts the block of ${what}`)
      .argument("<name>", name)
      .option("-r, --reason <text>", "why; it stands in the audit in clear")
      .action((given: string, options: RestoreOptions) =>
        online(shell, load, (module, client) => module.restore(client, io, type, given, options)),
      );
    example(command, `writ restore ${type} ${such}`);
  }
  const blocks = program
    .command("blocks")
    .description("Shows who and what is blocked, since when, by whom, why, and what is left to revoke")
    .action((options: ShowOptions) => online(shell, load, (module, client) => module.list(client, io, options)));
  example(listed(blocks), "writ blocks");
}
