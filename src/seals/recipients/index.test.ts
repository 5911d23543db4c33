import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { Decrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { sealConformance } from "../../../test/conformance/seal.ts";
import type { Seal } from "../../sdk/seal.ts";
import { plugin } from "./index.ts";
import { environmentOf } from "../../../.ci/tools.mjs";

const folder = mkdtempSync(join(tmpdir(), "writ-recipients-"));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => void vi.unstubAllEnvs());

let names = 0;
function fileOf(text: string, mode = 0o600): string {
  const path = join(folder, `key-${names++}`);
  writeFileSync(path, text, { mode });
  chmodSync(path, mode);
  return path;
}

const own = await generateX25519Identity();
const identityFile = fileOf(`# created for a test\n${own}\n`);
const sealOf = (settings: Record<string, unknown>): Seal => plugin.create(settings);
const counts = { shares: 3, threshold: 2 };
const invalid = (text: RegExp): unknown =>
  expect.objectContaining({
    name: "VaultError",
    code: "invalid",
    message: expect.stringMatching(text) as unknown,
  }) as unknown;
const wrappedOf = (stored: Readonly<Record<string, unknown>>): Buffer =>
  Buffer.from(String(stored["wrapped"]), "base64");

sealConformance("recipients", () => sealOf({ identity_file: identityFile }));

describe("unattended", () => {
  test("opens by itself with the identity, and recovery shares alone with it too", async () => {
    const rootKey = randomBytes(32);
    const { stored, shares } = await sealOf({ identity_file: identityFile }).wrap(rootKey, counts);
    expect(
      await sealOf({ identity_file: identityFile }).open?.(JSON.parse(JSON.stringify(stored)) as typeof stored),
    ).toEqual(rootKey);
    const other = sealOf({ identity_file: fileOf(await generateX25519Identity()) });
    await other.unwrap(stored, Uint8Array.from(shares[0] ?? []));
    await expect(other.unwrap(stored, Uint8Array.from(shares[1] ?? []))).rejects.toEqual(
      invalid(/not made with the identity/),
    );
  });

  test("reads the identity from a systemd credential", async () => {
    const rootKey = randomBytes(32);
    const seal = sealOf({ identity_credential: "writ.identity" });
    await expect(seal.wrap(rootKey, counts)).rejects.toEqual(invalid(/LoadCredential=writ.identity/));
    vi.stubEnv("CREDENTIALS_DIRECTORY", folder);
    await expect(seal.wrap(rootKey, counts)).rejects.toEqual(invalid(/identity_credential cannot be read \(ENOENT\)/));
    writeFileSync(join(folder, "writ.identity"), own, { mode: 0o440 });
    const { stored } = await seal.wrap(rootKey, counts);
    expect(await sealOf({ identity_file: identityFile }).open?.(stored)).toEqual(rootKey);
  });

  test("post-quantum recipients and others beside the server's own: age-encryption opens it for each", async () => {
    const people = [await generateHybridIdentity()];
    const hybrid = await generateHybridIdentity();
    const recipients = await Promise.all([hybrid, ...people].map((identity) => identityToRecipient(identity)));
    expect(recipients.every((recipient) => recipient.startsWith("age1pq1"))).toBe(true);
    const rootKey = randomBytes(32);
    const settings = { recipients, identity_file: fileOf(hybrid) };
    const { stored } = await sealOf(settings).wrap(rootKey, counts);
    expect(await sealOf(settings).open?.(stored)).toEqual(rootKey);
    for (const identity of [hybrid, ...people]) {
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      expect(Buffer.from(await decrypter.decrypt(wrappedOf(stored)))).toEqual(rootKey);
    }
  });

  test("under a passphrase: age-encryption opens it", async () => {
    const passphrase = "correct horse battery staple";
    const rootKey = randomBytes(32);
    const settings = { passphrase_file: fileOf(`${passphrase}\n`) };
    const { stored } = await sealOf(settings).wrap(rootKey, counts);
    expect(await sealOf(settings).open?.(stored)).toEqual(rootKey);
    const decrypter = new Decrypter();
    decrypter.addPassphrase(passphrase);
    expect(Buffer.from(await decrypter.decrypt(wrappedOf(stored)))).toEqual(rootKey);
    const wrong = sealOf({ passphrase_file: fileOf("another passphrase") });
    await expect(wrong.open?.(stored)).rejects.toEqual(invalid(/does not open the root key/));
  });

  const age = environmentOf("age");
  test.skipIf(age === null)("the stock age command opens it with the identity", async () => {
    const rootKey = randomBytes(32);
    const { stored } = await sealOf({ identity_file: identityFile }).wrap(rootKey, counts);
    const { status, stdout } = spawnSync("age", ["-d", "-i", identityFile], {
      input: wrappedOf(stored),
      env: { ...process.env, ...age },
    });
    expect([status, stdout.equals(rootKey)]).toEqual([0, true]);
  });
});

describe("a record that another made", () => {
  let stored: Readonly<Record<string, unknown>>;
  const rootKey = randomBytes(32);
  beforeAll(async () => {
    ({ stored } = await sealOf({ identity_file: identityFile }).wrap(rootKey, counts));
  });

  test("opens nothing, though it is to the right recipient", async () => {
    // Whoever writes storage knows the recipient, not the identity.
    const recipients = [await identityToRecipient(own)];
    const stranger = await generateX25519Identity();
    const settings = {
      recipients: [...recipients, await identityToRecipient(stranger)],
      identity_file: fileOf(stranger),
    };
    const forged = await sealOf(settings).wrap(randomBytes(32), counts);
    const seal = sealOf({ identity_file: identityFile });
    await expect(seal.open?.(forged.stored)).rejects.toEqual(invalid(/not made with the identity/));
    await expect(seal.open?.({ ...forged.stored, proofs: stored["proofs"] })).rejects.toEqual(invalid(/identity/));
    await expect(seal.open?.({ ...stored, wrapped: forged.stored["wrapped"] })).rejects.toEqual(invalid(/identity/));
  });

  test("opens nothing with other recovery shares or counts", async () => {
    const other = await sealOf({ identity_file: identityFile }).wrap(rootKey, counts);
    for (const change of [
      { recovery: other.stored["recovery"] },
      { threshold: 1, shares: 1 },
      { shares: 4 },
      { authentication: other.stored["authentication"] },
      { proofs: [] },
    ]) {
      await expect(sealOf({ identity_file: identityFile }).open?.({ ...stored, ...change })).rejects.toEqual(
        invalid(/./),
      );
    }
  });
});

describe("settings", () => {
  test.each([
    [{}, /exactly one of/],
    [{ identity_file: "a", passphrase_file: "b" }, /exactly one of/],
    [{ recipients: ["age1x"], passphrase_file: "b" }, /exclude each other/],
    [{ identity_file: join(folder, "absent") }, /cannot be read \(ENOENT\)/],
    [{ identity_file: fileOf(own, 0o640) }, /chmod 600/],
    [{ identity_file: fileOf("no identity") }, /must hold age identities/],
    [{ identity_file: fileOf(own.slice(0, -1)) }, /malformed/],
    [{ identity_file: identityFile, recipients: ["age1qqq"] }, /malformed/],
    [{ passphrase_file: fileOf("short\n") }, /at least 12/],
  ])("%j are refused, and no key is in the message", async (settings, text) => {
    const attempt = (async () => sealOf(settings).wrap(randomBytes(32), counts))();
    await expect(attempt).rejects.toEqual(invalid(text));
    await attempt.catch((error: Error) => expect(error.message).not.toContain(own.slice(20, 40)));
  });

  test("the server's own identity must be among the recipients", async () => {
    const recipients = [await identityToRecipient(await generateX25519Identity())];
    const seal = sealOf({ recipients, identity_file: identityFile });
    await expect(seal.wrap(randomBytes(32), counts)).rejects.toEqual(invalid(/none of the recipients/));
  });
});
