// A backup of a built-as-used server under load: taken by the command, restored into storage of another type, unsealed with
// the same share, and whole; and what the commands say where something is wrong.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { environmentOf } from "../../.ci/tools.mjs";
import { freePort, runToEnd, main, type Result, type Running, startWrit, until } from "./server.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-backup-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Server {
  readonly address: string;
  readonly config: string;
  readonly running: Running;
}

async function serve(name: string, type: string): Promise<Server> {
  const port = await freePort();
  const config = join(folder, `${name}.yaml`);
  await writeFile(
    config,
    `storage: { type: ${type}, path: ${name} }
seal: { type: shamir }
listeners: [{ address: "127.0.0.1:${port}" }]
audit: [{ type: file, path: ${name}.log }]
`,
  );
  const running = startWrit(["server", "--config", config]);
  await running.says("server started");
  return { address: `http://127.0.0.1:${port}`, config, running };
}

async function call(
  address: string,
  token: string,
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const answer = await fetch(`${address}/v1/${path}`, {
    method,
    headers: { "x-vault-token": token },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

const writ = (args: readonly string[], env: Record<string, string>, input = ""): Promise<Result> =>
  runToEnd(process.execPath, [main, ...args], { env, input });

test("backup and restore", async () => {
  const [own, hybrid] = [await generateX25519Identity(), await generateHybridIdentity()];
  const recipients = [await identityToRecipient(own), await identityToRecipient(hybrid)];
  for (const [at, identity] of [own, hybrid].entries())
    await writeFile(join(folder, `${at}.txt`), `# mine\n${identity}\n`);
  const first = await serve("first", "sqlite");
  const made = await call(first.address, "", "PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 });
  const [share = ""] = made["keys_base64"] as string[];
  const token = String(made["root_token"]);
  const env = { VAULT_ADDR: first.address, VAULT_TOKEN: token };
  expect((await writ(["operator", "unseal"], env, share)).code).toBe(0);
  await call(first.address, token, "POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  const put = (n: number, value: object): Promise<unknown> =>
    call(first.address, token, "POST", `secret/data/k${n}`, { data: { ...value } });
  for (let n = 0; n < 2_000; n += 50)
    await Promise.all(Array.from({ length: 50 }, (_, at) => put(n + at, { round: 0 })));

  // Writers go on while the backup is taken.
  const stop = new AbortController();
  let rounds = 0;
  const load = Array.from({ length: 8 }, async (_, worker) => {
    for (let round = 1; !stop.signal.aborted; round++) {
      await put(worker * 250 + (round % 250), { round });
      rounds += 1;
    }
  });
  const output = join(folder, "backup.age");
  const options = recipients.flatMap((recipient) => ["--recipient", recipient]);
  const done = await writ(["operator", "backup", ...options, "--output", output], env);
  stop.abort();
  await Promise.all(load);
  expect([done.code, done.stderr]).toEqual([0, expect.stringContaining("identity of its recipients")]);
  expect(rounds).toBeGreaterThan(50);
  expect((await stat(output)).mode & 0o777).toBe(0o600);
  expect((await readFile(output)).subarray(0, 21).toString()).toBe("age-encryption.org/v1");

  // Debian's age takes it as any other file.
  const age = environmentOf("age") as Record<string, string> | null;
  if (age !== null) {
    const plain = execFileSync("age", ["-d", "-i", join(folder, "0.txt"), output], { env: age, maxBuffer: 1 << 28 });
    expect(plain.toString("utf8", 5, 16)).toBe('{"backup":1');
  }
  const verify = await writ(["operator", "verify-storage"], env);
  expect([verify.code, verify.stdout]).toEqual([0, expect.stringMatching(/^ok: \d+ entries\n$/)]);
  const refused = await writ(["operator", "backup", "--recipient", "age1no", "--output", join(folder, "no.age")], env);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("recipient 1 is no age recipient")]);
  await expect(stat(join(folder, "no.age"))).rejects.toThrow("ENOENT");

  for (const [at, type] of ["file", "sqlite"].entries()) {
    const config = join(folder, `${type}-again.yaml`);
    const text = await readFile(first.config, "utf8");
    const port = await freePort();
    await writeFile(
      config,
      text
        .replace("type: sqlite, path: first", `type: ${type}, path: ${type}-again`)
        .replace(/127.0.0.1:\d+/, `127.0.0.1:${port}`)
        .replace("first.log", `${type}-again.log`),
    );
    const restore = ["operator", "restore", output, "--config", config, "--identity", join(folder, `${at}.txt`)];
    const wrong = await writ(restore, {}, Buffer.alloc(32, 7).toString("base64"));
    expect([wrong.code, wrong.stdout]).toEqual([1, ""]);
    const good = await writ(restore, {}, share);
    expect([good.code, good.stdout]).toEqual([0, expect.stringMatching(/^\d+ entries restored, as they were on 20/)]);
    const twice = await writ(restore, {}, share);
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringContaining("not empty")]);

    const running = startWrit(["server", "--config", config]);
    await running.says("server started");
    const address = `http://127.0.0.1:${port}`;
    const there = { VAULT_ADDR: address, VAULT_TOKEN: token };
    expect((await writ(["operator", "unseal"], there, share)).code).toBe(0);
    for (let n = 0; n < 2_000; n += 50) {
      const read = Array.from({ length: 50 }, (_, each) => call(address, token, "GET", `secret/data/k${n + each}`));
      for (const answer of await Promise.all(read)) expect(answer).toMatchObject({ data: { data: {} } });
    }
    await call(address, token, "POST", "secret/data/k1", { data: { round: -1 } });
    expect((await writ(["operator", "verify-storage"], there)).stdout).toMatch(/^ok: /);
    expect(await running.stop()).toBe(0);
  }

  // A deletion in the first one is found by the command.
  expect(await first.running.stop()).toBe(0);
  const db = new DatabaseSync(join(folder, "first/writ.db"));
  db.exec("DELETE FROM entry WHERE key LIKE '%/secret/k77'");
  db.close();
  const again = startWrit(["server", "--config", first.config]);
  await again.says("server started");
  expect((await writ(["operator", "unseal"], env, share)).code).toBe(0);
  await until("the scan after the unseal", async () => again.output().includes("deleted, added or put back"));
  const found = await writ(["operator", "verify-storage"], env);
  expect([found.code, found.stdout]).toEqual([1, expect.stringMatching(/1 fewer than were written/)]);
  const accepted = await writ(["operator", "verify-storage", "--accept"], env);
  expect([accepted.code, accepted.stdout]).toEqual([0, expect.stringMatching(/accepted/)]);
  expect((await writ(["operator", "verify-storage"], env)).code).toBe(0);
  expect(await again.stop()).toBe(0);
});
