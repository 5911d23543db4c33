// sys/rekey: new shares and a new root key, with Vault's names; OpenBao's sys/rotate/root is the same.
// Must hold: shares come and go beside the data (Request.share, Response.handout), never in it.

import { copyKey } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Fields } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Rekey } from "../rekey.ts";

const startFields = {
  secret_shares: field.int("How many new shares"),
  secret_threshold: field.int("How many of them are needed"),
  require_verification: field.bool(
    "The new shares count once enough of them were given back, and the present ones until then. Without it both count " +
      "until enough of the new ones were used, to unseal for example",
    { default: false },
  ),
  pgp_keys: field.strings("Not available", { default: [] }),
  backup: field.bool("Not available", { default: false }),
  stored_shares: field.int("Taken for older clients; means nothing", { default: 0 }),
} as const;

const nonceField = { nonce: field.string("Names the attempt") } as const;

/** A copy, which the receiver takes over. */
export function shareOf(call: Pick<CoreCall, "request">): Uint8Array {
  const { share } = call.request;
  if (share === undefined) throw new VaultError("invalid", "'key' must be specified in request body as JSON");
  return copyKey(share);
}

const both = (data: object): Response => ({ data: { ...data }, shape: "both" });

async function start(rekey: Rekey, data: CoreCall<typeof startFields>["data"], recovery: boolean): Promise<Response> {
  if (recovery) rekey.checkRecovery();
  const { secret_shares: shares, secret_threshold: threshold } = data;
  if (data.pgp_keys.length > 0) throw new VaultError("invalid", "'pgp_keys' is not supported: leave it out");
  if (data.backup) throw new VaultError("invalid", "'backup' is not supported: new shares are never stored");
  if (shares === undefined || threshold === undefined) {
    throw new VaultError("invalid", "'secret_shares' and 'secret_threshold' must be given");
  }
  await rekey.start({ shares, threshold, verify: data.require_verification });
  return both(rekey.status());
}

async function update(rekey: Rekey, nonce: string | undefined, share: Uint8Array): Promise<Response> {
  const made = await rekey.update(nonce, share);
  return made === null ? both(rekey.status()) : { ...both(made.done), handout: made.shares };
}

async function verify(rekey: Rekey, nonce: string | undefined, share: Uint8Array): Promise<Response> {
  return both((await rekey.verify(nonce, share)) ?? rekey.verifyStatus());
}

type Guard = { readonly unauthenticated: true } | { readonly sudo: true };

function routes(base: string, guard: Guard, recovery: boolean): readonly Route[] {
  const on = <F extends Fields>(
    summary: string,
    fields: F,
    run: (call: CoreCall<F>, rekey: Rekey) => Promise<Response | null>,
  ) => coreHandler({ summary, fields, run: (call: CoreCall<F>) => run(call, call.core.options.rekey) });
  return [
    {
      path: `${base}/init`,
      ...guard,
      on: {
        read: on("How far the rekey is", {}, async (_call, rekey) => both(rekey.status())),
        update: on("Start a rekey", startFields, (call, rekey) => start(rekey, call.data, recovery)),
        delete: on("Cancel the rekey", nonceField, async (call, rekey) => {
          await rekey.cancel(call.data.nonce);
          return null;
        }),
      },
    },
    {
      path: `${base}/update`,
      ...guard,
      on: {
        update: {
          ...on("Give one present share", nonceField, (call, rekey) => update(rekey, call.data.nonce, shareOf(call))),
          share: true,
        },
      },
    },
    {
      path: `${base}/verify`,
      ...guard,
      on: {
        read: on("How far the verification is", {}, async (_call, rekey) => both(rekey.verifyStatus())),
        update: {
          ...on("Give one new share back", nonceField, (call, rekey) => verify(rekey, call.data.nonce, shareOf(call))),
          share: true,
        },
        delete: on("Start the verification over", {}, async (_call, rekey) => {
          await rekey.restartVerify();
          return both(rekey.verifyStatus());
        }),
      },
    },
  ];
}

/** `open`: config lets callers without a token in. Where the seal opens by itself, all four are the same: a new root key
 *  for the recipients of now, and new recovery shares. */
export function rekeyRoutes(open: boolean): readonly Route[] {
  const guard: Guard = open ? { unauthenticated: true } : { sudo: true };
  return [
    ...["rekey", "rotate/root"].flatMap((base) => routes(base, guard, false)),
    ...["rekey-recovery-key", "rotate/recovery"].flatMap((base) => routes(base, guard, true)),
  ];
}
