// sys/keyring/export: the keys of all terms, for whoever has to open stored values without the vault.
// Must hold: the keys leave the vault encrypted to recipients that the request names, and no other way.

import { rfc3339 } from "../../lib/clock.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";
import { armored, encrypterTo } from "../recipients.ts";

const warning =
  "whoever opens this file can read and forge every value in the vault's storage and its backups, for all terms up to now";

export const keyringRoutes: readonly Route[] = [
  {
    path: "keyring/export",
    sudo: true,
    on: {
      update: coreHandler({
        summary: "The keyring as an identity of the age command, encrypted to recipients",
        fields: { recipients: field.strings("age recipients, age1…", { required: true }) },
        run: async (call) => {
          const { options, clock, log } = call.core;
          const encrypter = await encrypterTo(call.data.recipients);
          const lines = [
            `# The keyring of a Writ vault, exported ${rfc3339(clock.now())}.`,
            `# Secret: ${warning}.`,
            options.barrier.exportTerms(),
            "",
          ];
          const file = await armored(await encrypter.encrypt(lines.join("\n")));
          log.warn("the keyring was exported", {
            recipients: call.data.recipients.join(" "),
            request_id: call.request.id,
          });
          call.warn(warning);
          return { data: { file } };
        },
      }),
    },
  },
];
