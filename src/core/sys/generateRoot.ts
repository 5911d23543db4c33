// sys/generate-root, and sys/generate-root-token as newer clients call it: a root token for whoever brings the shares.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";
import { createRoot } from "../tokens/root.ts";
import { shareOf } from "./rekey.ts";

const attempt: Readonly<Record<"read" | "update" | "delete", Handler>> = {
  read: coreHandler({
    summary: "How far the root generation is",
    run: async (call) => ({ data: { ...call.core.options.rootGeneration.status() }, shape: "both" }),
  }),
  update: coreHandler({
    summary: "Start a root generation",
    fields: {
      otp: field.string("A one-time password as long as a token; made here where left out", {
        default: "",
        secret: true,
      }),
      pgp_key: field.string("Not available", { default: "" }),
    },
    run: async (call) => {
      if (call.data.pgp_key !== "") throw new VaultError("invalid", "'pgp_key' is not supported: use an otp");
      return { data: { ...(await call.core.options.rootGeneration.start(call.data.otp)) }, shape: "both" };
    },
  }),
  delete: coreHandler({
    summary: "Cancel the root generation",
    run: async (call) => {
      await call.core.options.rootGeneration.cancel();
      return null;
    },
  }),
};

const update: Handler = coreHandler({
  summary: "Give one share",
  share: true,
  fields: { nonce: field.string("Names the attempt") },
  run: async (call) => {
    const { core, data } = call;
    const create = (): Promise<string> => createRoot(core.tokens);
    const status = await core.options.rootGeneration.update(data.nonce, shareOf(call), create);
    return { data: { ...status }, shape: "both" };
  },
});

/** `open`: config lets callers without a token in. */
export function rootRoutes(open: boolean): readonly Route[] {
  const guard = open ? ({ unauthenticated: true } as const) : { sudo: true };
  return ["generate-root", "generate-root-token"].flatMap((base): Route[] => [
    { path: `${base}/attempt`, ...guard, on: attempt },
    { path: `${base}/update`, ...guard, on: { update } },
  ]);
}
