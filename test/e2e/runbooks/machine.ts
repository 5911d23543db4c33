// A machine in production, as the README configures it: a server with TLS, a socket, both audit devices and a forge, whose
// folders (/etc/writ and the like) are below a temporary one. `systemctl`, `journalctl` and `runuser` are small scripts.

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePort, git, main, root, runToEnd, until } from "../server.ts";
import { Forge } from "./forge.ts";
import { Runbook, stepsOf, type Shell, type StepOptions } from "./runbook.ts";

/** The page is for Linux, as its tools are. */
export const onLinux = test.skipIf(process.platform !== "linux");
if (process.platform !== "linux") console.error("this is not Linux: the runbook is skipped");

const places = /(?<![\w.~-])\/(?:etc|run|var\/(?:lib|log|cache))\/writ(?![\w-])/g;

/** What the forge has at first. */
const documents = `apiVersion: writ/v1
kind: SecretEngine
metadata: { name: secret }
spec: { type: kv, options: { version: "2" } }
---
apiVersion: writ/v1
kind: AuthMethod
metadata: { name: userpass }
spec: { type: userpass }
---
apiVersion: writ/v1
kind: AuthMethod
metadata: { name: approle }
spec: { type: approle }
---
apiVersion: writ/v1
kind: Policy
metadata: { name: payments-read }
spec:
  rules:
    - { path: secret/data/payments/*, capabilities: [read] }
    - { path: auth/token/create, capabilities: [update] }
    - { path: auth/token/create-orphan, capabilities: [update, sudo] }
---
apiVersion: writ/v1
kind: Entity
metadata: { name: alice }
spec: { aliases: [{ mount: userpass, name: alice }], policies: [payments-read] }
`;

const service = `#!/bin/bash
# systemctl VERB writ
cd "$MACHINE"
case $1 in
  start) setsid writ server --config "$MACHINE/etc/writ/writ.yaml" >> journal 2>&1 < /dev/null & echo $! > pid ;;
  stop)
    pid=$(cat pid)
    kill "$pid"
    # Whoever inherits it need not reap it.
    while kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$pid/status"; do sleep 0.05; done ;;
  restart) "$0" stop; "$0" start ;;
  reload) kill -HUP "$(cat pid)" ;;
esac
`;

export interface MachineOptions {
  /** Changes the configuration that README gives. */
  readonly config?: (text: string) => string;
  /** Before the server starts. */
  readonly prepare?: (folder: string) => void;
}

export class Machine implements Shell {
  readonly folder: string;
  readonly port: number;
  readonly forge: Forge;
  /** Two of three are needed. */
  shares: readonly string[] = [];
  root = "";
  /** With the policy that the page makes. */
  operator = "";

  private constructor(folder: string, port: number, forge: Forge) {
    this.folder = folder;
    this.port = port;
    this.forge = forge;
  }

  /** A server that runs and is unsealed, whose operator is logged in, with the branch applied. */
  static async make(options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.bare(options);
    try {
      await machine.start();
      await machine.#initialise();
      await machine.#fill();
      return machine;
    } catch (error) {
      await machine.remove();
      throw error;
    }
  }

  /** Everything but a vault; `forge` is one that there is already. */
  static async bare({ config = (text) => text, prepare }: MachineOptions = {}, other?: Forge): Promise<Machine> {
    const folder = mkdtempSync(join(tmpdir(), "writ-machine-"));
    for (const path of ["etc/writ", "run/writ", "var/lib/writ", "var/log/writ", "var/cache/writ", "bin", "home"])
      mkdirSync(join(folder, path), { recursive: true, mode: 0o700 });
    prepare?.(folder);
    const forge = other ?? (await Forge.open(join(folder, "forge"), ["acme/policies", "acme/audit"]));
    const machine = new Machine(folder, await freePort(), forge);
    machine.#certify();
    machine.#install();
    writeFileSync(machine.path("/etc/writ/webhook.secret"), "the-first-secret-of-the-webhook\n", { mode: 0o600 });
    if (other === undefined) machine.connect();
    writeFileSync(machine.path("/etc/writ/writ.yaml"), config(machine.#config()));
    return machine;
  }

  /** Where a path of the page is. */
  path(text: string): string {
    return text.replaceAll(places, `${this.folder}$&`);
  }

  /** From now on the forge delivers here. */
  connect(): void {
    this.forge.hook = { port: this.port, ca: readFileSync(this.path("/etc/writ/tls.pem")) };
    this.forge.secret = readFileSync(this.path("/etc/writ/webhook.secret"), "utf8").trim();
  }

  /** The block of README, on this machine. */
  #config(): string {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const block = /\n## In production\n[\s\S]*?```yaml\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
    const changes: readonly (readonly [RegExp, string])[] = [
      [/0\.0\.0\.0:8200/, `127.0.0.1:${this.port}`],
      [/^( +)push_remote:/m, "$1allow_loopback_http: true\n$1interval: 1s\n$1push_remote:"],
      [/^gitops:\n/m, "gitops:\n  allow_loopback_http: true\n"],
      // The forge of a test asks for no key.
      [/^ *(?:deploy_key_file|known_hosts_file): .*\n/gm, ""],
      [/git@git\.example\.com:(acme\/[a-z]+)\.git/g, `http://127.0.0.1:${this.forge.port}/$1.git`],
    ];
    let text = block;
    for (const [from, to] of changes) {
      expect(text).toMatch(from);
      text = text.replace(from, to);
    }
    return this.path(text);
  }

  #certify(): void {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "tls.key"];
    const subject = ["-subj", "/CN=vault", "-addext", "subjectAltName=IP:127.0.0.1"];
    const args = ["req", "-x509", ...key, "-out", "tls.pem", "-days", "30", ...subject];
    execFileSync("openssl", args, { cwd: this.path("/etc/writ"), stdio: "ignore" });
  }

  #install(): void {
    const scripts = {
      writ: `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`,
      systemctl: service,
      journalctl: '#!/bin/sh\ncat "$MACHINE/journal"\n',
      runuser: '#!/bin/sh\nshift 3\nexec "$@"\n',
    };
    for (const [name, text] of Object.entries(scripts)) {
      writeFileSync(join(this.folder, "bin", name), text);
      chmodSync(join(this.folder, "bin", name), 0o755);
    }
  }

  get #environment(): Record<string, string> {
    return {
      PATH: `${join(this.folder, "bin")}:${process.env["PATH"] ?? ""}`,
      HOME: join(this.folder, "home"),
      GIT_CONFIG_GLOBAL: join(this.folder, "home/.gitconfig"),
      MACHINE: this.folder,
      VAULT_ADDR: this.path("unix:///run/writ/writ.sock"),
      NODE_COMPILE_CACHE: join(root, ".cache/compiled"),
      GIT_AUTHOR_NAME: "Ada",
      GIT_AUTHOR_EMAIL: "ada@example.com",
      GIT_COMMITTER_NAME: "Ada",
      GIT_COMMITTER_EMAIL: "ada@example.com",
    };
  }

  async run(
    script: string,
    { input = "", env = {}, cwd = join(this.folder, "home") }: StepOptions,
  ): Promise<{ code: number; text: string }> {
    const { code, stdout, stderr } = await runToEnd("bash", ["--norc", "-euo", "pipefail", "-c", this.path(script)], {
      cwd,
      env: { ...this.#environment, ...env },
      input,
    });
    return { code, text: `${stdout}${stderr}` };
  }

  /** A command that has to end well; its output. */
  async must(script: string, options: StepOptions = {}): Promise<string> {
    const { code, text } = await this.run(script, options);
    expect(code, `${script}\n${text}`).toBe(0);
    return text.trim();
  }

  log(): string {
    const path = join(this.folder, "journal");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  async says(text: string): Promise<void> {
    await until(`the log to say ${text}`, async () => this.log().includes(text));
  }

  runbook(title: string): Runbook {
    return new Runbook(title, this);
  }

  async start(): Promise<void> {
    await this.must("systemctl start writ");
    await this.ready();
  }

  /** Until it answers. */
  ready(): Promise<unknown> {
    return until("the server to answer", async () => (await this.run("writ status", {})).code !== 1);
  }

  async #initialise(): Promise<void> {
    const keys = await this.must("writ operator init --key-shares 3 --key-threshold 2");
    this.shares = [...keys.matchAll(/^Unseal Key \d: (.+)$/gm)].map((match) => match[1] ?? "");
    this.root = /^Initial Root Token: (.+)$/m.exec(keys)?.[1] ?? "";
    await this.unseal();
  }

  /** With these shares; the last one's answer. */
  async unseal(shares: readonly string[] = this.shares.slice(0, 2)): Promise<string> {
    let text = "";
    for (const input of shares) ({ text } = await this.run("writ operator unseal", { input }));
    return text;
  }

  async #fill(): Promise<void> {
    const [policy = "exit 99"] = stepsOf("Be ready");
    await this.must(policy, { env: { VAULT_TOKEN: this.root } });
    this.operator = await this.tokenOf("operator");
    await git(this.folder, "clone", "--quiet", this.forge.url("acme/policies"), "policies");
    await this.commit("vault.yaml", documents);
    await this.push();
    const [login = "exit 99"] = stepsOf("First");
    const status = await this.must(login, { input: this.operator });
    expect(status).toMatch(/^State +in sync$/m);
    const root = { env: { VAULT_TOKEN: this.root } };
    await this.must("printf 12345678 | writ write auth/userpass/users/alice password=-", root);
    await this.must("writ kv put secret/payments/db password=first", root);
  }

  /** A person's, with this policy. */
  tokenOf(policy: string): Promise<string> {
    const options = { env: { VAULT_TOKEN: this.root } };
    return this.must(`writ token create --orphan --policy ${policy} --period 24h --field token`, options);
  }

  async commit(name: string, text: string): Promise<string> {
    const clone = join(this.folder, "policies");
    writeFileSync(join(clone, name), text);
    await git(clone, "add", "--all");
    await git(clone, "commit", "--quiet", "--message", `Change ${name}`);
    return git(clone, "rev-parse", "HEAD");
  }

  /** Resolves once the vault has applied it, which the webhook sees to. */
  async push(): Promise<void> {
    const clone = join(this.folder, "policies");
    await git(clone, "push", "--quiet", "origin", "HEAD:main");
    const head = await git(clone, "rev-parse", "HEAD");
    await this.says(`"message":"commit applied","commit":"${head}"`);
  }

  async login(): Promise<string> {
    return this.must("printf 12345678 | writ login --method userpass username=alice --no-store --field token");
  }

  /** Status of a request of a client, over TLS. */
  async ask(token: string, path: string, ...more: readonly string[]): Promise<{ status: number; body: string }> {
    const url = `https://127.0.0.1:${this.port}/v1/${path}`;
    const fixed = ["--silent", "--cacert", this.path("/etc/writ/tls.pem"), "--header", `X-Vault-Token: ${token}`];
    const { stdout } = await runToEnd("curl", [...fixed, "--write-out", "\n%{http_code}", ...more, url], {});
    const [status = "", ...body] = stdout.split("\n").toReversed();
    return { status: Number(status), body: body.toReversed().join("\n") };
  }

  /** The process of the server. */
  get pid(): number {
    return Number(readFileSync(join(this.folder, "pid"), "utf8"));
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    if (!existsSync(join(this.folder, "pid"))) return;
    try {
      process.kill(this.pid, signal);
    } catch {
      // It has ended already.
    }
  }

  async remove(): Promise<void> {
    this.kill();
    await this.forge.stop();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
