// What bodies may cost together: who may send a large one, whose turn it is, and what is read at once.

import { constants, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { collect } from "../../src/lib/collect.ts";
import { errorsOf, exchange, requestText, start, type StartOptions, until, Wire } from "./fixture.ts";

const limits = {
  strangerBytes: 1_000,
  largeBytes: 5_000,
  heldBytes: 20_000,
  smallBytes: 1_000,
  smallHeldBytes: 10_000,
  turnTimeout: 300,
  turnPause: 20,
};
const body = (size: number): string => JSON.stringify({ a: "x".repeat(size) });
const head = (size: number, token = "t"): string =>
  requestText("POST /v1/a", [`X-Vault-Token: ${token}`, `Content-Length: ${body(size).length}`]);
const chunked = (size: number): string => {
  const half = body(size).length >> 1;
  const parts = [body(size).slice(0, half), body(size).slice(half)].map(
    (part) => `${part.length.toString(16)}\r\n${part}\r\n`,
  );
  return requestText("POST /v1/a", ["X-Vault-Token: t", "Transfer-Encoding: chunked"], `${parts.join("")}0\r\n\r\n`);
};
const open = (options: StartOptions = {}) => start({ limits, ...options });
const settled = (): Promise<void> => pause(50);

async function send(port: number, text: string): Promise<Wire> {
  const wire = new Wire(port);
  await wire.send(text);
  return wire;
}

it.each([
  ["told", (size: number) => head(size) + body(size)],
  ["not told", chunked],
])("a stranger sends no more than little, whether its length is %s", async (_name, text) => {
  const { port, seen } = await open({ door: { knows: async () => false } });
  expect((await (await send(port, text(900))).answer())?.status).toBe(200);
  for (const size of [1_100, 6_000]) {
    const answer = await (await send(port, text(size))).answer();
    expect([answer?.status, errorsOf(answer)]).toEqual([413, [expect.stringContaining("no valid token")]]);
  }
  expect(seen).toHaveLength(1);
});

it.each([
  ["told", (size: number) => head(size) + body(size)],
  ["not told", chunked],
])("whoever has a valid token sends more, whole, where its length is %s", async (_name, text) => {
  const asked: unknown[] = [];
  const knows = async ({ token }: { token: string | null }): Promise<boolean> => asked.push(token) > 0;
  const { port, seen } = await open({ door: { knows } });
  for (const size of [900, 1_100, 6_000, 9_000]) {
    expect((await (await send(port, text(size))).answer())?.status).toBe(200);
    expect(seen.at(-1)?.data).toEqual({ a: "x".repeat(size) });
  }
  expect(asked).toEqual(["t", "t", "t"]);
});

it("large ones are taken one at a time, others meanwhile", async () => {
  const held: (() => void)[] = [];
  const handle = async (): Promise<object> => {
    if (held.length < 2) await new Promise<void>((resolve) => held.push(resolve));
    return {};
  };
  const { port, seen } = await open({ handle, limits: { ...limits, turnTimeout: 100_000 } });
  const wires = [];
  for (let n = 0; n < 3; n++) wires.push(await send(port, head(6_000) + body(6_000)));
  // One that goes away while it waits keeps nobody up.
  await until(() => seen.length > 0);
  wires[1]?.socket.destroy();
  await settled();
  expect(seen).toHaveLength(1);
  await send(port, head(4_000) + body(4_000));
  await until(() => seen.length > 1);
  expect(seen).toHaveLength(2);
  held[0]?.();
  expect((await wires[2]?.answer())?.status).toBe(204);
  held[1]?.();
});

it("who waits for too long is told to come again", async () => {
  const { port, seen } = await open({ handle: () => new Promise(() => {}) });
  await send(port, head(6_000) + body(6_000));
  await until(() => seen.length > 0);
  const answer = await (await send(port, head(6_000) + body(6_000))).answer();
  expect([answer?.status, answer?.headers["retry-after"]]).toEqual([429, "1"]);
});

it("who sends slowly while others wait is cut off, and the next one taken", async () => {
  const { port, seen } = await open({ limits: { ...limits, turnTimeout: 1_500 } });
  const slow = await send(port, head(6_000));
  // It has had its time before anybody waits, so that whoever does has all of his left.
  await pause(1_600);
  const next = await send(port, head(6_000) + body(6_000));
  expect((await slow.answer())?.status).toBe(429);
  expect((await next.answer())?.status).toBe(200);
  expect(seen).toHaveLength(1);
});

it("a slow one alone is left its time", async () => {
  const { port } = await open({ limits: { ...limits, turnTimeout: 50 } });
  const slow = await send(port, head(6_000));
  await pause(200);
  await slow.send(body(6_000));
  expect((await slow.answer())?.status).toBe(200);
});

it("what is read at once is bounded, and free again when a client goes", async () => {
  const { port, seen } = await open();
  const wires = [];
  for (let n = 0; n < 5; n++) wires.push(await send(port, head(4_500) + body(4_500).slice(0, 4_400)));
  const refused = (await Promise.race(wires.map((wire) => wire.answer())))?.status;
  expect(refused).toBe(429);
  for (const wire of wires) wire.socket.destroy();
  await until(async () => (await whole(port, 4_500)) === 200);
  expect(seen).toHaveLength(1);
});

/** Connections whose bodies lack their last byte. */
async function stalled(port: number, count: number, size: number, path = "a"): Promise<Wire[]> {
  const wires = [];
  for (let n = 0; n < count; n++) {
    const length = `Content-Length: ${body(size).length}`;
    const text = requestText(`POST /v1/${path}`, ["X-Vault-Token: t", length]);
    wires.push(await send(port, text + body(size).slice(0, -1)));
  }
  await settled();
  return wires;
}

const whole = async (port: number, size: number): Promise<number | undefined> =>
  (await (await send(port, head(size) + body(size))).answer())?.status;

it.each([
  ["small ones", 400],
  ["larger ones", 900],
])("strangers who stall keep nobody out: of %s the first make room", async (_name, size) => {
  const { port } = await open({ door: { knows: async () => false } });
  const [first] = await stalled(port, 40, size);
  for (const other of [10, 400, 900]) expect([other, await whole(port, other)]).toEqual([other, 200]);
  const answer = await first?.answer();
  expect([answer?.status, answer?.headers["retry-after"]]).toEqual([429, "1"]);
});

it("nobody who is known is cut off for another; a small body gets in nevertheless", async () => {
  const { port } = await open();
  const wires = await stalled(port, 4, 4_000);
  await until(async () => (await whole(port, 4_000)) === 429);
  expect(await whole(port, 10)).toBe(200);
  for (const wire of wires) {
    await wire.send("}");
    expect((await wire.answer())?.status).toBe(200);
  }
});

it("bodies with shares have room of their own, where the first make room too", async () => {
  const { port } = await start();
  const [first] = await stalled(port, 40, 60_000, "sys/unseal");
  expect((await first?.answer())?.status).toBe(429);
  expect((await exchange(port, "POST /v1/sys/unseal", [], '{"key":"abcd"}')).status).toBe(200);
});

it("a body that comes byte by byte takes no more memory than it counts", async () => {
  const { port } = await start();
  const used = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const text = requestText("POST /v1/a", ["Transfer-Encoding: chunked"], "1\r\nx\r\n".repeat(1_000));
  const wires = [];
  for (let n = 0; n < 200; n++) wires.push(await send(port, text));
  await settled();
  expect(wires.filter(({ socket }) => socket.destroyed)).toEqual([]);
  expect((used() - before) / wires.length).toBeLessThan(64 * 1_024);
});

it("the heap is collected for large bodies that came, and for nothing that was only announced; then others have their time", async () => {
  const forced: number[] = [];
  let ended = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { detail, duration, startTime } = entry as PerformanceEntry & { readonly detail: { flags: number } };
      if (!(detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED)) continue;
      forced.push(duration);
      ended = startTime + duration;
    }
  });
  collect();
  await settled();
  observer.observe({ entryTypes: ["gc"] });
  try {
    const { port, seen } = await start({ limits: { turnPause: 5, stringBytes: 2 ** 25 } });
    for (let n = 0; n < 5; n++) {
      (await send(port, head(9_000_000))).socket.destroy();
      await settled();
    }
    expect(await whole(port, 2_000_000)).toBe(200);
    await settled();
    expect(forced).toEqual([]);
    expect(await whole(port, 9_000_000)).toBe(200);
    expect(await whole(port, 2_000_000)).toBe(200);
    const answered = performance.now();
    await until(() => forced.length > 0);
    expect(answered - ended).toBeGreaterThan(9 * forced.reduce((sum, each) => sum + each, 0));
    expect(seen).toHaveLength(3);
  } finally {
    observer.disconnect();
  }
});
