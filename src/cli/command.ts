// How commands are declared: each with an example, which its help shows and a test runs.

import { type Command, InvalidArgumentError, Option } from "commander";
import { type Client, createClient } from "./client.ts";
import type { Io } from "./io.ts";

/** What declares commands gets this. */
export interface Shell {
  readonly io: Io;
  /** Takes the exit code of the command that runs. */
  readonly run: (code: Promise<number>) => Promise<void>;
}

const kept = new WeakMap<Command, string>();

/** Shell lines; null where a command is a group of others. */
export const exampleOf = (command: Command): string | null => kept.get(command) ?? null;

/** Adds the example to a command's help. `input` on the left of a pipe is part of it. */
export function example(command: Command, text: string): Command {
  kept.set(command, text);
  const lines = text.split("\n").map((line) => `  ${line}`);
  return command.addHelpText("after", `\nExample:\n${lines.join("\n")}`);
}

/** The value of an option that is a number. */
export function atLeastZero(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("must be a whole number");
  return Number(text);
}

/** An option that may be given more than once. */
export const each = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** Options of what prints a table. */
export const listed = (command: Command): Command =>
  command.addOption(new Option("--format <format>", "table or json").choices(["table", "json"]));
/** Options of what prints one thing. */
export const shown = (command: Command): Command =>
  listed(command).option("--field <name>", "prints this field alone, as it is");

export const wrappable = (command: Command): Command =>
  command.option("--wrap-ttl <duration>", "wraps the answer: prints a token that opens it once");

/** Loads the code of a command and the client side by side, then runs it. */
export async function online<M>(
  { io, run }: Shell,
  load: () => Promise<M>,
  act: (module: M, client: Client) => Promise<number>,
): Promise<void> {
  await run(Promise.all([load(), createClient(io.env)]).then(([module, client]) => act(module, watched(client, io))));
}

const slowMs = 1_000;

/** Says on a terminal what is waited for, once that takes longer than a second. */
function watched(client: Client, io: Io): Client {
  const watch = async <T>(what: string, wait: Promise<T>): Promise<T> => {
    const begun = Date.now();
    const timer = setInterval(
      () => io.progress(`waiting for ${what}, ${Math.round((Date.now() - begun) / 1000)} s`),
      slowMs,
    );
    try {
      return await wait;
    } finally {
      clearInterval(timer);
      io.progress(null);
    }
  };
  return {
    ...client,
    send: (method, path, ...rest) => watch(`${method} ${path}`, client.send(method, path, ...rest)),
    call: (method, path, ...rest) => watch(`${method} ${path}`, client.call(method, path, ...rest)),
    as: (token) => watched(client.as(token), io),
    within: (ms) => watched(client.within(ms), io),
  };
}
