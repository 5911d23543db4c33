// Parts for the tests of the reconciler: real bare repositories made with the git command, a clock and a timer that
// tests move by hand, and a target that stands in for the core.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualTimer } from "../../src/lib/flight.ts";
import { silent } from "../../src/lib/log.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { parse } from "../../src/sdk/fields.ts";
import type { Change, Commit, CommitSet, Declaration, Target } from "../../src/sdk/kind.ts";
import { declarationKey } from "../../src/sdk/kind.ts";
import type { Json } from "../../src/sdk/view.ts";
import { Reconciler, type ReconcilerOptions } from "../../src/gitops/reconciler.ts";
import { gitopsFields, openSettings, type Settings } from "../../src/gitops/settings.ts";
import { Source } from "../../src/gitops/source.ts";
import { type Compile, createWorkshop, type Workshop } from "../../src/gitops/workshop.ts";

const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.org",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.org",
};

/** The plain git command of a person, for preparing repositories. */
export const git = (dir: string, args: readonly string[], input: string | Buffer = ""): string =>
  execFileSync("git", ["-C", dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", ...args], {
    env: environment,
    input,
    stdio: ["pipe", "pipe", "pipe"],
    maxBuffer: 2 ** 28,
  })
    .toString("utf8")
    .trim();

const folders: string[] = [];
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "writ-gitops-"));
  folders.push(folder);
  return folder;
}
export function sweep(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export type Files = Readonly<Record<string, string | null | { readonly mode: string; readonly content: string }>>;

/** A bare repository that somebody pushes to. */
export class Upstream {
  readonly dir: string;
  #time = 1_760_000_000;

  constructor(options: readonly string[] = [], dir = join(scratch(), "upstream.git")) {
    this.dir = dir;
    git("/", ["init", "--bare", "--quiet", "--initial-branch=main", ...options, this.dir]);
  }

  /** Adds, changes and (null) removes files; returns the commit. `parent` null starts a history. */
  commit(files: Files, options: { branch?: string; subject?: string; parent?: string | null } = {}): string {
    const ref = `refs/heads/${options.branch ?? "main"}`;
    this.#time += 60;
    const subject = options.subject ?? "Change";
    const parts = [
      `commit ${ref}\n`,
      `committer Ada <ada@example.org> ${this.#time} +0000\ndata ${Buffer.byteLength(subject)}\n${subject}\n`,
    ];
    const parent = options.parent === undefined ? this.head(ref) : options.parent;
    if (options.parent === null) parts.unshift(`reset ${ref}\n\n`);
    else if (parent !== null) parts.push(`from ${parent}\n`);
    for (const [path, file] of Object.entries(files)) {
      if (file === null) {
        parts.push(`D ${path}\n`);
        continue;
      }
      const { mode, content } = typeof file === "string" ? { mode: "100644", content: file } : file;
      if (mode === "160000") parts.push(`M 160000 ${content} ${path}\n`);
      else parts.push(`M ${mode} inline ${path}\ndata ${Buffer.byteLength(content)}\n${content}\n`);
    }
    git(this.dir, ["fast-import", "--quiet", "--force", "--done"], `${parts.join("")}\ndone\n`);
    return this.head(ref) ?? "";
  }

  head(ref = "refs/heads/main"): string | null {
    try {
      return git(this.dir, ["rev-parse", "--verify", "--quiet", ref]);
    } catch {
      return null;
    }
  }

  /** A commit of a tree given as `git mktree` reads it, for what no client would make. */
  raw(tree: string): string {
    const id = git(this.dir, ["mktree", "-z", "--missing"], tree);
    const parent = this.head();
    const commit = git(this.dir, ["commit-tree", ...(parent === null ? [] : ["-p", parent]), "-m", "raw", id]);
    git(this.dir, ["update-ref", "refs/heads/main", commit]);
    return commit;
  }

  blob(content: string): string {
    return git(this.dir, ["hash-object", "-w", "--stdin"], content);
  }
}

/** Each line of a file is a document: a name, then words; "protect" and "bad" mean something. */
export const lines: Compile = (files) => {
  const declarations: Declaration[] = [];
  const problems = [];
  for (const { path, bytes } of files) {
    for (const [at, line] of Buffer.from(bytes).toString("utf8").split("\n").entries()) {
      const [name, ...words] = line.split(" ");
      if (name === undefined || name === "") continue;
      const source = { file: path, line: at + 1, column: 1 };
      if (words.includes("bad")) problems.push({ ...source, message: "is bad", excerpt: `${name} excerpt` });
      const secret = words.find((word) => word.startsWith("secret/"));
      declarations.push({
        kind: "Policy",
        mount: null,
        name,
        metadata: { name, ...(words.includes("protect") && { protect: true }) },
        spec: { words },
        secrets: secret === undefined ? {} : { password: { path: secret, key: "password" } },
        source,
      });
    }
  }
  return { declarations, externals: [], problems };
};

const keyed = (list: readonly Declaration[]): Map<string, Declaration> =>
  new Map(list.map((item) => [declarationKey(item.kind, item.mount, item.name), item]));

// oxlint-disable-next-line require-yield -- few documents: nobody waits
export const planning: ReconcilerOptions["planning"] = function* (before, after) {
  const [old, next] = [keyed(before), keyed(after)];
  const change = (action: Change["action"], { kind, mount, name, source }: Declaration): Change => ({
    action,
    kind,
    mount,
    name,
    source,
  });
  return [
    ...[...next].flatMap(([key, item]) => {
      const was = old.get(key);
      if (was === undefined) return [change("create", item)];
      return JSON.stringify(was.spec) === JSON.stringify(item.spec) ? [] : [change("update", item)];
    }),
    ...[...old].filter(([key]) => !next.has(key)).map(([, item]) => change("delete", item)),
  ];
};

// oxlint-disable-next-line require-yield -- few documents: nobody waits
export const holding: ReconcilerOptions["holding"] = function* (before, after, { maxDeletions }) {
  const next = keyed(after);
  const gone = [...keyed(before)].filter(([key]) => !next.has(key)).map(([, item]) => item);
  return [
    ...gone.filter((item) => item.metadata.protect).map((item) => `${item.name} is protected`),
    ...(gone.length > maxDeletions ? [`deletes ${gone.length}, at most ${maxDeletions}`] : []),
  ];
};

export class FakeTarget implements Target {
  sealed = false;
  applied: { commit: Commit; appliedAt: number; declarations: readonly Declaration[] } | null = null;
  readonly applies: { readonly set: CommitSet; readonly changes: readonly Change[] }[] = [];
  readonly entries: Readonly<Record<string, unknown>>[] = [];
  readonly saved = new Map<string, Readonly<Record<string, Json>>>();
  /** Thrown by the next calls of that name, until removed. */
  readonly faults: Partial<Record<"apply" | "audit", Error>> = {};
  /** Runs inside apply. */
  onApply: () => void | Promise<void> = () => {};

  #open(): void {
    if (this.sealed) throw new VaultError("sealed", "Vault is sealed");
  }
  current() {
    this.#open();
    return this.applied;
  }
  async apply(set: CommitSet, changes: readonly Change[]): Promise<void> {
    this.#open();
    await this.onApply();
    if (this.faults.apply) throw this.faults.apply;
    this.applies.push({ set, changes });
    this.applied = { commit: set.commit, appliedAt: 0, declarations: set.declarations };
  }
  async pending() {
    return [];
  }
  state(): string {
    return "active";
  }
  async audit(entry: Readonly<Record<string, unknown>>): Promise<void> {
    this.#open();
    if (this.faults.audit) throw this.faults.audit;
    this.entries.push(entry);
  }
  async load(name: string) {
    this.#open();
    return this.saved.get(name) ?? null;
  }
  async save(name: string, value: Readonly<Record<string, Json>>): Promise<void> {
    this.#open();
    this.saved.set(name, value);
  }
  /** "planned", "finished:applied" … */
  told(): string[] {
    return this.entries.map(({ phase, result }) => [phase, result].filter(Boolean).join(":"));
  }
  names(): string[] {
    return (this.applied?.declarations ?? []).map(({ name }) => name);
  }
}

export const settingsOf = (
  upstream: { readonly dir: string },
  more: Readonly<Record<string, unknown>> = {},
): Promise<Settings> =>
  openSettings(parse(gitopsFields, { remote: upstream.dir, allow_file_remote: true, ...more }).values);

export interface Bench {
  readonly target: FakeTarget;
  readonly timer: ReturnType<typeof manualTimer>;
  readonly reconciler: Reconciler;
  readonly workshop: Workshop & { fetches: number; compiles: number };
  readonly folder: string;
}

/** A reconciler on a real clone of `upstream`, with everything else under the test's hand. */
export async function bench(
  upstream: { readonly dir: string },
  options: {
    settings?: Readonly<Record<string, unknown>>;
    folder?: string;
    target?: FakeTarget;
    spacing?: number;
    compile?: Compile;
  } = {},
): Promise<Bench> {
  const settings = await settingsOf(upstream, options.settings);
  const folder = options.folder ?? join(scratch(), "source");
  const target = options.target ?? new FakeTarget();
  const timer = manualTimer();
  const inner = createWorkshop(new Source(settings, folder), options.compile ?? lines, [], settings);
  const workshop = {
    ...inner,
    fetches: 0,
    compiles: 0,
    fetch: () => {
      workshop.fetches += 1;
      return inner.fetch();
    },
    compile: (...args: Parameters<Workshop["compile"]>) => {
      workshop.compiles += 1;
      return inner.compile(...args);
    },
  };
  const reconciler = new Reconciler({
    target,
    workshop,
    planning,
    holding,
    settings,
    clock: timer.clock,
    timer,
    random: () => 0.5,
    log: silent,
    spacing: options.spacing ?? 0,
  });
  return { target, timer, reconciler, workshop, folder };
}
