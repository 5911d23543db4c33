// Runs the git command, and nothing but it. Arguments are fixed lists, never a shell line; what comes from outside (a
// branch, a commit) is checked by the grammars below before it becomes an argument.
// Must hold: no configuration, hook, credential helper, file monitor or environment of the machine, the user or the
// repository takes part; no secret stands in an argument list (credentials go through the environment, `Remote` in
// remote.ts); every run ends by its deadline, with its whole process group, and its output is bounded.
// The stock command is spawned directly rather than through simple-git: that library takes no process group, no byte
// limit and no `cat-file --batch`, so most of this file would stand around it all the same.
// Known gap: where the server itself is killed, a fetch in flight may outlive it until its transport gives up (stalled
// transfers end after a minute); what it leaves is cleaned up by the next start.

import { type ChildProcess, spawn } from "node:child_process";

export type GitFailure = "exit" | "timeout" | "output" | "spawn" | "aborted";

/** A run that did not end well. `detail` is git's own words, bounded, without credentials; it may hold paths, so it
 *  goes to the log and never to a client. */
export class GitError extends Error {
  readonly reason: GitFailure;
  readonly exitCode: number | null;
  readonly detail: string;
  override readonly name = "GitError";
  constructor(message: string, reason: GitFailure, exitCode: number | null, detail: string) {
    super(message);
    this.reason = reason;
    this.exitCode = exitCode;
    this.detail = detail;
  }
}

export interface GitOptions {
  /** The bare repository; null for commands that need none. */
  readonly gitDir: string | null;
  /** Milliseconds, unless a run says otherwise. */
  readonly timeout?: number;
  /** Bytes of standard output, unless a run says otherwise. */
  readonly maxOutput?: number;
  /** Beside the fixed environment: credentials of a remote, an index file, names and times of a commit. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Transports that may be used: "https", "ssh", "http", "file". None unless given. */
  readonly protocols?: readonly string[];
  /** Bytes of memory that each process of git may ask for (RLIMIT_AS), where the system knows such a limit. */
  readonly maxMemory?: number;
  /** Strings that are masked wherever git prints them. */
  readonly secrets?: readonly string[];
  /** Ends every run. */
  readonly signal?: AbortSignal;
}

export interface RunOptions {
  readonly input?: Uint8Array | string;
  readonly timeout?: number;
  readonly maxOutput?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Bytes that any one file written by this run may reach: the kernel refuses more (RLIMIT_FSIZE). */
  readonly maxFile?: number;
  readonly signal?: AbortSignal;
}

const maxErrors = 16 * 1024;

/** Settings that the repository's own configuration cannot change: the command line comes last. */
const settings: readonly string[] = [
  "protocol.ext.allow=never",
  "protocol.fd.allow=never",
  "protocol.git.allow=never",
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.symlinks=false",
  "core.attributesFile=/dev/null",
  "core.excludesFile=/dev/null",
  "core.pager=cat",
  "core.editor=false",
  "core.sshCommand=",
  "core.quotePath=false",
  "core.fsync=committed",
  // Files that are larger pass through in pieces, and of a pack a window is mapped: git's memory does not follow the data.
  "core.bigFileThreshold=1m",
  "core.packedGitWindowSize=16m",
  "core.packedGitLimit=128m",
  "pack.threads=2",
  "credential.helper=",
  "submodule.recurse=false",
  "fetch.recurseSubmodules=false",
  "fetch.unpackLimit=1",
  "fetch.writeCommitGraph=false",
  "transfer.fsckObjects=true",
  "transfer.bundleURI=false",
  "gc.auto=0",
  "maintenance.auto=false",
  "http.followRedirects=false",
  "http.lowSpeedLimit=100",
  "http.lowSpeedTime=60",
  "http.sslVerify=true",
  "log.showSignature=false",
  "gpg.program=false",
  "advice.detachedHead=false",
];
const settingArguments = settings.flatMap((setting) => ["-c", setting]);

/** What git may take from this process: where programs are, where scratch files go, and the operator's proxy. */
const inherited = ["PATH", "TMPDIR", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] as const;

function environmentOf(options: GitOptions, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of inherited) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return {
    ...environment,
    // No user's files: HOME is where nothing is.
    HOME: "/nonexistent",
    LC_ALL: "C",
    TZ: "UTC",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_SYSTEM: "/dev/null",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "false",
    SSH_ASKPASS: "false",
    SSH_ASKPASS_REQUIRE: "never",
    // Without credentials of a remote no ssh runs at all.
    GIT_SSH_COMMAND: "false",
    GIT_SSH_VARIANT: "ssh",
    GIT_ALLOW_PROTOCOL: (options.protocols ?? []).join(":") || "none",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_GRAFT_FILE: "/dev/null",
    GIT_NO_LAZY_FETCH: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_LITERAL_PATHSPECS: "1",
    GIT_FLUSH: "1",
    ...options.environment,
    ...extra,
  };
}

/** Ends a child and everything it started. */
function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/** One line a problem, no control characters, no credentials, at most `maxErrors` bytes. */
export function scrub(text: string, secrets: readonly string[] = []): string {
  let clean = text.slice(0, maxErrors);
  for (const secret of secrets) if (secret !== "") clean = clean.replaceAll(secret, "[redacted]");
  return clean
    .replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi, "$1[redacted]@")
    .replaceAll(/\b(authorization|x-[a-z-]*token):[^\n]*/gi, "$1: [redacted]")
    .replaceAll(/[^\S\n]+|[\p{Cc}\p{Cf}]/gu, (match) => (match === "\n" ? "\n" : " "))
    .trim();
}

/** A branch by the strict end of git-check-ref-format(1): no option, no ref syntax, no pattern, nothing to quote. */
export const isBranch = (name: string): boolean =>
  name.length <= 200 &&
  /^[A-Za-z0-9_][A-Za-z0-9._+@-]*(\/[A-Za-z0-9_][A-Za-z0-9._+@-]*)*$/u.test(name) &&
  !/\.\.|\.(\/|$)|\.lock(\/|$)|@\{|^@$|^HEAD$/u.test(name);

/** A whole object name, SHA-1 or SHA-256; never an abbreviation. */
export const isCommit = (id: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/u.test(id);

export interface Git {
  /** Standard output of `git ARGS`. Throws GitError. */
  run(args: readonly string[], options?: RunOptions): Promise<Buffer>;
  /** The same as text, its last line end removed. */
  text(args: readonly string[], options?: RunOptions): Promise<string>;
  /** True for exit code 0, false for 1; GitError for anything else. */
  succeeds(args: readonly string[], options?: RunOptions): Promise<boolean>;
  /** A process that stays, such as `cat-file --batch`; the caller bounds it and ends it. */
  start(args: readonly string[]): GitProcess;
}

export interface GitProcess {
  readonly child: ChildProcess;
  /** Ends it with its whole process group. */
  end(): void;
}

/** `ulimit -f` counts blocks of 512 bytes (POSIX), `-v` kibibytes; "-" for no limit. With the signal ignored, a write beyond
 *  it fails and git says so. The script is constant and the arguments stay arguments. */
const limited =
  'trap "" XFSZ; [ "$1" = - ] || ulimit -f "$1" || exit; [ "$2" = - ] || ulimit -v "$2" 2>/dev/null; shift 2; exec git "$@"';

/** The shell's arguments before git's; null where nothing is to be limited. */
function limits(maxFile: number | undefined, maxMemory: number | undefined): readonly string[] | null {
  if (maxFile === undefined && maxMemory === undefined) return null;
  const file = maxFile === undefined ? "-" : String(Math.ceil(maxFile / 512));
  const memory = maxMemory === undefined ? "-" : String(Math.ceil(maxMemory / 1024));
  return ["-c", limited, "git", file, memory];
}

export function createGit(options: GitOptions): Git {
  const fixed = [
    ...settingArguments,
    "--no-pager",
    ...(options.gitDir === null ? [] : [`--git-dir=${options.gitDir}`]),
  ];
  const launch = (args: readonly string[], run: RunOptions, input: boolean): ChildProcess => {
    const shell = limits(run.maxFile, options.maxMemory);
    return spawn(shell === null ? "git" : "/bin/sh", [...(shell ?? []), ...fixed, ...args], {
      cwd: options.gitDir ?? "/",
      env: environmentOf(options, run.environment),
      stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
      shell: false,
      // A process group of its own, so that the deadline ends transports and helpers too.
      detached: true,
      windowsHide: true,
    });
  };
  const run = (args: readonly string[], options_: RunOptions = {}): Promise<Buffer> =>
    collect(launch(args, options_, options_.input !== undefined), args[0] ?? "", {
      timeout: options.timeout ?? 60_000,
      maxOutput: options.maxOutput ?? 16 * 1024 * 1024,
      ...(options.signal !== undefined && { signal: options.signal }),
      ...options_,
      secrets: options.secrets ?? [],
    });
  return {
    run,
    text: async (args, options_) => (await run(args, options_)).toString("utf8").replace(/\n$/, ""),
    succeeds: async (args, options_) => {
      try {
        await run(args, options_);
        return true;
      } catch (error) {
        if (error instanceof GitError && error.reason === "exit" && error.exitCode === 1) return false;
        throw error;
      }
    },
    start: (args) => {
      const child = launch(args, {}, true);
      return { child, end: () => end(child) };
    },
  };
}

type Bounds = RunOptions & {
  readonly timeout: number;
  readonly maxOutput: number;
  readonly secrets: readonly string[];
};

/** What the child wrote, once it and its pipes are closed. */
function collect(child: ChildProcess, name: string, bounds: Bounds): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const output: Buffer[] = [];
  let size = 0;
  let errors = "";
  let failure: { readonly reason: GitFailure; readonly message: string } | null = null;
  const stop = (reason: GitFailure, message: string): void => {
    failure ??= { reason, message };
    end(child);
  };
  const deadline = setTimeout(() => stop("timeout", `took longer than ${bounds.timeout} ms`), bounds.timeout);
  const abort = (): void => stop("aborted", "was stopped");
  bounds.signal?.addEventListener("abort", abort, { once: true });
  if (bounds.signal?.aborted === true) abort();
  child.stdout?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > bounds.maxOutput) stop("output", `wrote more than ${bounds.maxOutput} bytes`);
    else output.push(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    if (errors.length < maxErrors) errors += chunk.toString("utf8");
  });
  child.on("error", (error) => {
    clearTimeout(deadline);
    if (child.pid === undefined) reject(new GitError(`git could not be started: ${error.message}`, "spawn", null, ""));
  });
  child.on("close", (code, signal) => {
    clearTimeout(deadline);
    bounds.signal?.removeEventListener("abort", abort);
    if (failure === null && code === 0) {
      resolve(Buffer.concat(output, size));
      return;
    }
    const ended = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
    const { reason, message } = failure ?? { reason: "exit" as const, message: ended };
    reject(new GitError(`git ${name} ${message}`, reason, code, scrub(errors, bounds.secrets)));
  });
  // A child that ends early closes its end: its exit code tells, not this pipe.
  child.stdin?.on("error", () => {});
  if (bounds.input !== undefined) child.stdin?.end(bounds.input);
  return promise;
}
