import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createGit, GitError } from "./git.ts";
import { openRemote } from "./remote.ts";
import { readSecret } from "./secretFile.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-remote-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, content: string, mode = 0o600): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
};
const token = "ghp_ThisIsTheToken0123456789";
const tokenFile = file("token", `${token}\n`);
const key = file("key", "not a key");
const hosts = file("hosts", "", 0o644);

describe("addresses", () => {
  test.each([
    "ext::sh -c touch%20/tmp/x",
    "fd::17",
    "git://example.org/x.git",
    "ftp://example.org/x",
    "--upload-pack=touch /tmp/x",
    "-oProxyCommand=x@host:path",
    "ssh://-oProxyCommand=x/path",
    "ssh://git@-oProxyCommand=x/path",
    "git@-host:path",
    "git@host:-path",
    "https://user:password@example.org/x.git",
    "https://token@example.org/x.git",
    "https://example.org/x.git?token=1",
    "https://example.org/x.git#f",
    "https://exa mple.org/x",
    "https://example.org/x\n",
    "https:///x",
    "host:path",
    "../x.git",
    "file://host/x.git",
    "",
  ])("%j is refused", async (url) => {
    await expect(
      openRemote({ url, allowFile: true, allowLoopbackHttp: true, deployKeyFile: key, knownHostsFile: hosts }),
    ).rejects.toThrow(/^remote must be/);
  });

  test("paths and plain http only where they are opened, http to this machine only", async () => {
    await expect(openRemote({ url: "/srv/x.git" })).rejects.toThrow("allow_file_remote");
    await expect(openRemote({ url: "file:///srv/x.git" })).rejects.toThrow("allow_file_remote");
    expect(await openRemote({ url: "/srv/x.git", allowFile: true })).toMatchObject({
      protocol: "file",
      environment: {},
    });
    await expect(openRemote({ url: "http://127.0.0.1/x" })).rejects.toThrow("plain http");
    for (const host of ["example.org", "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1"]) {
      await expect(openRemote({ url: `http://${host}/x`, allowLoopbackHttp: true })).rejects.toThrow("plain http");
    }
    expect(await openRemote({ url: "http://127.0.0.1:81/x", allowLoopbackHttp: true })).toMatchObject({
      protocol: "http",
    });
  });

  test("credentials that do nothing are an error, and ssh needs both of its files", async () => {
    await expect(openRemote({ url: "https://example.org/x", deployKeyFile: key })).rejects.toThrow(
      "deploy_key_file does nothing",
    );
    await expect(
      openRemote({ url: "git@example.org:x", tokenFile, deployKeyFile: key, knownHostsFile: hosts }),
    ).rejects.toThrow("token_file does nothing");
    await expect(openRemote({ url: "git@example.org:x", deployKeyFile: key })).rejects.toThrow("known_hosts_file");
    await expect(
      openRemote({ url: "git@example.org:x", deployKeyFile: "/a b/$(id)", knownHostsFile: hosts }),
    ).rejects.toThrow("deploy_key_file");
  });
});

describe("secret files", () => {
  test("belong to their owner alone; links are followed and their target judged", async () => {
    expect(await readSecret("token_file", tokenFile)).toBe(token);
    const link = join(folder, "link");
    symlinkSync(tokenFile, link);
    expect(await readSecret("token_file", link)).toBe(token);
    for (const mode of [0o640, 0o604, 0o644, 0o666]) {
      await expect(readSecret("token_file", file("open", token, mode))).rejects.toThrow(
        "token_file may be read by others",
      );
    }
    await expect(readSecret("token_file", folder)).rejects.toThrow("token_file is not a regular file");
    await expect(readSecret("token_file", join(folder, "absent"))).rejects.toThrow(
      "token_file cannot be read (ENOENT)",
    );
    for (const content of ["", "two\nlines", "a b", "caf\u00e9", "x".repeat(70_000)]) {
      await expect(readSecret("token_file", file("odd", content))).rejects.toThrow("token_file");
    }
  });
});

/** git-http-backend(1) as the real other side. */
function backend(seen: IncomingMessage[], allowed: () => boolean) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    seen.push(request);
    if (!allowed()) {
      response.writeHead(401, { "www-authenticate": "Basic" }).end();
      return;
    }
    const url = new URL(request.url ?? "/", "http://x");
    const child = spawn("git", ["http-backend"], {
      env: {
        PATH: process.env["PATH"],
        GIT_PROJECT_ROOT: folder,
        GIT_HTTP_EXPORT_ALL: "1",
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "safe.directory",
        GIT_CONFIG_VALUE_0: "*",
        REQUEST_METHOD: request.method,
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
        GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    request.pipe(child.stdin);
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("close", () => {
      const whole = Buffer.concat(chunks);
      const split = whole.indexOf("\r\n\r\n");
      for (const line of whole.toString("latin1", 0, split).split("\r\n")) {
        const [name = "", value = ""] = line.split(/: (.*)/s);
        if (name.toLowerCase() === "status") response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.end(whole.subarray(split + 4));
    });
  };
}

const listen = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
};
const quiet = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
};
const people = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a" };
const upstream = join(folder, "x.git");
const plain = (...args: string[]): string =>
  execFileSync("git", args, { env: { ...quiet, ...people }, input: "" })
    .toString()
    .trim();
plain("init", "--bare", "--quiet", "--initial-branch=main", upstream);
const tree = plain("-C", upstream, "mktree");
const commit = plain("-C", upstream, "commit-tree", "-m", "x", tree);
plain("-C", upstream, "update-ref", "refs/heads/main", commit);

let clones = 0;
async function fetched(access: Parameters<typeof openRemote>[0]): Promise<string> {
  const remote = await openRemote(access);
  const gitDir = join(folder, `clone${(clones += 1)}.git`);
  plain("init", "--bare", "--quiet", gitDir);
  const git = createGit({
    gitDir,
    environment: remote.environment,
    secrets: remote.secrets,
    protocols: [remote.protocol],
    timeout: 100_000,
  });
  await git.run(["fetch", "--quiet", "--", remote.url, "+refs/heads/main:refs/writ/head"]);
  return git.text(["rev-parse", "refs/writ/head"]);
}

describe("over http", () => {
  test("the token goes to the remote, in no argument list and in no error", async () => {
    const seen: IncomingMessage[] = [];
    let allowed = true;
    const arguments_: string[] = [];
    const server = createServer(
      backend(seen, () => {
        const processes = execFileSync("sh", ["-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true"]);
        arguments_.push(processes.toString("latin1"));
        return allowed;
      }),
    );
    const url = `http://127.0.0.1:${await listen(server)}/x.git`;
    const access = { url, allowLoopbackHttp: true, tokenFile, tokenUser: "deploy" };
    expect(await fetched(access)).toBe(commit);
    const basic = Buffer.from(`deploy:${token}`).toString("base64");
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(seen.map(() => `Basic ${basic}`));
    expect(arguments_.join("\n")).toContain("git-remote-http");
    expect(arguments_.join("\n")).not.toContain(token);
    expect(arguments_.join("\n")).not.toContain(basic);
    allowed = false;
    const error = await fetched(access).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(GitError);
    expect(`${String(error)} ${(error as GitError).detail}`).not.toContain(token);
    server.close();
  });

  test("a redirect is not followed, so the token goes nowhere else", async () => {
    const seen: IncomingMessage[] = [];
    const other = createServer(backend(seen, () => true));
    const port = await listen(other);
    const server = createServer((request, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${port}${request.url}` }).end();
    });
    const url = `http://127.0.0.1:${await listen(server)}/x.git`;
    await expect(fetched({ url, allowLoopbackHttp: true, tokenFile })).rejects.toThrow(GitError);
    expect(seen).toEqual([]);
    server.close();
    other.close();
  });

  test("https trusts the configured certificate only", async () => {
    const pem = (name: string): { key: string; cert: string } => {
      const paths = [join(folder, `${name}.key`), join(folder, `${name}.pem`)] as const;
      const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
      const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
      execFileSync(
        "openssl",
        ["req", "-x509", ...kind, "-days", "1", "-keyout", paths[0], "-out", paths[1], ...subject],
        { stdio: "ignore" },
      );
      return { key: readFileSync(paths[0], "utf8"), cert: readFileSync(paths[1], "utf8") };
    };
    const server = createTlsServer(
      pem("right"),
      backend([], () => true),
    );
    pem("wrong");
    const url = `https://127.0.0.1:${await listen(server)}/x.git`;
    expect(await fetched({ url, caFile: join(folder, "right.pem"), tokenFile })).toBe(commit);
    await expect(fetched({ url, caFile: join(folder, "wrong.pem"), tokenFile })).rejects.toMatchObject({
      detail: expect.stringMatching(/certificate/i),
    });
    await expect(fetched({ url, tokenFile })).rejects.toMatchObject({ detail: expect.stringMatching(/certificate/i) });
    server.close();
  });
});

describe("over ssh", () => {
  test("only the pinned hosts, the one key and no configuration: the command that git runs", async () => {
    const bin = join(folder, "bin");
    const log = join(folder, "ssh.log");
    mkdirSync(bin);
    writeFileSync(join(bin, "ssh"), `#!/bin/sh\nprintf '%s\\n' "$@" > ${log}\nenv >> ${log}\nexit 255\n`, {
      mode: 0o755,
    });
    const remote = await openRemote({ url: "git@example.org:team/x.git", deployKeyFile: key, knownHostsFile: hosts });
    const path = process.env["PATH"];
    process.env["PATH"] = `${bin}:${path}`;
    process.env["SSH_AUTH_SOCK"] = "/nonexistent/agent";
    process.env["GIT_DIR"] = "/nonexistent/git";
    try {
      const git = createGit({ gitDir: upstream, environment: remote.environment, protocols: ["ssh"] });
      await expect(git.run(["fetch", "--", remote.url, "refs/heads/main"])).rejects.toThrow(GitError);
    } finally {
      process.env["PATH"] = path;
      delete process.env["SSH_AUTH_SOCK"];
      delete process.env["GIT_DIR"];
    }
    const lines = readFileSync(log, "utf8").split("\n");
    const before = lines.slice(0, lines.indexOf("git@example.org"));
    expect(before.slice(0, 4)).toEqual(["-F", "/dev/null", "-i", key]);
    for (const setting of [
      "StrictHostKeyChecking=yes",
      `UserKnownHostsFile=${hosts}`,
      "GlobalKnownHostsFile=/dev/null",
      "IdentitiesOnly=yes",
      "BatchMode=yes",
      "IdentityAgent=none",
    ]) {
      expect(before).toContain(setting);
    }
    expect(lines.join("\n")).not.toMatch(/SSH_AUTH_SOCK|^GIT_DIR=\/nonexistent/m);
  });

  test("without credentials of an ssh remote, ssh is no transport at all", async () => {
    const git = createGit({ gitDir: upstream, protocols: ["file"] });
    await expect(git.run(["fetch", "--", "git@example.org:x", "refs/heads/main"])).rejects.toMatchObject({
      detail: expect.stringContaining("not allowed"),
    });
    await expect(git.run(["fetch", "--", "ext::touch /tmp/writ-x", "refs/heads/main"])).rejects.toMatchObject({
      detail: expect.stringContaining("not allowed"),
    });
    await expect(
      createGit({ gitDir: upstream }).run(["fetch", "--", upstream, "refs/heads/main"]),
    ).rejects.toMatchObject({ detail: expect.stringContaining("not allowed") });
  });
});
