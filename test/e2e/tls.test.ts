// TLS as curl and openssl see it, with certificates that openssl made, and what `writ` says where something is wrong with them.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort, type Result, type Running, runToEnd, runWrit, startWrit } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-tls-"));
const at = (name: string): string => join(folder, name);
let server: Running;
/** Ports of the listeners. */
const ports = { plain: 0, open: 0, newest: 0, mutual: 0, elsewhere: 0, expired: 0 };
const address = (name: keyof typeof ports): string =>
  `${name === "plain" ? "http" : "https"}://127.0.0.1:${ports[name]}`;

async function openssl(...args: readonly string[]): Promise<Result> {
  return runToEnd("openssl", args, { cwd: folder });
}

const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

async function certify(name: string, altName: string, dates = ["-days", "30"], kind = curve): Promise<void> {
  const key = [...kind, "-nodes", "-keyout", `${name}.key`];
  const request = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=${altName}`, "-out", `${name}.csr`];
  expect(await openssl("req", ...key, ...request)).toMatchObject({ code: 0 });
  const authority = ["-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
  const made = await openssl("ca", ...authority, ...dates, "-notext", "-in", `${name}.csr`, "-out", `${name}.pem`);
  expect([made.code, made.stderr]).toEqual([0, made.stderr]);
}

beforeAll(async () => {
  writeFileSync(
    at("ca.cnf"),
    "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n" +
      "policy=any\ncopy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n",
  );
  writeFileSync(at("index.txt"), "");
  for (const name of ["ca", "other"]) {
    const key = [...curve, "-nodes", "-keyout", `${name}.key`];
    const made = await openssl("req", "-x509", ...key, "-days", "30", "-subj", `/CN=${name}`, "-out", `${name}.pem`);
    expect(made).toMatchObject({ code: 0 });
  }
  await certify("server", "IP:127.0.0.1");
  await certify("client", "DNS:client");
  await certify("elsewhere", "DNS:vault.example.com", ["-days", "30"], ["-newkey", "rsa:2048"]);
  await certify("expired", "IP:127.0.0.1", ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]);
  for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = await freePort();
  const listener = (name: keyof typeof ports, certificate: string, more = ""): string =>
    `  - { address: "127.0.0.1:${ports[name]}", tls_cert_file: ${certificate}.pem, tls_key_file: ${certificate}.key${more} }\n`;
  const mutual = ", tls_client_ca_file: ca.pem, tls_require_and_verify_client_cert: true";
  writeFileSync(
    at("writ.yaml"),
    `storage: { type: sqlite, path: storage }
seal: { type: shamir }
audit: [{ type: file, path: audit.log }]
listeners:
  - { address: "127.0.0.1:${ports.plain}" }
${listener("open", "server")}${listener("newest", "server", ", tls_min_version: tls13")}${listener("mutual", "server", mutual)}${listener("elsewhere", "elsewhere")}${listener("expired", "expired")}`,
  );
  server = startWrit(["server", "--config", at("writ.yaml")]);
  await server.says("server started");
});
afterAll(async () => {
  await server.kill();
  rmSync(folder, { recursive: true, force: true });
});

const curl = (...args: readonly string[]): Promise<Result> =>
  runToEnd("curl", ["--silent", "--show-error", "--max-time", "150", ...args], { cwd: folder });
const trusted = ["--cacert", "ca.pem"];
/** What openssl says of a handshake; it sends nothing else. */
const handshake = async (name: keyof typeof ports, ...args: readonly string[]): Promise<string> => {
  const connect = ["-connect", `127.0.0.1:${ports[name]}`, "-CAfile", "ca.pem"];
  const { stdout, stderr } = await openssl("s_client", ...connect, ...args);
  return stdout + stderr;
};
/** Old versions and ciphers are offered by openssl only so. */
const anything = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

describe("curl", () => {
  test("takes a vault through its life: init, unseal, a secret, a login", async () => {
    const ask = async (method: string, path: string, data?: object, token = ""): Promise<Record<string, unknown>> => {
      writeFileSync(at("headers"), token === "" ? "" : `X-Vault-Token: ${token}\n`);
      const body = data === undefined ? [] : ["--data", JSON.stringify(data)];
      const words = ["--fail-with-body", "--request", method, "--header", "@headers", ...body];
      const { code, stdout, stderr } = await curl(...trusted, ...words, `${address("open")}/v1/${path}`);
      expect([code, stdout, stderr]).toEqual([0, stdout, ""]);
      return stdout === "" ? {} : (JSON.parse(stdout) as Record<string, unknown>);
    };
    const made = await ask("PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 });
    const root = String(made["root_token"]);
    const [key] = made["keys"] as string[];
    expect(await ask("PUT", "sys/unseal", { key })).toMatchObject({ sealed: false });
    await ask("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } }, root);
    await ask("POST", "secret/data/app", { data: { a: "b" } }, root);
    await ask("POST", "sys/policies/acl/app", { policy: 'path "secret/data/app" { capabilities = ["read"] }' }, root);
    await ask("POST", "sys/auth/userpass", { type: "userpass" }, root);
    await ask("POST", "auth/userpass/users/ada", { password: "pw-of-ada-1", token_policies: "app" }, root);
    const { auth } = await ask("POST", "auth/userpass/login/ada", { password: "pw-of-ada-1" });
    const token = (auth as { client_token: string }).client_token;
    expect(await ask("GET", "secret/data/app", undefined, token)).toMatchObject({ data: { data: { a: "b" } } });
    expect(await ask("LIST", "secret/metadata", undefined, root)).toMatchObject({ data: { keys: ["app"] } });
    writeFileSync(at("token"), token);
  });

  test("refuses what it does not trust, and gets no word over TLS without it", async () => {
    const url = (name: keyof typeof ports): string => `${address(name)}/v1/sys/health`;
    // https://curl.se/libcurl/c/libcurl-errors.html: 60 the peer's certificate, 35 the handshake, 52, 55 and 56 an end behind it.
    expect((await curl(url("open"))).code).toBe(60);
    expect((await curl("--cacert", "other.pem", url("open"))).code).toBe(60);
    expect((await curl(...trusted, url("elsewhere"))).code).toBe(60);
    expect((await curl(...trusted, url("expired"))).code).toBe(60);
    expect((await curl(...trusted, "--tls-max", "1.2", url("newest"))).code).toBe(35);
    const clear = await curl(url("open").replace("https", "http"));
    expect([clear.code === 0, clear.stdout]).toEqual([false, ""]);
  });

  test("a listener that wants client certificates answers nobody without one of its authority", async () => {
    const url = `${address("mutual")}/v1/sys/health`;
    const own = ["--cert", "client.pem", "--key", "client.key"];
    expect((await curl(...trusted, ...own, url)).stdout).toContain('"initialized":');
    for (const other of [[], ["--cert", "other.pem", "--key", "other.key"]]) {
      const { code, stdout } = await curl(...trusted, ...other, url);
      expect([[35, 52, 55, 56].includes(code), stdout]).toEqual([true, ""]);
    }
  });
});

describe("openssl", () => {
  test("speaks 1.3 and 1.2, with secrecy that outlives keys, and HTTP/1.1", async () => {
    for (const [name, flag, words] of [
      ["open", "-tls1_3", /New, TLSv1\.3, Cipher is TLS_AES_/],
      ["open", "-tls1_2", /New, TLSv1\.2, Cipher is ECDHE-ECDSA-/],
      ["elsewhere", "-tls1_2", /New, TLSv1\.2, Cipher is ECDHE-RSA-/],
    ] as const) {
      const said = await handshake(name, flag, "-alpn", "h2,http/1.1");
      expect(said).toMatch(words);
      expect(said).toContain("Verify return code: 0 (ok)");
      expect(said).toContain("ALPN protocol: http/1.1");
      expect(said).toContain("Compression: NONE");
    }
  });

  test.each([
    ["TLS 1.1", "open", ["-tls1_1", "-cipher", anything]],
    ["TLS 1.0", "open", ["-tls1", "-cipher", anything]],
    ["TLS 1.2 where 1.3 is the lowest", "newest", ["-tls1_2"]],
    ["ciphers without encryption", "open", ["-tls1_2", "-cipher", "NULL:@SECLEVEL=0"]],
    ["ciphers without a certificate", "open", ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"]],
    ["ciphers of CBC", "open", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"]],
    ["ciphers without forward secrecy", "elsewhere", ["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"]],
  ] as const)("is refused %s", async (_name, listener, args) => {
    const said = await handshake(listener, ...args);
    expect(said).toMatch(/alert (?:protocol version|handshake failure|insufficient security)|wrong version number/);
    expect(said).not.toMatch(/Cipher is (?!\(NONE\))/);
  });
});

describe("writ", () => {
  const asked = async (name: keyof typeof ports, more: Record<string, string>): Promise<Result> =>
    runWrit(["read", "sys/seal-status"], { cwd: folder, env: { VAULT_ADDR: address(name), HOME: folder, ...more } });
  const ca = { VAULT_CACERT: "ca.pem" };

  test("with the right files, from variables or options", async () => {
    const client = { ...ca, VAULT_CLIENT_CERT: "client.pem", VAULT_CLIENT_KEY: "client.key" };
    for (const [name, more] of [
      ["open", ca],
      ["newest", ca],
      ["mutual", client],
      ["elsewhere", { ...ca, VAULT_TLS_SERVER_NAME: "vault.example.com" }],
    ] as const) {
      expect([name, (await asked(name, more)).code]).toEqual([name, 0]);
    }
    const options = [
      "-address",
      address("mutual"),
      "-ca-cert=ca.pem",
      "-client-cert=client.pem",
      "-client-key=client.key",
    ];
    const env = { HOME: folder, VAULT_TOKEN: readFileSync(at("token"), "utf8") };
    const read = await runWrit(["kv", "get", ...options, "-field=a", "secret/app"], { cwd: folder, env });
    expect(read).toMatchObject({ code: 0, stdout: "b" });
  });

  const keyless = { VAULT_CLIENT_CERT: "client.pem", VAULT_CLIENT_KEY: "server.key" };
  const foreign = { VAULT_CLIENT_CERT: "other.pem", VAULT_CLIENT_KEY: "other.key" };
  test.each([
    ["an authority that nobody named", "open", {}, 2, "name the authority's file in VAULT_CACERT"],
    ["the wrong authority", "open", { VAULT_CACERT: "other.pem" }, 2, "name the authority's file in VAULT_CACERT"],
    ["a wish not to verify", "open", { VAULT_SKIP_VERIFY: "1" }, 2, "VAULT_SKIP_VERIFY is not obeyed"],
    ["a file that is not there", "open", { VAULT_CACERT: "no.pem" }, 1, "VAULT_CACERT: no.pem cannot be read (ENOENT)"],
    ["a certificate of another host", "elsewhere", ca, 2, "set VAULT_TLS_SERVER_NAME"],
    ["a certificate that has expired", "expired", ca, 2, "its certificate has expired"],
    ["no client certificate", "mutual", ca, 2, "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"],
    ["another client certificate", "mutual", { ...ca, ...foreign }, 2, "VAULT_CLIENT_CERT"],
    ["a client's key that does not fit", "mutual", { ...ca, ...keyless }, 2, "do not fit"],
  ] as const)("%s: says what to do", async (_name, listener, more, code, words) => {
    const result = await asked(listener, more);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(words)]);
    // One line, in words.
    expect(result.stderr).toMatch(/^writ: [^\n]+\n$/);
    expect(result.stderr).not.toMatch(/openssl|\.c:\d+/i);
  });

  test("TLS where none is spoken, and the other way round", async () => {
    const tls = await asked("plain", { ...ca, VAULT_ADDR: address("plain").replace("http", "https") });
    expect([tls.code, tls.stderr]).toEqual([2, expect.stringContaining("is it VAULT_ADDR=http://")]);
    const clear = await asked("open", { VAULT_ADDR: address("open").replace("https", "http") });
    expect([clear.code, clear.stderr]).toEqual([2, expect.stringContaining("check http or https in VAULT_ADDR")]);
  });
});
