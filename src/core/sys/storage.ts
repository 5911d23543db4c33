// sys/storage: a backup of it, and whether what is stored is what was written.

import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { backupTo } from "../backup.ts";
import { coreHandler } from "../call.ts";

export const storageRoutes: readonly Route[] = [
  {
    path: "storage/backup",
    sudo: true,
    on: {
      update: coreHandler({
        summary: "Everything in storage at this moment, as an age file to recipients",
        mutates: false,
        fields: { recipients: field.strings("age recipients, age1…", { required: true }) },
        run: async (call) => ({ stream: await backupTo(call.core, call.data.recipients) }),
      }),
    },
  },
  {
    path: "storage/integrity",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "What the last scan of the storage found",
        run: async (call) => ({ data: call.core.integrity.status() }),
      }),
      update: coreHandler({
        summary: "Scan the storage now; read the same path for the result",
        fields: {
          accept: field.bool("Takes the entries that are there for what was written, if they differ from it", {
            default: false,
          }),
        },
        run: async (call) => {
          call.core.integrity.start(call.data.accept);
          return { data: call.core.integrity.status(), outcome: "accepted" };
        },
      }),
    },
  },
];
