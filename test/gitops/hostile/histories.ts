// Malicious commits, refs and histories, and a clone that somebody wrote to.

import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { git } from "../kit.ts";
import { fsckSays, goodTree, head, type Repository, slowly, sorted } from "./attack.ts";
import type { DefenceName } from "./defences.ts";
import { Objects } from "./objects.ts";
import { evil, goodFiles, policy, type World } from "./world.ts";

const commit = (
  name: string,
  defence: DefenceName,
  says: RegExp | undefined,
  parts: { readonly header?: string; readonly message?: string },
  state: Repository["state"] = "failed",
): Repository => ({
  name,
  defence,
  state,
  ...(says !== undefined && { says }),
  make: (world) => {
    const objects = new Objects(world.upstream.dir);
    const entries = sorted([...goodTree(world), { mode: "100644", name: "next.yaml", id: objects.blob(policy("p7")) }]);
    const made = objects.commit(objects.tree(entries), [world.good], parts);
    head(world, made);
    return state === "applied" ? made : undefined;
  },
});

const ada = "Ada <ada@example.org> 1760000000 +0000";
const commits: readonly Repository[] = [
  commit("a commit without an author", "fsck", fsckSays, { header: `committer ${ada}` }),
  commit("a commit of two authors", "fsck", fsckSays, { header: `author ${ada}\nauthor ${ada}\ncommitter ${ada}` }),
  commit("a commit at a time beyond all clocks", "fsck", fsckSays, {
    header: `author Ada <ada@example.org> 99999999999999999999 +0000\ncommitter ${ada}`,
  }),
  commit("a commit of a time zone that is none", "fsck", fsckSays, {
    header: `author Ada <ada@example.org> 1760000000 zone\ncommitter ${ada}`,
  }),
  commit("an author with an address inside a name", "fsck", fsckSays, {
    header: `author Ada> <root <ada@example.org> 1760000000 +0000\ncommitter ${ada}`,
  }),
  commit("a NUL in a header", "fsck", fsckSays, { header: `author ${ada}\ncommitter ${ada}\nx-note a\0b` }),
  commit(
    "a subject that drives a terminal",
    "printable",
    undefined,
    { message: "\u001B]0;owned\u0007\u001B[2J\u202E" },
    "applied",
  ),
  commit(
    "an author that drives a terminal",
    "printable",
    undefined,
    { header: `author \u001B[2JAda <ada@example.org> 1760000000 +0000\ncommitter ${ada}` },
    "applied",
  ),
  slowly(
    commit("a subject of 80 MiB", "output", /more of the commit than is read/, {
      message: "x".repeat(80 * 1024 * 1024),
    }),
  ),
];

/** Another history of the same files, with the evil policy beside them. */
const orphan = (world: World): string =>
  world.upstream.commit({ ...goodFiles, "evil.yaml": evil }, { branch: "evil", parent: null });
const next = (world: World): string => world.upstream.commit({ "next.yaml": policy("p7") });

const refs: readonly Repository[] = [
  {
    name: "a tag of the branch's name",
    defence: "oneBranch",
    state: "applied",
    make: (world) => {
      const made = world.upstream.commit({ "evil.yaml": evil }, { branch: "evil", parent: world.good });
      git(world.upstream.dir, ["update-ref", "refs/tags/main", made]);
    },
  },
  {
    name: "a ref of the branch's name outside the branches",
    defence: "oneBranch",
    state: "applied",
    make: (world) => {
      const made = world.upstream.commit({ "evil.yaml": evil }, { branch: "evil", parent: world.good });
      git(world.upstream.dir, ["update-ref", "refs/main", made]);
    },
  },
  {
    name: "a tag on every commit",
    defence: "noTags",
    state: "applied",
    make: (world) => {
      const made = next(world);
      for (const name of ["HEAD", "v1", "writ/head", "--upload-pack=trap"])
        new Objects(world.upstream.dir).point(`refs/tags/${name.replace("/", "-")}`, made);
      return made;
    },
  },
  {
    name: "a branch begun anew",
    defence: "descent",
    state: "held",
    says: /does not descend/,
    make: (world) => head(world, orphan(world)),
  },
  {
    name: "a branch begun anew with the same files",
    defence: "descent",
    state: "held",
    says: /does not descend/,
    make: (world) =>
      head(
        world,
        new Objects(world.upstream.dir).commit(git(world.upstream.dir, ["rev-parse", `${world.good}^{tree}`]), []),
      ),
  },
  {
    name: "a branch that is another one",
    defence: "descent",
    state: "held",
    says: /does not descend/,
    make: (world) => {
      orphan(world);
      writeFileSync(join(world.upstream.dir, "refs/heads/main"), "ref: refs/heads/evil\n");
    },
  },
  {
    name: "a history that only the remote's grafts join",
    defence: "descent",
    state: "held",
    says: /does not descend/,
    make: (world) => {
      const made = orphan(world);
      mkdirSync(join(world.upstream.dir, "info"), { recursive: true });
      writeFileSync(join(world.upstream.dir, "info/grafts"), `${made} ${world.good}\n`);
      head(world, made);
    },
  },
  {
    name: "a history that only the remote's replacements join",
    defence: "descent",
    state: "held",
    says: /does not descend/,
    make: (world) => {
      const made = orphan(world);
      const objects = new Objects(world.upstream.dir);
      const joined = objects.commit(git(world.upstream.dir, ["rev-parse", `${made}^{tree}`]), [world.good]);
      git(world.upstream.dir, ["update-ref", `refs/replace/${made}`, joined]);
      head(world, made);
    },
  },
];

/** The clone itself, by somebody who came that far: what stands there is not obeyed. */
const clones: readonly Repository[] = [
  {
    name: "hooks in the clone",
    clone: true,
    defence: "noHooks",
    state: "applied",
    make: (world) => {
      const hooks = join(world.clone, "hooks");
      mkdirSync(hooks, { recursive: true });
      for (const name of ["reference-transaction", "post-checkout", "pre-auto-gc"])
        writeFileSync(join(hooks, name), `#!/bin/sh\nexec ${world.around.trap} ${name}\n`, { mode: 0o755 });
      return next(world);
    },
  },
  {
    name: "a replacement in the clone",
    clone: true,
    defence: "realObjects",
    state: "applied",
    make: (world) => {
      const made = next(world);
      const objects = new Objects(world.clone);
      git(world.clone, ["fetch", "--quiet", world.upstream.dir, "refs/heads/main:refs/writ/head"]);
      const entries = [
        { mode: "100644", name: "evil.yaml", id: objects.blob(evil) },
        ...objects.entries(`${made}^{tree}`),
      ];
      git(world.clone, [
        "update-ref",
        `refs/replace/${made}`,
        objects.commit(objects.tree(sorted(entries)), [world.good]),
      ]);
      return made;
    },
  },
  {
    name: "a history that grafts in the clone join",
    clone: true,
    defence: "realHistory",
    state: "held",
    says: /does not descend/,
    make: (world) => {
      const made = orphan(world);
      mkdirSync(join(world.clone, "info"), { recursive: true });
      writeFileSync(join(world.clone, "info/grafts"), `${made} ${world.good}\n`);
      head(world, made);
    },
  },
  {
    name: "programs in the clone's configuration",
    clone: true,
    defence: "noSignatures",
    state: "applied",
    make: (world) => {
      appendFileSync(
        join(world.clone, "config"),
        `[log]\n\tshowSignature = true\n[gpg]\n\tprogram = ${world.around.trap}\n[core]\n\tpager = ${world.around.trap}\n`,
      );
      const objects = new Objects(world.upstream.dir);
      const made = objects.commit(git(world.upstream.dir, ["rev-parse", `${world.good}^{tree}`]), [world.good], {
        header: `author ${ada}\ncommitter ${ada}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----`,
      });
      head(world, made);
      return made;
    },
  },
  {
    name: "a clone that has the rest of its objects fetched by a program",
    clone: true,
    defence: "noLazyFetch",
    state: "applied",
    make: (world) => {
      const made = next(world);
      const evilRemote = `[remote "evil"]\n\turl = ${world.upstream.dir}\n\tpromisor = true\n\tuploadpack = ${world.around.trap}\n`;
      git(world.upstream.dir, ["config", "uploadpack.allowFilter", "true"]);
      rmSync(join(world.clone, "objects/pack"), { recursive: true });
      rmSync(join(world.clone, "refs/writ/head"));
      git(world.clone, [
        "fetch",
        "--quiet",
        "--filter=blob:none",
        `file://${world.upstream.dir}`,
        "+refs/heads/main:refs/writ/head",
      ]);
      git(world.clone, ["config", "--remove-section", `remote.file://${world.upstream.dir}`]);
      appendFileSync(join(world.clone, "config"), `${evilRemote}[extensions]\n\tpartialClone = evil\n`);
      return made;
    },
  },
  {
    name: "a machine whose user has git run programs",
    defence: "noMachine",
    state: "applied",
    make: (world) => next(world),
  },
];

export const histories: readonly Repository[] = [...commits, ...refs, ...clones];
