import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blobName, Blobs } from "./blobs.ts";
import { createGit, GitError, isBranch, isCommit, scrub } from "./git.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-git-"));
const gitDir = join(folder, "x.git");
const git = createGit({ gitDir, timeout: 100_000 });
beforeAll(async () => {
  await createGit({ gitDir: null }).run(["init", "--bare", "--quiet", "--template=", gitDir]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("runs", () => {
  test("text, yes or no, and git's own words beside an error", async () => {
    expect(await git.text(["rev-parse", "--is-bare-repository"])).toBe("true");
    expect(await git.succeeds(["cat-file", "-e", "0".repeat(40)])).toBe(false);
    const error = await git.run(["rev-parse", "--verify", "refs/heads/none"]).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ name: "GitError", reason: "exit", exitCode: 128 });
    expect((error as GitError).detail).toContain("fatal");
    expect((error as GitError).message).toBe("git rev-parse ended with code 128");
  });

  test("output, time and file sizes are bounded; an abort ends it", async () => {
    const blob = await git.text(["hash-object", "-w", "--stdin"], { input: Buffer.alloc(100_000) });
    await expect(git.run(["cat-file", "blob", blob], { maxOutput: 1_000 })).rejects.toMatchObject({ reason: "output" });
    const slow = ["-c", "alias.slow=!sleep 1000 & wait", "slow"];
    // The grandchild holds the pipes: without the group's end this would last longer than a test may.
    await expect(git.run(slow, { timeout: 200 })).rejects.toMatchObject({ reason: "timeout" });
    const stop = new AbortController();
    const running = git.run(slow, { signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ reason: "aborted" });
    const large = {
      input: Buffer.from(Array.from({ length: 50_000 }, (_, at) => (at * at * 31) % 251)),
      maxFile: 4_096,
    };
    await expect(git.run(["hash-object", "-w", "--stdin"], { ...large, maxFile: 512 })).rejects.toMatchObject({
      reason: "exit",
    });
  });

  test("nothing of the environment or the user's configuration takes part", async () => {
    const home = join(folder, "home");
    execFileSync("mkdir", [home]);
    writeFileSync(join(home, ".gitconfig"), "[user]\n\tname = Mallory\n[core]\n\thooksPath = /tmp/evil\n");
    const saved = { ...process.env };
    const hostile = {
      HOME: home,
      XDG_CONFIG_HOME: home,
      GIT_DIR: "/nonexistent",
      GIT_CONFIG_GLOBAL: join(home, ".gitconfig"),
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "user.name",
      GIT_CONFIG_VALUE_0: "Mallory",
      GIT_CONFIG_PARAMETERS: "'user.name=Mallory'",
      GIT_OBJECT_DIRECTORY: "/nonexistent",
      GIT_TRACE: join(folder, "trace"),
      GIT_SSH_COMMAND: "evil",
      GIT_EXTERNAL_DIFF: "evil",
      LD_PRELOAD_X: "x",
    };
    Object.assign(process.env, hostile);
    try {
      expect(await git.succeeds(["config", "--get", "user.name"])).toBe(false);
      expect(await git.text(["config", "--get", "core.hooksPath"])).toBe("/dev/null");
      const shown = await git.text(["-c", "alias.env=!env", "env"]);
      expect(shown).not.toMatch(/Mallory|LD_PRELOAD_X|GIT_TRACE|=evil/);
    } finally {
      for (const name of Object.keys(hostile)) delete process.env[name];
      Object.assign(process.env, saved);
    }
  });

  test("a git that cannot be started is an error, not a hang", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = folder;
    try {
      await expect(git.run(["version"])).rejects.toMatchObject({ reason: "spawn" });
    } finally {
      process.env["PATH"] = path;
    }
  });

  test("words of git are masked and bounded", () => {
    const text = scrub("fatal: https://me:hunter2@host/x tok3n-abc\u001b[31m\nAuthorization: Basic Zm9v\r\nx", [
      "tok3n-abc",
    ]);
    expect(text).not.toMatch(/hunter2|tok3n|Zm9v|[^\P{Cc}\n]/u);
    expect(text).toContain("https://[redacted]@host/x");
    expect(scrub("x".repeat(100_000))).toHaveLength(16 * 1024);
  });
});

describe("grammars", () => {
  test("branches and commits", () => {
    for (const name of ["main", "release/1.2", "a_b-c+d", "feature/x@y"])
      expect([name, isBranch(name)]).toEqual([name, true]);
    for (const name of [
      "",
      "-x",
      "a/-x",
      "a..b",
      "a.lock",
      "a.lock/b",
      "@",
      "a@{1}",
      "HEAD",
      "a b",
      "a~1",
      "a^",
      "a:b",
      "a?",
      "a*",
      "a[",
      "a\\b",
      "a//b",
      "/a",
      "a/",
      ".a",
      "a.",
      "a\n",
      "\u00e9",
      "x".repeat(201),
    ]) {
      expect([name, isBranch(name)]).toEqual([name, false]);
    }
    for (const id of ["a".repeat(40), "0".repeat(64)]) expect(isCommit(id)).toBe(true);
    for (const id of ["", "a".repeat(39), "A".repeat(40), `${"a".repeat(40)}\n`, "HEAD", "g".repeat(40)])
      expect(isCommit(id)).toBe(false);
  });
});

describe("Blobs", () => {
  const store = (content: string | Buffer): Promise<string> =>
    git.text(["hash-object", "-w", "--stdin"], { input: content });

  test("any bytes, in the order asked for, from one process", async () => {
    const blobs = new Blobs(git);
    const contents = [
      "",
      "\n",
      "a blob 3\n",
      "\0\xff",
      "x".repeat(300_000),
      ...Array.from({ length: 200 }, (_, at) => `doc ${at}`),
    ];
    const ids = await Promise.all(contents.map(store));
    expect((await blobs.read(ids, 1e9)).map(String)).toEqual(contents.map((text) => String(Buffer.from(text))));
    const later = await store("later");
    const [one, two] = await Promise.all([blobs.read([later], 10), blobs.read(ids.slice(0, 2), 10)]);
    expect([one, two].flat().map(String)).toEqual(["later", "", "\n"]);
    expect(ids[3]).toBe(blobName(Buffer.from("\0\xff"), ids[3] ?? ""));
    blobs.close();
  });

  test("missing, of another type, too large, not a name: refused, and the next read works", async () => {
    const blobs = new Blobs(git);
    const good = await store("good");
    const tree = await git.text(["mktree"], { input: "" });
    for (const id of ["1".repeat(40), tree, "HEAD", `${good}\n${good}`, "--help"]) {
      await expect(blobs.read([good, id], 100)).rejects.toThrow(GitError);
      expect((await blobs.read([good], 100)).map(String)).toEqual(["good"]);
    }
    await expect(blobs.read([good, good], 7)).rejects.toThrow("more than 7 bytes");
    blobs.close();
    expect((await blobs.read([good], 100)).map(String)).toEqual(["good"]);
    blobs.close();
  });

  test("an object whose content is not what its name says is refused", async () => {
    const blobs = new Blobs(git);
    const [good, other] = await Promise.all([store("good one"), store("evil one")]);
    const path = (id: string): string => join(gitDir, "objects", id.slice(0, 2), id.slice(2));
    rmSync(path(good));
    writeFileSync(path(good), readFileSync(path(other)));
    await expect(blobs.read([good], 100)).rejects.toThrow(GitError);
    blobs.close();
  });
});
