// What an attack could reach beside the clone, watched: a listing of everything around, programs that tell when they are
// run, every git command line, and the memory of the server and of what it started.

import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Programs that nothing of Writ may run when it reads a repository. */
const traps = ["ssh", "gpg", "gpgsm", "ssh-keygen", "git-lfs", "git-remote-evil", "curl", "vi", "editor", "trap"];

/** A home whose owner, or whoever wrote to it, would have git run programs and write files. */
const userConfig = (trap: string, trace: string): string => `[uploadpack]
	packObjectsHook = ${trap}
[core]
	sshCommand = ${trap}
	fsmonitor = ${trap}
	pager = ${trap}
	editor = ${trap}
[credential]
	helper = ${trap}
[gpg]
	program = ${trap}
[trace2]
	eventTarget = ${trace}
`;

export class Surroundings {
  readonly folder: string;
  readonly trap: string;
  readonly #sprung: string;
  readonly #commands: string;

  constructor(folder: string) {
    this.folder = folder;
    this.trap = join(folder, "bin/trap");
    this.#sprung = join(folder, "log/sprung");
    this.#commands = join(folder, "log/commands");
    for (const name of ["bin", "log", "home", "tmp", "cwd", "outside"])
      mkdirSync(join(folder, name), { recursive: true });
    for (const name of traps) {
      const file = join(folder, "bin", name);
      writeFileSync(
        file,
        `#!/bin/sh\necho "${name} $*" >> ${this.#sprung}\ncase "$1" in git*) exec "$@";; esac\nexit 1\n`,
      );
      chmodSync(file, 0o755);
    }
    const git = `#!/bin/sh\necho "$*" >> ${this.#commands}\nexec ${realGit()} "$@"\n`;
    writeFileSync(join(folder, "bin/git"), git, { mode: 0o755 });
    writeFileSync(join(folder, "home/.gitconfig"), userConfig(this.trap, join(folder, "outside/trace")));
    for (const log of [this.#sprung, this.#commands]) writeFileSync(log, "");
  }

  /** For the server: an environment in which git without guards would run programs and write files. */
  environment(): Readonly<Record<string, string>> {
    return {
      PATH: `${join(this.folder, "bin")}:${process.env["PATH"] ?? ""}`,
      HOME: join(this.folder, "home"),
      TMPDIR: join(this.folder, "tmp"),
      GIT_CONFIG_GLOBAL: join(this.folder, "home/.gitconfig"),
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "uploadpack.packObjectsHook",
      GIT_CONFIG_VALUE_0: this.trap,
      GIT_TRACE: join(this.folder, "outside/trace"),
      GIT_SSH_COMMAND: this.trap,
      GIT_ASKPASS: this.trap,
      SSH_ASKPASS: this.trap,
      GIT_PAGER: this.trap,
      GIT_EXTERNAL_DIFF: this.trap,
    };
  }

  /** What ran that must not, one line each. */
  sprung(): readonly string[] {
    return readFileSync(this.#sprung, "utf8").split("\n").filter(Boolean);
  }

  /** How often the remote was asked. */
  fetches(): number {
    return readFileSync(this.#commands, "utf8")
      .split("\n")
      .filter((line) => / fetch --quiet /.test(line)).length;
  }

  forget(): void {
    writeFileSync(this.#sprung, "");
  }

  /** Everything below the folder that the server has no business with: paths, kinds and sizes. */
  listing(): string {
    const lines: string[] = [];
    const walk = (path: string): void => {
      for (const name of readdirSync(join(this.folder, path)).sort()) {
        const inner = join(path, name);
        const found = lstatSync(join(this.folder, inner));
        if (own.test(inner)) continue;
        lines.push(`${found.mode.toString(8)} ${found.isDirectory() ? "-" : found.size} ${inner}`);
        if (found.isDirectory()) walk(inner);
      }
    };
    walk(".");
    return lines.join("\n");
  }
}

/** The server's own files, the clone, and what the tests write. */
const own =
  /^(?:log|upstream\.git|pristine\.git|program|writ\/(?:storage|audit\.log|cache\/gitops\/clone\.git))(?:\/|$)/;

function realGit(): string {
  const found = (process.env["PATH"] ?? "")
    .split(":")
    .map((folder) => join(folder, "git"))
    .find((file) => existsSync(file));
  if (found === undefined) throw new Error("there is no git");
  return found;
}

const kib = (pid: number, name: "VmRSS" | "VmHWM"): number => {
  try {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return Number(found?.[1] ?? 0);
  } catch {
    return 0; // ended meanwhile
  }
};

function children(pid: number): readonly number[] {
  try {
    const lists = readdirSync(`/proc/${pid}/task`).map((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8"),
    );
    const found = lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
    return [...found, ...found.flatMap(children)];
  } catch {
    return [];
  }
}

export interface Memory {
  /** MiB that the server took at most, beyond what it had at first. */
  readonly server: number;
  /** MiB of everything that it started, together, at most, as sampled. */
  readonly started: number;
}

export const resident = (pid: number): number => kib(pid, "VmRSS");

/** Watches a process and what it starts until it is told to end; `before` in KiB. */
export function watch(pid: number, before: number): { readonly seen: () => Memory; end(): Memory } {
  // Sets the peak back to what there is (proc(5), /proc/pid/clear_refs).
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  let started = 0;
  const look = (): void => {
    started = Math.max(
      started,
      children(pid).reduce((sum, child) => sum + kib(child, "VmRSS"), 0),
    );
  };
  const timer = setInterval(look, 15);
  const seen = (): Memory => ({ server: (kib(pid, "VmHWM") - before) / 1024, started: started / 1024 });
  return {
    seen,
    end: () => {
      clearInterval(timer);
      return seen();
    },
  };
}
