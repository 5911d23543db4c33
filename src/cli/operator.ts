// `writ operator init|unseal`: the life of a vault, for people.
// Must hold: a share is read from standard input only, never from an argument, which other users of a machine can see.

import type { Answer, Client } from "./client.ts";
import { hiddenWord, refuseShown } from "./input.ts";
import type { Io } from "./io.ts";
import { isTable, json, type ShowOptions } from "./show.ts";

export interface InitOptions extends ShowOptions {
  readonly keyShares: number;
  readonly keyThreshold: number;
  readonly status: boolean;
}

/** What Vault's command prints as JSON. */
function initJson(body: Answer["body"], { keyShares, keyThreshold }: InitOptions, recovery: boolean): object {
  const [made, none] = [
    { n: keyShares, t: keyThreshold },
    { n: 0, t: 0 },
  ];
  const [unseal, recover] = recovery ? [none, made] : [made, none];
  return {
    unseal_keys_b64: body?.["keys_base64"] ?? [],
    unseal_keys_hex: body?.["keys"] ?? [],
    unseal_shares: unseal.n,
    unseal_threshold: unseal.t,
    recovery_keys_b64: body?.["recovery_keys_base64"] ?? [],
    recovery_keys_hex: body?.["recovery_keys"] ?? [],
    recovery_keys_shares: recover.n,
    recovery_keys_threshold: recover.t,
    root_token: body?.["root_token"],
  };
}

/** With `status` exit code 2 where the vault is not initialised. */
export async function init(client: Client, io: Io, options: InitOptions): Promise<number> {
  if (options.status) {
    const initialized = (await client.call("GET", "sys/init")).body?.["initialized"] === true;
    if (!isTable(io, options)) json(io, { initialized });
    else io.out(initialized ? "The vault is initialised" : "The vault is not initialised: writ operator init");
    return initialized ? 0 : 2;
  }
  const asTable = isTable(io, options);
  const recovery = (await client.call("GET", "sys/seal-status")).body?.["recovery_seal"] === true;
  const kind = recovery ? "recovery" : "secret";
  const { body } = await client.call("POST", "sys/init", {
    [`${kind}_shares`]: options.keyShares,
    [`${kind}_threshold`]: options.keyThreshold,
  });
  if (!asTable) {
    json(io, initJson(body, options, recovery));
    return 0;
  }
  const shares = (body?.[recovery ? "recovery_keys_base64" : "keys_base64"] ?? []) as readonly string[];
  for (const [at, share] of shares.entries()) io.out(`${recovery ? "Recovery" : "Unseal"} Key ${at + 1}: ${share}`);
  io.out(`Initial Root Token: ${String(body?.["root_token"])}`);
  const needed = `${options.keyThreshold} of ${shares.length}`;
  io.err(
    recovery
      ? `These are shown once. Give each share to another person; ${needed} make a root token or a rekey. ` +
          "They do not unseal: without the server's own key nobody can read what the vault holds."
      : `These are shown once. Give each share to another person; ${needed} unseal the vault ` +
          "(writ operator unseal). Without them nobody can read what it holds.",
  );
  return 0;
}

export interface UnsealOptions extends ShowOptions {
  readonly reset: boolean;
}

export async function unseal(
  client: Client,
  io: Io,
  source: string | undefined,
  options: UnsealOptions,
): Promise<number> {
  refuseShown(source, "a share");
  const asTable = isTable(io, options);
  const share = options.reset ? null : await hiddenWord(io, "Unseal key");
  const { body } = await client.call("POST", "sys/unseal", share === null ? { reset: true } : { key: share });
  const sealed = body?.["sealed"] !== false;
  if (!asTable) json(io, body);
  else io.out(sealed ? `Sealed: ${String(body?.["progress"])} of ${String(body?.["t"])} shares given` : "Unsealed");
  return 0;
}
