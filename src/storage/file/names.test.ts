import fc from "fast-check";
import { expect, test } from "vitest";
import { entryPath, folderPath, readName } from "./names.ts";

const segment = fc
  .string({ unit: "binary", minLength: 1, maxLength: 80 })
  .map((text) => text.replaceAll(/[/\0]/g, "-").toWellFormed());
const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));

/** The key behind a path, by what its names say. */
function read(path: string): string {
  let found = "";
  let before = "";
  for (const name of path.split("/")) {
    const said = readName(name, before);
    if (said === null) throw new Error(`${name} says nothing`);
    before = said.kind === "piece" ? said.text : "";
    if (said.kind !== "piece") found += said.kind === "entry" ? said.segment : `${said.segment}/`;
  }
  return found;
}

test("a key and its path lead to each other, in names that every file system takes", () => {
  fc.assert(
    fc.property(key, (name) => {
      const path = entryPath(name);
      expect(read(path)).toBe(name);
      expect(path.startsWith(folderPath(name.slice(0, name.lastIndexOf("/") + 1)))).toBe(true);
      // Folding case or normalising leaves it as it is: keys that differ in that alone are kept apart.
      expect(path).toMatch(/^[a-z0-9._%=+~/-]+$/);
      for (const each of path.split("/")) expect(each.length).toBeLessThanOrEqual(201);
    }),
    { numRuns: 2000 },
  );
});

test("the longest keys stay below what Linux takes", () => {
  for (const name of ["É".repeat(512), "A".repeat(1024), "A/".repeat(511).concat("A"), `${"A".repeat(1022)}/a`]) {
    expect(entryPath(name).length).toBeLessThan(3200);
  }
});

test("names that no key has put there say nothing", () => {
  for (const name of ["lost+found", ".x", "=A", "=%4", "=%zz", "=%61", "+%c3", "x"])
    expect(readName(name, "")).toBeNull();
});
