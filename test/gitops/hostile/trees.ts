// Malicious trees: names that mean another thing elsewhere, links, submodules, what git itself would never write.

import type { DefenceName } from "./defences.ts";
import type { TreeEntry } from "./objects.ts";
import { fsckSays, type Repository, sorted, tree } from "./attack.ts";
import { evil, policy } from "./world.ts";

/** A folder, or a file, of that name that holds the evil policy. */
const named = (
  name: string | Buffer,
  defence: DefenceName,
  says: RegExp,
  state: Repository["state"] = "failed",
): Repository =>
  tree(
    `a folder named ${JSON.stringify(String(name))}`,
    defence,
    says,
    (objects, good) => {
      const inner = objects.tree([{ mode: "100644", name: "evil.yaml", id: objects.blob(evil) }]);
      return sorted([...good, { mode: "40000", name, id: inner }]);
    },
    state,
  );

const file = (
  what: string,
  name: string | Buffer,
  defence: DefenceName,
  says: RegExp,
  state: Repository["state"] = "failed",
): Repository =>
  tree(
    what,
    defence,
    says,
    (objects, good) => sorted([...good, { mode: "100644", name, id: objects.blob(evil) }]),
    state,
  );

const elsewhere = /control or invisible character|leads elsewhere|spelling of \.git|not valid UTF-8|longer than/;

const names: readonly Repository[] = [
  named("..", "fsckAndNames", fsckSays),
  named(".", "fsckAndNames", fsckSays),
  named(".git", "fsckAndNames", fsckSays),
  named(".GIT", "fsckAndNames", fsckSays),
  named(".Git.", "fsckAndNames", fsckSays),
  named(".git ", "fsckAndNames", fsckSays),
  named("git~1", "fsckAndNames", fsckSays),
  named("GIT~1", "fsckAndNames", fsckSays),
  named("git~2", "names", elsewhere, "invalid"),
  named(".git::$INDEX_ALLOCATION", "fsckAndNames", fsckSays),
  named(".g\u200Cit", "fsckAndNames", fsckSays),
  named(".\u206AGIT", "fsckAndNames", fsckSays),
  named(".\u2060GIT", "names", elsewhere, "invalid"),
  named("a\\..\\..\\b", "fsckAndNames", elsewhere, "invalid"),
  named("new\nline", "names", elsewhere, "invalid"),
  named("\u001B]0;owned\u0007", "names", elsewhere, "invalid"),
  named("\u202Elmay.terces", "names", elsewhere, "invalid"),
  named(Buffer.from([0x62, 0xff, 0xfe]), "names", elsewhere, "invalid"),
  file("a path in one name", "sub/evil.yaml", "fsckAndNames", fsckSays),
  file("a path to the root in one name", "/evil.yaml", "fsckAndNames", fsckSays),
  tree(
    "a name of two thousand bytes",
    "names",
    elsewhere,
    (objects, good) => {
      let inner: TreeEntry = { mode: "100644", name: "evil.yaml", id: objects.blob(evil) };
      for (let depth = 0; depth < 10; depth += 1)
        inner = { mode: "40000", name: "d".repeat(200), id: objects.tree([inner]) };
      return sorted([...good, inner]);
    },
    "invalid",
  ),
  file("a name that differs in case only", "KEPT.yaml", "oneName", /differs from/, "invalid"),
  tree(
    "names that differ in form only",
    "oneName",
    /differs from/,
    (objects, good) => {
      const made = (name: string, content: string): TreeEntry => ({ mode: "100644", name, id: objects.blob(content) });
      return sorted([...good, made("caf\u00E9.yaml", policy("p7")), made("cafe\u0301.yaml", evil)]);
    },
    "invalid",
  ),
  tree("a name twice in a tree", "fsck", fsckSays, (objects, good) => {
    const made = (content: string): TreeEntry => ({ mode: "100644", name: "x.yaml", id: objects.blob(content) });
    return sorted([...good, made(policy("p7")), made(evil)]);
  }),
  tree("a tree out of order", "fsck", fsckSays, (objects, good) => [
    { mode: "100644", name: "zz.yaml", id: objects.blob(evil) },
    ...good,
  ]),
];

const link = (name: string, target: string, at = "evil.yaml"): Repository =>
  tree(
    name,
    "plainFiles",
    /symbolic links are refused/,
    (objects, good) => sorted([...good, { mode: "120000", name: at, id: objects.blob(target) }]),
    "invalid",
  );

const gitmodules = (what: string, content: string): Repository =>
  tree(`.gitmodules with ${what}`, "fsck", fsckSays, (objects, good) =>
    sorted([
      ...good,
      { mode: "100644", name: ".gitmodules", id: objects.blob(content) },
      { mode: "100644", name: "evil.yaml", id: objects.blob(evil) },
    ]),
  );

const links: readonly Repository[] = [
  link("a link whose target reads as a document", evil),
  link("a link to a file of the machine", "/etc/passwd", "docs"),
  link("a link out of the repository", "../../../../writ/storage", "deep"),
  tree(
    "a submodule",
    "plainFiles",
    /submodules are refused/,
    (_objects, good) => sorted([...good, { mode: "160000", name: "sub", id: "1".repeat(40) }]),
    "invalid",
  ),
  tree(".gitmodules that is a link", "plainFilesChecked", fsckSays, (objects, good) =>
    sorted([...good, { mode: "120000", name: ".gitmodules", id: objects.blob("/etc/passwd") }]),
  ),
  gitmodules("an option for a URL", '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=trap\n'),
  gitmodules("an option for a path", '[submodule "x"]\n\tpath = -c\n\turl = https://example.org/x.git\n'),
  gitmodules(
    "a name that leads elsewhere",
    '[submodule "../../hooks"]\n\tpath = x\n\turl = https://example.org/x.git\n',
  ),
  gitmodules(
    "a command for an update",
    '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x.git\n\tupdate = !trap\n',
  ),
];

export const trees: readonly Repository[] = [...names, ...links];
