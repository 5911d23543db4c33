// A runbook is a section of the operations page: its steps are the blocks marked `sh`, and the blocks marked `text` quote
// what the server logs and what commands print.
// Must hold: a runbook is through only once each step was run and each quoted line was seen.

import { expect } from "vitest";
import { allBlocks, operations } from "../pages.ts";

/** The blocks of a section. Throws where it has none. */
export function stepsOf(title: string, language = "sh"): readonly string[] {
  const found = allBlocks(operations).filter((block) => block.heading === title && block.language === language);
  if (language === "sh" && found.length === 0) throw new Error(`the operations page has no runbook ${title}`);
  return found.map(({ text }) => text);
}

export interface StepOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The operator's home unless given. */
  readonly cwd?: string;
  /** Exit codes that are right; 0 unless given. */
  readonly codes?: readonly number[];
  /** Another machine than the runbook's. */
  readonly on?: Shell;
}

/** Where steps are run. */
export interface Shell {
  run(script: string, options: StepOptions): Promise<{ readonly code: number; readonly text: string }>;
  /** What the server's log says so far. */
  log(): string;
  /** Where a path of the page is. */
  path(text: string): string;
}

const special = /[$()*+.?[\\\]^{|}]/g;

/** Columns may be wider than on the page. */
const pattern = (line: string): RegExp => {
  const parts = line.split("…").map((part) => part.replaceAll(special, String.raw`\$&`).replaceAll(/ {2,}/g, " +"));
  return new RegExp(parts.join(".*"));
};

/** One runbook under way. */
export class Runbook {
  readonly #title: string;
  readonly #steps: readonly string[];
  readonly #shell: Shell;
  #at = -1;
  #seen = "";

  constructor(title: string, shell: Shell) {
    this.#title = title;
    this.#steps = stepsOf(title);
    this.#shell = shell;
  }

  /** Runs the next step, which `has` this in it; gives what it printed. */
  async step(has: string, options: StepOptions = {}): Promise<string> {
    this.#at += 1;
    expect(this.#steps[this.#at] ?? "no step is left", this.#title).toContain(has);
    return this.again(options);
  }

  /** Runs the same step once more. */
  async again(options: StepOptions = {}): Promise<string> {
    const script = this.#steps[this.#at] ?? "exit 99";
    const { code, text } = await (options.on ?? this.#shell).run(script, options);
    this.#seen += `${text}\n`;
    expect(options.codes ?? [0], `${script}\n${text}`).toContain(code);
    return text;
  }

  /** What somebody else saw, such as a client. */
  sees(text: string): void {
    this.#seen += `${text}\n`;
  }

  /** To call at the end. */
  over(): void {
    expect(this.#steps.slice(this.#at + 1), "steps that were not run").toEqual([]);
    const all = `${this.#seen}\n${this.#shell.log()}`.split("\n");
    const quoted = stepsOf(this.#title, "text").flatMap((block) => block.split("\n").filter((line) => line !== ""));
    const unseen = quoted.filter((line) => !all.some((each) => pattern(this.#shell.path(line)).test(each)));
    expect(unseen, "quoted lines that nothing printed").toEqual([]);
  }
}
