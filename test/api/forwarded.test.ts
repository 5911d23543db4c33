// Whose address counts: the peer's, or the one that a configured proxy names.

import { expect, it } from "vitest";
import { compileCidrs } from "../../src/lib/cidr.ts";
import { requestText, start, Wire } from "./fixture.ts";

const proxies = compileCidrs(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);

async function seenFrom(headers: string[], isProxy = proxies) {
  const { port, seen } = await start({ listen: { isProxy } });
  const wire = new Wire(port);
  await wire.send(requestText("GET /v1/a", headers));
  const answer = await wire.answer();
  return { status: answer?.status, connection: seen[0]?.connection };
}

it.each([
  ["203.0.113.7", "203.0.113.7"],
  ["203.0.113.7:4711", "203.0.113.7"],
  ["::ffff:203.0.113.7", "203.0.113.7"],
  ["::FFFF:CB00:7107", "203.0.113.7"],
  ["[2001:DB9:0:0::1]:4711", "2001:db9::1"],
  ["1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"],
  ["1.1.1.1,203.0.113.7,2001:db8::5", "203.0.113.7"],
  ["10.9.9.9, 10.1.2.3", "10.9.9.9"],
  ["127.0.0.1", "127.0.0.1"],
])("X-Forwarded-For: %s names %s, who is not local", async (header, address) => {
  expect(await seenFrom([`X-Forwarded-For: ${header}`])).toEqual({
    status: 200,
    connection: { remoteAddress: address, remotePort: 0, local: false },
  });
});

it("several headers are one list", async () => {
  const { connection } = await seenFrom([
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-For: 10.0.0.1",
  ]);
  expect(connection?.remoteAddress).toBe("203.0.113.7");
});

it.each([
  [[]],
  [["X-Forwarded-For:"]],
  [["X-Forwarded-For: unknown"]],
  [["X-Forwarded-For: 203.0.113.7, secret"]],
  [["X-Forwarded-For: 203.0.113.7,"]],
])("a proxy that does not say who asks is refused: %j", async (headers) => {
  expect(await seenFrom(headers)).toEqual({ status: 400, connection: undefined });
});

it("from anybody else the header means nothing", async () => {
  const others = compileCidrs(["10.0.0.0/8"]);
  for (const isProxy of [others, null]) {
    const { status, connection } = await seenFrom(["X-Forwarded-For: 203.0.113.7"], isProxy);
    expect([status, connection?.remoteAddress, connection?.local]).toEqual([200, "127.0.0.1", true]);
  }
});

it("a proxy may not initialise the vault, wherever it runs", async () => {
  const { port } = await start({ listen: { isProxy: proxies } });
  const wire = new Wire(port);
  await wire.send(requestText("POST /v1/sys/init", ["X-Forwarded-For: 127.0.0.1", "Content-Length: 2"], "{}"));
  expect((await wire.answer())?.status).toBe(403);
});
