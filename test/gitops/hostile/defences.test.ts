// hostile.prove.ts takes each defence out of a copy of the program by its text: here it is said at once where that text is gone.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { defences } from "./defences.ts";

const rows = Object.entries(defences).flatMap(([name, { edits }]) => edits.map((edit) => ({ name, ...edit })));

test.each(rows)("$name, in $file", ({ file, from }) => {
  const text = readFileSync(new URL(`../../../src/${file}`, import.meta.url), "utf8");
  expect(text.split(from).length - 1, `how often src/${file} has it; change defences.ts with the code`).toBe(1);
});
