// The commands that need no server, as they are declared.

import type { Command } from "commander";
import { release, version } from "../version.ts";
import type { VerifyOptions } from "./audit.ts";
import type { SearchOptions } from "./auditSearch.ts";
import { atLeastZero, example, listed, type Shell } from "./command.ts";
import { devices } from "./places.ts";
import type { PlanOptions } from "./plan.ts";

const allowOption = ["--allow <name...>", "what the server's config lists under gitops.allow"] as const;

/** Commands that need no server. */
export function offline(program: Command, shell: Shell): void {
  const { io, run } = shell;
  // Their texts bring their own line ends.
  const texts = {
    out: (text: string): void => io.out(text.replace(/\n$/, "")),
    error: (text: string): void => io.err(text.replace(/\n$/, "")),
  };
  const check = program
    .command("check")
    .description("Tells all that is wrong with the documents in a folder, offline; exit code 1 where anything is")
    .argument("[dir]", "the folder of the documents", ".")
    .option(...allowOption)
    .action((dir: string, options: { allow?: string[] }) =>
      run(
        Promise.all([import("./check.ts"), import("../registry.ts")]).then(([module, { kinds }]) =>
          module.check(dir, texts, kinds, options),
        ),
      ),
    );
  example(check, "writ check .");
  const plan = program
    .command("plan")
    .description(
      "Shows what changes from BASE to HEAD, document by document; offline, but for what holds the vault that VAULT_ADDR names",
    )
    .argument("[base]", "a commit; what is upstream where left out")
    .argument("[head]", "a commit; the files on disk where left out")
    .option("--dir <dir>", "the folder of the documents", ".")
    .option("--max-deletions <number>", "as gitops.max_deletions of the server", atLeastZero)
    .option(...allowOption)
    .action((base: string | undefined, head: string | undefined, options: Omit<PlanOptions, "base" | "head">) => {
      const planned = async (): Promise<number> => {
        const [module, { kinds }] = await Promise.all([import("./plan.ts"), import("../registry.ts")]);
        const between = { ...(base !== undefined && { base }), ...(head !== undefined && { head }) };
        const code = await module.plan({ ...options, ...between }, texts, kinds);
        if (code === 0) await (await import("./beside.ts")).beside(io);
        return code;
      };
      return run(planned());
    });
  example(plan, "writ plan");
  const schemas = program
    .command("schemas")
    .description("Writes the JSON Schemas for editors")
    .option("--check", "only says whether they are up to date", false)
    .option("--folder <folder>", "where they are written; the program's own where left out")
    .action((options: { check: boolean; folder?: string }) =>
      run(import("./schemas.ts").then((module) => module.schemas(io, options))),
    );
  example(schemas, "writ schemas --folder schemas");
  const told = program
    .command("version")
    .description("Prints the version")
    .action(() => io.out(`writ ${release()} (speaks Vault's API ${version}; node ${process.version})`));
  example(told, "writ version");
}

/** Logs are verified offline; the rest is asked of the server. */
export function audits(program: Command, shell: Shell): void {
  const { io, run } = shell;
  const audit = program.command("audit").description("Verifies audit logs, and helps to search them");
  const verify = audit
    .command("verify")
    .description("Checks chain and signatures of a log, offline; exit code 1 where it is not whole")
    .argument("<source>", "a log file, a folder of rotated ones, or an audit repository")
    .option("--key <key>", 'a file with public keys, or the line "ssh-ed25519 AAAA…"')
    .option("--head <head>", "a line that must be in the log: SEQ:HASH, or HASH")
    .option("--git <repository>", "an audit repository that knows the head of the log")
    .action((source: string, options: Omit<VerifyOptions, "source">) =>
      run(import("./audit.ts").then(({ verifyAudit }) => verifyAudit({ source, ...options }, io))),
    );
  example(verify, "writ audit verify ../audit.git");
  const log = audit
    .command("log")
    .description("Shows who did what, out of a log, offline; what is secret stands there as writ audit hash shows it")
    .argument("<source>", "a log file, a folder of rotated ones, or an audit repository")
    .option("--with <text...>", "lines that have one of these: a hash, a path, a name, an address")
    .option("--follow", "also what was done with tokens that these lines made", false)
    .option("--made", "prints only the hashes of the accessors of tokens that were made", false)
    .option("--since <time>", "a time in UTC, or its beginning: 2026-11-25T08")
    .action((source: string, options: SearchOptions) =>
      run(import("./auditSearch.ts").then(({ searchAudit }) => searchAudit(source, io, options))),
    );
  example(listed(log), "writ audit log ../audit.git --with auth/token/create --follow");
  devices(audit, shell);
}
