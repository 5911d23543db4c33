// Malicious contents: too much of everything, texts that mean another thing than they show, and documents that reach for
// what Git may not give.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { git } from "../kit.ts";
import { goodTree, head, type Repository, slowly, sorted, tree } from "./attack.ts";
import type { DefenceName } from "./defences.ts";
import { Objects, type TreeEntry } from "./objects.ts";
import { evil, policy } from "./world.ts";

const content = (
  name: string,
  defence: DefenceName,
  says: RegExp,
  documents: string,
  path = "evil.yaml",
  state: Repository["state"] = "invalid",
): Repository => ({
  name,
  defence,
  state,
  says,
  make: (world) => void world.upstream.commit({ [path]: documents }, { subject: "Evil" }),
});

/** Many bytes of no content: zlib makes a thousandth of them. */
const zeros = (mebibytes: number): Buffer => Buffer.alloc(mebibytes * 1024 * 1024);

const sizes: readonly Repository[] = [
  content("a document that is too large", "fileBytes", /at most 65536/, `${evil}${"# filler\n".repeat(10_000)}`),
  {
    name: "too many documents",
    defence: "fileCount",
    state: "invalid",
    says: /at most 400/,
    make: (world) =>
      void world.upstream.commit(
        Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`many/${at}.yaml`, policy(`m${at}`)])),
      ),
  },
  {
    name: "too many bytes of documents",
    defence: "totalBytes",
    state: "invalid",
    says: /at most 1048576/,
    make: (world) =>
      void world.upstream.commit(
        Object.fromEntries(
          Array.from({ length: 20 }, (_, at) => [`large/${at}.yaml`, `${policy(`m${at}`)}${"# x\n".repeat(15_000)}`]),
        ),
      ),
  },
  {
    name: "a file of 400 MiB of zeros",
    slow: true,
    defence: "blobs",
    state: "applied",
    make: (world) => {
      const objects = new Objects(world.upstream.dir);
      const file_ = join(world.around.folder, "log/zeros");
      writeFileSync(file_, zeros(400));
      const id = git(
        world.upstream.dir,
        ["-c", "core.bigFileThreshold=1m", "hash-object", "-w", "--stdin-paths"],
        `${file_}\n`,
      );
      rmSync(file_);
      const made = objects.commit(
        objects.tree(sorted([...goodTree(world), { mode: "100644", name: "zeros.bin", id }])),
        [world.good],
      );
      head(world, made);
      return made;
    },
  },
  slowly(
    tree("a tree of 400 MiB", "memory", /more memory|cannot be reached/, (objects, good) => {
      // One entry over and over: what is out of order is seen only once all of it is there.
      const entry = Buffer.concat([Buffer.from("100644 x\0"), Buffer.alloc(20, 1)]);
      const piece = Buffer.concat(Array.from({ length: 256 * 1024 }, () => entry));
      const huge = objects.raw("tree", Buffer.concat(Array.from({ length: 57 }, () => piece)));
      return sorted([...good, { mode: "40000", name: "huge", id: huge }]);
    }),
  ),
  {
    name: "ten to the eighth files in eighty objects",
    defence: "output",
    state: "failed",
    says: /more of the commit than is read/,
    make: (world) => {
      const objects = new Objects(world.upstream.dir);
      let inner: TreeEntry = { mode: "100644", name: "f", id: objects.blob("x") };
      for (let depth = 0; depth < 8; depth += 1) {
        const entries = Array.from({ length: 10 }, (_, at): TreeEntry => ({ ...inner, name: `f${depth}${at}` }));
        inner = { mode: "40000", name: "d", id: objects.tree(entries) };
      }
      head(world, objects.commit(objects.tree(sorted([...goodTree(world), inner])), [world.good]));
    },
  },
  {
    name: "more bytes than a fetch may take",
    defence: "disk",
    state: "failed",
    says: /limits\.fetch_bytes/,
    make: (world) => {
      const noise = Buffer.alloc(8 * 1024 * 1024);
      for (let at = 0, seed = 1; at < noise.length; at += 4) {
        seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
        noise.writeUInt32LE(seed, at);
      }
      const objects = new Objects(world.upstream.dir);
      head(
        world,
        objects.commit(
          objects.tree(sorted([...goodTree(world), { mode: "100644", name: "noise.bin", id: objects.blob(noise) }])),
          [world.good],
        ),
      );
    },
  },
];

const entity = (name: string, spec: string): string =>
  `apiVersion: writ/v1\nkind: Entity\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

const texts: readonly Repository[] = [
  content(
    "a key twice, the second one evil",
    "oneMeaning",
    /stands twice/,
    policy("evil", "secret/data/x").replace("spec:", "spec: { rules: [] }\nspec:"),
  ),
  content(
    "a key that is the prototype",
    "plainKeys",
    /not allowed/,
    entity("evil", "{ metadata: { __proto__: { a: b } } }"),
  ),
  content("a key that is a backslash alone", "plainKeys", /backslash/, entity("evil", '{ metadata: { "\\\\": x } }')),
  content(
    "a key with a control character",
    "plainKeys",
    /control character/,
    entity("evil", '{ metadata: { "a\\u0007": x } }'),
  ),
  content("a key that is a number", "plainKeys", /must be text/, entity("evil", "{ metadata: { 1: x } }")),
  content("a tag that makes another value", "noSigns", /tags \(!\)/, policy("evil").replace("read]", "!!str read]")),
  content("a directive for another YAML", "noSigns", /directives/, `%YAML 1.1\n---\n${evil}`),
  content("a control character that hides the rest", "plainText", /control character/, `${evil}# \u001B[1A\n`),
  content("a line that an editor does not show", "plainText", /carriage return/, `${evil}# harmless\rspec: {}\n`),
  content(
    "brackets, a hundred deep",
    "depth",
    /nested deeper/,
    policy("evil").replace("[read]", `[read], allowed_parameters: { a: ${"[".repeat(100)}${"]".repeat(100)} }`),
  ),
];

const rights: readonly Repository[] = [
  content(
    "a policy with sudo on sys/",
    "ceiling",
    /gitops\.allow/,
    policy("evil", "sys/*").replace("[read]", "[read, sudo]"),
  ),
  content("the policy root for a person", "noRoot", /root/, entity("evil", "{ policies: [root] }")),
  content(
    "the policy root for a login, in capitals",
    "noRoot",
    /root/,
    "apiVersion: writ/v1\nkind: UserpassUser\nmetadata: { name: evil }\nspec: { mount: userpass, token_policies: [ROOT], password: { from_secret: { path: secret/data/team-a/x, key: p } } }\n",
    "team-a/evil.yaml",
  ),
  content(
    "another team's secret",
    "boundaries",
    /may not read/,
    "apiVersion: writ/v1\nkind: UserpassUser\nmetadata: { name: evil }\nspec: { mount: userpass, token_policies: [p1], password: { from_secret: { path: secret/data/team-a/x, key: p } } }\n",
  ),
  content(
    "a secret beside what is opened",
    "boundaries",
    /may not read/,
    "apiVersion: writ/v1\nkind: UserpassUser\nmetadata: { name: evil }\nspec: { mount: userpass, token_policies: [p1], password: { from_secret: { path: secret/data/team-a/../b, key: p } } }\n",
    "team-a/evil.yaml",
  ),
  {
    name: "everything removed",
    defence: "holds",
    state: "held",
    says: /removed/,
    make: (world) => void world.upstream.commit({ "policies.yaml": null, "people.yaml": null }),
  },
  {
    name: "a protected document removed",
    defence: "holds",
    state: "held",
    says: /protected/,
    make: (world) => void world.upstream.commit({ "kept.yaml": null }),
  },
  {
    name: "a protected document's protection dropped",
    defence: "holds",
    state: "held",
    says: /protect/,
    make: (world) => void world.upstream.commit({ "kept.yaml": policy("kept", "secret/*") }),
  },
  content(
    "everything left out by the repository's own configuration",
    "holds",
    /removed|protected/,
    'exclude: ["p*.yaml", kept.yaml]\n',
    ".writ/config.yaml",
    "held",
  ),
  content(
    "a mount over sys/",
    "ownPaths",
    /belongs to the vault/,
    "apiVersion: writ/v1\nkind: SecretEngine\nmetadata: { name: evil }\nspec: { type: kv, path: sys/evil }\n",
  ),
  content(
    "a mount over the tokens",
    "ownPaths",
    /belongs to the vault/,
    "apiVersion: writ/v1\nkind: AuthMethod\nmetadata: { name: evil }\nspec: { type: userpass, path: token/evil }\n",
  ),
  {
    name: "what the API made, taken over in silence",
    defence: "adoption",
    state: "failed",
    says: /adopt/,
    make: async (world) => {
      await world.call("PUT", "sys/policies/acl/made", { policy: 'path "secret/data/y" { capabilities = ["read"] }' });
      world.upstream.commit({ "made.yaml": policy("made", "secret/*") });
    },
  },
  content("a reference to nothing", "references", /no Policy is called/, entity("evil", "{ policies: [p1, nothing] }")),
];

export const contents: readonly Repository[] = [...sizes, ...texts, ...rights];
