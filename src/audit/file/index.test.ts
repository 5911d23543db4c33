import { generateKeyPairSync } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Chainer, conformsAsDevice } from "../../../test/conformance/audit.ts";
import { manualClock } from "../../lib/clock.ts";
import { createLogger, silent } from "../../lib/log.ts";
import type { AuditDevice } from "../../sdk/audit.ts";
import { linesOf, verifyChain } from "../../sdk/chain.ts";
import { parse } from "../../sdk/fields.ts";
import { plugin } from "./index.ts";

let folder = "";
let places = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "audit-file-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const keys = { signing: generateKeyPairSync("ed25519").privateKey };
const fresh = (): string => join(folder, String(++places), "audit.log");
const openAt = (path: string, more: Record<string, unknown> = {}, log = silent): Promise<AuditDevice> =>
  plugin.open("file", parse(plugin.fields, { path, ...more }).values, keys, log, manualClock());

for (const sync of ["none", "batch"]) {
  describe(`sync: ${sync}`, () =>
    conformsAsDevice(() => {
      const path = fresh();
      return Promise.resolve({
        open: () => openAt(path, { sync }),
        tear: (bytes) => Promise.resolve(appendFileSync(path, bytes)),
      });
    }));
}

test("after a rotation the chain goes on in the new file", async () => {
  const path = fresh();
  const device = await openAt(path);
  const chain = new Chainer();
  await device.write(chain.batch(3));
  renameSync(path, `${path}.1`);
  await device.write(chain.batch(2));
  await device.reopen?.();
  expect(await device.head()).toEqual(chain.head);
  expect(await device.read(1, 10)).toEqual([]);
  await device.write(chain.batch(4));
  expect(await device.read(6, 10)).toHaveLength(4);
  await device.reopen?.();
  await device.write(chain.batch(1));
  await device.close();
  const both = [readFileSync(`${path}.1`), readFileSync(path)];
  expect(await verifyChain(linesOf("both", both))).toMatchObject({ ok: true, count: 10, head: chain.head });
  const again = await openAt(path);
  expect(await again.head()).toEqual(chain.head);
  await again.close();
});

test("a rotation onto another chain's file is refused, and the old file is written on", async () => {
  const path = fresh();
  const device = await openAt(path);
  const chain = new Chainer();
  await device.write(chain.batch(3));
  renameSync(path, `${path}.1`);
  writeFileSync(path, new Chainer().batch(2).bytes);
  await expect(device.reopen?.()).rejects.toThrow("other audit lines");
  await device.write(chain.batch(1));
  expect(readFileSync(`${path}.1`, "utf8").split("\n")).toHaveLength(5);
  await device.close();
});

test("a file of somebody else's, a link and an executable are refused, without a path in the error", async () => {
  const path = fresh();
  const lines: string[] = [];
  const log = createLogger({ write: (line) => void lines.push(line) });
  const first = await openAt(path);
  await first.close();
  writeFileSync(path, '{"type":"request"}\n');
  await expect(openAt(path, {}, log)).rejects.toMatchObject({
    code: "audit",
    message: expect.not.stringContaining(folder),
  });
  expect(lines.join("")).toContain("holds something other than audit lines");
  writeFileSync(path, "");
  chmodSync(path, 0o700);
  await expect(openAt(path, {}, log)).rejects.toMatchObject({ code: "audit" });
  chmodSync(path, 0o600);
  symlinkSync(path, `${path}.link`);
  await expect(openAt(`${path}.link`, {}, log)).rejects.toMatchObject({ code: "audit" });
  expect(lines.join("")).toContain("symbolic link");
});

test("the mode is as configured, and an executable one cannot be", async () => {
  const path = fresh();
  const device = await openAt(path, { mode: "0640" });
  expect(statSync(path).mode & 0o777).toBe(0o640);
  await device.close();
  for (const mode of ["0700", "777", "u+r", ""]) expect(() => parse(plugin.fields, { path, mode })).toThrow('"mode"');
  expect(() => parse(plugin.fields, { path, sync: "always" })).toThrow('"sync"');
});

test("what was moved aside is logged and kept", async () => {
  const path = fresh();
  const first = await openAt(path);
  await first.write(new Chainer().batch(1));
  await first.close();
  appendFileSync(path, '{"seq":2,"pre');
  const lines: string[] = [];
  const device = await openAt(path, {}, createLogger({ write: (line) => void lines.push(line) }));
  const { file, bytes } = JSON.parse(lines[0] ?? "") as { file: string; bytes: number };
  expect(bytes).toBe(13);
  expect(existsSync(file) && readFileSync(file, "utf8")).toBe('{"seq":2,"pre');
  await device.close();
});
