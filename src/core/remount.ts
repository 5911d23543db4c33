// Moving a mount that the API made. Its data, its objects and the login names of entities go with it at once; the tokens and
// leases that were got at the old path are then revoked, as in Vault. How far that is stays on record.
// Must hold: a mount is at one path at each moment; what was got at the new path is left alone; what Git manages is not
// moved here.

import { systemTimer } from "../lib/flight.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { Json, View } from "../sdk/view.ts";
import { within } from "./broker/trail.ts";
import type { CoreCall } from "./call.ts";
import type { Core } from "./core.ts";
import { type EntitySpec, type MountSpec, mountPathOf } from "./kinds.ts";
import type { Edit } from "./ledger.ts";
import { tokenOf } from "./leases/keys.ts";
import type { Mounted } from "./mounts.ts";
import { refuseManaged } from "./resources.ts";
import type { Table } from "./table.ts";

export interface Migration {
  readonly from: string;
  readonly to: string;
  readonly status: "in-progress" | "success";
  /** Milliseconds since 1970. */
  readonly at: number;
}

const folder = "remount/";
const mostRecords = 100;
/** Milliseconds that the leases of a move have before its task lets others go first. */
const grace = 1_000;

const recordsOf = (core: Core): View => core.root.sub(folder);

export async function migration(core: Core, id: string): Promise<Migration | null> {
  if (!/^[0-9a-f-]{36}$/.test(id)) return null;
  return (await recordsOf(core).getJson<Migration>(id))?.value ?? null;
}

/** Keeps the newest records. */
async function trim(core: Core): Promise<void> {
  const view = recordsOf(core);
  const ids = await view.list("");
  if (ids.length <= mostRecords) return;
  const found = await Promise.all(
    ids.map(async (id) => ({ id, at: (await view.getJson<Migration>(id))?.value.at ?? 0 })),
  );
  const old = found.sort((a, b) => a.at - b.at).slice(0, ids.length - mostRecords);
  await view.write(old.map(({ id }) => ({ key: id, value: null })));
}

/** The declarations that name the mount: what it is configured with, and entities by their login names there. */
function moved(core: Core, table: Table, mounted: Mounted, to: string): Pick<Edit, "put" | "remove"> {
  const from = mounted.mount ?? "";
  const own = (what: Declaration): Declaration => {
    refuseManaged(core.generation, what, `${what.kind} ${what.name}, which names ${mounted.path},`);
    return what;
  };
  const inside = (mounted.plugin?.resources ?? []).flatMap((resource) =>
    [...table.shelf(resource.kind, from).values()].map(own),
  );
  const put = inside.map((one): Declaration => ({ ...one, mount: to }));
  if (mounted.class !== "auth") return { put, remove: inside };
  const isHere = (mount: string): boolean => mount.replace(/\/+$/, "") === from;
  for (const one of table.shelf("Entity", null).values()) {
    const { aliases } = one.spec as unknown as EntitySpec;
    if (!aliases.some((alias) => isHere(alias.mount))) continue;
    const there = aliases.map((alias) => (isHere(alias.mount) ? { ...alias, mount: to } : alias));
    put.push({ ...own(one), spec: { ...one.spec, aliases: there } });
  }
  return { put, remove: inside };
}

/** Live when it resolves, with the id under which the rest is followed. */
export async function move(call: CoreCall, mounted: Mounted, to: string): Promise<string> {
  const { core } = call;
  const { declaration } = mounted;
  if (declaration === null) throw new VaultError("invalid", `cannot remount "${mounted.path}"`);
  const id = core.newId();
  const path = mounted.class === "auth" ? `auth/${to}/` : `${to}/`;
  await core.ledger.edit((table): Edit => {
    const current = table.get(declaration.kind, null, declaration.name);
    const spec = current?.spec as unknown as MountSpec | undefined;
    if (current === null || !spec || mountPathOf(current.name, spec) !== mounted.mount)
      throw new VaultError("invalid", `no matching mount at "${mounted.path}"`);
    refuseManaged(core.generation, current, mounted.path);
    const { put, remove } = moved(core, table, mounted, to);
    const record: Migration = { from: mounted.path, to: path, status: "in-progress", at: core.clock.now() };
    const args = { id, accessor: mounted.accessor, from: mounted.path };
    const seq = core.generation.record.seq + 1;
    return {
      put: [{ ...current, spec: { ...current.spec, path: to } }, ...put],
      remove,
      ops: [
        { key: `${folder}${id}`, value: { ...record } },
        core.tasks.put("end-move", `${mounted.accessor} move ${id}`, args, seq),
      ],
    };
  });
  return id;
}

/** What was got at `from` from the mount: another one may be there by now. */
async function* leftAt(core: Core, accessor: string, from: string): AsyncGenerator<readonly string[]> {
  const mine = async (lease: string): Promise<boolean> => {
    const token = tokenOf(lease);
    if (token === null) return (await core.leases.store.get(lease))?.value.accessor === accessor;
    return (await core.tokens.get(token.id))?.value.mapping?.accessor === accessor;
  };
  for await (const leases of core.leases.below(from.replace(/\/$/, ""))) {
    const own: string[] = [];
    for (const lease of leases) if (await mine(lease)) own.push(lease);
    if (own.length > 0) yield own;
  }
}

/** Task: revokes what was got at the old path. Rejects while some of it is left. */
export async function endMove(core: Core, args: Readonly<Record<string, Json>>): Promise<void> {
  const { id, accessor, from } = args as Readonly<Record<"id" | "accessor" | "from", string>>;
  const ending: Promise<unknown>[] = [];
  for await (const leases of leftAt(core, accessor, from)) ending.push(core.leases.revoke(leases, { sync: true }));
  if (ending.length > 0) await within(systemTimer, grace, Promise.all(ending)).catch(() => {});
  for await (const _left of leftAt(core, accessor, from))
    throw new VaultError("upstream", `not all leases of ${from} are revoked yet`);
  const record = await recordsOf(core).getJson<Migration>(id);
  if (record !== null)
    await recordsOf(core).write([{ key: id, value: { ...record.value, status: "success" }, expect: record.version }]);
  await trim(core);
}
