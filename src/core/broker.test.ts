import { createHmac } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import {
  rawKey,
  hashKey,
  clock,
  deadlineMs,
  logs,
  hand,
  log,
  exchangeOf,
  openBroker,
  serve,
  outcome,
  sound,
  reset,
} from "../../test/conformance/broker.ts";
import { Probe, turns } from "../../test/conformance/probe.ts";
import { VaultError } from "../sdk/errors.ts";
import { Broker } from "./broker.ts";

beforeEach(reset);

describe("keeping", () => {
  test("two entries a request, chained, on every device, in one write for what comes in one turn", async () => {
    const [a, b] = [new Probe("a"), new Probe("b")];
    const broker = await openBroker([a, b]);
    await Promise.all(Array.from({ length: 32 }, () => serve(broker)));
    expect(a.lines).toHaveLength(64);
    expect(a.writes).toBe(1);
    await turns();
    expect(b.lines.join("")).toBe(a.lines.join(""));
    expect(await sound(a)).toMatchObject({ ok: true, count: 64, first: { seq: 1 }, head: broker.head() });
    for (const entry of a.entries.filter((one) => one["type"] === "response")) {
      const id = (entry["request"] as { id: string }).id;
      const both = a.entries.filter((one) => (one["request"] as { id: string }).id === id);
      expect(both.map((one) => one["type"])).toEqual(["request", "response"]);
    }
  });

  test("one keeper is enough, and does not wait for the others", async () => {
    const [quick, slow] = [new Probe("quick"), new Probe("slow")];
    slow.mode = "hang";
    const broker = await openBroker([slow, quick]);
    await serve(broker);
    expect(quick.lines).toHaveLength(2);
    expect(slow.lines).toHaveLength(0);
  });

  test("a required device is waited for, whoever else has kept the entry", async () => {
    const [quick, slow] = [new Probe("quick"), new Probe("slow")];
    slow.mode = "hang";
    const broker = await openBroker([quick, { device: slow, required: true }]);
    let answered = false;
    const served = serve(broker).then(() => (answered = true));
    await turns();
    expect([quick.lines.length, answered]).toEqual([2, false]);
    slow.release();
    await served;
    expect(slow.lines).toHaveLength(2);
  });

  test("what is large does not wait for more of its kind", async () => {
    const probe = new Probe("a");
    const broker = await openBroker([probe]);
    const large = { text: "x".repeat(400_000) };
    await Promise.all(Array.from({ length: 9 }, () => broker.reconcile(large)));
    expect(probe.writes).toBeGreaterThan(1);
    expect(await sound(probe)).toMatchObject({ ok: true, count: 9 });
  });

  test("the memory of a batch is not written over while a device has it, though others need it no more", async () => {
    const [quick, slow] = [new Probe("quick"), new Probe("slow")];
    slow.mode = "hang";
    const broker = await openBroker([quick, slow], { bounds: { spare: 100_000, most: 1 << 24 } });
    for (let turn = 0; turn < 20; turn++) await broker.reconcile({ text: `${turn}`.padEnd(100_000, "x") });
    expect([quick.lines.length, slow.lines.length]).toEqual([20, 0]);
    slow.release();
    await turns(100);
    expect(slow.lines.join("")).toBe(quick.lines.join(""));
    expect(await sound(slow)).toMatchObject({ ok: true, count: 20 });
  });

  test("while a write is under way what comes is collected for the next one", async () => {
    const probe = new Probe("a");
    probe.mode = "hang";
    const broker = await openBroker([probe]);
    const served = [serve(broker)];
    await turns();
    for (let turn = 0; turn < 20; turn++) {
      await turns(1);
      served.push(serve(broker));
    }
    await turns();
    probe.release();
    await Promise.all(served);
    expect(probe.writes).toBe(2);
    expect(await sound(probe)).toMatchObject({ ok: true, count: 42 });
  });
});

describe("what comes turn by turn", () => {
  async function forty(turnMs: number): Promise<Probe> {
    const probe = new Probe("a");
    let now = 0;
    const broker = await openBroker([probe], { steady: () => now });
    const served: Promise<void>[] = [];
    for (let turn = 0; turn < 40; turn++) {
      served.push(serve(broker));
      await turns(1);
      now += turnMs;
    }
    await Promise.all(served);
    expect(await sound(probe)).toMatchObject({ ok: true, count: 80 });
    return probe;
  }

  test("is one batch, up to a number of entries", async () => {
    expect((await forty(0)).writes).toBe(2);
  });

  test("does not wait for more of its kind where turns are long", async () => {
    expect((await forty(2)).writes).toBeGreaterThanOrEqual(20);
  });
});

describe("not keeping", () => {
  test("without a device nothing opens; closed, nothing is kept", async () => {
    const broker = new Broker({ log, clock, deadlineMs, timer: hand });
    await expect(broker.open({ devices: [], hashKey })).rejects.toMatchObject({ code: "audit" });
    const begun = broker.request(exchangeOf());
    expect(await outcome(begun.kept)).toBe("audit");
    expect(await outcome(broker.response(begun, { response: {} }))).toBe("audit");
    expect(() => broker.hash("x")).toThrow(VaultError);
    expect(broker.head()).toBeNull();
  });

  test.each(["hang", "fail"] as const)(
    "where every device does %s, the entry is refused at the deadline, not before",
    async (mode) => {
      const [a, b] = [new Probe("a"), new Probe("b")];
      a.mode = b.mode = mode;
      const broker = await openBroker([a, b]);
      let result = "waiting";
      const served = outcome(serve(broker)).then((text) => (result = text));
      await hand.move(deadlineMs - 1);
      expect(result).toBe("waiting");
      await hand.move(deadlineMs / 2);
      await served;
      expect(result).toBe("audit");
      expect(logs.some((line) => String(line["message"]).includes("requests are refused"))).toBe(true);
      // Nothing is lost: the lines are written once a device takes them.
      a.release();
      b.release();
      await hand.move(60_000);
      expect(await sound(a)).toMatchObject({ ok: true, count: 2 });
      expect(b.lines.join("")).toBe(a.lines.join(""));
      await serve(broker);
      expect(a.lines).toHaveLength(4);
      expect(broker.status().map((one) => one.state)).toEqual(["ok", "ok"]);
    },
  );

  test("a required device that is down refuses, although others keep", async () => {
    const [a, b] = [new Probe("a"), new Probe("b")];
    b.mode = "fail";
    const broker = await openBroker([a, { device: b, required: true }]);
    const served = outcome(serve(broker));
    await hand.move(2 * deadlineMs);
    expect(await served).toBe("audit");
    expect(a.lines).toHaveLength(2);
  });

  test.each(["hang", "fail"] as const)(
    "once a required device is known to %s, what comes is refused at once, until it keeps again",
    async (mode) => {
      const [a, b] = [new Probe("a"), new Probe("b")];
      b.mode = mode;
      const broker = await openBroker([a, { device: b, required: true }]);
      const first = outcome(serve(broker));
      await hand.move(2 * deadlineMs);
      expect(await first).toBe("audit");
      // No time passes: who comes now does not wait for the deadline.
      for (let round = 0; round < 3; round++) {
        expect(await outcome(serve(broker))).toBe("audit");
        await turns();
      }
      // Who was refused stands in the log all the same.
      expect(a.lines).toHaveLength(8);
      b.release();
      await hand.move(60_000);
      expect(b.lines.join("")).toBe(a.lines.join(""));
      expect(await outcome(serve(broker))).toBe("kept");
      expect(await sound(b)).toMatchObject({ ok: true, count: 10 });
      // One write that fails is no reason to refuse at once: the next one may do.
      b.mode = "fail";
      const waiting = [outcome(serve(broker))];
      await turns();
      waiting.push(outcome(serve(broker)));
      await turns();
      b.release();
      await hand.move(1000);
      expect(await Promise.all(waiting)).toEqual(["kept", "kept"]);
    },
  );

  test("a request entry that failed fails the response entry too, even once devices keep again", async () => {
    const probe = new Probe("a");
    probe.mode = "hang";
    const broker = await openBroker([probe]);
    const begun = broker.request(exchangeOf()); // a read: the door does not wait for it
    await hand.move(2 * deadlineMs);
    probe.release();
    await hand.move(1000);
    expect(probe.lines).toHaveLength(1);
    expect(await outcome(broker.response(begun, { response: { data: { secret: "withheld" } } }))).toBe("audit");
    expect(await outcome(serve(broker))).toBe("kept");
  });

  test("a response whose request entry is in a log that was closed since is refused", async () => {
    const broker = await openBroker([new Probe("a")]);
    const begun = broker.request(exchangeOf());
    await broker.close();
    const probe = new Probe("b");
    await broker.open({ devices: [{ device: probe, required: false }], hashKey });
    expect(await outcome(broker.response(begun, { response: {} }))).toBe("audit");
    await turns();
    expect(probe.lines).toHaveLength(0);
  });

  test("memory is bounded: what no device keeps is refused at once beyond the limit", async () => {
    const probe = new Probe("a");
    probe.mode = "hang";
    // How much is gathered beyond the limit depends on the time that turns take.
    const broker = await openBroker([probe], { bounds: { spare: 1000, most: 20_000 }, steady: () => 0 });
    const results: Promise<string>[] = [];
    for (let turn = 0; turn < 100; turn++) {
      results.push(outcome(serve(broker)));
      await turns(1);
    }
    const settled = await Promise.race([Promise.all(results.slice(60)), turns().then(() => null)]);
    expect(new Set(settled)).toEqual(new Set(["audit"]));
    probe.release();
    await hand.move(1000);
    expect(await outcome(serve(broker))).toBe("kept");
    expect(await sound(probe)).toMatchObject({ ok: true });
    expect(probe.lines.length).toBeLessThan(80);
  });

  test("an entry that cannot be written is an `audit` error", async () => {
    const broker = await openBroker([new Probe("a")]);
    const exchange = exchangeOf({
      get trap(): string {
        throw new TypeError("no");
      },
    });
    const begun = broker.request(exchange);
    expect(await outcome(begun.kept)).toBe("audit");
    await expect(broker.response(begun, { response: {} })).rejects.toThrow(VaultError);
  });
});

describe("closing", () => {
  test("entries under way are kept, later ones refused, and a device that hangs does not hold it up for ever", async () => {
    const [good, hanging] = [new Probe("good"), new Probe("hanging")];
    hanging.mode = "hang";
    const broker = await openBroker([good, hanging]);
    const served = outcome(serve(broker));
    const closed = broker.close();
    expect(await outcome(serve(broker))).toBe("audit");
    await hand.move(3 * deadlineMs);
    await closed;
    expect(await served).toBe("kept");
    expect(good.closed).toBe(true);
  });
});

describe("what is in it", () => {
  test("hash is HMAC-SHA-256 under the vault's key, as sys/audit-hash gives it", async () => {
    const broker = await openBroker([new Probe("a")]);
    for (const text of ["", "x", "hvs.abc", "ü€😀", "\ud800", "y".repeat(10_000)]) {
      expect(broker.hash(text)).toBe(`hmac-sha256:${createHmac("sha256", rawKey).update(text).digest("hex")}`);
    }
  });

  test("reconciles and events are entries of the same chain", async () => {
    const probe = new Probe("a");
    const broker = await openBroker([probe]);
    await broker.event("unseal", { epoch: 3 });
    await broker.reconcile({ commit: "a".repeat(40), result: "applied" });
    await serve(broker);
    expect(probe.entries.slice(0, 2)).toMatchObject([
      { seq: 1, type: "event", event: { name: "unseal", epoch: 3 } },
      { seq: 2, type: "reconcile", reconcile: { commit: "a".repeat(40), result: "applied" } },
    ]);
    expect(await sound(probe)).toMatchObject({ ok: true, count: 4 });
  });
});
