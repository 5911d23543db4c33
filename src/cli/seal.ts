// `writ seal`: drops all keys, and says what lives on in other systems, or ends that first.
// Must hold: sealing is the emergency brake: nothing that is counted or said holds it up; with --revoke-first it seals only
// what has nothing left outside.

import { setTimeout as pause } from "node:timers/promises";
import { parseDuration } from "../lib/duration.ts";
import { type Client, CommandError, dataIn, remote } from "./client.ts";
import type { Io } from "./io.ts";
import { counted, plain } from "./show.ts";

const path = "sys/leases/outside";
/** Milliseconds that counting may hold up a seal: a little more than the server takes for it. */
const patience = 2_500;
const pollMs = 500;
/** Between two lines that stay, also where there is no terminal. */
const tellMs = 5_000;
/** Seconds that nothing is leased beyond the bound, so that a seal at its very end finds nothing new. */
const slack = 30;
const longest = 3_000;

interface Outside {
  readonly lease_count: number;
  readonly complete: boolean;
  readonly mounts: readonly { readonly mount: string; readonly mount_accessor: string; readonly lease_count: number }[];
  readonly ending: boolean;
  readonly failing: readonly { readonly lease_id: string; readonly attempts: number; readonly error: string }[];
}

export interface SealOptions {
  readonly revokeFirst: boolean;
  /** A duration. */
  readonly timeout: string;
}

const outsideOf = (body: Parameters<typeof dataIn>[0]): Outside => dataIn(body) as unknown as Outside;

const countText = ({ lease_count: number, complete }: Outside): string =>
  `${complete ? "" : "at least "}${counted(number, "outside account")}`;

/** What stays, by mount, and what to do. */
function remaining(found: Outside): readonly string[] {
  if (found.lease_count === 0 && found.complete) return ["No outside account stays alive."];
  const lines = found.mounts.map(({ mount, mount_accessor: accessor, lease_count: number }) =>
    plain(`  ${number} of ${mount === "" ? `a mount that is gone (${accessor})` : mount}`),
  );
  return [
    `${countText(found)} stay alive in other systems, until they expire there or this vault is unsealed and ends them:`,
    ...lines,
    "  to end them first: writ seal --revoke-first",
  ];
}

async function brake(client: Client, io: Io): Promise<number> {
  await client.call("POST", "sys/seal");
  io.out("Sealed");
  return 0;
}

async function count(client: Client, io: Io): Promise<void> {
  const lines = await client
    .within(patience)
    .call("GET", path)
    .then(({ body }) => remaining(outsideOf(body)))
    .catch((error: unknown) => {
      const why = error instanceof CommandError ? error.message : "the answer is not understood";
      return [`Outside accounts that stay alive could not be counted (${why}).`];
    });
  for (const line of lines) io.out(line);
}

const isEmpty = ({ lease_count: left, complete, ending }: Outside): boolean => left === 0 && complete && !ending;

/** Until none is left, or `deadline` in milliseconds has passed. */
async function drain(client: Client, io: Io, deadline: number): Promise<Outside> {
  let told = Date.now();
  for (;;) {
    const asked = Date.now();
    const found = outsideOf((await client.call("GET", path)).body);
    if (isEmpty(found) || Date.now() >= deadline) {
      io.progress(null);
      return found;
    }
    if (Date.now() - told >= tellMs) {
      io.progress(null);
      io.err(`${countText(found)} left`);
      told = Date.now();
    }
    io.progress(`${countText(found)} left`);
    // A large store is not counted all the time.
    await pause(Math.max(pollMs, 2 * (Date.now() - asked)));
  }
}

/** Throws CommandError where something is left. */
async function endFirst(client: Client, io: Io, seconds: number): Promise<void> {
  const started = await client.call("POST", path, { hold: seconds + slack });
  io.out(`Ending ${countText(outsideOf(started.body))}; nothing new is leased meanwhile.`);
  const left = await drain(client, io, Date.now() + seconds * 1_000);
  if (isEmpty(left)) {
    io.out("No outside account is left.");
    return;
  }
  // Where that does not arrive, the stop ends by itself.
  await client.call("DELETE", path).catch(() => {});
  for (const { lease_id: id, attempts, error } of left.failing) {
    io.out(plain(`${id}: ${error}${attempts === 0 ? "" : `, after ${counted(attempts, "attempt")}`}`));
  }
  const others = left.lease_count - left.failing.length;
  if (others > 0) io.out(left.failing.length === 0 ? `${others} were not tried to the end yet` : `and ${others} more`);
  throw new CommandError(`${countText(left)} could not be ended within ${seconds} s, and will be tried on`, remote);
}

/** Exit code 2 where something could not be ended first; the vault is not sealed then. */
export async function seal(client: Client, io: Io, options: SealOptions): Promise<number> {
  if (!options.revokeFirst) {
    await count(client, io);
    return brake(client, io);
  }
  const seconds = parseDuration(options.timeout);
  if (seconds === null || seconds < 1 || seconds > longest) {
    throw new CommandError(`--timeout is a duration of 1s to ${longest}s, such as 2m`);
  }
  await endFirst(client, io, seconds).catch((error: unknown) => {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(`${error.message}. The vault is not sealed: writ seal does that at once`, error.exitCode);
  });
  return brake(client, io);
}
