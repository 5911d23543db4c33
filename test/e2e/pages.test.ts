// The examples of the pages that no test of their own runs, word for word but for paths, ports and names of the reader's;
// and that every example of every page is run by some test.

import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, expect, test } from "vitest";
import { allBlocks, blocksOf, operations, pages, spansOf } from "./pages.ts";
import { freePort, git, main, type Result, root, type Running, runToEnd, startProcess, until } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-pages-"));
const at = (...names: readonly string[]): string => join(folder, ...names);
const running: Running[] = [];
mkdirSync(at("bin"));
writeFileSync(at("bin", "writ"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
const env: Record<string, string> = { PATH: `${at("bin")}${delimiter}${process.env["PATH"] ?? ""}`, HOME: folder };
afterAll(async () => {
  for (const each of running) await each.kill();
  rmSync(folder, { recursive: true, force: true });
});

const inShell = (text: string, cwd: string, input = ""): Promise<Result> =>
  runToEnd("bash", ["--norc", "-euo", "pipefail", "-c", text], { cwd, env, input });
async function well(text: string, cwd: string, input = ""): Promise<Result> {
  const result = await inShell(text, cwd, input);
  expect(result.code, `${text}\n${result.stdout}${result.stderr}`).toBe(0);
  return result;
}
function start(text: string, cwd: string, more: Readonly<Record<string, string>> = {}): Running {
  const one = startProcess("sh", ["-c", `exec ${text}`], { cwd, env: { ...env, ...more } });
  running.push(one);
  return one;
}

test("every example of every page is taken by a test", () => {
  const sources = globSync(["src/**/*.{test,prove}.ts", "test/**/*.ts"], { cwd: root })
    .filter((file) => !file.endsWith("/pages.ts"))
    .map((file) => readFileSync(join(root, file), "utf8"))
    .join("\n");
  const untaken = pages.flatMap((page) =>
    allBlocks(page)
      .filter(({ language }) => ["sh", "bash", "shell", "console", ""].includes(language))
      .filter(({ heading }) => {
        const title = JSON.stringify(heading);
        const takers = [
          `blocksOf(${JSON.stringify(page)}, ${title}`,
          page === operations ? [`runbook(${title}`, `stepsOf(${title}`] : [],
        ];
        return !takers.flat().some((taker) => sources.includes(taker));
      })
      .map(({ heading, text }) => `${page}, ${heading}: ${text.split("\n")[0] ?? ""}`),
  );
  expect(untaken).toEqual([]);
});

/** As a forge makes it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
    .replaceAll(" ", "-");

test("every link from a page to a file, or to a heading, goes somewhere", () => {
  const dead = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    return [...text.matchAll(/\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(([link, path = "", anchor]) => {
      const target = path === "" ? join(root, page) : join(root, dirname(page), path);
      if (!existsSync(target)) return `${page}: ${link}`;
      if (anchor === undefined) return [];
      const headings = [...readFileSync(target, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
      return headings.some((heading) => anchorOf(heading) === anchor) ? [] : `${page}: ${link}`;
    });
  });
  expect(dead).toEqual([]);
});

const documents = `apiVersion: writ/v1
kind: SecretEngine
metadata: { name: secret }
spec: { type: kv, options: { version: "2" } }
---
apiVersion: writ/v1
kind: Policy
metadata: { name: app-read, protect: true }
spec: { rules: [{ path: secret/data/app, capabilities: [read] }] }
`;

/** The page's writ.yaml, with what a reader puts in its place: folders, address, remote. */
async function configure(): Promise<number> {
  const port = await freePort();
  const [text = ""] = blocksOf("README.md", "In production", "yaml");
  const own = text
    .replace("./schemas", join(root, "schemas"))
    .replaceAll(/\/(var\/lib|etc|var\/log|run|var\/cache)\/writ\b/g, (_, name: string) => at(name))
    .replace("0.0.0.0:8200", `127.0.0.1:${port}`)
    // A path takes no key.
    .replace(/^ +(?:deploy_key_file|known_hosts_file|push_remote): .*\n/gm, "")
    .replace("git@git.example.com:acme/policies.git", `${at("policies.git")}\n  allow_file_remote: true`);
  expect(own).not.toMatch(/example\.com|[ ]\/(?:var|etc|run)\//);
  for (const name of ["etc", "run", "var/lib", "var/log", "var/cache"])
    mkdirSync(at(name), { recursive: true, mode: 0o700 });
  writeFileSync(at("etc", "webhook.secret"), "a-secret-of-enough-length\n", { mode: 0o600 });
  await well(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls.key -out tls.pem -days 30 " +
      "-subj /CN=writ -addext subjectAltName=IP:127.0.0.1 && chmod 600 tls.key",
    at("etc"),
  );
  await git(folder, "init", "-q", "--bare", "-b", "main", "policies.git");
  await git(folder, "clone", "-q", "policies.git", "work");
  await git(at("work"), "checkout", "-q", "-B", "main");
  writeFileSync(at("work", "all.yaml"), documents);
  await git(at("work"), "add", "-A");
  await git(at("work"), "commit", "-q", "-m", "A mount and a policy");
  await git(at("work"), "push", "-q", "origin", "main");
  writeFileSync(at("writ.yaml"), own);
  return port;
}

test("README, in production: its writ.yaml, and each command in the order of a vault's life", async () => {
  const port = await configure();
  const restored = readFileSync(at("writ.yaml"), "utf8").replace(/path: \S+storage/, `path: ${at("restored")}`);
  writeFileSync(at("restored.yaml"), restored);
  const identity = await generateX25519Identity();
  writeFileSync(at("identities.txt"), `${identity}\n`, { mode: 0o600 });
  const recipient = await identityToRecipient(identity);
  const left = new Set(
    ["How a pull request flows", "In production"].flatMap((heading) => spansOf("README.md", heading)),
  );
  /** What the reader puts in is put in; a span that the page does not have fails. */
  const span = (text: string, own: Readonly<Record<string, string>> = {}): string => {
    expect(left.delete(text), text).toBe(true);
    return Object.entries(own).reduce((filled, [word, value]) => filled.replace(word, value), text);
  };

  expect((await well(span("writ doctor --config writ.yaml"), folder)).stdout).toContain("nothing is wrong");
  const server = start(span("writ server --config writ.yaml"), folder);
  await server.says("server started");
  env["VAULT_ADDR"] = `https://127.0.0.1:${port}`;
  env["VAULT_CACERT"] = at("etc", "tls.pem");
  const status = span("writ status");
  expect(await inShell(status, folder)).toMatchObject({
    code: 2,
    stdout: expect.stringContaining("writ operator init"),
  });
  const keys = (await well(span("writ operator init"), folder)).stdout;
  const shares = [...keys.matchAll(/^Unseal Key \d: (.+)$/gm)].map(([, share = ""]) => share);
  expect(shares).toHaveLength(5);
  const unseal = span("writ operator unseal");
  for (const share of shares.slice(2)) await well(unseal, folder, `${share}\n`);
  writeFileSync(at(".vault-token"), /^Initial Root Token: (.+)$/m.exec(keys)?.[1] ?? "", { mode: 0o600 });
  await until("the policies", async () => (await inShell("writ policy read app-read", folder)).code === 0);
  // The same over the socket, in clear and for its owner only.
  expect((await well(`VAULT_ADDR=unix://${at("run", "writ.sock")} ${status}`, folder)).stdout).toMatch(
    /State +in sync/,
  );

  writeFileSync(at("work", "all.yaml"), documents.slice(0, documents.indexOf("---\n")));
  expect((await well(span("writ check"), at("work"))).stdout).toContain("no problems");
  expect((await well(span("writ plan"), at("work"))).stdout).toContain("app-read");
  await git(at("work"), "commit", "-q", "-am", "Without the policy");
  await git(at("work"), "push", "-q", "origin", "main");
  const commit = await git(at("work"), "rev-parse", "HEAD");
  const allow = span("writ sync --allow-deletions COMMIT", { COMMIT: commit });
  expect(await inShell("writ sync", folder)).toMatchObject({ code: 1, stdout: expect.stringContaining(allow) });
  expect((await well(allow, folder)).stdout).toMatch(/State +in sync/);
  const pin = span("writ pin COMMIT --reason TEXT", { COMMIT: commit, TEXT: "'the one that works'" });
  expect((await well(pin, folder)).stdout).toContain("the one that works");
  expect((await well(span("writ unpin"), folder)).stdout).toMatch(/State +in sync/);

  expect((await well(span("writ operator rotate"), folder)).stdout).toMatch(/Term +2/);
  await well("writ kv put secret/kept a=b", folder);
  const backup = span("writ operator backup --recipient age1… --output FILE", {
    "age1…": recipient,
    FILE: "vault.age",
  });
  expect((await well(backup, folder)).stdout).toMatch(/^vault\.age: \d+ bytes$/m);
  expect((await well(span("writ operator verify-storage"), folder)).stdout).toMatch(/^ok: \d+ entries/);
  // A page like "sys/metrics?format=prometheus" is for programs: curl asks it.
  const metrics = `curl -sf --cacert etc/tls.pem -H "X-Vault-Token: $(cat .vault-token)" "$VAULT_ADDR/v1/sys/metrics?format=prometheus"`;
  expect((await well(metrics, folder)).stdout).toContain("vault_core_unsealed");
  expect((await well(span("writ seal"), folder)).stdout).toContain("Sealed");
  expect(await server.stop()).toBe(0);

  const restore = span("writ operator restore FILE --config writ.yaml --identity IDENTITIES", {
    FILE: "vault.age",
    "writ.yaml": "restored.yaml",
    IDENTITIES: "identities.txt",
  });
  expect((await well(restore, folder, shares.slice(0, 3).join("\n"))).stdout).toMatch(/^\d+ entries restored/);
  const again = start("writ server --config restored.yaml", folder);
  await again.says("server started");
  for (const share of shares.slice(0, 3)) await well(unseal, folder, `${share}\n`);
  expect((await well("writ kv get --field a secret/kept", folder)).stdout).toBe("b");
  // What the git device signed is verified as its page says.
  const told = (await well(status, folder)).stdout;
  const key = /signs as (ssh-ed25519 \S+)/.exec(told)?.[1] ?? "";
  expect(await again.stop()).toBe(0);
  await verifyAudit(key);
  expect([...left]).toEqual([]);
});

async function verifyAudit(key: string): Promise<void> {
  const [block = ""] = blocksOf("src/audit/git/README.md", "Audit device `git`");
  const branch = (await git(at("var/lib", "audit.git"), "symbolic-ref", "--short", "HEAD")).trim();
  writeFileSync(at("var/lib", "audit.git", "signers"), `audit@writ.invalid ${key}\n`);
  const text = block
    .replace("/var/lib/writ/audit.git", at("var/lib", "audit.git"))
    .replace("ssh-ed25519 AAAA…", key)
    .replace(/audit\/\d{4}-\d\d/, branch);
  expect((await well(text, at("var/lib", "audit.git"))).stdout).toMatch(
    /the log is whole: .*each signed by the key given/s,
  );
}

test("the example policies' page", async () => {
  const port = await freePort();
  const more = { WRIT_PORT: String(port), WRIT_DATA: at("data") };
  const quickstart = start("writ quickstart", folder, more);
  await quickstart.says("In another terminal");
  const clone = at("data", "policies");
  const [rule = ""] = blocksOf("policies/README.md", "Try it", "yaml");
  writeFileSync(join(clone, "payments.yaml"), readFileSync(join(clone, "payments.yaml"), "utf8") + rule);
  const [block = ""] = blocksOf("policies/README.md", "Try it");
  const source = "set -a; . ../quickstart.env; set +a; unset VAULT_CACERT";
  const { stdout } = await well(`${source}\n${block}`, clone);
  expect(stdout).toContain("no problems");
  expect(stdout).toContain("secret/data/reports/*");
  expect(stdout).toMatch(/Applied|Remote is/);
  await until("the commit", async () =>
    (await inShell(`${source}\nwrit status`, clone)).stdout.match(/State +in sync/),
  );
});
