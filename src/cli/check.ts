// `writ check [DIR]`: says offline what the server would say of these documents, with the same compiler.
// Known gap: what only a server knows is not asked: which secrets its config opens, and what the API has made.

import { stat } from "node:fs/promises";
import { normalize, sep } from "node:path";
import { countText, problemCount, problemText, readFolder } from "../gitops/check.ts";
import { compile, type Compilation } from "../gitops/compile.ts";
import { clean } from "../gitops/mask.ts";
import type { RuleSpec } from "../policy/compile.ts";
import { coverageOf } from "../policy/policyTest.ts";
import { declarationKey, type Kind } from "../sdk/kind.ts";

/** Where a command writes. */
export interface Io {
  out(text: string): void;
  error(text: string): void;
}

export interface CheckOptions {
  /** What the server's config lists under gitops.allow. */
  readonly allow?: readonly string[];
}

/** DIR as a person wrote it, in front of the files below it. */
export function filePrefix(dir: string): string {
  const clean = normalize(dir).split(sep).join("/").replace(/\/$/, "");
  return clean === "." ? "" : `${clean}/`;
}

export const isFolder = async (dir: string): Promise<boolean> =>
  stat(dir).then(
    (about) => about.isDirectory(),
    () => false,
  );

/** Checks the documents below `dir`. Returns the exit code: 0, 1 where there are problems, 2 where there is no folder. */
export async function check(dir: string, io: Io, kinds: readonly Kind[], options: CheckOptions = {}): Promise<number> {
  if (!(await isFolder(dir))) {
    io.error(`writ check: there is no folder ${JSON.stringify(dir)}\n`);
    return 2;
  }
  const folder = await readFolder(dir);
  const compiled = compile(folder.files, kinds, { allow: options.allow ?? [] });
  const problems = [...folder.problems, ...compiled.problems];
  for (const problem of problems) io.out(problemText(problem, filePrefix(dir)));
  if (problems.length > 0) {
    io.error(`${problemCount(problems)}; nothing would be applied\n`);
    return 1;
  }
  const documents = [...compiled.declarations, ...compiled.offline];
  io.out(`${countText(documents, compiled.externals.length)}; no problems\n`);
  if (compiled.offline.length > 0) io.out(coverageText(compiled, filePrefix(dir)));
  return 0;
}

const shownRules = 100;

/** What the policy tests reach, and each rule that none of them decides. */
function coverageText({ declarations, offline, problemAt }: Compilation, prefix: string): string {
  const all = new Map(
    [...declarations, ...offline].map((each) => [declarationKey(each.kind, each.mount, each.name), each]),
  );
  const { documents, questions, rules, undecided } = coverageOf({
    declarations: [...all.values()],
    get: (kind, mount, name) => all.get(declarationKey(kind, mount, name)) ?? null,
  });
  const lines = undecided.slice(0, shownRules).map(({ policy, rule }) => {
    const path = ["rules", rule, "path"];
    const { file, line, column } = problemAt(policy, { path, message: "" });
    const { path: written } = (policy.spec["rules"] as unknown as readonly RuleSpec[])[rule] ?? { path: "" };
    return `${prefix}${file}:${line}:${column}: no test decides by this rule of ${policy.name}: ${clean(written)}\n`;
  });
  const more = undecided.length > shownRules ? `and ${undecided.length - shownRules} more rules\n` : "";
  const decided = rules - undecided.length;
  return `policy tests: ${documents}, ${questions} questions, all as expected; ${decided} of ${rules} rules decide one or more\n${lines.join("")}${more}`;
}
