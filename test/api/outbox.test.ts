// Answers that nobody takes do not stay for ever, and not without a bound.

import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { requestText, start, until } from "./fixture.ts";

/** More than the buffers of both kernels. */
const size = 16 * 1024 * 1024;
const filling = "x".repeat(size);
const handle = async (): Promise<object> => ({ data: { filling } });

/** Asks, and reads nothing yet. */
function ask(port: number): Socket {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  socket.pause();
  socket.write(requestText("GET /v1/a"));
  return socket;
}

/** Reads, and tells whether the whole answer came. */
function whole(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    let got = 0;
    socket.on("data", (chunk: Buffer) => {
      got += chunk.length;
      if (got > size) resolve(true);
    });
    socket.on("close", () => resolve(false));
    socket.resume();
  }).finally(() => socket.destroy()) as Promise<boolean>;
}

it("an answer that is not taken in time ends its connection; one that is taken does not", async () => {
  const { port } = await start({
    handle,
    limits: { untakenBytes: 2 ** 30, untakenTimeout: 4_000, untakenRate: 2 ** 40 },
  });
  const [slow, fine] = [ask(port), ask(port)];
  expect(await whole(fine)).toBe(true);
  await pause(5_000);
  expect(await whole(slow)).toBe(false);
});

it("one that is larger alone than all may be together is taken whole", async () => {
  const { port } = await start({ handle, limits: { untakenBytes: 1024 } });
  expect(await whole(ask(port))).toBe(true);
});

it("where all together are too many bytes, the oldest goes", async () => {
  const { port, seen } = await start({ handle, limits: { untakenBytes: 40 * 1024 * 1024 } });
  const sockets: Socket[] = [];
  for (let n = 0; n < 5; n++) {
    sockets.push(ask(port));
    await until(() => seen.length > n);
    await pause(100);
  }
  const found = await Promise.all(sockets.map(whole));
  expect([found[0], found[4]]).toEqual([false, true]);
});

it("who takes his answer is not cut off for those who take none of theirs", async () => {
  const large = { data: { filling: filling.repeat(2) } };
  const { port, seen } = await start({
    handle: async ({ path }) => (path === "b" ? large : handle()),
    limits: { untakenBytes: 60 * 1024 * 1024 },
  });
  const good = connect(port, "127.0.0.1").on("error", () => {});
  good.pause();
  good.write(requestText("GET /v1/b"));
  let got = 0;
  /** Takes so much more, and not at once. */
  const take = async (bytes: number): Promise<void> => {
    for (const until = got + bytes; got < until && !good.destroyed; await pause(3)) {
      got += (good.read() as Buffer | null)?.length ?? 0;
    }
  };
  /** The server has looked at who takes something, also where this process stood still for a while. */
  const looks = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) await pause(120);
  };
  await until(() => seen.length > 0);
  await looks();
  const idle: Socket[] = [];
  for (let n = 0; n < 4; n++) {
    await take(4 * 1024 * 1024);
    await looks();
    idle.push(ask(port));
    await until(() => seen.length > n + 1);
    await looks();
  }
  await take(2 * size - got);
  expect(got).toBeGreaterThanOrEqual(2 * size);
  for (const socket of [good, ...idle]) socket.destroy();
});
