// sys/gitops/status and sys/gitops/sync; the core mounts them below sys/ behind the ordinary door.

import type { Timer } from "../lib/flight.ts";
import { isCommit } from "../lib/git.ts";
import { VaultError } from "../sdk/errors.ts";
import { field } from "../sdk/fields.ts";
import { handler, type Route } from "../sdk/mount.ts";
import type { Reconciler } from "./reconciler.ts";

function whole(name: string, commit: string | undefined): string | undefined {
  if (commit === undefined || isCommit(commit)) return commit;
  throw new VaultError("invalid", `field "${name}" must be a whole commit id in lower-case hex, as status shows it`);
}

export function gitopsRoutes(reconciler: Reconciler, timer: Timer): readonly Route[] {
  return [
    {
      path: "gitops/status",
      on: {
        read: handler({
          summary: "Remote and applied commit, what is held or wrong, and the documents with their state",
          fields: { documents: field.bool("Lists every document", { default: true }) },
          run: async (call) => ({ data: await reconciler.status({ documents: call.data.documents }) }),
        }),
      },
    },
    {
      path: "gitops/sync",
      sudo: true,
      on: {
        update: handler({
          summary: "Fetches and applies the branch now, and waits for the result",
          fields: {
            allow_deletions: field.string("The commit whose deletions are allowed, whole"),
            allow_rewind: field.string(
              "The commit that may be applied although it does not build on the applied one, whole",
            ),
            wait: field.duration("How long to wait for the result", { default: 30, minimum: 0, maximum: 300 }),
          },
          run: async (call) => {
            const deletions = whole("allow_deletions", call.data.allow_deletions);
            const rewind = whole("allow_rewind", call.data.allow_rewind);
            const synced = reconciler.sync({
              allow: { ...(deletions !== undefined && { deletions }), ...(rewind !== undefined && { rewind }) },
              by: call.caller?.displayName ?? "",
            });
            const late = await within(synced, call.data.wait * 1_000, timer);
            const data = await reconciler.status({ documents: false });
            return late ? { data, outcome: "accepted" } : { data };
          },
        }),
      },
    },
  ];
}

/** Whether `ms` passed first. A promise that loses the race keeps going, and its error is nobody's. */
async function within(work: Promise<unknown>, ms: number, timer: Timer): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const cancel = timer.after(ms, () => resolve(true));
  work.catch(() => {});
  try {
    return await Promise.race([work.then(() => false), promise]);
  } finally {
    cancel();
  }
}
