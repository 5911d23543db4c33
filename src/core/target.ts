// Where the reconciler applies commits: the ledger, seen as the contract of sdk/kind.ts.
// Must hold: a commit is refused whole before anything changes where the running vault cannot take it; objects that the
// API made stay the API's unless the document says adopt.

import { rfc3339 } from "../lib/clock.ts";
import type { Work } from "../lib/slices.ts";
import { VaultError } from "../sdk/errors.ts";
import { ApplyError, type Change, type CommitSet, type Declaration, declarationKey, type Target } from "../sdk/kind.ts";
import type { Problem } from "../sdk/errors.ts";
import type { Json } from "../sdk/view.ts";
import { type Block } from "./blocks/blocks.ts";
import { documentsOf } from "./blocks/find.ts";
import type { Core } from "./core.ts";
import type { Generation } from "./generation.ts";
import { entityKind, groupKind, mountPathOf } from "./kinds.ts";
import { mountKinds } from "./mounts.ts";
import type { Edit } from "./ledger.ts";
import { keyOf, type Table } from "./table.ts";

const texts = new WeakMap<Declaration, string>();

/** Everything but where it stands in the repository, and what the core keeps of it. */
function textOf(declaration: Declaration): string {
  let text = texts.get(declaration);
  if (text === undefined) {
    const { source: _source, since: _since, made: _made, ...rest } = declaration;
    text = JSON.stringify(rest);
    texts.set(declaration, text);
  }
  return text;
}

const at = (declaration: Declaration, message: string): Problem => ({
  file: declaration.source?.file ?? "",
  line: declaration.source?.line ?? 1,
  column: declaration.source?.column ?? 1,
  message: `${declaration.kind} ${declaration.name}: ${message}`,
});

/** What the API made of the kinds whose names are one in other spellings too, by the name that is the same. */
function* foldedNames(table: Table): Work<ReadonlyMap<string, Declaration>> {
  const made = new Map<string, Declaration>();
  for (const { name: kind, fold } of [entityKind, groupKind]) {
    for (const each of table.shelf(kind, null).values()) {
      if (each.source === null && fold !== undefined) made.set(declarationKey(kind, null, fold(each.name)), each);
      yield;
    }
  }
  return made;
}

const foldedKey = ({ kind, name }: Declaration): string => {
  const fold = [entityKind, groupKind].find((each) => each.name === kind)?.fold;
  return fold === undefined ? "" : declarationKey(kind, null, fold(name));
};

/** A mount that the API made is meant by its path, and who is who in any case, whatever the document is called. */
function madeByApi(
  table: Table,
  folded: ReadonlyMap<string, Declaration>,
  declaration: Declaration,
): Declaration | null {
  const same = table.get(declaration.kind, declaration.mount, declaration.name);
  if (same !== null) return same.source === null ? same : null;
  const other = folded.get(foldedKey(declaration));
  if (other !== undefined) return other;
  if (!(mountKinds as readonly string[]).includes(declaration.kind)) return null;
  const path = mountPathOf(declaration.name, declaration.spec);
  for (const other of table.shelf(declaration.kind, null).values()) {
    if (other.source === null && mountPathOf(other.name, other.spec) === path) return other;
  }
  return null;
}

function* problemsOf(table: Table, set: CommitSet): Work<Problem[]> {
  const problems: Problem[] = [];
  const folded = yield* foldedNames(table);
  for (const declaration of set.declarations) {
    const made = madeByApi(table, folded, declaration);
    if (made !== null && declaration.metadata.adopt !== true) {
      problems.push(
        at(declaration, "the API made an object of this name; say `adopt: true` under metadata to take it over"),
      );
    } else if (made !== null && made.name !== declaration.name) {
      problems.push(
        at(declaration, `the API made it under the name "${made.name}"; give the document that name to take it over`),
      );
    }
    yield;
  }
  for (const external of set.externals) {
    const [kind = "", mount = "", name = ""] = external.key.split("\n");
    const found = table.get(kind, mount === "" ? null : mount, name);
    if (found === null || found.source !== null) {
      problems.push({
        ...external.source,
        message: `${kind} ${name} is marked external, but no object outside Git has that name`,
      });
    }
  }
  return problems;
}

function isNew(table: Table, declaration: Declaration): boolean {
  const before = table.get(declaration.kind, declaration.mount, declaration.name);
  if (before === declaration) return false;
  if (before === null || before.source === null) return true;
  return textOf(before) !== textOf(declaration) || JSON.stringify(before.source) !== JSON.stringify(declaration.source);
}

function* drafting(table: Table, set: CommitSet): Work<Edit> {
  const problems = yield* problemsOf(table, set);
  if (problems.length > 0) throw new ApplyError(problems);
  const wanted = new Set<string>();
  const put: Declaration[] = [];
  for (const declaration of set.declarations) {
    wanted.add(keyOf(declaration));
    if (isNew(table, declaration)) put.push(declaration);
    yield;
  }
  const remove: Declaration[] = [];
  for (const declaration of table) {
    if (declaration.source !== null && !wanted.has(keyOf(declaration))) remove.push(declaration);
    yield;
  }
  return { put, remove, commit: set.commit };
}

/** Throws ApplyError or VaultError; nothing has changed then. */
async function apply(core: Core, set: CommitSet): Promise<void> {
  await core.ledger.edit((table) => drafting(table, set));
}

const blockedText = ({ spec: { since, by, reason } }: Block): string =>
  `blocked since ${rfc3339(since)} by ${by.display_name}: ${reason}`;

const blocked = new WeakMap<Generation, ReadonlyMap<Declaration, Block>>();

/** Blocks by the documents that they are about, worked out once for all that are asked for. */
function blocksOf(generation: Generation): ReadonlyMap<Declaration, Block> {
  let found = blocked.get(generation);
  if (found === undefined) {
    const first = new Map<Declaration, Block>();
    for (const block of generation.blocks?.all ?? []) {
      for (const document of documentsOf(block, generation)) if (!first.has(document)) first.set(document, block);
    }
    blocked.set(generation, (found = first));
  }
  return found;
}

/** `core` answers null while sealed. */
export function createTarget(core: () => Core | null): Target {
  const open = (): Core => {
    const live = core();
    if (live === null) throw new VaultError("sealed", "Vault is sealed");
    return live;
  };
  return {
    current: () => {
      const { record, table } = open().generation;
      if (record.commit === null) return null;
      const declarations = [...table].filter((declaration) => declaration.source !== null);
      return { commit: record.commit, appliedAt: record.committed_at, declarations };
    },
    apply: (set: CommitSet, _changes: readonly Change[]) => apply(open(), set),
    pending: () => open().tasks.pending(),
    state: (declaration) => {
      const { generation, tasks } = open();
      const block = blocksOf(generation).get(declaration);
      if (block !== undefined) return blockedText(block);
      if (Object.keys(declaration.secrets).length === 0 || declaration.mount === null) return "active";
      const mounted = generation.mounts.at(`auth/${declaration.mount}`) ?? generation.mounts.at(declaration.mount);
      const problem = tasks.problem(`${mounted?.accessor ?? ""} ${declaration.kind} ${declaration.name}`);
      return problem === null ? "active" : `waiting: ${problem}`;
    },
    audit: (entry) => open().broker.reconcile(entry),
    load: async (name) => (await open().root.getJson<Record<string, Json>>(`gitops/${name}`))?.value ?? null,
    save: async (name, value) => {
      await open().root.write([{ key: `gitops/${name}`, value: { ...value } }]);
    },
  };
}
