// A program in a terminal of its own: what it shows, and what a person types.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { cleanEnvironment, root, runToEnd } from "./server.ts";

/** Python has what a terminal takes; Node has it not. */
export const hasTerminal = spawnSync("python3", ["-c", "import pty"]).status === 0;
if (!hasTerminal) console.error("python3 is not to be had: nothing is tried in a terminal");

export interface Step {
  /** Text that has to come first. */
  readonly wait: string;
  /** Bytes, one a letter. */
  readonly type?: string;
  readonly signal?: string;
}

interface Modes {
  readonly echo: boolean;
  /** Whether the terminal hands over whole lines. */
  readonly lines: boolean;
}

export interface Seen {
  readonly output: string;
  /** Null where it did not end in time; minus the number of a signal that ended it. */
  readonly code: number | null;
  /** Steps that did not come to pass. */
  readonly waited: readonly string[];
  /** How the terminal was at each step. */
  readonly modes: readonly Modes[];
  /** How it is left. */
  readonly last: Modes;
}

const script = fileURLToPath(new URL("terminal.py", import.meta.url));

export async function inTerminal(
  argv: readonly string[],
  steps: readonly Step[] = [],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly columns?: number;
    readonly seconds?: number;
  } = {},
): Promise<Seen> {
  const { env, cwd = root, columns = 80, seconds = 150 } = options;
  const task = {
    argv,
    steps,
    cwd,
    columns,
    rows: 24,
    seconds,
    env: cleanEnvironment({ TERM: "xterm-256color", ...env }),
  };
  const { code, stdout, stderr } = await runToEnd("python3", [script], { input: JSON.stringify(task) });
  if (code !== 0) throw new Error(`the terminal failed: ${stderr}`);
  return JSON.parse(stdout) as Seen;
}

/** UTF-8 as the bytes of a step. */
export const bytes = (text: string): string => Buffer.from(text).toString("latin1");
