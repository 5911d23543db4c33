// sys/leases/outside: what lives on in other systems after a seal, and ending it before one. `writ seal` asks here.

import { rfc3339 } from "../../lib/clock.ts";
import { field } from "../../sdk/fields.ts";
import type { Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";
import type { Core } from "../core.ts";

/** Milliseconds that counting may take, and as many again to look for what fails: who asks may want to seal at once. */
const patience = 2_000;

async function shown(core: Core): Promise<Readonly<Record<string, unknown>>> {
  const { outside } = core.leases;
  const { leases, complete } = await outside.count(patience);
  const until = outside.stoppedUntil;
  const { mounts } = core.generation;
  const mountOf = (accessor: string): string => mounts.byAccessor(accessor)?.path ?? "";
  return {
    lease_count: [...leases.values()].reduce((sum, count) => sum + count, 0),
    complete,
    mounts: [...leases].map(([accessor, count]) => ({
      mount: mountOf(accessor),
      mount_accessor: accessor,
      lease_count: count,
    })),
    stopped_until: until === null ? null : rfc3339(until),
    ending: outside.ending,
    failing:
      until === null
        ? []
        : (await outside.failing(patience)).map(({ id, accessor, ending, state }) => ({
            lease_id: id,
            mount: mountOf(accessor),
            attempts: ending?.attempts ?? 0,
            error: ending?.error ?? (state === "pending" ? "it is still being made" : ""),
          })),
  };
}

export const outsideRoutes: readonly Route[] = [
  {
    path: "leases/outside",
    sudo: true,
    on: {
      read: coreHandler({
        summary: "How many leases there are, without tokens: what they stand for elsewhere outlives a seal",
        run: async ({ core }) => ({ data: await shown(core) }),
      }),
      update: coreHandler({
        summary: "Lease nothing for a time, and end all leases but tokens",
        fields: {
          hold: field.duration("How long nothing is leased, unless the vault is sealed or this is deleted before", {
            default: 120,
            minimum: 1,
            maximum: 3_600,
          }),
        },
        run: async ({ core, data }) => {
          core.leases.outside.begin(data.hold * 1_000);
          return { data: await shown(core), outcome: "accepted" };
        },
      }),
      delete: coreHandler({
        summary: "Lease again; what was told to end ends all the same",
        run: async ({ core }) => {
          core.leases.outside.release();
          return null;
        },
      }),
    },
  },
];
