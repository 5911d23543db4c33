// sys/gitops/status, sync and pin; the core mounts them below sys/ behind the ordinary door.

import type { Timer } from "../lib/flight.ts";
import { isCommit } from "../lib/git.ts";
import { VaultError } from "../sdk/errors.ts";
import { field } from "../sdk/fields.ts";
import { handler, type Route } from "../sdk/mount.ts";
import type { Response } from "../sdk/request.ts";
import { isCommitName } from "./pin.ts";
import type { Reconciler } from "./reconciler.ts";
import { pinView } from "./status.ts";

function whole(name: string, commit: string | undefined): string | undefined {
  if (commit === undefined || isCommit(commit)) return commit;
  throw new VaultError("invalid", `field "${name}" must be a whole commit id in lower-case hex, as status shows it`);
}

const waitField = field.duration("How long to wait for the result", { default: 30, minimum: 0, maximum: 300 });

const pinFields = {
  commit: field.string("The commit: its whole name, or a beginning of at least 7 digits that no other has", {
    required: true,
    clear: true,
  }),
  reason: field.string("Why, for status and the audit, which shows it as it is", {
    default: "",
    clear: true,
    pattern: "^[^\\p{Cc}]{0,200}$",
  }),
  allow_protected: field.bool(
    "Removes what is protected too, and mounts with their data, where that commit does not have them",
    { default: false },
  ),
  wait: waitField,
} as const;

function pinRoute(reconciler: Reconciler, timer: Timer): Route {
  /** Waits for `work`, then tells where Git and the vault stand. */
  const answer = async <T>(work: Promise<T>, wait: number, more: (done: T) => object): Promise<Response> => {
    const late = await within(work, wait * 1_000, timer);
    const told = late ? {} : more(await work);
    const data = { ...(await reconciler.status({ documents: false })), ...told };
    return late ? { data, outcome: "accepted" } : { data };
  };
  return {
    path: "gitops/pin",
    sudo: true,
    on: {
      read: handler({
        summary: "The commit that the vault is held at, who did that and why",
        run: async () => {
          const found = await reconciler.pinned();
          if (found === null) throw new VaultError("not_found", []);
          return { data: pinView(found) };
        },
      }),
      update: handler({
        summary: "Applies one commit that the branch has or had, and holds the vault there until it is unpinned",
        fields: pinFields,
        run: async (call) => {
          const { commit: name, reason, allow_protected: allowProtected, wait } = call.data;
          if (!isCommitName(name)) {
            throw new VaultError(
              "invalid",
              'field "commit" must be a commit id in lower-case hex, of at least 7 digits',
            );
          }
          const by = call.caller?.displayName ?? "";
          return answer(reconciler.pin({ name, reason, by, allowProtected }), wait, (changes) => ({
            changed: changes.map(({ action, kind, mount, name: object }) => ({ action, kind, mount, name: object })),
          }));
        },
      }),
      delete: handler({
        summary: "Goes on with the branch",
        fields: { wait: waitField },
        run: async (call) =>
          answer(reconciler.unpin(call.caller?.displayName ?? ""), call.data.wait, (was) => {
            if (!was) call.warn("nothing was pinned");
            return {};
          }),
      }),
    },
  };
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
            wait: waitField,
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
    pinRoute(reconciler, timer),
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
