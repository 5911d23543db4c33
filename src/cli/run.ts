// `writ run -- CMD`: a command with secrets in its environment, kept alive while it runs and ended with it.
// Must hold: the command and its end are what counts: it gets signals, and its exit code is this one's; what was made for it
// (a token of its own where the caller may make one, leases otherwise) is revoked at its end; where this process is killed,
// the token ends by itself within the hour.
// Known gap: in a terminal, SIGINT and SIGQUIT that somebody else sends to this process alone are not passed on: they
// cannot be told from the keys, which the command gets by itself.
// Known gap: who may read the environment of a process (its own user, root) reads the secrets in it.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { isatty } from "node:tty";
import { apiPath, type Client, CommandError, dataIn, remote } from "./client.ts";
import type { Io } from "./io.ts";
import { absent } from "./paths.ts";

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
  const answer = await client.call("GET", apiPath(path), undefined, [404]);
  const { body, status } = answer;
  const data = dataIn(body);
  // A version that is deleted is told of with 404, too.
  if (status === 404 && data["metadata"] === undefined) throw await absent(client, path, answer);
  const inner =
    data["metadata"] !== undefined && typeof data["data"] === "object" ? (data["data"] as Body | null) : data;
  if (inner === null) throw new CommandError(`the newest version of ${path} is deleted`, remote);
  const id = typeof body?.["lease_id"] === "string" ? body["lease_id"] : "";
  const lease = { id, renewable: body?.["renewable"] === true, ttl: Number(body?.["lease_duration"] ?? 0) };
  return { fields: inner, lease: id === "" ? null : lease };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The variables; what was read for them is added to `secrets`. A path that is named twice is read once. */
async function collect(client: Client, options: RunOptions, secrets: Map<string, Secret>) {
  const at = async (path: string): Promise<Secret> => {
    const secret = secrets.get(path) ?? (await readSecret(client, path));
    secrets.set(path, secret);
    return secret;
  };
  const variables = Object.create(null) as Record<string, string>;
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
  return variables;
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

/** Between two tries of a renewal that failed, at most. */
const retrySeconds = 30;

/** Renews at half of its time, until told to stop. What fails is tried again until that time is over; it is said once. */
function keep(io: Io, what: string, ttl: number, renew: () => Promise<number>): () => void {
  let timer: NodeJS.Timeout | undefined;
  let end = 0;
  let told = false;
  let stopped = false;
  const wait = (seconds: number): void => {
    timer = setTimeout(again, Math.min(seconds * 1000, 2 ** 31 - 1));
  };
  const renewed = (seconds: number): void => {
    if (told) io.err(`writ: ${what} is renewed again`);
    told = false;
    end = Date.now() + seconds * 1000;
    if (seconds > 0) wait(seconds / 2);
  };
  const failed = (error: unknown): void => {
    const left = (end - Date.now()) / 1000;
    const how = left > 0 ? `is not renewed, and ends in ${Math.round(left)} s` : "is at its end";
    if (!told || left <= 0) io.err(`writ: ${what} ${how}: ${error instanceof Error ? error.message : "failed"}`);
    told = true;
    if (left > 0) wait(Math.min(retrySeconds, Math.max(1, left / 4)));
  };
  // An answer that comes after the end is none's.
  const again = (): void =>
    void renew().then(
      (seconds) => stopped || renewed(seconds),
      (error: unknown) => stopped || failed(error),
    );
  renewed(ttl);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const;
/** Keys of a terminal, which sends them to the command itself: twice would be twice. */
const keys: ReadonlySet<string> = new Set(["SIGINT", "SIGQUIT"]);

/** What is to end when this process is told to. */
interface Watch {
  /** The first signal that came; null before one. */
  readonly signal: () => NodeJS.Signals | null;
  /** Who gets signals from now on. */
  pass(to: (signal: NodeJS.Signals) => void): void;
  stop(): void;
}

/** From the first moment on, so that whatever was made for the command is revoked however early a signal comes. */
function watchSignals(): Watch {
  let first: NodeJS.Signals | null = null;
  let receiver: ((signal: NodeJS.Signals) => void) | null = null;
  const listeners = signals.map(
    (signal) =>
      [
        signal,
        () => {
          first ??= signal;
          // A second one ends a wait for the server.
          if (receiver === null) stop();
          else receiver(signal);
        },
      ] as const,
  );
  const stop = (): void => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  };
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return { signal: () => first, pass: (to) => void (receiver = to), stop };
}

/** As a shell counts: 128 and the signal's number where a signal ended it. */
const codeOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

function execute(command: readonly string[], env: NodeJS.ProcessEnv, watch: Watch): Promise<number> {
  const [program = "", ...args] = command;
  const early = watch.signal();
  if (early !== null) return Promise.resolve(codeOf(early));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const child = spawn(program, args, { stdio: "inherit", env });
  const terminal = [0, 1, 2].some((stream) => isatty(stream));
  watch.pass((signal) => {
    if (!(terminal && keys.has(signal))) child.kill(signal);
  });
  child.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    reject(new CommandError(`${program} cannot be run (${code ?? message})`, code === "ENOENT" ? 127 : 126));
  });
  child.on("exit", (code, signal) => resolve(signal === null ? (code ?? 1) : codeOf(signal)));
  return promise;
}

export async function runCommand(
  client: Client,
  io: Io,
  command: readonly string[],
  options: RunOptions,
): Promise<number> {
  if (command.length === 0) throw new CommandError("give the command behind --: writ run --env NAME=PATH#FIELD -- CMD");
  const watch = watchSignals();
  const stops: (() => void)[] = [];
  const secrets = new Map<string, Secret>();
  const leases = () => [...secrets.values()].flatMap(({ lease }) => lease ?? []);
  const own = await ownToken(client);
  const asker = own?.client ?? client;
  try {
    const variables = await collect(asker, options, secrets);
    if (own !== null) {
      const renew = async (): Promise<number> => {
        const { body } = await asker.call("POST", "auth/token/renew-self", {});
        return Number(((body?.["auth"] ?? {}) as Body)["lease_duration"]);
      };
      stops.push(keep(io, "the command's token", own.ttl, renew));
    }
    for (const { id, ttl } of leases().filter(({ renewable }) => renewable)) {
      const renew = async (): Promise<number> =>
        Number((await asker.call("POST", "sys/leases/renew", { lease_id: id })).body?.["lease_duration"]);
      stops.push(keep(io, `lease ${id}`, ttl, renew));
    }
    const { VAULT_TOKEN: _token, ...rest } = io.env;
    return await execute(command, { ...rest, ...variables }, watch);
  } finally {
    for (const stop of stops) stop();
    // One that was meant for the command, too, may come late.
    watch.pass(() => {});
    await end(asker.within(endMs), io, own !== null, leases());
    watch.stop();
  }
}

/** A server that does not answer must not hold up the end of the command. */
const endMs = 10_000;

async function end(client: Client, io: Io, own: boolean, leases: readonly Lease[]): Promise<void> {
  const failed = (what: string) => (error: unknown) =>
    io.err(`writ: ${what} was not revoked: ${error instanceof Error ? error.message : "failed"}`);
  // What a token leased ends with it.
  if (own)
    await client.call("POST", "auth/token/revoke-self").catch(failed("the command's token, which ends by itself,"));
  else
    await Promise.all(
      leases.map(({ id }) => client.call("POST", "sys/leases/revoke", { lease_id: id }).catch(failed(`lease ${id}`))),
    );
}
