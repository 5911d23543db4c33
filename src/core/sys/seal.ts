// sys/seal. Unseal, init, health and their like stand in the vault's life cycle: they work without a token.

import type { Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";

export const sealRoutes: readonly Route[] = [
  {
    path: "seal",
    sudo: true,
    always: true,
    on: {
      update: coreHandler({
        summary: "Seal the vault",
        run: async (call) => {
          // The door awaits the same promise before it answers, and tells what went wrong.
          call.core.options.seal().catch(() => {});
          return null;
        },
      }),
    },
  },
];
