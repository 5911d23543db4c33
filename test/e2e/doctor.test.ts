// `writ doctor` against configurations that are right, and with one fault each.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, git, runWrit, startWrit } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-doctor-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, name);
let port = 0;

beforeAll(async () => {
  port = await freePort();
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "tls.key"];
  const subject = ["-out", "tls.pem", "-days", "30", "-subj", "/CN=a", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject], { cwd: folder, stdio: "ignore" });
  writeFileSync(file("hook"), "a-secret-of-enough-length\n", { mode: 0o600 });
  mkdirSync(file("open"), { mode: 0o755 });
  await git(folder, "init", "-q", "--bare", "-b", "main", "policies.git");
  await git(folder, "init", "-q", "-b", "main", "work");
  await git(file("work"), "commit", "-q", "--allow-empty", "-m", "first");
  await git(file("work"), "push", "-q", file("policies.git"), "main");
});

const config = (change: (text: string) => string = (text) => text): string => {
  const text = `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners:
  - { address: "127.0.0.1:${port}", tls_cert_file: tls.pem, tls_key_file: tls.key }
audit:
  - { type: file, path: audit/log }
  - { type: git, path: audit.git, push_remote: ${file("policies.git")}, allow_file_remote: true }
gitops:
  remote: ${file("policies.git")}
  allow_file_remote: true
  webhook: { secret_files: [hook], repository: acme/policies }
cache_path: cache
`;
  writeFileSync(file("writ.yaml"), change(text));
  return file("writ.yaml");
};
const doctor = async (path: string): Promise<{ code: number; stdout: string }> => runWrit(["doctor", "--config", path]);

test("nothing is wrong before the first start, beside a running server, and after it", async () => {
  const path = config();
  const first = await doctor(path);
  expect(first).toMatchObject({ code: 0 });
  for (const words of [
    `config: ${path} is valid`,
    /storage: .*storage is not there yet, and can be made/,
    "seal: shamir: people bring what opens it",
    /audit file: .*is not there yet, and can be made/,
    /audit git: .*policies\.git answers/,
    "the certificate and its key fit, and are valid",
    "answers, and has the branch main",
    "deliveries of acme/policies are verified with 1 secret(s)",
    "nothing is wrong",
  ]) {
    expect(first.stdout).toMatch(words);
  }
  const server = startWrit(["server", "--config", path]);
  try {
    await server.says("server started");
    const beside = await doctor(path);
    expect(beside).toMatchObject({ code: 0 });
    expect(beside.stdout).toContain(`in use by process ${server.child.pid}`);
    expect(beside.stdout).toContain("somebody listens there");
    expect(await server.stop()).toBe(0);
  } finally {
    await server.kill();
  }
  expect((await doctor(path)).stdout).toContain("it opens, and no server has it");
});

test.each([
  [
    "a wrong key in the file",
    (text: string) => text.replace("cache_path", "cache"),
    /fault +config: .*unknown key "cache"/,
  ],
  [
    "a certificate that is not there",
    (text: string) => text.replace("tls.pem", "no.pem"),
    /fault +listener .*tls_cert_file cannot be read \(ENOENT\)/,
  ],
  [
    "a branch that is not there",
    (text: string) => text.replace("  webhook", "  branch: release\n  webhook"),
    /fault +gitops: .*has no branch release/,
  ],
  [
    "a repository that is not there",
    (text: string) => text.replace(/remote: \S+\n/, "remote: /nowhere/x.git\n"),
    /fault +gitops: .*no such repository/,
  ],
  [
    "a push remote that is not there",
    (text: string) => text.replace(/push_remote: \S+,/, "push_remote: /nowhere/x.git,"),
    /fault +audit git: .*check push_remote/,
  ],
  [
    "a storage folder that others may look into",
    (text: string) => text.replace("path: storage", "path: open"),
    /fault +storage: .*chmod 700/,
  ],
  [
    "an identity that is not there",
    (text: string) => text.replace("type: shamir", "type: recipients, identity_file: none"),
    /fault +seal: .*identity_file cannot be read/,
  ],
] as const)("%s", async (_name, change, words) => {
  const { code, stdout } = await doctor(config(change));
  expect([code, stdout]).toEqual([1, expect.stringMatching(words)]);
});

test("a webhook secret that others may read, and a clock that is behind", async () => {
  chmodSync(file("hook"), 0o644);
  const later = Date.now() / 1000 + 86_400;
  utimesSync(file("storage"), later, later);
  const { code, stdout } = await doctor(config());
  expect(code).toBe(1);
  expect(stdout).toMatch(/fault +gitops: .*may be read by others: chmod 600/);
  expect(stdout).toMatch(/fault +clock: the clock is behind/);
  expect(stdout).toMatch(/2 to mend/);
});

/** A certificate of its own, `days` long. */
function certify(name: string, key: readonly string[], days: string, alt: string): void {
  const run = (...args: readonly string[]): void =>
    void execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  writeFileSync(file("extensions"), alt);
  run("req", ...key, "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", "/CN=a");
  const own = ["-signkey", `${name}.key`, "-out", `${name}.pem`, "-days", days, "-extfile", "extensions"];
  run("x509", "-req", "-in", `${name}.csr`, ...own);
}
const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const alt = "subjectAltName=IP:127.0.0.1\n";

test.each([
  ["too weak a key", ["-newkey", "rsa:1024"], "30", alt, 1, /fault +listener .*too weak a key: RSA needs 2048 bits/],
  [
    "one that has expired",
    ec,
    "0",
    alt,
    1,
    /fault +listener .*has expired \(.*\): put a new one in its place and send SIGHUP/,
  ],
  ["one that names no host", ec, "30", "basicConstraints=CA:FALSE\n", 0, /warning +listener .*names no host/],
] as const)("a certificate: %s", async (name, key, days, extensions, code, words) => {
  const at = name.replaceAll(" ", "-");
  certify(at, key, days, extensions);
  const found = await doctor(config((text) => text.replace("tls.pem", `${at}.pem`).replace("tls.key", `${at}.key`)));
  expect(found.stdout).toMatch(words);
  // A clock that an earlier test set back is a fault of its own.
  if (code === 1) expect(found.code).toBe(1);
});

test.each([
  ["a key with a passphrase", "locked", "hosts", /fault +gitops: gitops\.deploy_key_file has a passphrase: make one/],
  ["a key that is none", "hook", "hosts", /fault +gitops: gitops\.deploy_key_file holds no private key/],
  ["no host keys", "plain", "nothing", /fault +gitops: gitops\.known_hosts_file holds no host key: ssh-keyscan/],
  ["no file of host keys", "plain", "nowhere", /fault +gitops: gitops\.known_hosts_file cannot be read \(ENOENT\)/],
  ["a remote that does not answer", "plain", "hosts", /fault +gitops: .*cannot be reached: is its name right/],
] as const)("ssh: %s", async (_name, key, hosts, words) => {
  for (const [made, passphrase] of [
    ["plain", ""],
    ["locked", "long enough"],
  ] as const) {
    rmSync(file(made), { force: true });
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-f", file(made)], {
      stdio: "ignore",
      input: "y",
    });
  }
  chmodSync(file("hook"), 0o600);
  writeFileSync(file("nothing"), "# none yet\n");
  writeFileSync(
    file("hosts"),
    "127.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHRjy9VryLOcl7YENWV5DmsKqQMAkSWxgYzn4SbE5JP\n",
  );
  const remote = `remote: ssh://git@127.0.0.1:1/a.git\n  deploy_key_file: ${key}\n  known_hosts_file: ${hosts}\n`;
  const { code, stdout } = await doctor(
    config((text) => text.replace(/remote: \S+\n {2}allow_file_remote: true\n/, remote)),
  );
  expect([code, stdout]).toEqual([1, expect.stringMatching(words)]);
});
