// `writ run -- CMD`: a command with secrets in its environment, kept alive while it runs and ended with it.
// Must hold: the command and its end are what counts: it gets signals, and its exit code is this one's; what was made for it
// (a token of its own where the caller may make one, leases otherwise) is revoked at its end; where this process is killed,
// the token ends by itself within the hour.
// Known gap: who may read the environment of a process (its own user, root) reads the secrets in it.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { apiPath, type Client, CommandError, dataIn } from "./client.ts";
import type { Io } from "./io.ts";

type Body = Readonly<Record<string, unknown>>;

export interface RunOptions {
  /** NAME=PATH#FIELD each. */
  readonly env?: readonly string[];
  /** PATH each: every field, by its own name. */
  readonly from?: readonly string[];
  readonly prefix: string;
  readonly upcase?: boolean;
}

interface Lease {
  readonly id: string;
  readonly renewable: boolean;
  /** Seconds. */
  readonly ttl: number;
}

interface Secret {
  readonly fields: Body;
  readonly lease: Lease | null;
}

const name = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads a path as `writ read` does; of KV version 2, the secret itself. */
async function readSecret(client: Client, path: string): Promise<Secret> {
  const { body } = await client.call("GET", apiPath(path));
  const data = dataIn(body);
  const inner =
    data["metadata"] !== undefined && typeof data["data"] === "object" ? (data["data"] as Body | null) : data;
  if (inner === null) throw new CommandError(`the newest version of ${path} is deleted`);
  const id = typeof body?.["lease_id"] === "string" ? body["lease_id"] : "";
  const lease = { id, renewable: body?.["renewable"] === true, ttl: Number(body?.["lease_duration"] ?? 0) };
  return { fields: inner, lease: id === "" ? null : lease };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The variables, and the leases behind them. A path that is named twice is read once. */
async function collect(client: Client, options: RunOptions) {
  const secrets = new Map<string, Secret>();
  const at = async (path: string): Promise<Secret> => {
    const secret = secrets.get(path) ?? (await readSecret(client, path));
    secrets.set(path, secret);
    return secret;
  };
  const variables: Record<string, string> = {};
  const set = (variable: string, value: unknown): void => {
    if (!name.test(variable)) throw new CommandError(`${JSON.stringify(variable)} is no name of a variable`);
    const text = textOf(value);
    if (text.includes("\0"))
      throw new CommandError(`the value for ${variable} has a zero byte, which no variable can have`);
    variables[variable] = text;
  };
  for (const path of options.from ?? []) {
    for (const [field, value] of Object.entries((await at(path)).fields)) {
      set(options.prefix + (options.upcase === true ? field.toUpperCase() : field), value);
    }
  }
  for (const pair of options.env ?? []) {
    const [, variable = "", path = "", field = ""] = /^([^=]+)=([^#]+)#(.+)$/.exec(pair) ?? [];
    if (variable === "") throw new CommandError(`${JSON.stringify(pair)}: write --env NAME=PATH#FIELD`);
    const { fields } = await at(path);
    if (!Object.hasOwn(fields, field)) throw new CommandError(`${path} has no field ${JSON.stringify(field)}`);
    set(variable, fields[field]);
  }
  return { variables, leases: [...secrets.values()].flatMap(({ lease }) => lease ?? []) };
}

/** A token that ends with the command; null where the caller may not make one. */
async function ownToken(client: Client): Promise<{ readonly client: Client; readonly ttl: number } | null> {
  const { status, body } = await client.call(
    "POST",
    "auth/token/create",
    { display_name: "run", ttl: "1h" },
    [400, 403],
  );
  if (status !== 200) return null;
  const auth = (body?.["auth"] ?? {}) as Body;
  return { client: client.as(String(auth["client_token"])), ttl: Number(auth["lease_duration"]) };
}

/** Renews at half of its time, until told to stop; what cannot be renewed is said once. */
function keep(io: Io, what: string, ttl: number, renew: () => Promise<number>): () => void {
  let timer: NodeJS.Timeout | undefined;
  const later = (seconds: number): void => {
    if (seconds <= 0) return;
    timer = setTimeout(
      () => {
        renew().then(later, (error: unknown) => {
          io.err(`writ: ${what} is not renewed any more: ${error instanceof Error ? error.message : "failed"}`);
        });
      },
      Math.min((seconds * 1000) / 2, 2 ** 31 - 1),
    );
  };
  later(ttl);
  return () => clearTimeout(timer);
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const;

/** As a shell counts: 128 and the signal's number where a signal ended it. */
function execute(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [program = "", ...args] = command;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const child = spawn(program, args, { stdio: "inherit", env });
  const pass = signals.map((signal) => [signal, () => void child.kill(signal)] as const);
  for (const [signal, listener] of pass) process.on(signal, listener);
  const end = (): void => {
    for (const [signal, listener] of pass) process.off(signal, listener);
  };
  child.on("error", (error: NodeJS.ErrnoException) => {
    end();
    reject(
      new CommandError(
        `${program} cannot be run (${error.code ?? error.message})`,
        error.code === "ENOENT" ? 127 : 126,
      ),
    );
  });
  child.on("exit", (code, signal) => {
    end();
    resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
  });
  return promise;
}

export async function runCommand(
  client: Client,
  io: Io,
  command: readonly string[],
  options: RunOptions,
): Promise<number> {
  if (command.length === 0) throw new CommandError("give the command behind --: writ run --env NAME=PATH#FIELD -- CMD");
  const own = await ownToken(client);
  const asker = own?.client ?? client;
  const stops: (() => void)[] = [];
  let leases: readonly Lease[] = [];
  try {
    const found = await collect(asker, options);
    ({ leases } = found);
    if (own !== null) {
      const renew = async (): Promise<number> => {
        const { body } = await asker.call("POST", "auth/token/renew-self", {});
        return Number(((body?.["auth"] ?? {}) as Body)["lease_duration"]);
      };
      stops.push(keep(io, "the command's token", own.ttl, renew));
    }
    for (const { id, ttl } of leases.filter(({ renewable }) => renewable)) {
      const renew = async (): Promise<number> =>
        Number((await asker.call("POST", "sys/leases/renew", { lease_id: id })).body?.["lease_duration"]);
      stops.push(keep(io, `lease ${id}`, ttl, renew));
    }
    const { VAULT_TOKEN: _token, ...rest } = io.env;
    return await execute(command, { ...rest, ...found.variables });
  } finally {
    for (const stop of stops) stop();
    await end(asker, io, own !== null, leases);
  }
}

async function end(client: Client, io: Io, own: boolean, leases: readonly Lease[]): Promise<void> {
  const failed = (what: string) => (error: unknown) =>
    io.err(`writ: ${what} could not be revoked: ${error instanceof Error ? error.message : "failed"}`);
  // What a token leased ends with it.
  if (own) await client.call("POST", "auth/token/revoke-self").catch(failed("the command's token"));
  else
    for (const { id } of leases)
      await client.call("POST", "sys/leases/revoke", { lease_id: id }).catch(failed(`lease ${id}`));
}
