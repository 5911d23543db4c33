// `writ revoke`, `writ restore`, `writ blocks`: ending access at once, and giving it back.

import { setTimeout as pause } from "node:timers/promises";
import { type Answer, apiPath, type Client, CommandError, dataIn, remote } from "./client.ts";
import type { Io } from "./io.ts";
import { counted, isTable, json, plain, type ShowOptions, table } from "./show.ts";

export type BlockType = "person" | "mapping" | "mount" | "address";

export interface RevokeOptions {
  readonly reason: string;
  readonly force: boolean;
  readonly wait: boolean;
  readonly keep?: boolean;
}

export interface RestoreOptions {
  readonly reason?: string;
}

/** As sys/blocks shows it. */
export interface BlockView {
  readonly type: BlockType;
  readonly name: string;
  readonly reason: string;
  /** Of an address: what was got from there stays good. */
  readonly keep?: boolean;
  readonly by: { readonly display_name: string };
  readonly since: string;
  /** What Git declares that it is about. */
  readonly documents: readonly {
    readonly kind: string;
    readonly name: string;
    readonly file: string;
    readonly line: number;
  }[];
  readonly state: "revoking" | "revoked";
  readonly whole: boolean;
  readonly tokens: { readonly examined: number; readonly revoked: number };
  readonly leases: {
    readonly found: number;
    readonly revoked: number;
    readonly left: number;
    readonly failing: readonly { readonly lease_id: string; readonly error: string; readonly attempts: number }[];
  };
  readonly secret_ids: { readonly revoked: number };
}

const blockIn = (answer: Answer): BlockView => dataIn(answer.body) as unknown as BlockView;
const pollMs = 300;

const revokedOf = ({ tokens, leases, secret_ids: ids }: BlockView): string =>
  [counted(tokens.revoked, "token"), counted(leases.revoked, "lease"), counted(ids.revoked, "secret id")].join(", ");

/** Nothing is left but leases that could not be ended so far. */
const stuck = ({ whole, leases }: BlockView): boolean =>
  whole && leases.left > 0 && leases.failing.length >= Math.min(leases.left, 20);

async function waitFor(client: Client, io: Io, path: string, first: BlockView): Promise<BlockView> {
  let block = first;
  while (block.state !== "revoked" && !stuck(block)) {
    io.progress(
      `revoked ${revokedOf(block)}; ${counted(block.leases.left, "lease")} left, ` +
        `${counted(block.tokens.examined, "token")} looked at`,
    );
    await pause(pollMs);
    block = blockIn(await client.call("GET", path));
  }
  io.progress(null);
  return block;
}

/** Exit code 0 where all is revoked, or nobody waits for it; 2 where the rest is left to the server. */
export async function revoke(client: Client, io: Io, type: BlockType, name: string, options: RevokeOptions) {
  const path = `sys/blocks/${type}/${apiPath(name)}`;
  const answer = await client.call("POST", path, {
    reason: options.reason,
    force: options.force,
    ...(options.keep === true && { keep: true }),
  });
  for (const warning of (answer.body?.["warnings"] ?? []) as readonly string[]) io.err(`warning: ${plain(warning)}`);
  const first = blockIn(answer);
  io.out(`Blocked ${type} ${plain(first.name)}: nothing is answered any more`);
  const lift = `writ restore ${type} ${name}`;
  if (first.keep === true) {
    io.out(`What was got from there stays good elsewhere. ${lift} lifts the block`);
    return 0;
  }
  if (!options.wait) {
    io.out(`What was got before is being revoked: writ blocks shows it. ${lift} lifts the block.`);
    return 0;
  }
  // Whoever blocks himself is not told how it goes on.
  const block = await waitFor(client, io, path, first).catch((error: unknown) => {
    if (!(error instanceof CommandError) || !options.force) throw error;
    throw new CommandError(
      `it is blocked, and being revoked; you cannot ask how far that is: ${error.message}`,
      remote,
    );
  });
  io.out(`Revoked ${revokedOf(block)}`);
  for (const { lease_id: id, error, attempts } of block.leases.failing) {
    io.err(plain(`not revoked yet: ${id}: ${error} (${counted(attempts, "attempt")})`));
  }
  if (block.leases.left > 0) {
    io.err(`${counted(block.leases.left, "lease")} left, which the server goes on trying to revoke: writ blocks`);
    return remote;
  }
  io.out(`${lift} lifts the block`);
  return 0;
}

export async function restore(client: Client, io: Io, type: BlockType, name: string, { reason }: RestoreOptions) {
  const query = reason === undefined ? "" : `?${new URLSearchParams({ reason }).toString()}`;
  await client.call("DELETE", `sys/blocks/${type}/${apiPath(name)}${query}`);
  io.out(`Restored ${type} ${plain(name)}: it gets what Git says; what was revoked stays revoked`);
  return 0;
}

/** Those of an answer of LIST sys/blocks, oldest first. */
export const blocksIn = ({ body }: Answer): readonly BlockView[] =>
  Object.values((dataIn(body)["key_info"] ?? {}) as Readonly<Record<string, BlockView>>).sort((a, b) =>
    a.since < b.since ? -1 : 1,
  );

export const leftOf = ({ state, leases, keep }: BlockView): string =>
  keep === true
    ? "refused"
    : state === "revoked"
      ? "revoked"
      : leases.left > 0
        ? `revoking, ${counted(leases.left, "lease")} left`
        : "revoking";

/** One line: what, since when, by whom, why, and what is left to do. */
export function blockText(block: BlockView): string {
  const { type, name, since, by, reason, state, documents } = block;
  const where = documents.map(({ file, line }) => `${file}:${line}`).join(", ");
  const left = state === "revoked" && block.keep !== true ? "" : ` (${leftOf(block)})`;
  return `${type} ${name}${where === "" ? "" : ` (${where})`} since ${since}, by ${by.display_name}: ${reason}${left}`;
}

export async function list(client: Client, io: Io, options: ShowOptions): Promise<number> {
  const blocks = blocksIn(await client.call("GET", "sys/blocks?list=true", undefined, [404]));
  if (!isTable(io, options)) json(io, blocks);
  else if (blocks.length === 0) io.out("Nothing is blocked");
  else {
    table(
      io,
      ["Type", "Name", "Since", "By", "State", "Reason"],
      blocks.map((block) => {
        const { type, name, since, by, reason } = block;
        return [type, name, since.slice(0, 19).concat("Z"), by.display_name, leftOf(block), reason];
      }),
    );
  }
  return 0;
}
