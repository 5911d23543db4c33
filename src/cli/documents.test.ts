// `writ check` and `writ plan` on real folders and real git repositories.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { kinds } from "../../test/cases/gitops/kinds.ts";
import { check } from "./check.ts";
import { plan, type PlanOptions } from "./plan.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function scratch(files: Readonly<Record<string, string | null>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "writ-check-"));
  folders.push(folder);
  put(folder, files);
  return folder;
}

function put(folder: string, files: Readonly<Record<string, string | null>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    if (text === null) rmSync(join(folder, path));
    else writeFileSync(join(folder, path), text);
  }
}

function listen() {
  const out: string[] = [];
  const error: string[] = [];
  return {
    out: (text: string) => void out.push(text),
    error: (text: string) => void error.push(text),
    said: () => [out.join(""), error.join("")],
  };
}

const policy = (name: string, capabilities = "read"): string =>
  `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: ${name} }\nspec: { rules: [{ path: x, capabilities: [${capabilities}] }] }\n`;

test("check counts what is right", async () => {
  const dir = scratch({
    "a.yaml": policy("a"),
    "sub/b.yml": `${policy("b")}---\napiVersion: writ/v1\nkind: AuthMethod\nmetadata: { name: ldap, external: true }\n`,
    "notes.txt": "hunter2",
    ".writ/config.yaml": "exclude: [ci]\n",
    "ci/x.yaml": "on: push\n",
  });
  const io = listen();
  expect(await check(dir, io, kinds)).toBe(0);
  expect(io.said()).toEqual(["3 documents: 2 Policy, 1 external; no problems\n", ""]);
});

test("check prints every problem with its place and the masked line, and fails", async () => {
  const dir = scratch({ "b.yaml": policy("b", "raed"), "a.yaml": `${policy("a")}extra: hunter3\n` });
  const io = listen();
  expect(await check(`${dir}/`, io, kinds)).toBe(1);
  const [out, error] = io.said();
  expect(out).toBe(
    `${dir}/a.yaml:5:1: unknown field "extra"; there are apiVersion, kind, metadata, spec
    extra: ***
${dir}/b.yaml:4:43: spec.rules[0].capabilities[0] must be one of create, read, update, delete, list, sudo, deny; did you mean "read"?
    spec: { rules: [{ path: x, capabilities: [raed] }] }
`,
  );
  expect(error).toBe("2 problems; nothing would be applied\n");
});

test("check names links and follows none", async () => {
  const outside = scratch({ "secret.yaml": "hunter2: [" });
  const dir = scratch({ "a.yaml": policy("a") });
  symlinkSync(join(outside, "secret.yaml"), join(dir, "link.yaml"));
  symlinkSync(outside, join(dir, "folder"));
  execFileSync("mkfifo", [join(dir, "pipe.yaml")]);
  const io = listen();
  expect(await check(dir, io, kinds)).toBe(1);
  const lines = (io.said()[0] ?? "").replaceAll(`${dir}/`, "").trim().split("\n").sort();
  expect(lines).toEqual([
    "folder:1:1: symbolic links are refused: put the content here",
    "link.yaml:1:1: symbolic links are refused: put the content here",
    "pipe.yaml:1:1: this is no regular file",
  ]);
});

test("check says where there is no folder, and what a ceiling is called", async () => {
  const io = listen();
  expect(await check(join(scratch(), "nowhere"), io, kinds)).toBe(2);
  const dir = scratch({ "a.yaml": policy("a", "sudo") });
  expect(await check(dir, io, kinds)).toBe(1);
  expect(io.said()[0]).toContain("(gitops.allow: [sudo])");
  expect(await check(dir, io, kinds, { allow: ["sudo"] })).toBe(0);
});

const git = (dir: string, ...args: readonly string[]): string =>
  execFileSync("git", ["-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", ...args], {
    env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  })
    .toString()
    .trim();

function commit(dir: string, files: Readonly<Record<string, string | null>>): string {
  put(dir, files);
  git(dir, "add", "-A");
  git(dir, "commit", "-q", "-m", "change");
  return git(dir, "rev-parse", "HEAD");
}

function repository(files: Readonly<Record<string, string | null>>): string {
  const dir = scratch();
  git(dir, "init", "-q", "-b", "main");
  commit(dir, files);
  return dir;
}

test("what Git ignores is not looked at, unless it is the folder that is named", async () => {
  const other = "on: push\n";
  const dir = repository({ "a.yaml": policy("a"), "sub/b.yaml": policy("b"), "sub/notes.yml": policy("notes") });
  put(dir, {
    ".gitignore": "node_modules\n/build/\n*.local.yaml\nnotes.yml\n",
    "node_modules/x/ci.yaml": other,
    "sub/node_modules/ci.yaml": other,
    "sub/b.local.yaml": other,
    "build/docs/c.yaml": policy("c"),
    "new.yaml": policy("new"),
    ".git/info/exclude": "own.yaml\n",
    "own.yaml": other,
  });
  symlinkSync(dir, join(dir, "node_modules/self"));
  const counted = async (folder: string): Promise<string | undefined> => {
    const io = listen();
    await check(folder, io, kinds);
    return io.said()[0];
  };
  // What is ignored and was committed all the same is in the commit.
  expect(await counted(dir)).toBe("4 documents: 4 Policy; no problems\n");
  expect(await counted(join(dir, "sub"))).toBe("2 documents: 2 Policy; no problems\n");
  const link = join(scratch(), "link");
  symlinkSync(dir, link);
  expect(await counted(link)).toBe("4 documents: 4 Policy; no problems\n");
  expect((await planned({ dir, base: "HEAD" }))[1]).toContain("1 change: 1 to create");
  for (const folder of ["build", "build/docs"]) {
    expect(await counted(join(dir, folder))).toBe("1 document: 1 Policy; no problems\n");
  }
  // Outside Git nothing is ignored.
  rmSync(join(dir, ".git"), { recursive: true });
  const io = listen();
  expect(await check(dir, io, kinds)).toBe(1);
  expect(io.said()[0]).toContain("node_modules/x/ci.yaml:1:1: this is no Writ document");
});

async function planned(options: PlanOptions): Promise<readonly [number, string, string]> {
  const io = listen();
  const code = await plan(options, io, kinds);
  const [out = "", error = ""] = io.said();
  return [code, out, error];
}

test("plan compares the work tree with the commit before, where nothing is upstream", async () => {
  const dir = repository({ "a.yaml": policy("a"), "b.yaml": policy("b") });
  commit(dir, { "a.yaml": policy("a", "read, list") });
  put(dir, { "c.yaml": policy("c"), "b.yaml": null });
  expect(await planned({ dir })).toEqual([
    0,
    `~ Policy a  a.yaml:1
  - rules[0].capabilities: [read] → [read, list]
- Policy b  b.yaml:1
+ Policy c  c.yaml:1
  + rules: [{ path: x, capabilities: [read] }]

3 changes: 1 to create, 1 to update, 1 to delete.
`,
    "",
  ]);
  expect((await planned({ dir, base: "HEAD", head: "HEAD" }))[1]).toBe("No changes.\n");
  expect((await planned({ dir, base: "HEAD~1", head: "HEAD" }))[1]).toContain("1 change: 0 to create, 1 to update");
});

test("plan starts from where the branch left what is upstream", async () => {
  const origin = repository({ "a.yaml": policy("a") });
  const dir = join(scratch(), "clone");
  git(origin, "clone", "-q", origin, dir);
  commit(dir, { "b.yaml": policy("b") });
  commit(origin, { "later.yaml": policy("later") });
  git(dir, "fetch", "-q");
  expect((await planned({ dir }))[1]).toBe(
    "+ Policy b  b.yaml:1\n  + rules: [{ path: x, capabilities: [read] }]\n\n1 change: 1 to create, 0 to update, 0 to delete.\n",
  );
});

test("plan below a folder of the repository looks at that folder only", async () => {
  const dir = repository({ "vault/a.yaml": policy("a"), "other/x.yaml": "on: push\n" });
  put(dir, { "vault/a.yaml": policy("a", "list"), "other/x.yaml": "hunter2" });
  const [code, out] = await planned({ dir: join(dir, "vault"), base: "HEAD" });
  expect([code, out]).toEqual([
    0,
    "~ Policy a  vault/a.yaml:1\n  - rules[0].capabilities: [read] → [list]\n\n1 change: 0 to create, 1 to update, 0 to delete.\n",
  ]);
  put(dir, { "vault/a.yaml": policy("a", "lst") });
  const [failed, problems, error] = await planned({ dir: join(dir, "vault"), base: "HEAD" });
  expect(failed).toBe(1);
  expect(problems.startsWith(`${dir}/vault/a.yaml:4:43: `)).toBe(true);
  expect(error).toBe("1 problem; nothing would be applied\n");
});

test("plan says what would be held, and compares against a broken base as far as it goes", async () => {
  const guarded = policy("a").replace("name: a", "name: a, protect: true");
  const dir = repository({ "a.yaml": guarded, "b.yaml": policy("b", "raed") });
  commit(dir, { "a.yaml": null, "b.yaml": policy("b") });
  const [code, out, error] = await planned({ dir, head: "HEAD" });
  expect(code).toBe(0);
  expect(out).toContain("- Policy a  a.yaml:1\n+ Policy b  b.yaml:1\n");
  expect(out).toContain("held until allowed: Policy a is protected, and this commit removes it\n");
  expect(error).toMatch(/^[0-9a-f]{12} has 1 problem; /);
});

test("plan takes no option for a commit, and needs a repository", async () => {
  const dir = repository({ "a.yaml": policy("a") });
  expect(await planned({ dir, base: "--all" })).toEqual([2, "", 'writ plan: there is no commit "--all"\n']);
  expect((await planned({ dir, base: tmpdir() }))[2]).toContain(
    `there is no commit "${tmpdir()}"; a folder is named so: --dir`,
  );
  expect((await planned({ dir, base: join(dir, "a.yaml") }))[2]).not.toContain("folder");
  expect(await planned({ dir, base: "HEAD:a.yaml" })).toEqual([2, "", 'writ plan: there is no commit "HEAD:a.yaml"\n']);
  expect((await planned({ dir }))[2]).toContain("name a BASE");
  expect((await planned({ dir: scratch() }))[2]).toContain("is in no git work tree");
});
