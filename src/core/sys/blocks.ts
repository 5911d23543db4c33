// sys/blocks: ending the access of a person, a mapping, a mount or an address range at once, and giving it back.
// Must hold: nobody blocks himself by accident; who and why stand with the block and in the audit.

import { rfc3339 } from "../../lib/clock.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Declaration } from "../../sdk/kind.ts";
import type { Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import {
  type About,
  blockKind,
  type BlockType,
  blockTypes,
  declarationOf,
  type Place,
  specOf,
} from "../blocks/block.ts";
import { type Block, Blocks } from "../blocks/blocks.ts";
import { aboutOf, blockOf, documentsOf, isAbout } from "../blocks/find.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import type { Table } from "../table.ts";
import { ownSession } from "../tokens/create.ts";

const longestReason = 1_000;

const writeFields = {
  reason: field.string("Why: stands with the block, and in the audit in clear", { default: "", clear: true }),
  force: field.bool("Also where it takes the access of whoever asks", { default: false }),
  keep: field.bool("Of an address: requests are refused, and what was got from there stays good", { default: false }),
} as const;
const deleteFields = {
  reason: field.string("Why it is lifted: stands in the audit in clear", { default: "", clear: true }),
} as const;

/** What the path names. Throws VaultError `invalid`. */
function named({ params }: Pick<CoreCall, "params">): { readonly type: BlockType; readonly name: string } {
  const { type = "", name = "" } = params;
  const known = blockTypes.find((one) => one === type);
  if (known === undefined) throw new VaultError("invalid", `what can be blocked is a ${blockTypes.join(", a ")}`);
  return { type: known, name: name.replace(/\/+$/, "") };
}

function reasonOf(text: string, asked: string): string {
  const reason = text.trim();
  if (reason === "") throw new VaultError("invalid", `missing reason: say why ${asked} is blocked`);
  if (reason.length > longestReason)
    throw new VaultError("invalid", `a reason has at most ${longestReason} characters`);
  return reason;
}

function told(about: About): Record<string, unknown> {
  const place = ({ mount, name, accessor }: Place) => ({ mount, name, mount_accessor: accessor });
  if (about.type === "person") return { entity_ids: about.ids, logins: about.logins.map(place) };
  if (about.type === "mapping") return { kind: about.kind, mappings: about.places.map(place) };
  if (about.type === "address") return { range: about.range, keep: about.keeps === true };
  return { mounts: about.mounts.map(({ path, accessor }) => ({ path, mount_accessor: accessor })) };
}

async function shown({ core, generation }: CoreCall, block: Block): Promise<Record<string, unknown>> {
  const { spec, about, declaration } = block;
  const { whole, examined, tokens, leases, secret_ids, left, failing } = await core.revocations.progress(spec.id);
  return {
    key: declaration.name,
    type: about.type,
    name: spec.name,
    ...told(about),
    reason: spec.reason,
    by: spec.by,
    since: rfc3339(spec.since),
    documents: documentsOf(block, generation).map(({ kind, name, source }) => ({
      kind,
      name,
      file: source?.file,
      line: source?.line,
    })),
    whole,
    state: whole && left === 0 ? "revoked" : "revoking",
    tokens: { examined, revoked: tokens },
    leases: { found: leases, revoked: leases - left, left, failing },
    secret_ids: { revoked: secret_ids },
  };
}

/** Whether a block would refuse the very request that asks for it, or the next one. */
async function hitsCaller(call: CoreCall, about: About): Promise<boolean> {
  const { core, generation } = call;
  const { table, mounts, identity } = generation;
  const by = { display_name: "", entity_id: "" };
  const trial = declarationOf({ about, id: "", name: "", reason: "", by, since: 0 });
  const blocks = Blocks.of(table.with([trial], []), mounts, identity);
  if (blocks?.refusesAddress(call.connection)) return true;
  return core.sessions.of(ownSession(call).entry, { ...generation, blocks }).then(
    () => false,
    (error: unknown) => {
      if (!isVaultError(error, "unauthenticated")) throw error;
      return true;
    },
  );
}

/** As it is asked for. */
function wanted(about: About, keep: boolean): About {
  if (!keep) return about;
  if (about.type !== "address") throw new VaultError("invalid", "keep is for an address: nothing else stays good");
  return { ...about, keeps: true };
}

/** One that is there already, and now ends what was got from there as well. */
const widened = (kept: Declaration, about: About): Declaration =>
  about.type === "address" && about.keeps !== true ? declarationOf({ ...specOf(kept), about }, kept.name) : kept;

async function write(call: CoreCall<typeof writeFields>): Promise<Response> {
  const { core, data, request } = call;
  const { type, name } = named(call);
  const about = wanted(await aboutOf(call, type, name), data.keep);
  const reason = reasonOf(data.reason, `${type} ${name}`);
  if (!data.force && (await hitsCaller(call, about))) {
    throw new VaultError(
      "invalid",
      `this would block yourself: ask with a token that ${type} ${JSON.stringify(name)} is not about, or say force`,
    );
  }
  const { displayName, entityId } = ownSession(call).principal;
  const known = (core.generation.blocks?.all ?? []).find((block) => isAbout(block, about)) ?? null;
  let id = known?.spec.id ?? core.newId();
  if (known !== null) {
    const { since, by } = known.spec;
    call.warn(
      `it is blocked already, since ${rfc3339(since)} by ${by.display_name}; what is left of it is revoked again`,
    );
  }
  await core.ledger.edit((table) => {
    const by = { display_name: displayName, entity_id: entityId };
    const fresh = declarationOf({ about, id, name, reason, by, since: request.time });
    // Somebody may have been faster.
    const kept = table.get(blockKind, null, known?.declaration.name ?? fresh.name);
    const block = kept === null ? fresh : widened(kept, about);
    id = specOf(block).id;
    return {
      put: [block],
      remove: past(table, core.clock.now()),
      ops: [core.revocations.begin(core.tasks, id, core.generation.record.seq + 1)],
    };
  });
  return one(call, type, id);
}

/** As it is live. */
async function one(call: CoreCall, type: BlockType, id: string): Promise<Response> {
  const { generation } = call.core;
  const block = generation.blocks?.byId(id) ?? null;
  if (block === null) throw new VaultError("conflict", `the ${type} was restored meanwhile`);
  return { data: await shown({ ...call, generation }, block) };
}

/** Seconds: a mount may have been tuned to more before than it is now. */
const leastKept = 400 * 86_400;

/** Seconds after which nothing is alive that was got before. */
function longestTtl({ core, generation }: CoreCall): number {
  const tuned = [...generation.mounts].map(({ spec }) => spec?.config.max_lease_ttl ?? 0);
  return Math.max(leastKept, core.maxLeaseTtl, ...tuned);
}

/** Lifted blocks that nothing is left from before of. */
const past = (table: Table, now: number): readonly Declaration[] =>
  [...table.shelf(blockKind, null).values()].filter((one) => (specOf(one).lifted?.until ?? Infinity) <= now);

async function lift(call: CoreCall): Promise<null> {
  const { core } = call;
  const { type, name } = named(call);
  const { declaration, spec } = await blockOf(call, type, name);
  await core.ledger.edit((table) => {
    const before = table.get(blockKind, null, declaration.name);
    if (before === null) throw new VaultError("not_found", `${type} ${JSON.stringify(name)} is not blocked`);
    const at = core.clock.now();
    const about = core.generation.blocks?.byId(spec.id)?.about ?? specOf(before).about;
    const left = declarationOf({ ...specOf(before), about, lifted: { at, until: at + longestTtl(call) * 1000 } });
    const put = about.type === "address" && about.keeps === true ? [] : [left];
    return {
      put,
      remove: [before, ...past(table, at)],
      ops: [core.revocations.end(core.tasks, spec.id, core.generation.record.seq + 1)],
    };
  });
  return null;
}

/** Of one type, or of all. */
async function list(call: CoreCall, type: BlockType | null): Promise<Response> {
  const all = (call.generation.blocks?.all ?? []).filter(({ about }) => type === null || about.type === type);
  if (all.length === 0) throw new VaultError("not_found", []);
  const rows = await Promise.all(all.map((block) => shown(call, block)));
  const nameIn = (key: unknown): string => String(key).slice(type === null ? 0 : type.length + 1);
  const sorted = rows.sort((a, b) => (String(a["key"]) < String(b["key"]) ? -1 : 1));
  return {
    data: {
      keys: sorted.map(({ key }) => nameIn(key)),
      key_info: Object.fromEntries(sorted.map((row) => [nameIn(row["key"]), row])),
    },
  };
}

export const blockRoutes: readonly Route[] = [
  {
    path: "blocks",
    on: { list: coreHandler({ summary: "All that is blocked, by whom and why", run: (call) => list(call, null) }) },
  },
  {
    path: "blocks/:type",
    on: {
      list: coreHandler({
        summary: "The people, mappings, mounts or addresses that are blocked",
        run: (call) => list(call, named(call).type),
      }),
    },
  },
  {
    path: "blocks/:type/:name*",
    folders: true,
    on: {
      read: coreHandler({
        summary: "One block, and how far the revocation is of what was got before it",
        run: async (call) => {
          const { type, name } = named(call);
          return { data: await shown(call, await blockOf(call, type, name)) };
        },
      }),
      update: coreHandler({
        summary: "Block a person, a mapping, a mount or an address range at once, and revoke what it has got",
        sudo: true,
        fields: writeFields,
        run: write,
      }),
      delete: coreHandler({
        summary: "Lift a block; what was revoked stays revoked",
        sudo: true,
        fields: deleteFields,
        run: lift,
      }),
    },
  },
];
