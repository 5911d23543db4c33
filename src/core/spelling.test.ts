import { expect, test } from "vitest";
import { normalizeName } from "../auth/userpass/name.ts";
import { handler } from "../sdk/mount.ts";
import { compileRoutes } from "./routes.ts";
import { respell } from "./spelling.ts";

const on = { read: handler({ summary: "", run: async () => null }) };
const match = compileRoutes([
  { path: "plain/:name", on },
  { path: "users/:name", spelling: { name: normalizeName }, on },
  { path: "users/:name/password", spelling: { name: normalizeName }, on },
  { path: "policies/:name*", spelling: { name: normalizeName }, on },
]);

const respelled = (path: string): string | null => {
  const found = match(path);
  if (found === null) throw new Error(`no route ${path}`);
  return respell(found, path);
};

test.each([
  ["plain/ALICE", "plain/ALICE"],
  ["users/alice", "users/alice"],
  ["users/ALICE", "users/alice"],
  ["users/ Alice /password", "users/alice/password"],
  ["users/ＡＬＩＣＥ/", "users/alice/"],
  ["policies/A/b/C", "policies/a/b/c"],
])("%s is %s", (path, one) => {
  expect(respelled(path)).toBe(one);
  expect(respelled(one)).toBe(one);
});

test.each([
  "users/alice／password",
  "users/‥",
  "users/．",
  "users/\u200b",
  "users/ ",
  "policies/a／b",
  "policies/．/a",
])("%j would be a path of another shape", (path) => expect(respelled(path)).toBeNull());
