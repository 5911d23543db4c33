// What must follow a change of generation: computed from what was there before and is not any more, written as tasks in
// the same transaction, carried out by the handlers in chores.ts.

import type { Work } from "../lib/slices.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { ViewOp } from "../sdk/view.ts";
import type { Generation } from "./generation.ts";
import { endEntities } from "./identity/ends.ts";
import { type GoneMount, type Mounts, mountKinds } from "./mounts.ts";
import type { MountState } from "./mountStates.ts";
import { keyOf } from "./table.ts";
import type { Tasks } from "./tasks.ts";
import { tokenRoles } from "./tokens/roles.ts";

const nameOf = ({ kind, name }: Declaration): string => `${kind}\n${name}`;
const isMount = (declaration: Declaration): boolean => (mountKinds as readonly string[]).includes(declaration.kind);

/** Where an object's state lives: survives a move of its mount. */
function home(generation: Generation, declaration: Declaration): string | null {
  if (declaration.kind === tokenRoles.kind) return generation.mounts.at("auth/token")?.accessor ?? null;
  if (declaration.mount === null) return null;
  for (const path of [`auth/${declaration.mount}`, declaration.mount]) {
    const mounted = generation.mounts.at(path);
    if (mounted?.plugin?.resources.some((resource) => resource.kind === declaration.kind)) return mounted.accessor;
  }
  return null;
}

/** What revoking the leases of a mount needs when there is no mount, and no record of one, any more. */
function gone(before: Generation, { accessor, class: mountClass, type, uuid }: MountState): GoneMount {
  const context = before.mounts.byAccessor(accessor)?.context;
  return { accessor, class: mountClass, type, uuid, path: context?.path ?? "", options: { ...context?.options } };
}

export function* following(
  before: Generation,
  after: Generation,
  removed: readonly Declaration[],
  put: readonly Declaration[],
  mounts: Mounts,
  tasks: Tasks,
): Work<{ readonly ops: ViewOp[]; readonly forgotten: readonly MountState[] }> {
  const { seq } = after.record;
  const ops: ViewOp[] = [];
  const forgotten: MountState[] = [];
  const names = new Set(removed.map(nameOf));
  const kept = new Set<string>();
  for (const one of names.size === 0 ? [] : put) {
    if (names.has(nameOf(one))) kept.add(`${home(after, one) ?? ""}\n${nameOf(one)}`);
    yield;
  }
  // Mounts first: their leases end before the state of their objects, which revoking may need.
  const mountsFirst = [...removed].sort((a, b) => Number(isMount(b)) - Number(isMount(a)));
  for (const declaration of mountsFirst) {
    yield;
    if (isMount(declaration)) {
      const state = mounts.state(declaration);
      if (state === null) continue;
      ops.push(tasks.put("revoke-mount", state.accessor, { ...gone(before, state) }, seq));
      // What the API unmounts is gone, as in Vault; what Git removes is kept unless an earlier commit said delete.
      if (declaration.source !== null && declaration.spec["on_remove"] !== "delete") continue;
      ops.push(tasks.put("drop-data", state.accessor, { uuid: state.uuid }, seq));
      forgotten.push(state);
      continue;
    }
    const accessor = home(before, declaration);
    if (accessor === null || kept.has(`${accessor}\n${nameOf(declaration)}`)) continue;
    const args = { accessor, kind: declaration.kind, name: declaration.name };
    const subject = `${accessor} ${declaration.kind} ${declaration.name}`;
    ops.push(tasks.put("revoke-mapping", subject, args, seq), tasks.put("remove-state", subject, args, seq));
  }
  for (const declaration of put) {
    yield;
    if (declaration.source === null || Object.keys(declaration.secrets).length === 0) continue;
    const accessor = home(after, declaration);
    if (accessor === null) continue;
    const subject = `${accessor} ${declaration.kind} ${declaration.name}`;
    ops.push(tasks.put("seed", subject, { key: keyOf(declaration) }, seq));
  }
  ops.push(...endEntities(before, after, removed, tasks));
  return { ops, forgotten };
}
