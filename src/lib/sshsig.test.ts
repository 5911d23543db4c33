import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parsePublicLine, publicLine, signSsh, verifySsh } from "./sshsig.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const message = Buffer.from("what is signed\n");

function sshKeygen(): boolean {
  try {
    execFileSync("ssh-keygen", ["-Y"], { stdio: "ignore" });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ENOENT";
  }
  return true;
}

test("what was signed verifies, and nothing else does", () => {
  const armored = signSsh(privateKey, "git", message);
  const other = generateKeyPairSync("ed25519").publicKey;
  expect(verifySsh(publicKey, "git", message, armored)).toBe(true);
  expect(verifySsh(publicKey, "file", message, armored)).toBe(false);
  expect(verifySsh(publicKey, "git", Buffer.from("else"), armored)).toBe(false);
  expect(verifySsh(other, "git", message, armored)).toBe(false);
  for (const bad of ["", armored.slice(0, -10), armored.replace(/[A-Z](?=\w)/, "!"), armored.replace("AAAA", "AAAB")]) {
    expect(verifySsh(publicKey, "git", message, bad)).toBe(false);
  }
});

test("a public line is read back, from an allowed_signers line too", () => {
  const line = publicLine(privateKey);
  expect(line).toBe(publicLine(publicKey));
  for (const text of [line, `${line} a comment`, `audit@writ namespaces="git" ${line}`]) {
    expect(parsePublicLine(text)?.equals(publicKey)).toBe(true);
  }
  for (const text of ["", "ssh-rsa AAAA", line.slice(0, -5), line.replace("AAAAC3", "AAAAC4")]) {
    expect(parsePublicLine(text)).toBeNull();
  }
});

test.skipIf(!sshKeygen())("ssh-keygen verifies our signatures, and we verify its", () => {
  const folder = mkdtempSync(join(tmpdir(), "sshsig-"));
  try {
    const signers = join(folder, "signers");
    const signature = join(folder, "message.sig");
    writeFileSync(signers, `vault ${publicLine(publicKey)}\n`);
    writeFileSync(signature, `${signSsh(privateKey, "git", message)}\n`);
    const args = ["-Y", "verify", "-f", signers, "-I", "vault", "-n", "git", "-s", signature];
    expect(execFileSync("ssh-keygen", args, { input: message, encoding: "utf8" })).toContain('Good "git" signature');
    const key = join(folder, "key");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const theirs = execFileSync("ssh-keygen", ["-Y", "sign", "-f", key, "-n", "git"], {
      input: message,
      encoding: "utf8",
      stdio: ["pipe", "pipe", "ignore"],
    });
    const line = execFileSync("ssh-keygen", ["-y", "-f", key], { encoding: "utf8" });
    const theirKey = parsePublicLine(line);
    expect(theirKey !== null && verifySsh(theirKey, "git", message, theirs)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
