// SIGHUP on a real server: certificates and the audit file are opened anew, nothing else changes, and a wrong file changes nothing.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, expect, test } from "vitest";
import { freePort, startWrit, until } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-signals-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, name);

function certify(name: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "tls.key"];
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
  const args = ["req", "-x509", ...key, "-out", "tls.pem", "-days", "30", ...subject];
  execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
}

async function served(port: number): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

function ask(port: number, method: string, path: string, body: object = {}): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: "127.0.0.1", port, path: `/v1/${path}`, method, rejectUnauthorized: false },
      (incoming) => {
        let text = "";
        incoming.on("data", (chunk: Buffer) => (text += chunk.toString()));
        incoming.on("end", () => resolve(JSON.parse(text) as Record<string, unknown>));
      },
    );
    outgoing.on("error", reject).end(method === "GET" ? undefined : JSON.stringify(body));
  });
}

test("SIGHUP", async () => {
  certify("first");
  const port = await freePort();
  const config = `storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners:
  - { address: "127.0.0.1:${port}", tls_cert_file: tls.pem, tls_key_file: tls.key }
audit: [{ type: file, path: audit.log }]
`;
  writeFileSync(file("writ.yaml"), config);
  const server = startWrit(["server", "--config", file("writ.yaml")]);
  try {
    await server.says("server started");
    const { keys } = (await ask(port, "PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 })) as {
      keys: string[];
    };
    await ask(port, "PUT", "sys/unseal", { key: keys[0] });
    expect(await served(port)).toBe("first");

    certify("second");
    renameSync(file("audit.log"), file("audit.1"));
    server.child.kill("SIGHUP");
    await server.says("configuration and files read again");
    expect(await served(port)).toBe("second");
    await until("the new audit file", async () => existsSync(file("audit.log")));
    await ask(port, "GET", "secret/a");
    await until("its lines", async () => readFileSync(file("audit.log"), "utf8").includes('"path":"secret/a"'));

    writeFileSync(file("tls.key"), "no key");
    server.child.kill("SIGHUP");
    await server.says("goes on with the certificate that it has");
    expect(await served(port)).toBe("second");

    writeFileSync(file("writ.yaml"), config.replace("audit:", "audits:"));
    server.child.kill("SIGHUP");
    await server.says('unknown key \\"audits\\"; did you mean \\"audit\\"?');

    writeFileSync(file("writ.yaml"), `${config}max_lease_ttl: 1h\ndefault_lease_ttl: 1h\nlog: { level: warn }\n`);
    server.child.kill("SIGHUP");
    await server.says('"settings":["default_lease_ttl","max_lease_ttl"]');
    expect(await served(port)).toBe("second");
    expect(await server.stop()).toBe(0);
    // Only warnings, since the last time.
    expect(server.output()).not.toContain('"message":"stopping"');
  } finally {
    await server.kill();
  }
});
