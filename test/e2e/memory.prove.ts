// What is left of shares and of the root key in the memory of a server: its process is read as root would, page by page.
// Must hold: 1 s after a share was handed out or given none of it is there; 5 s after a seal nothing of the root key.
// The one thing that is looked for in several forms is the same: raw, as hex in either case, and as base64.

import { createCipheriv } from "node:crypto";
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stanzaKey } from "../../src/lib/age.ts";
import { decryptBound } from "../../src/lib/bound.ts";
import { combine } from "../../src/lib/shamir.ts";
import { freePort, type Running, startWrit } from "./server.ts";

interface Secret {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Readable memory of a process, but for what the kernel maps for itself. */
function* regions(pid: number): Generator<{ readonly start: number; readonly end: number; readonly name: string }> {
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, from, to, mode = "", name = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
    if (from === undefined || to === undefined || !mode.startsWith("r") || name.startsWith("[v")) continue;
    yield { start: Number.parseInt(from, 16), end: Number.parseInt(to, 16), name: name || "anonymous" };
  }
}

/** Halves are looked for, so that a copy that is overwritten in part shows too. */
function needles({ bytes, name }: Secret): readonly { readonly what: string; readonly text: Buffer }[] {
  const raw = Buffer.from(bytes);
  const forms = {
    raw,
    hex: Buffer.from(raw.toString("hex")),
    HEX: Buffer.from(raw.toString("hex").toUpperCase()),
    base64: Buffer.from(raw.toString("base64").replace(/=+$/, "")),
  };
  return Object.entries(forms).flatMap(([form, text]) => {
    const half = Math.floor(text.length / 2);
    return [
      { what: `${name}, ${form}, first half`, text: text.subarray(0, half) },
      { what: `${name}, ${form}, second half`, text: text.subarray(half) },
    ];
  });
}

const chunkSize = 4 * 1024 * 1024;
const overlap = 256;

/** Where any of the secrets is. */
function scan(pid: number, secrets: readonly Secret[]): readonly string[] {
  const wanted = secrets.flatMap(needles);
  const found: string[] = [];
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const buffer = Buffer.alloc(chunkSize + overlap);
  try {
    for (const { start, end, name } of regions(pid)) {
      for (let at = start; at < end; at += chunkSize) {
        let size = 0;
        try {
          size = readSync(memory, buffer, 0, Math.min(buffer.length, end - at), at);
        } catch {
          continue; // a guard page, or gone meanwhile
        }
        const chunk = buffer.subarray(0, size);
        for (const { what, text } of wanted) {
          for (let hit = chunk.indexOf(text); hit >= 0 && hit < chunkSize; hit = chunk.indexOf(text, hit + 1)) {
            const around = process.env["WRIT_DEBUG"] === undefined ? "" : context(chunk, hit);
            found.push(`${what}: at ${(at + hit).toString(16)} in ${name}${around}`);
          }
        }
      }
    }
  } finally {
    closeSync(memory);
  }
  return found;
}

const context = (chunk: Buffer, hit: number): string =>
  ` ${JSON.stringify(chunk.subarray(Math.max(0, hit - 48), hit + 80).toString("latin1"))}`;

const folder = mkdtempSync(join(tmpdir(), "writ-memory-"));
let running: Running;
let port = 0;
let token = "";

async function call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/${path}`, {
    method,
    headers: token === "" ? {} : { "X-Vault-Token": token },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  const text = await answer.text();
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** So long, and until the server has had its turn since, however busy the machine is. */
async function rest(ms: number): Promise<void> {
  await pause(ms);
  for (let turn = 0; turn < 2; turn++) await call("GET", "sys/seal-status");
}

const bytesOf = (keys: unknown): Uint8Array[] =>
  (keys as readonly string[]).map((key) => Uint8Array.from(Buffer.from(key, "base64")));

const named = (what: string, shares: readonly Uint8Array[]): Secret[] =>
  shares.map((bytes, at) => ({ name: `${what} ${at + 1}`, bytes }));

/** The root key, from enough shares and what storage has. */
function rootKeyOf(shares: readonly Uint8Array[]): { readonly root: Uint8Array; readonly unseal: Uint8Array } {
  const copy = join(folder, "copy");
  cpSync(join(folder, "storage"), copy, { recursive: true });
  const db = new DatabaseSync(join(copy, "writ.db"));
  const value = db.prepare("SELECT value FROM entry WHERE key = 'core/seal'").get()?.["value"] as Uint8Array;
  db.close();
  rmSync(copy, { recursive: true });
  const record = JSON.parse(Buffer.from(value).toString()) as { seal: { wrapped: string } };
  const unseal = combine(shares);
  const key = stanzaKey("writ-shamir 1", unseal);
  const root = decryptBound(() => key, "core/seal", 1, Buffer.from(record.seal.wrapped, "base64"));
  return { root, unseal };
}

async function use(): Promise<void> {
  for (let at = 0; at < 50; at++) {
    await call("POST", `sys/policies/acl/p${at % 5}`, { policy: 'path "a" { capabilities = ["read"] }' });
    await call("GET", "sys/policies/acl/p0");
  }
}

beforeAll(async () => {
  port = await freePort();
  const config = [
    `storage: { type: sqlite, path: storage }`,
    "seal: { type: shamir }",
    `listeners: [{ address: 127.0.0.1:${port} }]`,
    "audit: [{ type: file, path: audit.log }]",
  ];
  writeFileSync(join(folder, "writ.yaml"), config.join("\n"));
  running = startWrit(["server", "--config", join(folder, "writ.yaml")]);
  await running.says("server started");
});
afterAll(async () => {
  await running.stop();
  rmSync(folder, { recursive: true });
});

const pid = (): number => running.child.pid ?? 0;

describe.skipIf(process.platform !== "linux")("the memory of a server", () => {
  let shares: Uint8Array[] = [];
  /** All that must not be there. */
  const known: Secret[] = [];

  test("the scan finds what is there", () => {
    const word = { name: "words of the program", bytes: Buffer.from("seal-status and /v1/sys/health") };
    expect(scan(pid(), [word])).not.toEqual([]);
    const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
    expect(scan(pid(), [{ name: "what nobody has", bytes: cipher.update(Buffer.alloc(33)) }])).toEqual([]);
  });

  test("has no share 1 s after init", async () => {
    const made = await call("POST", "sys/init", { secret_shares: 5, secret_threshold: 3 });
    shares = bytesOf(made["keys_base64"]);
    token = String(made["root_token"]);
    const { root: key, unseal } = rootKeyOf(shares.slice(0, 3));
    known.push(
      ...named("share", shares),
      { name: "the unseal key", bytes: unseal },
      { name: "the root key", bytes: key },
    );
    await rest(1_000);
    expect(scan(pid(), known)).toEqual([]);
  });

  test("has no share 1 s after unseal", async () => {
    for (const share of shares.slice(0, 3)) {
      await call("POST", "sys/unseal", { key: Buffer.from(share).toString("base64") });
    }
    await rest(1_000);
    expect(scan(pid(), known)).toEqual([]);
    await use();
    await call("POST", "sys/rotate");
    expect(scan(pid(), known)).toEqual([]);
  });

  test("has no share 1 s after a rekey and a root generation, old or new", async () => {
    const attempt = await call("POST", "sys/generate-root/attempt", {});
    for (const key of shares.slice(1, 4)) {
      await call("POST", "sys/generate-root/update", {
        key: Buffer.from(key).toString("hex"),
        nonce: attempt["nonce"],
      });
    }
    const asked = { secret_shares: 3, secret_threshold: 2, require_verification: true };
    const { nonce } = await call("POST", "sys/rekey/init", asked);
    let made: Record<string, unknown> = {};
    for (const key of shares.slice(2)) {
      made = await call("POST", "sys/rekey/update", { key: Buffer.from(key).toString("base64"), nonce });
    }
    const fresh = bytesOf(made["keys_base64"]);
    for (const key of fresh.slice(1)) {
      const body = { key: Buffer.from(key).toString("base64"), nonce: made["verification_nonce"] };
      await call("POST", "sys/rekey/verify", body);
    }
    const next = rootKeyOf(fresh.slice(1));
    known.push(...named("new share", fresh), { name: "the new unseal key", bytes: next.unseal });
    known.push({ name: "the new root key", bytes: next.root });
    await rest(1_000);
    expect(scan(pid(), known)).toEqual([]);
    await use();
    expect(scan(pid(), known)).toEqual([]);
  });

  test("has nothing of the root key 5 s after seal", async () => {
    await call("POST", "sys/seal");
    await rest(5_000);
    expect(scan(pid(), known)).toEqual([]);
  });
});
