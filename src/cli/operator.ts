// `writ operator init|unseal`: the life of a vault, for people.
// Must hold: a share is read from standard input only, never from an argument, which other users of a machine can see.

import type { Client } from "./client.ts";
import { hiddenWord } from "./input.ts";
import type { Io } from "./io.ts";

export async function init(
  client: Client,
  io: Io,
  options: { readonly shares: number; readonly threshold: number },
): Promise<number> {
  const recovery = (await client.call("GET", "sys/seal-status")).body?.["recovery_seal"] === true;
  const kind = recovery ? "recovery" : "secret";
  const { body } = await client.call("POST", "sys/init", {
    [`${kind}_shares`]: options.shares,
    [`${kind}_threshold`]: options.threshold,
  });
  const shares = (body?.[recovery ? "recovery_keys_base64" : "keys_base64"] ?? []) as readonly string[];
  for (const [at, share] of shares.entries()) io.out(`${recovery ? "Recovery" : "Unseal"} Key ${at + 1}: ${share}`);
  io.out(`Initial Root Token: ${String(body?.["root_token"])}`);
  const needed = `${options.threshold} of ${shares.length}`;
  io.err(
    recovery
      ? `These are shown once. Give each share to another person; ${needed} make a root token or a rekey. ` +
          "They do not unseal: without the server's own key nobody can read what the vault holds."
      : `These are shown once. Give each share to another person; ${needed} unseal the vault ` +
          "(writ operator unseal). Without them nobody can read what it holds.",
  );
  return 0;
}

export async function unseal(client: Client, io: Io, options: { readonly reset: boolean }): Promise<number> {
  const share = options.reset ? null : await hiddenWord(io, "Unseal key");
  const { body } = await client.call("POST", "sys/unseal", share === null ? { reset: true } : { key: share });
  const sealed = body?.["sealed"] !== false;
  io.out(sealed ? `Sealed: ${String(body?.["progress"])} of ${String(body?.["t"])} shares given` : "Unsealed");
  return 0;
}
