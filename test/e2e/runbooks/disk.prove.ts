// The runbook of a full disk, run as it stands on the operations page: first the disk of the audit log, then the one of the
// storage and of the required audit device.

import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { until } from "../server.ts";
import { Machine } from "./machine.ts";

/** A user who is not root may be one by asking. */
const asRoot = (...command: string[]): [string, string[]] => {
  const [first = "", ...rest] = process.getuid?.() === 0 ? command : ["sudo", "-n", ...command];
  return [first, rest];
};

const mounted: string[] = [];
let machine: Machine | null = null;
afterEach(async () => {
  machine?.kill();
  for (const at of mounted.splice(0)) execFileSync(...asRoot("umount", "-l", at));
  await machine?.remove();
});

/** Small ones: the storage's, the required audit device's, the other one's. */
const disks = ["/var/lib/writ/storage", "/var/lib/writ/audit.git", "/var/log/writ"];

function mountAt(at: string): void {
  mkdirSync(at, { recursive: true, mode: 0o700 });
  const options = `size=24m,mode=700,uid=${process.getuid?.() ?? 0}`;
  execFileSync(...asRoot("mount", "-t", "tmpfs", "-o", options, "none", at), { stdio: ["ignore", "ignore", "pipe"] });
  mounted.push(at);
}

function canMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), "writ-mount-"));
  try {
    mountAt(at);
    for (const each of mounted.splice(0)) execFileSync(...asRoot("umount", each));
    return true;
  } catch (error) {
    console.error(`no file system can be mounted here: the runbook is skipped: ${String(error)}`);
    return false;
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}

/** Until nothing more goes on it; gives what makes room again. */
function fill(disk: string): () => void {
  const file = join(disk, "filler");
  const handle = openSync(file, "w", 0o600);
  for (const size of [1 << 20, 1 << 12, 1]) {
    const bytes = Buffer.alloc(size);
    const full = (): boolean => {
      try {
        writeSync(handle, bytes);
        return false;
      } catch {
        return true;
      }
    };
    while (!full());
  }
  closeSync(handle);
  return () => rmSync(file);
}

test.skipIf(!canMount())("Disk full", async () => {
  const prepare = (folder: string): void => disks.forEach((disk) => mountAt(join(folder, disk)));
  const one = await Machine.make({ prepare });
  machine = one;
  const [storage = "", required = "", other = ""] = disks.map((disk) => one.path(disk));
  const book = one.runbook("Disk full");
  const token = await one.login();
  const read = () => one.ask(token, "secret/data/payments/db");
  const data = JSON.stringify({ data: { text: "x".repeat(100_000) } });
  const write = () => one.ask(one.root, "secret/data/payments/big", "--data", data);
  const goesOn = () => until("a write", async () => (await write()).status === 200);

  // The storage's.
  let room = fill(storage);
  const refused = await until("a write to be refused", async () => {
    const answer = await write();
    return answer.status === 500 && answer;
  });
  book.sees(refused.body);
  expect((await read()).status).toBe(200);
  room();
  await goesOn();

  // One audit device's of two, the one that is not required: its file goes elsewhere.
  room = fill(other);
  expect((await write()).status).toBe(200);
  await one.says('"device":"file"');
  book.sees(await one.must("writ status"));
  expect(await book.step("df -h")).toContain("100%");
  const ELSEWHERE = join(one.folder, "elsewhere");
  mkdirSync(ELSEWHERE);
  await book.step("mv ", { env: { ELSEWHERE } });
  room();
  await one.says('"message":"audit device has caught up","device":"file"');

  // The required one's: fail closed.
  // A commit that is under way makes room at its end.
  const { makeRoom, reading, writing } = await until("the required device to fail", async () => {
    const again = fill(required);
    const [asked, written] = await Promise.all([read(), write()]);
    return asked.status !== 200 && written.status !== 200 && { makeRoom: again, reading: asked, writing: written };
  });
  book.sees(reading.body);
  expect([reading.status, writing.status]).toEqual([500, 500]);
  expect(one.log()).not.toContain("sealing");
  makeRoom();
  await until("a read", async () => (await read()).status === 200);
  await goesOn();
  await until("the audit to be whole", async () => {
    const { text } = await one.run("writ status", {});
    return /required\): ok/.test(text) && !text.includes("failed");
  });
  await book.step("writ status");
  book.over();

  // All of it, in the order of the chain: what was moved away, and what came then.
  await one.must("systemctl stop writ");
  await one.must(`cp /var/log/writ/audit.log ${ELSEWHERE}/newest.log`);
  expect(await one.must(`writ audit verify ${ELSEWHERE} --git /var/lib/writ/audit.git`)).toContain("the log is whole");
});
