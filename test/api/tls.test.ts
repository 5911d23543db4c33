// TLS listeners with certificates made by openssl, asked by curl and by Node's own client.

import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectPlain } from "node:net";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTls, type Tls } from "../../src/lib/tls.ts";
import { createLogger, silent } from "../../src/lib/log.ts";
import { start } from "./fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-tls-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, name);
const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "ignore", cwd: folder });
const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** An authority of that name, and what it signs. */
function authority(name: string): void {
  openssl(
    "req",
    "-x509",
    ...ec,
    "-keyout",
    `${name}.key`,
    "-out",
    `${name}.pem`,
    "-days",
    "30",
    "-subj",
    `/CN=${name}`,
  );
}
function issue(name: string, by: string, days = "30"): void {
  openssl("req", ...ec, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  writeFileSync(file("names"), "subjectAltName=IP:127.0.0.1\n");
  const signer = ["-CA", `${by}.pem`, "-CAkey", `${by}.key`, "-CAcreateserial"];
  openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-out", `${name}.pem`, "-days", days, "-extfile", "names");
}

const tls = (name: string, more: Partial<Tls> = {}): Tls => ({
  certFile: file(`${name}.pem`),
  keyFile: file(`${name}.key`),
  clientCaFile: null,
  requireClientCert: false,
  minVersion: "TLSv1.2",
  ...more,
});
const now = Date.now();
const read = (settings: Tls) => readTls(settings, now, silent);

beforeAll(() => {
  for (const name of ["ours", "theirs"]) authority(name);
  for (const name of ["first", "second", "client"]) issue(name, "ours");
  issue("stranger", "theirs");
});

async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, ca: readFileSync(file("ours.pem")), ...options });
  await once(socket, "secureConnect");
  return socket;
}
const ask = async (socket: TLSSocket): Promise<string> => {
  socket.write("GET /v1/secret/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  const [chunk] = (await once(socket, "data")) as [Buffer];
  return chunk.toString("latin1");
};
const curl = async (port: number, ...args: string[]): Promise<string> =>
  (await promisify(execFile)("curl", ["-sS", "--max-time", "100", ...args, `https://127.0.0.1:${port}/v1/secret/a`]))
    .stdout;

describe("a TLS listener", () => {
  it("answers curl, the method LIST too", async () => {
    const { port } = await start({ listen: { tls: await read(tls("first")) } });
    const body = await curl(port, "--cacert", file("ours.pem"));
    expect(JSON.parse(body)).toMatchObject({ data: { path: "secret/a", operation: "read" } });
    const listed = await curl(port, "--cacert", file("ours.pem"), "-X", "LIST");
    expect(JSON.parse(listed)).toMatchObject({ data: { path: "secret/a/", operation: "list" } });
    await expect(curl(port, "--cacert", file("theirs.pem"))).rejects.toThrow(/certificate/);
  });

  it.each([
    ["TLSv1.2", "TLSv1.1", false],
    ["TLSv1.2", "TLSv1.2", true],
    ["TLSv1.3", "TLSv1.2", false],
    ["TLSv1.3", "TLSv1.3", true],
  ] as const)("that speaks %s and newer, asked in %s: %s", async (minVersion, version, answered) => {
    const { port } = await start({ listen: { tls: await read(tls("first", { minVersion })) } });
    const dialled = dial(port, { minVersion: "TLSv1", maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" });
    if (!answered) return expect(dialled).rejects.toThrow(/protocol version/);
    const socket = await dialled;
    expect(socket.getProtocol()).toBe(version);
    expect(await ask(socket)).toMatch(/^HTTP\/1\.1 200/);
    socket.destroy();
  });

  it("takes new certificates for new connections and keeps the old ones open", async () => {
    const { port, listener } = await start({ listen: { tls: await read(tls("first")) } });
    const old = await dial(port);
    expect(await ask(old)).toMatch(/^HTTP\/1\.1 200/);
    listener.renew(await read(tls("second")));
    expect(await ask(old)).toMatch(/^HTTP\/1\.1 200/);
    expect(old.getPeerCertificate().subject.CN).toBe("first");
    const fresh = await dial(port);
    expect(fresh.getPeerCertificate().subject.CN).toBe("second");
    for (const socket of [old, fresh]) socket.destroy();
  });

  it("lets nobody in without a certificate of the authority, where one is required", async () => {
    const settings = tls("first", { clientCaFile: file("ours.pem"), requireClientCert: true });
    const { port, seen } = await start({ listen: { tls: await read(settings) } });
    const as = (name: string): string[] => ["--cert", file(`${name}.pem`), "--key", file(`${name}.key`)];
    const trust = ["--cacert", file("ours.pem")];
    await expect(curl(port, ...trust)).rejects.toThrow(/curl/);
    await expect(curl(port, ...trust, ...as("stranger"))).rejects.toThrow(/curl/);
    expect(seen).toEqual([]);
    expect(await curl(port, ...trust, ...as("client"))).toContain("secret/a");
  });

  it("asks for a certificate without requiring it, where it is told an authority only", async () => {
    const { port } = await start({ listen: { tls: await read(tls("first", { clientCaFile: file("ours.pem") })) } });
    expect(await curl(port, "--cacert", file("ours.pem"))).toContain("secret/a");
  });

  it("closes what does not speak TLS, and lives on", async () => {
    const { port, seen } = await start({ listen: { tls: await read(tls("first")) } });
    const plain = connectPlain(port, "127.0.0.1");
    let got = "";
    plain.on("data", (chunk: Buffer) => (got += chunk.toString("latin1"))).on("error", () => {});
    plain.write("GET /v1/secret/a HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(plain, "close");
    expect(got).not.toContain("HTTP/1.1");
    expect(seen).toEqual([]);
    expect(await curl(port, "--cacert", file("ours.pem"))).toContain("secret/a");
  });
});

it("tells a person who looks at / where the API is, and strangers no version", async () => {
  const plain = await start();
  const secure = await start({ listen: { tls: await read(tls("first")) } });
  const look = async (url: string): Promise<string> =>
    (await promisify(execFile)("curl", ["-sS", "--max-time", "100", "--cacert", file("ours.pem"), url])).stdout;
  const text = await look(`http://127.0.0.1:${plain.port}/`);
  expect(text).toContain(`export VAULT_ADDR=http://127.0.0.1:${plain.port}\n`);
  expect(text).not.toContain("2.0.0");
  expect(await look(`https://127.0.0.1:${secure.port}/`)).toContain(`VAULT_ADDR=https://127.0.0.1:${secure.port}\n`);
  expect(await look(`http://127.0.0.1:${plain.port}/ui/vault`)).toContain("the API is below /v1/");
});

describe("files that cannot be used", () => {
  it.each([
    ["the key of another certificate", { keyFile: "second.key" }, "tls_key_file is not the key of tls_cert_file"],
    ["a key that is none", { keyFile: "names" }, "tls_key_file may be read by others"],
    ["no certificate", { certFile: "first.key" }, "tls_cert_file holds no PEM certificate"],
    ["a missing file", { certFile: "nothing.pem" }, "tls_cert_file cannot be read (ENOENT)"],
    ["no authority", { clientCaFile: "first.key" }, "tls_client_ca_file holds no PEM certificate"],
  ])("%s", async (_name, wrong, message) => {
    const paths = Object.fromEntries(Object.entries(wrong).map(([name, path]) => [name, file(path)]));
    await expect(read({ ...tls("first"), ...paths })).rejects.toThrow(message);
  });

  it("a key that others may read", async () => {
    writeFileSync(file("open.key"), readFileSync(file("first.key")));
    chmodSync(file("open.key"), 0o644);
    await expect(read(tls("first", { keyFile: file("open.key") }))).rejects.toThrow("may be read by others: chmod 600");
    writeFileSync(file("junk.key"), "junk", { mode: 0o600 });
    await expect(read(tls("first", { keyFile: file("junk.key") }))).rejects.toThrow("holds no PEM key");
  });

  it.each([
    [10, "expires soon"],
    [40, "has expired"],
    [-2, "is not valid yet"],
  ])("a certificate for 30 days, %s days on: %s is in the log", async (days, words) => {
    issue("short", "ours", "20");
    const lines: string[] = [];
    const log = createLogger({ write: (line) => void lines.push(line) });
    await readTls(tls("short"), now + days * 24 * 3600 * 1000, log);
    expect(lines.join("")).toContain(words);
  });
});
