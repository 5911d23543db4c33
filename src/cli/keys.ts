// `writ operator rotate|key-status|rekey|generate-root`: the keys of a vault, for people.
// Must hold: shares and one-time passwords are read from standard input only, never from an argument, which other users of
// a machine can see.

import { type Client, CommandError } from "./client.ts";
import { hiddenWord } from "./input.ts";
import type { Io } from "./io.ts";
import { isTable, json, type ShowOptions } from "./show.ts";

type Body = Readonly<Record<string, unknown>>;

const bodyOf = async (client: Client, method: string, path: string, data?: unknown): Promise<Body> =>
  (await client.call(method, path, data)).body ?? {};

/** What the server says: as JSON, or in a line for people. */
function tell(io: Io, options: ShowOptions, said: Body, line: string): void {
  if (isTable(io, options)) io.out(line);
  else json(io, said);
}

/** As sys/key-status tells of what is under older keys. */
interface Reencryption {
  readonly done: boolean;
  readonly renewed: number;
  readonly damaged: number;
}

export async function keyStatus(client: Client, io: Io, options: ShowOptions): Promise<number> {
  const status = await bodyOf(client, "GET", "sys/key-status");
  if (!isTable(io, options)) {
    json(io, status["data"] ?? status);
    return 0;
  }
  const { term, install_time: since, encryptions } = status;
  io.out(`Term          ${String(term)}`);
  io.out(`Since         ${String(since)}`);
  io.out(`Encryptions   ${String(encryptions)}`);
  const renewing = (status["reencryption"] ?? null) as Reencryption | null;
  if (renewing === null) return 0;
  const { done, renewed, damaged } = renewing;
  io.out(`Re-encrypted  ${done ? "all, " : "not all yet, "}${renewed} entries were under older keys`);
  if (damaged > 0) io.out(`              ${damaged} entries do not open: writ operator verify-storage`);
  return 0;
}

export async function rotate(client: Client, io: Io, options: ShowOptions): Promise<number> {
  await client.call("POST", "sys/rotate");
  return keyStatus(client, io, options);
}

export interface RekeyOptions extends ShowOptions {
  readonly init: boolean;
  readonly status: boolean;
  readonly cancel: boolean;
  readonly keyShares: number;
  readonly keyThreshold: number;
  readonly verify: boolean;
}

const counted = (have: unknown, of: unknown, what: string): string => `${String(have)} of ${String(of)} ${what} given`;

function rekeyLine(status: Body): string {
  if (status["started"] !== true) return "No rekey is in progress";
  const made = `for ${String(status["n"])} new shares, ${String(status["t"])} of them needed`;
  if (status["verification_nonce"] !== undefined) return `Rekey ${made}: waits for new shares to be given back`;
  return `Rekey ${made}: ${counted(status["progress"], status["required"], "present shares")}`;
}

function showShares(io: Io, options: ShowOptions, made: Body): void {
  if (!isTable(io, options)) {
    json(io, made);
    return;
  }
  const shares = (made["keys_base64"] ?? []) as readonly string[];
  for (const [at, share] of shares.entries()) io.out(`Key ${at + 1}: ${share}`);
  io.err(
    made["verification_required"] === true
      ? "These are shown once, and count once enough of them were given back: writ operator rekey, for each. " +
          "Until then the present shares stay valid."
      : "These are shown once. Give each to another person. The shares from before are valid too, until enough of these " +
          "were used: to unseal, or for writ operator generate-root.",
  );
}

export async function rekey(client: Client, io: Io, options: RekeyOptions): Promise<number> {
  // A format that there is not is told before anything is made that is shown once.
  isTable(io, options);
  if (options.cancel) {
    await client.call("DELETE", "sys/rekey/init");
    io.out("Cancelled");
    return 0;
  }
  if (options.init) {
    const status = await bodyOf(client, "POST", "sys/rekey/init", {
      secret_shares: options.keyShares,
      secret_threshold: options.keyThreshold,
      require_verification: options.verify,
    });
    tell(io, options, status, rekeyLine(status));
    io.err("Give enough present shares now: writ operator rekey, for each.");
    return 0;
  }
  const status = await bodyOf(client, "GET", "sys/rekey/init");
  if (options.status || status["started"] !== true) {
    tell(io, options, status, rekeyLine(status));
    if (!options.status) throw new CommandError("start one first: writ operator rekey --init");
    return 0;
  }
  const verification = status["verification_nonce"];
  if (verification !== undefined) return verifyRekey(client, io, options, verification);
  const made = await bodyOf(client, "POST", "sys/rekey/update", {
    key: await hiddenWord(io, "Present key"),
    nonce: status["nonce"],
  });
  if (made["complete"] !== true) {
    tell(io, options, made, counted(made["progress"], made["required"], "present shares"));
    return 0;
  }
  showShares(io, options, made);
  return 0;
}

async function verifyRekey(client: Client, io: Io, options: ShowOptions, nonce: unknown): Promise<number> {
  const given = await bodyOf(client, "POST", "sys/rekey/verify", { key: await hiddenWord(io, "New key"), nonce });
  const done = given["complete"] === true;
  tell(
    io,
    options,
    given,
    done ? "The new shares are valid, those from before are not" : counted(given["progress"], given["t"], "new shares"),
  );
  return 0;
}

export interface RootOptions extends ShowOptions {
  readonly init: boolean;
  readonly status: boolean;
  readonly cancel: boolean;
  readonly decode?: string;
}

const path = "sys/generate-root/attempt";

export async function generateRoot(client: Client, io: Io, options: RootOptions): Promise<number> {
  isTable(io, options);
  if (options.decode !== undefined) return decode(io, options.decode);
  if (options.cancel) {
    await client.call("DELETE", path);
    io.out("Cancelled");
    return 0;
  }
  if (options.init) {
    const made = await bodyOf(client, "POST", path, {});
    tell(io, options, made, `One-time password: ${String(made["otp"])}`);
    io.err(
      `It is shown once, and decodes the token: keep it for yourself. Give ${String(made["required"])} shares now: ` +
        "writ operator generate-root, for each.",
    );
    return 0;
  }
  const status = await bodyOf(client, "GET", path);
  const started = status["started"] === true;
  if (options.status) {
    const far = counted(status["progress"], status["required"], "shares");
    tell(io, options, status, started ? far : "No root generation is in progress");
    return 0;
  }
  if (!started) throw new CommandError("no root generation is in progress: writ operator generate-root --init");
  const key = await hiddenWord(io, "Unseal key");
  const given = await bodyOf(client, "POST", "sys/generate-root/update", { key, nonce: status["nonce"] });
  if (given["complete"] !== true) {
    tell(io, options, given, counted(given["progress"], given["required"], "shares"));
    return 0;
  }
  const encoded = String(given["encoded_token"]);
  tell(io, options, given, `Encoded token: ${encoded}`);
  io.err(`Whoever has the one-time password decodes it: writ operator generate-root --decode ${encoded}`);
  return 0;
}

async function decode(io: Io, encoded: string): Promise<number> {
  const token = Buffer.from(encoded, "base64");
  const otp = Buffer.from(await hiddenWord(io, "One-time password"), "latin1");
  if (token.length === 0 || token.length !== otp.length) {
    throw new CommandError("token and one-time password do not belong together: their lengths differ");
  }
  io.out(Buffer.from(token.map((byte, at) => byte ^ (otp[at] ?? 0))).toString("latin1"));
  return 0;
}
