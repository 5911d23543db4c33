// The pages that people read, and the examples on them. A test that runs the examples below a heading takes them with
// `blocksOf("README.md", "Its heading")`, or those of the operations page with `runbook("Its heading")`; pages.test.ts fails where nobody takes some.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./server.ts";

/** Every page with examples for people who run a vault. */
export const pages: readonly string[] = [
  "README.md",
  "SECURITY.md",
  ...globSync(["policies/**/*.md", "src/**/*.md", ".deploy/**/*.md"], { cwd: root }),
];

/** Its sections are runbooks: see runbooks/. */
export const operations = ".deploy/README.md";

export interface Block {
  /** The nearest heading above it. */
  readonly heading: string;
  readonly language: string;
  readonly text: string;
}

export function allBlocks(page: string): readonly Block[] {
  const parts = readFileSync(join(root, page), "utf8").matchAll(/^#+ (.*)$|^( *)```(\w*)\n([\s\S]*?)^\2```$/gm);
  let heading = "";
  const found: Block[] = [];
  for (const [, title, indent = "", language = "", text = ""] of parts) {
    if (title === undefined)
      found.push({ heading, language, text: text.replaceAll(new RegExp(`^${indent}`, "gm"), "") });
    else heading = title;
  }
  return found;
}

/** The examples below one heading, in their order. Throws where there are none. */
export function blocksOf(page: string, heading: string, language = "sh"): readonly string[] {
  const found = allBlocks(page).filter((block) => block.heading === heading && block.language === language);
  if (found.length === 0) throw new Error(`${page} has no example below ${heading}`);
  return found.map(({ text }) => text);
}

/** `writ …` between single backquotes below one heading, each once. */
export function spansOf(page: string, heading: string): readonly string[] {
  const [, section = ""] = readFileSync(join(root, page), "utf8").split(new RegExp(`^## ${heading}$`, "m"));
  const [text = ""] = section.split(/^## /m);
  return [
    ...new Set(
      [...text.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/`(writ [^`]+)`/g)].map(([, span = ""]) => span),
    ),
  ];
}
