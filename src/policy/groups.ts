// Groups of groups: whoever is in a group is in the groups that it is a member of.

/** All groups that somebody is in who is named in `direct`, each once, sorted. `parents` gives the groups that a group is a
 *  member of; what `exists` does not know is left out, with all that only it leads to. */
export function allGroups(
  direct: Iterable<string>,
  parents: Pick<ReadonlyMap<string, readonly string[]>, "get">,
  exists: (name: string) => boolean,
): readonly string[] {
  const seen = new Set<string>();
  const queue = [...direct];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (seen.has(name) || !exists(name)) continue;
    seen.add(name);
    queue.push(...(parents.get(name) ?? []));
  }
  return [...seen].sort();
}
