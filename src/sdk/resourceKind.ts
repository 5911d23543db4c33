// The kind of document that a plugin's resource gives: one table, seen from Git.

import type { Fields } from "./fields.ts";
import type { Fault, Kind } from "./kind.ts";
import type { MountPlugin, Resource } from "./mount.ts";

/** Whether a policy's name is `root` or looks like it: case, spaces, characters that are not seen, and the forms in which
 *  Unicode writes the same letters make no difference. */
export const isRoot = (name: string): boolean =>
  name
    .normalize("NFKC")
    .replace(/[\s\p{Default_Ignorable_Code_Point}\p{Cc}]/gu, "")
    .toLowerCase() === "root";

/** Places where a declaration would give the policy `root`, which none may, however it is spelled. */
export function rootFaults(fields: Fields, spec: Readonly<Record<string, unknown>>): readonly Fault[] {
  return Object.entries(fields).flatMap(([name, entry]) => {
    const names = entry.ref === "Policy" ? ((spec[name] ?? []) as readonly string[]) : [];
    const at = names.findIndex(isRoot);
    return at < 0 ? [] : [{ path: [name, at], message: `the policy "root" cannot be given by declaration` }];
  });
}

export const kindOf = (plugin: Pick<MountPlugin, "class" | "type">, resource: Resource): Kind => ({
  name: resource.kind,
  description: resource.description,
  mount: { class: plugin.class, type: plugin.type },
  fields: resource.fields,
  ...(resource.normalize !== undefined && { normalize: resource.normalize }),
  check: ({ spec }) => [...rootFaults(resource.fields, spec), ...(resource.check?.(spec) ?? [])],
});
