// Whether mounts would lie inside each other.

import type { Mounted } from "./mounts.ts";

/** Mount paths, and every folder above one, so that neither order of nesting goes unseen. */
export class Paths {
  readonly at = new Map<string, Mounted>();
  readonly #above = new Map<string, Mounted>();

  clash(path: string): Mounted | null {
    for (const folder of foldersOf(path)) {
      const found = this.at.get(folder);
      if (found !== undefined) return found;
    }
    return this.at.get(path) ?? this.#above.get(path) ?? null;
  }

  add(mounted: Mounted): void {
    this.at.set(mounted.path, mounted);
    for (const folder of foldersOf(mounted.path)) this.#above.set(folder, mounted);
  }
}

function* foldersOf(path: string): Generator<string> {
  for (let slash = path.indexOf("/"); slash >= 0 && slash < path.length - 1; slash = path.indexOf("/", slash + 1)) {
    yield path.slice(0, slash + 1);
  }
}
