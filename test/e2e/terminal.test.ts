// The real command in a real terminal: what people see, what they type without its being seen, signals and keys, job control
// and completion. What only a terminal gets is looked for in a pipe too, where it must not be.

import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createClient, dataIn } from "../../src/cli/client.ts";
import { freePort, main, type Result, type Running, runToEnd, startWrit, until } from "./server.ts";
import { bytes, hasTerminal, inTerminal, type Seen, type Step } from "./terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-terminal-"));
const at = (...names: readonly string[]): string => join(folder, ...names);
let env: Record<string, string> = {};
let alicePassword = "";
let quickstart: Running;
const closing: (() => void)[] = [];

beforeAll(async () => {
  mkdirSync(at("bin"));
  writeFileSync(at("bin", "writ"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
  const port = await freePort();
  quickstart = startWrit(["quickstart"], { env: { WRIT_PORT: String(port), WRIT_DATA: at("data"), HOME: folder } });
  await quickstart.says("In another terminal");
  const text = readFileSync(at("data", "quickstart.env"), "utf8");
  const value = (name: string): string => new RegExp(`${name}='?([^'\n]+)`).exec(text)?.[1] ?? "";
  alicePassword = value("ALICE_PASSWORD");
  env = {
    PATH: `${at("bin")}${delimiter}${process.env["PATH"] ?? ""}`,
    HOME: folder,
    VAULT_ADDR: `http://127.0.0.1:${port}`,
    VAULT_TOKEN: value("VAULT_TOKEN"),
  };
  await piped(["kv", "put", "secret/app", "greeting=hello"]);
});
afterAll(async () => {
  for (const close of closing) close();
  await quickstart.kill();
  rmSync(folder, { recursive: true, force: true });
});

const piped = (words: readonly string[], input = "", more: Record<string, string> = {}): Promise<Result> =>
  runToEnd("writ", words, { env: { ...env, ...more }, cwd: folder, input });
const seen = (
  words: readonly string[],
  steps: readonly Step[] = [],
  more: { env?: Record<string, string>; columns?: number; seconds?: number } = {},
): Promise<Seen> => inTerminal(["writ", ...words], steps, { cwd: folder, ...more, env: { ...env, ...more.env } });
/** As the terminal was before: letters are shown, and lines are handed over whole. */
const restored = { echo: true, lines: true };

describe.skipIf(!hasTerminal)("what a person sees", () => {
  test("tables with bold heads; none in a pipe, and none with NO_COLOR", async () => {
    const { output, code } = await seen(["kv", "get", "secret/app"]);
    expect([code, output]).toEqual([0, expect.stringMatching(/\r\ngreeting +hello\r\n$/)]);
    expect(output).toContain("\u001b[1mKey\u001b[22m ");
    for (const other of [
      (await seen(["kv", "get", "secret/app"], [], { env: { NO_COLOR: "1" } })).output,
      (await piped(["kv", "get", "secret/app"])).stdout,
    ]) {
      expect(other).toMatch(/Key +Value/);
      expect(other).not.toContain("\u001b");
    }
  });

  test("no value, name or message drives the terminal; a pipe gets each byte", async () => {
    const evil = "a\u001b]0;title\u0007b\u001b[2Jc\u009b31md\u202ee\rf\u007fg";
    writeFileSync(at("evil.json"), JSON.stringify({ evil, "na\u001b[2Jme": "x" }));
    await piped(["kv", "put", "secret/evil", "@evil.json"]);
    const words = [["kv", "get", "secret/evil"], ["kv", "get", "--field", "evil", "secret/evil"], ["kv", "get", "--format", "json", "secret/evil"], ["kv", "get", "secret/no\u001b[2J"], ["read", "a\u001b[2J/b"], ["no\u001b[2J"]]; // prettier-ignore
    for (const each of words) {
      const { output } = await seen(each, [], { env: { NO_COLOR: "1" } });
      // Lines end in CR LF on a terminal.
      expect([each, output.replaceAll("\r\n", "\n")]).toEqual([each, expect.not.stringMatching(/[^\P{Cc}\n]|\p{Cf}/u)]);
    }
    expect((await piped(["kv", "get", "--field", "evil", "secret/evil"])).stdout).toBe(evil);
    const { stdout } = await piped(["kv", "get", "--format", "json", "secret/evil"]);
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    expect(JSON.parse(stdout)).toMatchObject({ data: { data: { evil } } });
  });

  test("a value longer than the terminal is whole; wide letters keep columns in line", async () => {
    const long = randomBytes(3_000).toString("hex");
    await piped(["kv", "put", "secret/long", "long=-"], long);
    const { output } = await seen(["kv", "get", "secret/long"], [], { columns: 40 });
    expect(output).toContain(long);
    writeFileSync(at("wide.json"), JSON.stringify({ 秘密: "wide", "e\u0301": "marks", plain: "x" }));
    await piped(["kv", "put", "secret/wide", "@wide.json"]);
    const { stdout } = await piped(["kv", "get", "secret/wide"]);
    expect(stdout.split("\n").slice(1, 4).toSorted()).toEqual(
      ["e\u0301        marks", "plain    x", "秘密     wide"].toSorted(),
    );
  });

  test("a field ends its line, and a pipe gets no line end", async () => {
    expect((await seen(["kv", "get", "--field", "greeting", "secret/app"])).output).toBe("hello\r\n");
    expect((await piped(["kv", "get", "--field", "greeting", "secret/app"])).stdout).toBe("hello");
  });

  test("what is waited for, once that takes longer than a second, and nothing is left of it", async () => {
    const slow = createHttp((_request, response) => {
      setTimeout(() => response.writeHead(200).end('{"data":{"a":"b"}}'), 2_300);
    }).listen(0, "127.0.0.1");
    closing.push(() => slow.close());
    await once(slow, "listening");
    const address = `http://127.0.0.1:${(slow.address() as { port: number }).port}`;
    const long = `secret/${"x".repeat(100)}`;
    const { output } = await seen(["read", long], [], { env: { VAULT_ADDR: address, NO_COLOR: "1" }, columns: 50 });
    const lines = output.split("\r\u001b[K");
    expect(lines[1]).toBe(`waiting for GET ${long}`.slice(0, 49));
    expect(lines.at(-1)).toMatch(/^Key +Value\r\na +b\r\n$/);
    expect((await piped(["read", long], "", { VAULT_ADDR: address })).stderr).toBe("");
  });
});

describe.skipIf(!hasTerminal)("what a person types unseen", () => {
  const login = ["login", "--method", "userpass", "username=alice"];
  const token = at(".vault-token");
  const asked = { wait: "password (not shown): " };
  const fresh = { env: { VAULT_TOKEN: "" } };

  test("a password, with slips taken back; the token is its owner's alone, whatever was there", async () => {
    writeFileSync(at("elsewhere"), "of another", { mode: 0o644 });
    for (const before of [
      () => rmSync(token, { force: true }),
      () => writeFileSync(token, "old", { mode: 0o644 }),
      () => symlinkSync(at("elsewhere"), token),
    ]) {
      rmSync(token, { force: true });
      before();
      // A draft that a killed process left.
      writeFileSync(`${token}.part`, "left", { mode: 0o644 });
      const typed = bytes(`wrong\u0015${alicePassword}xé\u007f\u0008\r`);
      const result = await seen(login, [{ ...asked, type: typed }], fresh);
      expect(result).toMatchObject({ code: 0, waited: [], modes: [{ echo: false }], last: restored });
      for (const secret of [alicePassword, "wrong"]) expect(result.output).not.toContain(secret);
      expect(lstatSync(token)).toMatchObject({ mode: 0o100600 });
      expect(readFileSync(token, "utf8")).toMatch(/^hvs\./);
      expect(result.output).not.toContain(readFileSync(token, "utf8"));
    }
    expect(readFileSync(at("elsewhere"), "utf8")).toBe("of another");
    expect((await piped(["token", "lookup", "--self"], "", { VAULT_TOKEN: "" })).stdout).toContain("alice");
  });

  test.each([
    ["Ctrl-C", { type: "abc\u0003" }, 130, /stopped/],
    ["Ctrl-D", { type: "\u0004" }, 1, /no password was given/],
    ["Enter alone", { type: "\r" }, 1, /no password was given/],
  ])("%s", async (_name, step, code, words) => {
    rmSync(token, { force: true });
    const result = await seen(login, [{ ...asked, ...step }], fresh);
    expect(result).toMatchObject({ code, last: restored, output: expect.stringMatching(words) });
    expect(() => lstatSync(token)).toThrow("ENOENT");
  });

  test("SIGTERM at the prompt leaves the terminal as it was", async () => {
    // The shell that starts the command is replaced by it, so that the signal reaches it.
    const result = await seen(login, [{ ...asked, signal: "SIGTERM" }], fresh);
    expect(result).toMatchObject({ code: -15, modes: [{ echo: false, lines: false }], last: restored });
  });

  test("a share, and a token; as an argument they are refused, and not repeated", async () => {
    const share = randomBytes(33).toString("base64");
    const unseal = await seen(["operator", "unseal"], [{ wait: "Unseal key (not shown): ", type: `${share}\r` }]);
    expect(unseal).toMatchObject({ waited: [], modes: [{ echo: false }], last: restored });
    expect(unseal.output).not.toContain(share);
    const given = env["VAULT_TOKEN"] ?? "";
    const result = await seen(["login"], [{ wait: "Token (not shown): ", type: `${given}\r` }], fresh);
    expect(result).toMatchObject({ code: 0, last: restored });
    expect(result.output).not.toContain(given);
    rmSync(token);
    for (const words of [
      ["operator", "unseal", share],
      ["login", given],
      ["unwrap", given],
      ["token", "capabilities", given, "a"],
    ]) {
      const { code, stderr } = await piped(words);
      expect([code, stderr]).toEqual([1, expect.stringContaining("is no argument")]);
      for (const secret of [share, given]) expect(stderr).not.toContain(secret);
    }
  });

  test("from a pipe: the first line, and the next one is left for the next", async () => {
    const result = await piped(login, `${alicePassword}\r\nmore`, { VAULT_TOKEN: "" });
    expect(result).toMatchObject({ code: 0 });
    expect(await piped(login, "", { VAULT_TOKEN: "" })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no password"),
    });
    rmSync(token);
  });
});

/** The way to the vault, which can be cut. */
async function detour(): Promise<{ address: string; cut: () => void }> {
  const { port } = new URL(env["VAULT_ADDR"] ?? "");
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const other = connect(Number(port), "127.0.0.1");
    for (const each of [socket, other]) sockets.add(each.on("error", () => {}));
    socket.pipe(other).pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  closing.push(cut);
  return { address: `http://127.0.0.1:${(server.address() as { port: number }).port}`, cut };
}

/** How many tokens there are that were made for commands. */
async function lent(): Promise<number> {
  const client = await createClient(env);
  const { body } = await client.call("GET", "auth/token/accessors?list=true");
  const names = (dataIn(body)["keys"] as string[]).map(
    async (accessor) =>
      // It may have ended meanwhile.
      dataIn((await client.send("POST", "auth/token/lookup-accessor", { accessor })).body)["display_name"],
  );
  return (await Promise.all(names)).filter((name) => name === "token-run").length;
}

describe.skipIf(!hasTerminal)("writ run", () => {
  const option = ["--env", "GREETING=secret/data/app#greeting"];
  const run = (script: string): string[] => ["run", ...option, "--", "sh", "-c", script];

  test("the command has the terminal and the secret, and its exit code is this one's", async () => {
    const shown = await seen(
      run('test -t 0 && test -t 1 && stty size && echo "$GREETING, ${VAULT_TOKEN-none}"; exit 7'),
    );
    expect(shown).toMatchObject({ code: 7, output: expect.stringMatching(/^24 80\r\nhello, none\r\n$/) });
    expect((await seen(run("kill -9 $$"))).code).toBe(137);
    expect(await lent()).toBe(0);
  });

  test("a command that cannot be run is 127 or 126, as a shell has it; a secret that is not there starts nothing", async () => {
    writeFileSync(at("no-program"), "", { mode: 0o644 });
    const result = async (words: readonly string[]): Promise<readonly unknown[]> => {
      const { code, stderr } = await piped(words);
      return [code, stderr];
    };
    expect(await result(["run", ...option, "--", "no-such-command"])).toEqual([127, expect.stringContaining("ENOENT")]);
    expect(await result(["run", ...option, "--", at("no-program")])).toEqual([126, expect.stringContaining("EACCES")]);
    await piped(["kv", "put", "secret/gone", "a=b"]);
    await piped(["kv", "delete", "secret/gone"]);
    for (const [path, words] of [
      ["secret/data/none", "there is nothing at secret/data/none"],
      ["secret/app", "use writ kv, or secret/data/app"],
      ["secret/data/gone", "the newest version of secret/data/gone is deleted"],
    ] as const) {
      const refused = await result(["run", "--env", `A=${path}#a`, "--", "touch", at("ran")]);
      expect(refused).toEqual([2, expect.stringContaining(words)]);
    }
    expect(() => lstatSync(at("ran"))).toThrow("ENOENT");
    expect(await lent()).toBe(0);
  });

  test("Ctrl-C reaches the command once; a signal from elsewhere is passed on, and what was lent is revoked", async () => {
    // A shell takes two that come together for one.
    writeFileSync(
      at("count.py"),
      `import signal, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", flush=True)
end = None
while end is None or time.monotonic() < end:
    time.sleep(0.005)
    if got and end is None:
        end = time.monotonic() + 1.5
print("interrupts:", len(got))
`,
    );
    const keys = await seen(run("exec python3 count.py"), [{ wait: "ready", type: "\u0003" }]);
    expect(keys).toMatchObject({ code: 0, output: expect.stringContaining("interrupts: 1") });
    const told = await seen(run('trap "echo asked to end; exit 5" TERM; echo ready; while :; do sleep 0.1; done'), [
      { wait: "ready", signal: "SIGTERM" },
    ]);
    expect(told).toMatchObject({ code: 5, output: expect.stringContaining("asked to end") });
    expect((await seen(run("echo ready; exec sleep 200"), [{ wait: "ready", signal: "SIGTERM" }])).code).toBe(143);
    expect(await lent()).toBe(0);
  });

  test("a server that is away at the end changes nothing for the command, and is said", async () => {
    const { address, cut } = await detour();
    const script = "touch started; while test ! -e go; do sleep 0.05; done; exit 3";
    const ended = piped(["run", ...option, "--", "sh", "-c", script], "", { VAULT_ADDR: address });
    await until("the command", async () => lstatSync(at("started")).isFile());
    cut();
    writeFileSync(at("go"), "");
    expect(await ended).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("which ends by itself, was not revoked"),
    });
  });

  test("told to end while its secrets are still read: what was lent is revoked, and nothing runs", async () => {
    const asked: string[] = [];
    const told = Promise.withResolvers<void>();
    const fake = createHttp((request, response) => {
      const path = request.url ?? "";
      asked.push(path);
      const answer = (): void => {
        response.writeHead(200).end('{"auth":{"client_token":"t","lease_duration":60},"data":{"a":"b"}}');
      };
      if (path.endsWith("/slow")) void told.promise.then(answer);
      else answer();
    }).listen(0, "127.0.0.1");
    closing.push(() => fake.close());
    await once(fake, "listening");
    const more = { ...env, VAULT_ADDR: `http://127.0.0.1:${(fake.address() as { port: number }).port}` };
    const running = startWrit(["run", "--env", "A=slow#a", "--", "touch", at("ran-early")], { env: more, cwd: folder });
    await until("the secret's reading", async () => asked.includes("/v1/slow"));
    running.child.kill("SIGTERM");
    // The signal is there long before the answer.
    await pause(2_000);
    told.resolve();
    expect(await running.ended()).toBe(143);
    expect(asked).toEqual(["/v1/auth/token/create", "/v1/slow", "/v1/auth/token/revoke-self"]);
    expect(() => lstatSync(at("ran-early"))).toThrow("ENOENT");
  });

  test("a renewal that is answered after the command's end keeps nothing waiting", async () => {
    const fake = createHttp((request, response) => {
      const late = (request.url ?? "").endsWith("/renew-self");
      const body = JSON.stringify({ auth: { client_token: "t", lease_duration: late ? 3600 : 2 } });
      setTimeout(() => response.writeHead(200).end(body), late ? 1_500 : 0);
    }).listen(0, "127.0.0.1");
    closing.push(() => fake.close());
    await once(fake, "listening");
    const more = { VAULT_ADDR: `http://127.0.0.1:${(fake.address() as { port: number }).port}` };
    expect(await piped(["run", "--", "sleep", "1.4"], "", more)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("renews while it runs, and goes on trying while the server is away", async () => {
    const asked: string[] = [];
    const renewed = (): number => asked.filter((path) => path.endsWith("/renew-self")).length;
    const fake = createHttp((request, response) => {
      const path = request.url ?? "";
      asked.push(path);
      // The second one fails.
      if (path.endsWith("/renew-self") && renewed() === 2) request.socket.destroy();
      else response.writeHead(200).end('{"auth":{"client_token":"t","lease_duration":4}}');
    }).listen(0, "127.0.0.1");
    closing.push(() => fake.close());
    await once(fake, "listening");
    const more = { VAULT_ADDR: `http://127.0.0.1:${(fake.address() as { port: number }).port}` };
    const ended = piped(["run", "--", "sh", "-c", "while test ! -e enough; do sleep 0.05; done"], "", more);
    await until("the one after that which makes up for it", async () => renewed() >= 4);
    writeFileSync(at("enough"), "");
    expect(await ended).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/is not renewed[^\n]*\n[^\n]*renewed again\n$/),
    });
    expect(asked.at(-1)).toBe("/v1/auth/token/revoke-self");
  });
});

describe("what to do next", () => {
  const told = async (words: readonly string[], more: Record<string, string> = {}): Promise<readonly unknown[]> => {
    const { code, stderr } = await piped(words, "", more);
    return [code, stderr];
  };

  test("without a token, with one that ended, and with one that may not", async () => {
    const without = { VAULT_TOKEN: "" };
    for (const words of [
      ["kv", "get", "secret/app"],
      ["read", "secret/data/app"],
      ["token", "lookup"],
      ["policy", "list"],
    ])
      expect(await told(words, without)).toEqual([
        2,
        expect.stringContaining("no token is given: writ login, or set VAULT_TOKEN"),
      ]);
    const made = (await piped(["token", "create", "--policy", "default", "--field", "token"])).stdout;
    const least = { VAULT_TOKEN: made };
    expect(await told(["read", "secret/data/app"], least)).toEqual([
      2,
      expect.stringMatching(/lacks the capability "read" on "secret\/data\/app"/),
    ]);
    expect(await told(["kv", "get", "secret/app"], least)).toEqual([
      2,
      expect.stringContaining("the token may do nothing in it"),
    ]);
    await piped(["token", "revoke", "-"], made);
    for (const words of [
      ["kv", "get", "secret/app"],
      ["read", "secret/data/app"],
    ])
      expect(await told(words, least)).toEqual([2, expect.stringContaining("not valid, or not any more: writ login")]);
    expect((await piped(["status"], "", least)).stdout).toContain("not valid, or not any more: writ login");
  });

  test("what Git manages: file, line and commit, and the command that shows it", async () => {
    writeFileSync(at("policy.hcl"), 'path "a" { capabilities = ["read"] }');
    const { code, stderr } = await piped(["policy", "write", "payments-read", "policy.hcl"]);
    const [, file = "", line = "", show = ""] =
      /change it in (\S+):(\d+) and push; (git show \S+) shows it/.exec(stderr) ?? [];
    expect([code, stderr]).toEqual([2, expect.stringContaining("policy payments-read is managed by Git")]);
    const shown = await runToEnd("sh", ["-c", show], { cwd: at("data", "policies"), env });
    const lines = shown.stdout.split("\n").slice(Number(line) - 1);
    expect([file, shown.code, lines.join("\n")]).toEqual([
      "payments.yaml",
      0,
      expect.stringMatching(/^apiVersion.*\nkind: Policy\nmetadata:\n {2}name: payments-read/),
    ]);
  });
});

describe.skipIf(!hasTerminal)("in a shell", () => {
  const shell = ["bash", "--norc", "--noprofile", "-i"];
  const prompt = { PS1: "ready> ", HISTFILE: "" };
  const inShell = (steps: readonly Step[]): Promise<Seen> =>
    inTerminal(shell, steps, { cwd: folder, env: { ...env, ...prompt } });

  test("Ctrl-Z stops the command and gives the terminal back, fg goes on", async () => {
    const { output, waited } = await inShell([
      {
        wait: "ready> ",
        type: "writ run -- sh -c 'echo be''gun; while test ! -e on; do sleep 0.1; done; echo go''ne on'; echo \"code $?\"\r",
      },
      { wait: "begun", type: "\u001a" },
      { wait: "Stopped", type: "touch on; fg\r" },
      { wait: "gone on" },
      { wait: "ready> ", type: "exit\r" },
    ]);
    expect([output, waited]).toEqual([expect.stringContaining("gone on"), []]);
  });

  test("bash completes commands, options and their values; what is typed is never evaluated", async () => {
    const { output, waited } = await inShell([
      { wait: "ready> ", type: "source <(writ complete bash)\r" },
      { wait: "ready> ", type: "writ operator key-s\t" },
      { wait: "key-status ", type: "\u0015writ kv get --for\t" },
      { wait: "--format ", type: "js\t" },
      { wait: "json ", type: `secret/$(touch ran-by-tab) --fie\t` },
      { wait: "--field ", type: "\u0015exit\r" },
    ]);
    expect([output, waited]).toEqual([expect.any(String), []]);
    expect(() => lstatSync(at("ran-by-tab"))).toThrow("ENOENT");
  });
});
