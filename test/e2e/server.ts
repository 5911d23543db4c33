// A real `writ` process for tests and for the bench: started, watched, stopped or killed.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

export const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Ports that each process has to itself, more or less, and how many it has been given. */
const own = 20;
let given = 0;

/** A port that is free, and stays so until somebody listens there: it is below those that the kernel gives to whoever asks
 *  for any port or connects, other tests have others, and it is none that `fetch` refuses (10080 is the last of them). */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < own; tries++) {
    const port = 11_000 + (process.pid % 1_000) * own + (given++ % own);
    const server = createServer().listen(port, "127.0.0.1");
    const free = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!free) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}

/** Asks again until `check` gives something; its last error, or what it was for, when `ms` have passed. */
export async function until<T>(
  what: string,
  check: () => Promise<T | null | false | undefined>,
  ms = 150_000,
): Promise<T> {
  const deadline = Date.now() + ms;
  let last: unknown = null;
  for (;;) {
    try {
      const found = await check();
      if (found !== null && found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${ms} ms for ${what}${last instanceof Error ? `: ${last.message}` : ""}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What a child may know of this process's environment: nothing that changes how it behaves. */
export const cleanEnvironment = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"] ?? "",
  ...(process.env["TMPDIR"] !== undefined && { TMPDIR: process.env["TMPDIR"] }),
  LC_ALL: "C",
  // No Git configuration of whoever runs the tests takes part.
  HOME: "/nonexistent",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  ...more,
});

export interface Running {
  readonly child: ChildProcess;
  /** Both streams, so far. */
  output(): string;
  /** Resolves once the output has `text`; rejects where the process ends first. */
  says(text: string): Promise<void>;
  /** The exit code, once it has ended by itself; null where a signal ended it. */
  ended(): Promise<number | null>;
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export function startProcess(
  command: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Running {
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: cleanEnvironment(options.env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
  }
  const ended = once(child, "close");
  // Whoever waits for the end sees the error; nobody need wait.
  ended.catch(() => {});
  const over = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    output: () => output,
    says: async (text) => {
      await until(`the output ${JSON.stringify(text)}`, async () => output.includes(text) || over()).catch(
        (error: unknown) => {
          throw new Error(`${error instanceof Error ? error.message : ""}; it said:\n${output}`);
        },
      );
      if (!output.includes(text))
        throw new Error(`it ended with ${child.exitCode} before ${text}; it said:\n${output}`);
    },
    ended: async () => {
      await ended;
      return child.exitCode;
    },
    stop: async () => {
      if (!over()) child.kill("SIGTERM");
      await ended;
      return child.exitCode;
    },
    kill: async () => {
      if (!over()) child.kill("SIGKILL");
      await ended;
    },
  };
}

export const startWrit = (args: readonly string[], options: Parameters<typeof startProcess>[2] = {}): Running =>
  startProcess(process.execPath, [main, ...args], options);

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; a code other than 0 is a result, not an error. */
export function runToEnd(
  command: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string; readonly input?: string } = {},
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        cwd: options.cwd ?? root,
        env: cleanEnvironment(options.env),
        maxBuffer: 256 * 1024 * 1024,
        timeout: 200_000,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : null;
        if (code === null) reject(new Error(`${command} ${args[0] ?? ""}: ${error?.message ?? ""}\n${stderr}`));
        else resolve({ code, stdout, stderr });
      },
    );
    // A command that reads nothing may have closed its end already.
    child.stdin?.on("error", () => {}).end(options.input ?? "");
  });
}

export const runWrit = (args: readonly string[], options: Parameters<typeof runToEnd>[2] = {}): Promise<Result> =>
  runToEnd(process.execPath, [main, ...args], options);

/** Standard output of a git command that must succeed. */
export async function git(cwd: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runToEnd("git", args, {
    cwd,
    env: {
      GIT_AUTHOR_NAME: "Ada",
      GIT_AUTHOR_EMAIL: "ada@example.com",
      GIT_COMMITTER_NAME: "Ada",
      GIT_COMMITTER_EMAIL: "ada@example.com",
    },
  });
  if (code !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}
