import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import {
  hashKey,
  clock,
  deadlineMs,
  logs,
  hand,
  log,
  security,
  openBroker,
  serve,
  sound,
  reset,
  type Given,
} from "../../../test/conformance/broker.ts";
import { Probe, turns } from "../../../test/conformance/probe.ts";
import { plugin as filePlugin } from "../../audit/file/index.ts";
import { plugin as gitPlugin } from "../../audit/git/index.ts";
import { systemTimer } from "../../lib/flight.ts";
import { silent } from "../../lib/log.ts";
import type { Head } from "../../sdk/audit.ts";
import { linesOf, linkText, verifyChain } from "../../sdk/chain.ts";
import { parse } from "../../sdk/fields.ts";
import { Broker, type HeadRecord } from "../broker.ts";

beforeEach(reset);

describe("catching up", () => {
  test.each(["hang", "fail", "half"] as const)(
    "a device that did %s gets the rest from memory or from another",
    async (mode) => {
      for (const spare of [0, 1_000_000]) {
        const [good, bad] = [new Probe("good"), new Probe("bad")];
        bad.mode = mode;
        const broker = await openBroker([good, bad], { bounds: { spare, most: 10_000_000 } });
        for (let round = 0; round < 30; round++) await serve(broker);
        await hand.move(2 * deadlineMs);
        expect(broker.status().find((one) => one.name === "bad")).toMatchObject({ state: "behind" });
        bad.release();
        await hand.move(120_000);
        await serve(broker);
        await hand.move(1000);
        expect(bad.lines.join("")).toBe(good.lines.join(""));
        expect(await sound(bad)).toMatchObject({ ok: true, count: 62 });
        expect(broker.status().map((one) => one.state)).toEqual(["ok", "ok"]);
        await broker.close();
      }
    },
  );

  test("lines that were changed on the device they are read from are not passed on", async () => {
    const [good, bad] = [new Probe("good"), new Probe("bad")];
    bad.mode = "hang";
    const broker = await openBroker([good, bad], { bounds: { spare: 0, most: 10_000_000 } });
    for (let round = 0; round < 5; round++) await serve(broker);
    good.lines[4] = Buffer.from(String(good.lines[4]).replace('"allowed":true', '"allowed":false'));
    bad.release();
    await hand.move(1000);
    expect(security()).toContain("audit lines read back do not continue the chain");
    expect(bad.lines.join("")).not.toContain('"allowed":false');
  });
});

describe("over a restart", () => {
  test("the chain goes on from the furthest line, and the other device is sent what it lacks", async () => {
    const [a, b] = [new Probe("a"), new Probe("b")];
    const first = await openBroker([a, b]);
    for (let round = 0; round < 3; round++) await serve(first);
    await first.close();
    expect([a.closed, b.closed]).toEqual([true, true]);
    b.lines = b.lines.slice(0, 2);
    const second = await openBroker([b, a]);
    expect(b.lines.join("")).toBe(a.lines.join(""));
    await serve(second);
    await turns();
    expect(await sound(a)).toMatchObject({ ok: true, count: 8 });
    expect(b.lines.join("")).toBe(a.lines.join(""));
  });

  test("a device that contradicts the others is not used, and that is a security event", async () => {
    const [a, b] = [new Probe("a"), new Probe("b")];
    const first = await openBroker([a, b]);
    for (let round = 0; round < 3; round++) await serve(first);
    await first.close();
    b.lines[3] = Buffer.from(String(b.lines[3]).replace("abc+1", "abc+2"));
    b.lines.length = 4;
    const second = await openBroker([a, b]);
    expect(security()).toEqual(["audit device holds another line than expected: it is not used"]);
    await serve(second);
    await turns();
    expect([a.lines.length, b.lines.length]).toEqual([8, 4]);
    await second.close();
    const third = new Broker({ log, clock, deadlineMs, timer: hand });
    const devices = [
      { device: a, required: false },
      { device: b, required: true },
    ];
    await expect(third.open({ devices, hashKey })).rejects.toMatchObject({
      code: "audit",
      message: expect.stringContaining('"b"'),
    });
  });

  test("a device that does not answer at unseal is named, and nothing is opened", async () => {
    const [a, b] = [new Probe("a"), new Probe("b")];
    b.head = () => new Promise(() => {});
    const broker = new Broker({ log, clock, deadlineMs, timer: hand });
    const opened = broker.open({ devices: [a, b].map((device) => ({ device, required: false })), hashKey });
    const failed = expect(opened).rejects.toMatchObject({ code: "audit", message: expect.stringContaining('"b"') });
    await hand.move(deadlineMs);
    await failed;
  });

  test("the vault's own record finds a log that was cut, and one that was rewritten", async () => {
    let saved: Head | null = null;
    const record: HeadRecord = {
      load: () => Promise.resolve(saved),
      save: (head) => Promise.resolve(void (saved = head)),
    };
    const probe = new Probe("a");
    const first = await openBroker([probe], {}, record);
    for (let round = 0; round < 3; round++) await serve(first);
    await first.close();
    expect(saved).toMatchObject({ seq: 6 });
    const whole = [...probe.lines];

    probe.lines = whole.slice(0, 4);
    const second = await openBroker([probe], {}, record);
    expect(security()).toEqual(["audit lines are missing: the devices end before what the vault remembers"]);
    await serve(second);
    await second.close();
    expect(probe.entries.map((one) => one["seq"])).toEqual([1, 2, 3, 4, 7, 8]);

    probe.lines = [
      ...whole,
      Buffer.from(`${linkText(7, "0".repeat(64))}"forged":true}\n`),
      Buffer.from(`${linkText(8, "0".repeat(64))}"x":1}\n`),
    ];
    const third = new Broker({ log, clock, deadlineMs, timer: hand });
    await expect(third.open({ devices: [{ device: probe, required: false }], hashKey, record })).rejects.toMatchObject({
      code: "audit",
    });
  });

  test("the record is saved while the vault runs, not only at seal", async () => {
    let saved: Head | null = null;
    const record: HeadRecord = {
      load: () => Promise.resolve(null),
      save: (head) => Promise.resolve(void (saved = head)),
    };
    const broker = await openBroker([new Probe("a")], {}, record);
    await serve(broker);
    await hand.move(60_000);
    expect(saved).toEqual(broker.head());
  });

  test("a new device beside one whose old lines were moved away starts with what is there", async () => {
    const [old, fresh] = [new Probe("old"), new Probe("fresh")];
    const first = await openBroker([old]);
    for (let round = 0; round < 3; round++) await serve(first);
    await first.close();
    old.lines = old.lines.slice(4);
    const second = await openBroker([old, { device: fresh, required: true }]);
    await serve(second);
    expect(fresh.entries.map((one) => one["seq"])).toEqual([7, 8]);
    expect(logs.some((line) => String(line["message"]).includes("left out"))).toBe(true);
  });
});

test("real devices: a file and a repository hold the same chain, over a restart and a rotation", async () => {
  const folder = mkdtempSync(join(tmpdir(), "broker-"));
  const keys = { signing: generateKeyPairSync("ed25519").privateKey };
  const file = join(folder, "audit.jsonl");
  const devices = async (): Promise<Given[]> => [
    {
      device: await filePlugin.open("file", parse(filePlugin.fields, { path: file }).values, keys, silent, clock),
      required: true,
    },
    await gitPlugin.open(
      "git",
      parse(gitPlugin.fields, { path: join(folder, "audit.git") }).values,
      keys,
      silent,
      clock,
    ),
  ];
  const real = { timer: systemTimer, deadlineMs: 20_000 };
  try {
    const first = await openBroker(await devices(), real);
    await Promise.all(Array.from({ length: 50 }, () => serve(first)));
    await first.close();
    rmSync(file);
    const second = await openBroker(await devices(), real);
    await Promise.all(Array.from({ length: 50 }, () => serve(second)));
    const head = second.head();
    await second.close();
    // The file was gone: the repository had everything, and gave it back.
    expect(await verifyChain(linesOf("file", [readFileSync(file)]))).toMatchObject({ ok: true, count: 200, head });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
