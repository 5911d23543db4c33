import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { SourceError } from "../../src/gitops/explain.ts";
import { Source } from "../../src/gitops/source.ts";
import { bench, git, scratch, settingsOf, sweep, Upstream } from "./kit.ts";

afterAll(sweep);

const open = async (
  upstream: { readonly dir: string },
  more: Readonly<Record<string, unknown>> = {},
  folder = join(scratch(), "source"),
) => {
  const source = new Source(await settingsOf(upstream, more), folder);
  return { source, folder, clone: join(folder, "clone.git") };
};
const refusal = (work: Promise<unknown>): Promise<SourceError> =>
  work.then(
    () => {
      throw new Error("was not refused");
    },
    (error: unknown) => error as SourceError,
  );

describe("what is read", () => {
  test("metadata, document files only, the content by object name; folders are 0700", async () => {
    const upstream = new Upstream();
    upstream.commit(
      { "a.yaml": "one", "sub/b.YML": "two", "README.md": "no", "bin.png": "\u0001" },
      { subject: "Add\u001b[31mred\u202E text" },
    );
    const { source, folder } = await open(upstream);
    const commit = await source.fetch();
    expect(commit).toMatchObject({ author: "Ada <ada@example.org>", subject: "Add [31mred text", parents: [] });
    const { files, problems } = await source.list(commit);
    expect(problems).toEqual([]);
    expect(files.map(({ path, size }) => [path, size])).toEqual([
      ["a.yaml", 3],
      ["sub/b.YML", 3],
    ]);
    expect((await source.read(files)).map(String)).toEqual(["one", "two"]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    source.close();
  });

  test("a tag, or a ref elsewhere, of the branch's name never wins", async () => {
    const upstream = new Upstream();
    const evil = upstream.commit({ "a.yaml": "evil" }, { branch: "other" });
    const good = upstream.commit({ "a.yaml": "good" });
    for (const ref of ["refs/tags/main", "refs/heads/refs/heads/main", "refs/main"])
      git(upstream.dir, ["update-ref", ref, evil]);
    const { source, clone } = await open(upstream);
    expect((await source.fetch()).id).toBe(good);
    expect(git(clone, ["for-each-ref", "--format=%(refname)"])).toBe("refs/writ/head");
    source.close();
  });

  test("only the configured folder counts; a missing one is a problem and not an empty set", async () => {
    const upstream = new Upstream();
    upstream.commit({ "vault/prod/a.yaml": "a", "b.yaml": "b", link: { mode: "120000", content: "vault" } });
    const { source } = await open(upstream, { directory: "/vault/prod/" });
    const { files, problems } = await source.list(await source.fetch());
    expect([files.map(({ path }) => path), problems]).toEqual([["vault/prod/a.yaml"], []]);
    source.close();
    for (const directory of ["nowhere", "link/prod", "b.yaml"]) {
      const other = await open(upstream, { directory });
      const listing = await other.source.list(await other.source.fetch());
      expect(listing).toMatchObject({
        files: [],
        problems: [{ file: directory, message: expect.stringContaining("no such folder") }],
      });
      other.source.close();
    }
  });

  test("descent is true for parents and older, false for strangers and the unknown", async () => {
    const upstream = new Upstream();
    const first = upstream.commit({ "a.yaml": "1" });
    upstream.commit({ "a.yaml": "2" });
    upstream.commit({ "a.yaml": "3" });
    const stranger = upstream.commit({ "a.yaml": "4" }, { branch: "other", parent: null });
    const { source } = await open(upstream);
    const head = await source.fetch();
    expect(await source.descends(head, first)).toBe(true);
    expect(await source.descends(head, stranger)).toBe(false);
    expect(await source.descends(head, "0".repeat(40))).toBe(false);
    expect(await source.descends(head, "--help")).toBe(false);
    source.close();
  });

  test("a SHA-256 repository", async () => {
    const upstream = new Upstream(["--object-format=sha256"]);
    upstream.commit({ "a.yaml": "one" });
    const { source, folder } = await open(upstream);
    const commit = await source.fetch();
    expect(commit.id).toHaveLength(64);
    expect((await source.read((await source.list(commit)).files)).map(String)).toEqual(["one"]);
    source.close();
    const again = await open(upstream, {}, folder);
    expect((await again.source.fetch()).id).toBe(commit.id);
    again.source.close();
  });

  test("many fetches do not pile up packs", async () => {
    const upstream = new Upstream();
    const { source, clone } = await open(upstream);
    for (let at = 0; at < 60; at += 1) {
      upstream.commit({ "a.yaml": `${at}` });
      await source.fetch();
    }
    const packs = readdirSync(join(clone, "objects/pack")).filter((name) => name.endsWith(".pack"));
    expect(packs.length).toBeLessThan(52);
    const commit = await source.fetch();
    expect((await source.read((await source.list(commit)).files)).map(String)).toEqual(["59"]);
    source.close();
  });
});

describe("what is refused", () => {
  const refused = async (files: Parameters<Upstream["commit"]>[0], more = {}): Promise<string[]> => {
    const upstream = new Upstream();
    upstream.commit(files);
    const { source } = await open(upstream, more);
    const { problems } = await source.list(await source.fetch());
    source.close();
    return problems.map(({ file, message }) => `${file}: ${message}`);
  };

  test("links and submodules, all named together", async () => {
    const problems = await refused({
      "a.yaml": "a",
      "docs/link.yaml": { mode: "120000", content: "/etc/passwd" },
      "lib/sub": { mode: "160000", content: "1".repeat(40) },
    });
    expect(problems).toEqual([
      expect.stringMatching(/^docs\/link\.yaml: symbolic links are refused/),
      expect.stringMatching(/^lib\/sub: submodules are refused/),
    ]);
  });

  test("huge files, too many files, too much in all", async () => {
    expect(
      await refused({ "big.yaml": "x".repeat(2_000), "big.png": "x".repeat(2_000) }, { limits: { file_bytes: 1_000 } }),
    ).toEqual([expect.stringMatching(/^big\.yaml: the file has 2000 bytes; at most 1000/)]);
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`f${at}.yaml`, "x".repeat(100)]));
    expect(await refused(many, { limits: { files: 10 } })).toEqual([
      expect.stringMatching(/^\.: 12 files; at most 10/),
    ]);
    expect(await refused(many, { limits: { total_bytes: 1_000 } })).toEqual([expect.stringMatching(/^\.: 1200 bytes/)]);
  });

  test("names that another file system reads in another way", async () => {
    const upstream = new Upstream();
    const blob = upstream.blob("x");
    const names = [
      "A.yaml",
      "a.yaml",
      "b\\c.yaml",
      "caf\u00e9.yaml",
      "cafe\u0301.yaml",
      "new\nline.yaml",
      "zero\u200bwidth.yaml",
    ];
    upstream.raw(names.map((name) => `100644 blob ${blob}\t${name}\0`).join(""));
    const { source } = await open(upstream);
    const { problems } = await source.list(await source.fetch());
    source.close();
    expect(problems.map(({ file, message }) => `${file}: ${message}`).toSorted()).toEqual([
      "a.yaml: the name differs from A.yaml in case or form only",
      "b\\\\c.yaml: the name has a control or invisible character or a backslash",
      expect.stringMatching(/^caf.*: the name differs from caf.* in case or form only/),
      "new\\nline.yaml: the name has a control or invisible character or a backslash",
      "zero?width.yaml: the name has a control or invisible character or a backslash",
    ]);
  });

  test.each([".git", ".GIT", "git~1", ".git ", "..", "."])("a tree with %j does not even arrive", async (name) => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "good" });
    const inner = git(upstream.dir, ["mktree", "-z"], `100644 blob ${upstream.blob("x")}\tconfig\0`);
    upstream.raw(`040000 tree ${inner}\t${name}\0`);
    const { source, clone } = await open(upstream);
    const error = await refusal(source.fetch());
    expect(error).toBeInstanceOf(SourceError);
    expect(error).toMatchObject({ cause: "content", message: expect.stringContaining("fsck") });
    expect(existsSync(join(clone, "refs/writ/head"))).toBe(false);
    source.close();
  });

  test("a fetch larger than its limit is ended by the kernel and explained", async () => {
    const upstream = new Upstream();
    let noise = "";
    for (let at = 0; at < 20_000; at += 1) noise += Math.sin(at).toString(36);
    upstream.commit({ "a.yaml": noise });
    const { source, clone } = await open(upstream, { limits: { fetch_bytes: 65_536 } });
    expect(await refusal(source.fetch())).toMatchObject({
      message: expect.stringContaining("limits.fetch_bytes"),
      cause: "remote",
    });
    expect(readdirSync(join(clone, "objects/pack")).filter((name) => name.endsWith(".pack"))).toEqual([]);
    source.close();
  });

  test("branch names that git or a shell would read as more than a name", async () => {
    for (const branch of [
      "--upload-pack=touch /tmp/x",
      "-b",
      "a..b",
      "a b",
      "a:b",
      "+main",
      "main^",
      "refs/heads/*",
      "a.lock",
      "@{u}",
      "a//b",
      "/a",
      "a/",
      "$(id)",
      "HEAD",
      ".a",
      "a\n",
      "",
    ]) {
      await expect(settingsOf({ dir: "/srv/x.git" }, { branch })).rejects.toThrow("branch");
    }
    await expect(settingsOf({ dir: "/srv/x.git" }, { branch: "release/1.2-rc_3" })).resolves.toMatchObject({
      branch: "release/1.2-rc_3",
    });
  });

  test("folders that lead out of the repository", async () => {
    for (const directory of ["..", "a/../b", ".git", "a/.GIT/x", "a//b", "-x", "a:b", "a\nb"]) {
      await expect(settingsOf({ dir: "/srv/x.git" }, { directory })).rejects.toThrow("directory");
    }
  });
});

describe("a hostile repository", () => {
  test("its hooks, configuration and attributes never run anything", async () => {
    const upstream = new Upstream();
    const mark = join(scratch(), "mark");
    const evil = join(scratch(), "evil.sh");
    writeFileSync(evil, `#!/bin/sh\ntouch ${mark}\nexec "$@"\n`, { mode: 0o755 });
    upstream.commit({
      "a.yaml": "good",
      ".gitattributes": "* filter=evil diff=evil merge=evil\n",
      ".lfsconfig": `[lfs]\n  url = ext::${evil}\n`,
    });
    const config = [
      `[core]\n\thooksPath = ${join(upstream.dir, "hooks")}\n\tfsmonitor = ${evil}\n\tsshCommand = ${evil}\n\tpager = ${evil}`,
      `[uploadpack]\n\tpackObjectsHook = ${evil}`,
      `[filter "evil"]\n\tsmudge = ${evil}\n\tclean = ${evil}\n\tprocess = ${evil}`,
      `[diff "evil"]\n\ttextconv = ${evil}\n\tcommand = ${evil}`,
    ].join("\n");
    writeFileSync(join(upstream.dir, "config"), `${readFileSync(join(upstream.dir, "config"), "utf8")}\n${config}\n`);
    mkdirSync(join(upstream.dir, "hooks"), { recursive: true });
    for (const hook of ["post-checkout", "reference-transaction", "pre-auto-gc", "post-update", "fsmonitor-watchman"]) {
      writeFileSync(join(upstream.dir, "hooks", hook), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
    }
    const { source, clone } = await open(upstream);
    const commit = await source.fetch();
    expect((await source.list(commit)).problems).toEqual([]);
    // The same in the clone itself, by somebody who came that far: the command line still wins.
    writeFileSync(join(clone, "config"), `${readFileSync(join(clone, "config"), "utf8")}\n${config}\n`);
    mkdirSync(join(clone, "hooks"), { recursive: true });
    writeFileSync(join(clone, "hooks/reference-transaction"), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
    upstream.commit({ "a.yaml": "better" });
    const next = await source.fetch();
    expect((await source.read((await source.list(next)).files)).map(String)).toEqual(["better"]);
    expect(existsSync(mark)).toBe(false);
    source.close();
  });

  test("replace refs in the clone change neither commit nor content", async () => {
    const upstream = new Upstream();
    const good = upstream.commit({ "a.yaml": "good" }, { subject: "Good" });
    const { source, folder, clone } = await open(upstream);
    await source.fetch();
    const blob = git(clone, ["hash-object", "-w", "--stdin"], "evil");
    const tree = git(clone, ["mktree"], `100644 blob ${blob}\ta.yaml\n`);
    const evil = git(clone, ["commit-tree", "-m", "Evil", tree]);
    git(clone, ["update-ref", `refs/replace/${good}`, evil]);
    source.close();
    const again = await open(upstream, {}, folder);
    const commit = await again.source.fetch();
    expect(commit).toMatchObject({ id: good, subject: "Good" });
    expect((await again.source.read((await again.source.list(commit)).files)).map(String)).toEqual(["good"]);
    again.source.close();
  });
});

describe("a clone that was damaged", () => {
  const damage: Readonly<Record<string, (clone: string) => void>> = {
    "pack truncated": (clone) => {
      for (const name of readdirSync(join(clone, "objects/pack"))) {
        const file = join(clone, "objects/pack", name);
        chmodSync(file, 0o600);
        if (name.endsWith(".pack")) truncateSync(file, 20);
      }
    },
    "packs gone": (clone) => rmSync(join(clone, "objects/pack"), { recursive: true }),
    "ref emptied": (clone) => truncateSync(join(clone, "refs/writ/head")),
    "HEAD gone": (clone) => rmSync(join(clone, "HEAD")),
    "config broken": (clone) => writeFileSync(join(clone, "config"), "[core\n"),
    "locks left": (clone) => {
      writeFileSync(join(clone, "refs/writ/head.lock"), "");
      writeFileSync(join(clone, "packed-refs.lock"), "");
      writeFileSync(join(clone, "config.lock"), "");
      writeFileSync(join(clone, "objects/pack/tmp_pack_abc"), "x");
    },
    "marker gone": (clone) => rmSync(join(clone, "writ-remote")),
    "everything but the folder gone": (clone) => {
      for (const name of readdirSync(clone)) rmSync(join(clone, name), { recursive: true });
    },
  };
  test.each(Object.keys(damage))("%s: between starts, and while running", async (name) => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "one" });
    const first = await open(upstream);
    await first.source.fetch();
    first.source.close();
    damage[name]?.(first.clone);
    const { source, clone } = await open(upstream, {}, first.folder);
    const check = async (content: string): Promise<void> => {
      const commit = await source.fetch();
      expect((await source.read((await source.list(commit)).files)).map(String)).toEqual([content]);
    };
    await check("one");
    upstream.commit({ "a.yaml": "two" });
    damage[name]?.(clone);
    // A ref lock in use is a failure of this one fetch; the next one has cleaned up.
    if (name === "locks left") await source.fetch().catch(() => {});
    await check("two");
    expect(readdirSync(join(clone, "objects/pack")).filter((file) => file.startsWith("tmp_"))).toEqual([]);
    source.close();
  });

  test("a flipped bit in a stored blob is never read as content", async () => {
    const upstream = new Upstream();
    upstream.commit({ "a.yaml": "policy ".repeat(400) });
    const { source, clone } = await open(upstream);
    const commit = await source.fetch();
    const { files } = await source.list(commit);
    const pack = readdirSync(join(clone, "objects/pack")).find((name) => name.endsWith(".pack")) ?? "";
    const file = join(clone, "objects/pack", pack);
    chmodSync(file, 0o600);
    const bytes = readFileSync(file);
    for (let at = 12; at < bytes.length - 20; at += 1) bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    writeFileSync(file, bytes);
    expect((await source.read(files)).map(String)).toEqual(["policy ".repeat(400)]);
    source.close();
  });

  test("another remote in the same folder starts from nothing", async () => {
    const one = new Upstream();
    one.commit({ "a.yaml": "one" });
    const two = new Upstream();
    const id = two.commit({ "a.yaml": "two" });
    const first = await open(one);
    const old = await first.source.fetch();
    first.source.close();
    const second = await open(two, {}, first.folder);
    expect((await second.source.fetch()).id).toBe(id);
    expect(() => git(second.clone, ["cat-file", "-e", old.id])).toThrow();
    second.source.close();
  });

  test("a fetch killed at any moment leaves a folder that the next start uses or renews", async () => {
    const upstream = new Upstream();
    const content = Object.fromEntries(
      Array.from({ length: 300 }, (_, at) => [`d${at % 7}/f${at}.yaml`, `doc ${at}\n`.repeat(50)]),
    );
    const id = upstream.commit(content);
    const script = join(scratch(), "child.mjs");
    const module = new URL("../../src/gitops/source.ts", import.meta.url).href;
    for (const delay of [0, 5, 10, 20, 30, 45, 60, 90]) {
      const folder = join(scratch(), "source");
      const settings = await settingsOf(upstream);
      writeFileSync(
        script,
        `import { Source } from ${JSON.stringify(module)};
         const source = new Source(${JSON.stringify(settings)}, ${JSON.stringify(folder)});
         console.log("begin"); await source.fetch(); process.exit(0);`,
      );
      const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"], detached: true });
      const gone = new Promise((resolve) => child.once("close", resolve));
      await new Promise((resolve) => child.stdout.once("data", resolve));
      // The moment of the kill is what is tested; nothing is waited for.
      await new Promise((resolve) => setTimeout(resolve, delay));
      child.kill("SIGKILL");
      await gone;
      const { source } = await open(upstream, {}, folder);
      const commit = await source.fetch();
      expect(commit.id).toBe(id);
      expect((await source.list(commit)).files).toHaveLength(300);
      source.close();
    }
  });
});

describe("a remote that misbehaves", () => {
  test("one that never answers is given up at the deadline, its processes ended", async () => {
    const hungUp = Promise.withResolvers<void>();
    const connections: unknown[] = [];
    const server = createServer((socket) => {
      connections.push(socket);
      socket
        .resume()
        .on("error", () => {})
        .on("close", () => hungUp.resolve());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const settings = await settingsOf(
      { dir: `http://127.0.0.1:${port}/x.git` },
      { allow_file_remote: false, allow_loopback_http: true },
    );
    // On a busy machine git may not have come as far as the remote when the time is over.
    for (let fetchTimeout = 700; connections.length === 0; fetchTimeout *= 2) {
      const source = new Source(
        { ...settings, limits: { ...settings.limits, fetchTimeout } },
        join(scratch(), "source"),
      );
      expect(await refusal(source.fetch())).toMatchObject({
        message: expect.stringContaining("too long"),
        cause: "remote",
      });
      source.close();
    }
    // git-remote-http is a grandchild: its connection closes because the whole group was ended.
    await hungUp.promise;
    server.close();
  });

  test("a running fetch is ended by close", async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const connected = new Promise((resolve) => server.once("connection", resolve));
    const settings = await settingsOf(
      { dir: `http://127.0.0.1:${port}/x.git` },
      { allow_file_remote: false, allow_loopback_http: true },
    );
    const source = new Source(settings, join(scratch(), "source"));
    const error = refusal(source.fetch());
    await connected;
    source.close();
    expect((await error).message).toBe("stopped");
    server.close();
  });

  test("errors name no path and no credential", async () => {
    const { source } = await open({ dir: "/nonexistent/secret-place/x.git" });
    const error = await refusal(source.fetch());
    expect(error.message).not.toMatch(/secret-place|\/tmp|nonexistent/);
    source.close();
  });
});

test("from_secret reaches only what server config opens to the folder", async () => {
  const upstream = new Upstream();
  upstream.commit({
    "team-a/a.yaml": "one secret/data/team-a/db\n",
    "b.yaml": "two secret/data/team-a/db\nthree secret/data/team-a/../b\n",
  });
  const rules = [{ directory: "team-a", paths: ["secret/data/team-a/*"] }];
  const { reconciler } = await bench(upstream, { settings: { secrets: rules } });
  expect(await reconciler.sync()).toMatchObject({
    result: "invalid",
    problems: [
      { file: "b.yaml", line: 1, message: expect.stringContaining('may not read "secret/data/team-a/db"') },
      { file: "b.yaml", line: 2 },
    ],
  });
  upstream.commit({ "b.yaml": null });
  expect((await reconciler.sync()).result).toBe("applied");
  await reconciler.close();
});
