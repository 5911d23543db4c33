// What a malicious repository is to the suite, and how most are made: the good files with something beside them.

import { git } from "../kit.ts";
import type { DefenceName } from "./defences.ts";
import { Objects, type TreeEntry } from "./objects.ts";
import type { World } from "./world.ts";

export interface Repository {
  readonly name: string;
  readonly defence: DefenceName;
  /** How the server says that it ended. */
  readonly state: "applied" | "invalid" | "held" | "failed";
  /** What it says of the reason. */
  readonly says?: RegExp;
  /** It takes seconds to make. */
  readonly slow?: true;
  /** It changes the clone itself. */
  readonly clone?: true;
  /** Makes the repository; the commit that is to be live afterwards, where that is not the good one. */
  readonly make: (world: World) => string | void | Promise<void>;
}

export const goodTree = (world: World): TreeEntry[] => new Objects(world.upstream.dir).entries(`${world.good}^{tree}`);

/** Git's own order of names in a tree: folders as if they ended in a slash. */
export const sorted = (entries: readonly TreeEntry[]): TreeEntry[] => {
  const key = ({ mode, name }: TreeEntry): Buffer =>
    Buffer.concat([Buffer.from(name), Buffer.from(mode === "40000" ? "/" : "")]);
  return [...entries].sort((a, b) => Buffer.compare(key(a), key(b)));
};

/** For what takes seconds to make. */
export const slowly = (repository: Repository): Repository => ({ ...repository, slow: true });

/** Makes a commit the branch's head. */
export const head = (world: World, commit: string): void => {
  const objects = new Objects(world.upstream.dir);
  objects.point("refs/heads/main", commit);
  git(world.upstream.dir, ["update-server-info"]);
};

/** The good files with more beside them. */
export function tree(
  name: string,
  defence: DefenceName,
  says: RegExp,
  add: (objects: Objects, good: readonly TreeEntry[]) => readonly TreeEntry[],
  state: Repository["state"] = "failed",
): Repository {
  return {
    name,
    defence,
    state,
    says,
    make: (world) => {
      const objects = new Objects(world.upstream.dir);
      head(world, objects.commit(objects.tree(add(objects, goodTree(world))), [world.good]));
    },
  };
}

/** What the server says where git's own check (fsck) refused an object. */
export const fsckSays = /git refuses an object of the branch/;
