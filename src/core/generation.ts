// A generation: the authorization state at one commit and one API revision, compiled and immutable. A request sees one.

import type { KeyObject } from "node:crypto";
import type { Work } from "../lib/slices.ts";
import type { Commit, Declaration } from "../sdk/kind.ts";
import { defaultPolicy, type Policy, policyOf, rootPolicy, wrappingName, wrappingPolicy } from "../policy/compile.ts";
import { Blocks } from "./blocks/blocks.ts";
import { blockKind } from "./blocks/block.ts";
import { Directory } from "./identity/directory.ts";
import type { MountState } from "./mountStates.ts";
import { type Mounts, type MountTable, mountKinds } from "./mounts.ts";
import type { Shelf, Table } from "./table.ts";

/** What storage says is live: small, and swapped as one. */
export interface CurrentRecord {
  readonly format: 1;
  /** Counts every change. */
  readonly seq: number;
  /** Address of the page that lists the pages of declarations. */
  readonly root: string;
  readonly commit: Commit | null;
  /** When the commit went live; milliseconds since 1970. */
  readonly committed_at: number;
  /** Counts API changes. */
  readonly revision: number;
  readonly at: number;
}

export interface Generation {
  /** "<commit>+<revision>", as audit entries name it; "-" for no commit. */
  readonly id: string;
  readonly record: CurrentRecord;
  readonly table: Table;
  readonly mounts: MountTable;
  readonly identity: Directory;
  /** What is blocked, whatever else it is allowed; null where nothing is. */
  readonly blocks: Blocks | null;
  /** Null where no such policy exists. */
  policy(name: string): Policy | null;
}

export const generationId = (record: CurrentRecord): string => `${record.commit?.id ?? "-"}+${record.revision}`;

export interface BuildInput {
  readonly record: CurrentRecord;
  readonly table: Table;
  readonly mounts: Mounts;
  readonly states: readonly MountState[];
  readonly identityKey: KeyObject;
  readonly previous: Generation | null;
  readonly fail: (declaration: Declaration, message: string) => never;
}

/** Pure but for caches: what did not change is taken over from `previous`. */
export function* building(input: BuildInput): Work<Generation> {
  const { table, record, previous } = input;
  const same = (kind: string): boolean =>
    previous !== null && previous.table.shelf(kind, null) === table.shelf(kind, null);
  const sameMounts = previous !== null && mountKinds.every(same);
  const mounts = sameMounts ? previous.mounts : input.mounts.build(table, input.states, input.fail);
  const identity = sameMounts
    ? yield* previous.identity.over(table)
    : yield* Directory.of(table, mounts, input.identityKey);
  const sameBlocks = previous !== null && identity === previous.identity && same(blockKind);
  const blocks = sameBlocks ? previous.blocks : Blocks.of(table, mounts, identity);
  return {
    id: generationId(record),
    record,
    table,
    mounts,
    identity,
    blocks,
    policy: policiesIn(table.shelf("Policy", null)),
  };
}

/** Made where `previous` is not in scope: a function keeps all that any function beside it uses, and so every generation
 *  would keep the one before it. */
const policiesIn =
  (policies: Shelf): Generation["policy"] =>
  (name) => {
    if (name === "root") return rootPolicy;
    const declaration = policies.get(name);
    if (declaration !== undefined) return policyOf(declaration);
    if (name === "default") return defaultPolicy;
    return name === wrappingName ? wrappingPolicy : null;
  };
