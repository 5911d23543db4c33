// The quickstart's own forge: a bare policy repository whose hook tells the vault of pushes, and a clone to edit.
// Must hold: each step is made beside its place and moved there, so a crash leaves nothing half-made; what the user has
// pushed or edited is never touched again.

import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createGit } from "../lib/git.ts";
import { renameDurable, writeDurable } from "./environment.ts";

const identity = {
  GIT_AUTHOR_NAME: "Writ quickstart",
  GIT_AUTHOR_EMAIL: "quickstart@localhost",
  GIT_COMMITTER_NAME: "Writ quickstart",
  GIT_COMMITTER_EMAIL: "quickstart@localhost",
};

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Makes `place` by `make`, which gets the path to make it at, unless it is there. */
async function once(place: string, make: (fresh: string) => Promise<void>): Promise<void> {
  if (await exists(place)) return;
  const fresh = `${place}.new`;
  await rm(fresh, { recursive: true, force: true });
  await make(fresh);
  await renameDurable(fresh, place);
}

/** A bare repository with one commit that holds the files of `source`. */
export async function seedRepository(place: string, source: string): Promise<void> {
  await once(place, async (fresh) => {
    await createGit({ gitDir: null }).run(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", fresh]);
    const git = createGit({
      gitDir: fresh,
      environment: { ...identity, GIT_WORK_TREE: source, GIT_INDEX_FILE: join(fresh, "seed.index") },
    });
    await git.run(["add", "--all", "--force"]);
    const tree = await git.text(["write-tree"]);
    const commit = await git.text(["commit-tree", tree, "-m", "The example policies"]);
    await git.run(["update-ref", "refs/heads/main", commit]);
    await rm(join(fresh, "seed.index"), { force: true });
  });
}

/** A clone in which somebody without any Git configuration can commit. */
export async function cloneRepository(place: string, bare: string): Promise<void> {
  await once(place, async (fresh) => {
    const git = createGit({ gitDir: null, protocols: ["file"] });
    const settings = ["user.name=Quickstart user", "user.email=you@localhost", "commit.gpgSign=false"];
    const flags = settings.flatMap((setting) => ["--config", setting]);
    await git.run(["clone", "--quiet", "--template=", "--branch=main", ...flags, bare, fresh]);
  });
}

/** As a shell reads it back. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Written at each start: the node that runs, the port and the folder may have changed. `command` is the program and its
 *  arguments. */
export async function writeHook(repository: string, command: readonly string[]): Promise<void> {
  const folder = join(repository, "hooks");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const script = `#!/bin/sh
# Written by the quickstart at each start. Tells the vault of a push, as a forge would, and never fails the push.
if [ ! -x ${quoted(command[0] ?? "")} ]; then
  echo 'writ: the vault was not told: start it once more with npm start' >&2
  exit 0
fi
${command.map(quoted).join(" ")} || echo 'writ: the vault was not told; it looks by itself within a minute or so' >&2
exit 0
`;
  const file = join(folder, "post-receive");
  await writeDurable(file, Buffer.from(script), 0o700);
}
