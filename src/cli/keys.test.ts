// Against a whole server: the answers that people see.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateX25519Identity } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../config.ts";
import { silent } from "../lib/log.ts";
import { type Running, startServer } from "../server.ts";
import type { Io } from "./io.ts";
import { run } from "./program.ts";
import { validate } from "./configCheck.ts";
import { tables } from "./tables.ts";

let folder = "";
let running: Running;
let token = "";
let shares: string[] = [];

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function operator(args: readonly string[], secret = ""): Promise<Result> {
  const lines = { out: "", err: "" };
  const io: Io = {
    out: (line) => (lines.out += `${line}\n`),
    err: (line) => (lines.err += `${line}\n`),
    env: { VAULT_ADDR: `http://${running.addresses[0]}`, VAULT_TOKEN: token },
    secret: () => Promise.resolve(Buffer.from(secret)),
    input: () => Promise.resolve(""),
    progress: () => {},
    raw: (text) => (lines.out += text),
  };
  return { code: await run(["operator", ...args], io), ...lines };
}

const configOf = (seal: string): string =>
  [
    "storage: { type: memory }",
    `seal: ${seal}`,
    "listeners: [{ address: 127.0.0.1:0 }]",
    "audit: [{ type: file, path: audit.log }]",
  ].join("\n");

const keysIn = (out: string): string[] => [...out.matchAll(/Key \d+: (\S+)/g)].map(([, key = ""]) => key);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-keys-"));
  running = await startServer(readConfig(configOf("{ type: shamir }"), join(folder, "writ.yaml"), tables, validate), {
    log: silent,
  });
  const made = await operator(["init", "--key-shares", "3", "--key-threshold", "2"]);
  shares = keysIn(made.out);
  token = /Initial Root Token: (\S+)/.exec(made.out)?.[1] ?? "";
  for (const share of shares.slice(0, 2)) await operator(["unseal"], share);
});
afterAll(async () => {
  await running.close();
  await rm(folder, { recursive: true });
});

test("rotate and key-status show the term in use", async () => {
  expect(await operator(["key-status"])).toMatchObject({ code: 0, out: expect.stringMatching(/Term +1\n/) });
  expect(await operator(["rotate"])).toMatchObject({ code: 0, out: expect.stringMatching(/Term +2\n/) });
});

test("rekey asks for present shares, shows new ones once, and takes enough of them back", async () => {
  expect(await operator(["rekey"], shares[0])).toMatchObject({ code: 1, err: expect.stringContaining("--init") });
  expect(await operator(["rekey", "--status"])).toMatchObject({ code: 0, out: "No rekey is in progress\n" });
  const start = ["rekey", "--init", "--key-shares", "4", "--key-threshold", "2"];
  expect((await operator(start)).code).toBe(0);
  expect(await operator(["rekey", "--cancel"])).toMatchObject({ code: 0 });
  expect((await operator(start)).code).toBe(0);
  expect(await operator(["rekey"], "")).toMatchObject({ code: 1, err: expect.stringContaining("no present key") });
  expect(await operator(["rekey"], shares[2])).toMatchObject({ code: 0, out: "1 of 2 present shares given\n" });
  const made = await operator(["rekey"], shares[0]);
  const fresh = keysIn(made.out);
  expect([made.code, fresh.length]).toEqual([0, 4]);
  expect((await operator(["rekey", "--status"])).out).toContain("waits for new shares to be given back");
  expect(await operator(["rekey"], fresh[3])).toMatchObject({ code: 0, out: "1 of 2 new shares given\n" });
  expect(await operator(["rekey"], fresh[1])).toMatchObject({ code: 0, out: expect.stringContaining("are valid") });
  await operator(["seal"]);
  await operator(["unseal"], shares[0]);
  expect((await operator(["unseal"], shares[1])).code).toBe(2);
  await operator(["unseal"], fresh[0]);
  expect(await operator(["unseal"], fresh[2])).toMatchObject({ code: 0, out: "Unsealed\n" });
  shares = fresh;
});

test("generate-root gives a token to whoever has the password", async () => {
  const { code, out } = await operator(["generate-root", "--init"]);
  const otp = /password: (\S+)/.exec(out)?.[1] ?? "";
  expect([code, otp.length]).toEqual([0, 32]);
  expect((await operator(["generate-root", "--status"])).out).toBe("0 of 2 shares given\n");
  expect(await operator(["generate-root"], shares[0])).toMatchObject({ code: 0 });
  const last = await operator(["generate-root"], shares[1]);
  const encoded = /Encoded token: (\S+)/.exec(last.out)?.[1] ?? "";
  const decoded = await operator(["generate-root", "--decode", encoded], otp);
  expect(decoded).toMatchObject({ code: 0, out: expect.stringMatching(/^hvs\.\w{28}\n$/) });
  expect((await operator(["generate-root", "--decode", encoded], "short")).code).toBe(1);
  token = decoded.out.trim();
  expect((await operator(["rotate"])).code).toBe(0);
});

test("init on a seal that opens by itself prints recovery keys, and the vault is open", async () => {
  const own = await mkdtemp(join(tmpdir(), "writ-keys-"));
  const before = running;
  try {
    await writeFile(join(own, "identity"), await generateX25519Identity(), { mode: 0o600 });
    running = await startServer(
      readConfig(configOf("{ type: recipients, identity_file: identity }"), join(own, "writ.yaml"), tables, validate),
      {
        log: silent,
      },
    );
    const made = await operator(["init", "--key-shares", "3", "--key-threshold", "2"]);
    expect(made.out.match(/^Recovery Key \d: \S{44}$/gm)).toHaveLength(3);
    token = /Initial Root Token: (\S+)/.exec(made.out)?.[1] ?? "";
    await expect.poll(async () => (await operator(["key-status"])).code).toBe(0);
  } finally {
    await running.close();
    running = before;
    await rm(own, { recursive: true });
  }
});
