// Git objects as an attacker makes them: with plumbing, without any of the checks of `git commit`.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { git } from "../kit.ts";

export interface TreeEntry {
  readonly mode: string;
  readonly name: string | Buffer;
  readonly id: string;
}

const who = "Mallory <mallory@example.org> 1760000000 +0000";

export class Objects {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  blob(content: string | Buffer): string {
    return git(this.dir, ["hash-object", "-w", "--stdin"], content);
  }

  /** Entries in the given order, whatever git says to that. */
  tree(entries: readonly TreeEntry[]): string {
    const parts = entries.map(({ mode, name, id }) =>
      Buffer.concat([Buffer.from(`${mode} `), Buffer.from(name), Buffer.from([0]), Buffer.from(id, "hex")]),
    );
    return this.raw("tree", Buffer.concat(parts));
  }

  raw(type: string, bytes: string | Buffer): string {
    return git(this.dir, ["hash-object", "-t", type, "-w", "--literally", "--stdin"], bytes);
  }

  commit(
    tree: string,
    parents: readonly string[],
    more: { readonly header?: string; readonly message?: string } = {},
  ): string {
    const lines = [`tree ${tree}`, ...parents.map((each) => `parent ${each}`)];
    const header = more.header ?? `author ${who}\ncommitter ${who}`;
    return this.raw("commit", `${lines.join("\n")}\n${header}\n\n${more.message ?? "Evil"}\n`);
  }

  /** What a tree has, for building another one. */
  entries(tree: string): TreeEntry[] {
    const text = git(this.dir, ["ls-tree", tree]);
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        const [, mode = "", id = "", name = ""] = /^(\d+) \w+ ([0-9a-f]+)\t(.*)$/.exec(line) ?? [];
        return { mode: mode.replace(/^0/, ""), id, name };
      });
  }

  /** A ref by writing its file: git would refuse some of these. */
  point(ref: string, id: string): void {
    writeFileSync(join(this.dir, ref), `${id}\n`);
  }
}
