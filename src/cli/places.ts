// The commands for what is where: secret engines, auth methods and audit devices. As they are declared; mounts.ts does it.

import type { Command } from "commander";
import { example, listed, online, type Shell } from "./command.ts";
import type { DeviceOptions, EnableOptions, Side, TuneOptions } from "./mounts.ts";
import type { ShowOptions } from "./show.ts";

const load = () => import("./mounts.ts");

/** What can be changed later, too. */
const tunable = (command: Command, side: Side): Command => {
  command
    .option("--description <text>", "what it is for")
    .option("--default-lease-ttl <duration>", "TTL where nothing names one")
    .option("--max-lease-ttl <duration>", "the longest TTL")
    .option("--listing-visibility <how>", "unauth or hidden; kept and shown, opens nothing");
  return side === "auth" ? command.option("--token-type <type>", "of the tokens that logins get") : command;
};

export function places(program: Command, shell: Shell): void {
  const engines = program.command("secrets").description("Shows, mounts, tunes, moves and unmounts secret engines");
  mounts(engines, "mounts", "kv", shell);
  const methods = program.command("auth").description("Shows, mounts, tunes, moves and unmounts auth methods");
  mounts(methods, "auth", "approle", shell);
}

function mounts(group: Command, side: Side, type: string, shell: Shell): void {
  const { io } = shell;
  const name = group.name();
  const list = group
    .command("list")
    .description("Shows what is mounted where")
    .action((options: ShowOptions) =>
      online(shell, load, (module, client) => module.listMounts(client, io, side, options)),
    );
  example(listed(list), `writ ${name} list`);
  const enable = group
    .command("enable")
    .description("Mounts a plugin by the API; what Git declares is mounted by Git")
    .argument("<type>", `such as ${type}`)
    .argument("[config...]", "more of its tuning, as key=value")
    .option("--path <path>", "where; its type where left out")
    .option("--version <version>", "of KV: 1 or 2")
    .action((plugin: string, words: string[], options: EnableOptions) =>
      online(shell, load, (module, client) => module.enable(client, io, side, plugin, words, options)),
    );
  example(tunable(enable, side), `writ ${name} enable --path team ${type}`);
  const tune = group
    .command("tune")
    .description("Changes what a mount of the API is told")
    .argument("<path>")
    .action((path: string, options: TuneOptions) =>
      online(shell, load, (module, client) => module.tune(client, io, side, path, options)),
    );
  example(tunable(tune, side), `writ ${name} tune --max-lease-ttl 24h team`);
  const move = group
    .command("move")
    .description("Moves a mount of the API to another path; its leases and tokens end")
    .argument("<from>")
    .argument("<to>")
    .action((from: string, to: string) =>
      online(shell, load, (module, client) => module.move(client, io, side, from, to)),
    );
  example(move, `writ ${name} move team crew`);
  const disable = group
    .command("disable")
    .description("Unmounts, with all that is inside")
    .argument("<path>")
    .action((path: string) => online(shell, load, (module, client) => module.disable(client, io, side, path)));
  example(disable, `writ ${name} disable crew`);
}

/** Those of `writ audit` that ask the server. */
export function devices(audit: Command, shell: Shell): void {
  const { io } = shell;
  const list = audit
    .command("list")
    .description("Shows the audit devices and how far each is")
    .action((options: ShowOptions) => online(shell, load, (module, client) => module.listAudit(client, io, options)));
  example(listed(list), "writ audit list");
  const enable = audit
    .command("enable")
    .description("Makes an audit file by the API, in a folder that the server's configuration opens to that")
    .argument("<type>", "file")
    .argument("[options...]", "file_path=…, in one of audit_folders")
    .option("--path <name>", "the name of the device; its type where left out")
    .option("--description <text>", "what it is for")
    .action((type: string, words: string[], options: DeviceOptions) =>
      online(shell, load, (module, client) => module.enableAudit(client, io, type, words, options)),
    );
  example(enable, 'writ audit enable --path extra file file_path="$PWD/extra/audit.log"');
  const disable = audit
    .command("disable")
    .description("Ends an audit device that the API made")
    .argument("<path>", "its name")
    .action((path: string) => online(shell, load, (module, client) => module.disableAudit(client, io, path)));
  example(disable, "writ audit disable extra");
  const hash = audit
    .command("hash")
    .description("Shows what stands in the log in place of a value, which is typed or piped in")
    .argument("<device>", "the name of an audit device")
    .action((device: string, options: ShowOptions) =>
      online(shell, load, (module, client) => module.auditHash(client, io, device, options)),
    );
  example(hash, "printf '%s' hello | writ audit hash git");
}
