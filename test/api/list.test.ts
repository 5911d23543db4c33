import { createServer as createTls } from "node:https";
import { connect as connectTls } from "node:tls";
import { describe, expect, it } from "vitest";
import { defaultLimits } from "../../src/api/limits.ts";
import { Incoming, methodOf, recoverMethods } from "../../src/api/list.ts";
import type { Response } from "../../src/sdk/request.ts";
import { type Answered, addressPort, errorsOf, requestText, start, Wire } from "./fixture.ts";

interface Told {
  readonly path: string;
  readonly operation: string;
}
const told = (answer: Answered | null): Told => (JSON.parse(answer?.body ?? "null") as { data: Told }).data;
const list = requestText("LIST /v1/secret/metadata/app");

describe("LIST and SCAN", () => {
  it("come through the door as operations", async () => {
    const { port, seen } = await start();
    const wire = new Wire(port);
    await wire.send(requestText("LIST /v1/secret/metadata/app?after=a&limit=2", ["X-Vault-Token: t"]));
    expect(told(await wire.answer())).toEqual({ path: "secret/metadata/app/", operation: "list" });
    await wire.send(requestText("SCAN /v1/secret/metadata/app/"));
    expect(told(await wire.answer())).toEqual({ path: "secret/metadata/app/", operation: "scan" });
    expect(seen[0]).toMatchObject({ token: "t", data: { after: "a", limit: "2" } });
  });

  it.each(["LIST", "SCAN"])("%s may be cut anywhere, at first and on a kept connection", async (method) => {
    const { port } = await start();
    const text = requestText(`${method} /v1/a/b`);
    for (let cut = 1; cut < text.length; cut++) {
      const wire = new Wire(port);
      await wire.pieces(text.slice(0, cut), text.slice(cut));
      expect(told(await wire.answer()), `cut at ${cut}`).toEqual({ path: "a/b/", operation: method.toLowerCase() });
      await wire.pieces(text.slice(0, cut), text.slice(cut) + requestText("GET /v1/c"));
      expect(told(await wire.answer()).operation).toBe(method.toLowerCase());
      expect(told(await wire.answer())).toEqual({ path: "c", operation: "read" });
      wire.socket.destroy();
    }
  });

  it("may come byte by byte", async () => {
    const { port } = await start();
    const wire = new Wire(port);
    await wire.pieces(...Array.from(list.repeat(2)));
    expect(told(await wire.answer()).operation).toBe("list");
    expect(told(await wire.answer()).operation).toBe("list");
  });

  it("answers 400 mixed requests on one connection in their order, in whatever packets", async () => {
    const { port } = await start({
      // Answers come out of turn, as they would from storage.
      handle: async (request) => {
        for (let turn = request.path.length % 7; turn > 0; turn--) await new Promise(setImmediate);
        return { data: { path: request.path, operation: request.operation, sent: request.data["sent"] ?? null } };
      },
    });
    const wire = new Wire(port);
    const expected: unknown[] = [];
    let text = "";
    for (let n = 0; n < 400; n++) {
      const path = `m/${"x".repeat(n % 11)}${n}`;
      if (n % 5 === 0 || n % 7 === 0) {
        text += requestText(`LIST /v1/${path}`);
        expected.push({ path: `${path}/`, operation: "list", sent: null });
      } else if (n % 13 === 0) {
        text += requestText(`SCAN /v1/${path}`);
        expected.push({ path: `${path}/`, operation: "scan", sent: null });
      } else if (n % 3 === 0) {
        const body = JSON.stringify({ sent: `LIST /v1/${n}` });
        text += requestText(`POST /v1/${path}`, [`Content-Length: ${body.length}`], body);
        expected.push({ path, operation: "update", sent: `LIST /v1/${n}` });
      } else {
        text += requestText(`GET /v1/${path}`);
        expected.push({ path, operation: "read", sent: null });
      }
    }
    const answers: unknown[] = [];
    const reading = (async () => {
      for (let n = 0; n < 400; n++)
        answers.push((JSON.parse((await wire.answer())?.body ?? "{}") as { data?: unknown }).data);
    })();
    for (let at = 0, size = 1; at < text.length; at += size, size = (size * 7 + 3) % 997) {
      await wire.send(text.slice(at, at + Math.max(1, size)));
      if (size === 0) size = 1;
    }
    await reading;
    expect(answers).toEqual(expected);
  });

  it("waits behind requests that are not answered yet", async () => {
    const held: (() => void)[] = [];
    const { port, seen } = await start({
      limits: { headersTimeout: 1_000, requestTimeout: 2_000 },
      handle: async (request): Promise<Response> => {
        if (request.path.startsWith("slow")) await new Promise<void>((resolve) => held.push(resolve));
        return { data: { path: request.path, operation: request.operation } };
      },
    });
    const wire = new Wire(port);
    await wire.send(
      requestText("GET /v1/slow/1") + requestText("GET /v1/slow/2") + list + list + requestText("GET /v1/last"),
    );
    while (held.length < 2) await new Promise(setImmediate);
    // Longer than the timeout for headers, which the dead parser still would be under.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(seen.map((request) => request.path)).toEqual(["slow/1", "slow/2"]);
    held[1]?.();
    await wire.send(requestText("GET /v1/very/last"));
    held[0]?.();
    const paths: string[] = [];
    for (let n = 0; n < 6; n++) paths.push(told(await wire.answer()).path);
    expect(paths).toEqual(["slow/1", "slow/2", "secret/metadata/app/", "secret/metadata/app/", "last", "very/last"]);
  });

  it("takes bodies, and reads the bodies that follow unharmed", async () => {
    const { port, seen } = await start();
    const wire = new Wire(port);
    const body = JSON.stringify({ value: "v".repeat(70_000) });
    const post = requestText("POST /v1/kv/x", [`Content-Length: ${body.length}`], body);
    const chunked = requestText("LIST /v1/a", ["Transfer-Encoding: chunked"], "5\r\nLIST \r\n0\r\n\r\n");
    await wire.send(requestText("LIST /v1/a", ["Content-Length: 5"], "LIST ") + chunked + post);
    await wire.send(post);
    for (let n = 0; n < 4; n++) expect((await wire.answer())?.status).toBe(200);
    expect(seen.map((request) => request.operation)).toEqual(["list", "list", "update", "update"]);
    expect(seen[2]?.data).toEqual({ value: "v".repeat(70_000) });
    expect(seen[3]?.data).toEqual(seen[2]?.data);
  });

  it("waits behind a request whose body is still being read, while more comes", async () => {
    let finish = (): void => {};
    const { port, seen } = await start({
      handle: async ({ path, operation }) => {
        if (path === "slow") await new Promise<void>((resolve) => (finish = resolve));
        return { data: { path, operation } };
      },
    });
    const wire = new Wire(port);
    const body = JSON.stringify({ value: "v".repeat(200_000) });
    const post = requestText("POST /v1/slow", [`Content-Length: ${body.length}`], body);
    await wire.pieces(
      post.slice(0, 300),
      post.slice(300) + requestText("LIST /v1/1"),
      requestText("GET /v1/2"),
      requestText("LIST /v1/3"),
    );
    while (seen.length === 0) await new Promise(setImmediate);
    await wire.pieces(requestText("GET /v1/4"), "LI", "ST", " /v1/5 HTTP/1.1\r\nHost: a\r\n\r\n");
    finish();
    const answers: string[] = [];
    for (let n = 0; n < 6; n++) answers.push(told(await wire.answer()).path);
    expect(answers).toEqual(["slow", "1/", "2", "3/", "4", "5/"]);
  });

  it("waits behind answers that the client is slow to take, while more comes", async () => {
    const { port } = await start({
      handle: async ({ path, operation }) => ({ data: { path, operation, filling: "f".repeat(100_000) } }),
    });
    const wire = new Wire(port);
    wire.socket.pause();
    const get = (n: number): string => requestText(`GET /v1/${n}`);
    await wire.pieces(Array.from({ length: 60 }, (_, n) => get(n)).join("") + requestText("LIST /v1/60"));
    const later =
      get(61) + requestText("LIST /v1/62") + requestText("POST /v1/63", ["Content-Length: 2"], "{}") + get(64);
    await wire.pieces(...(later.match(/[^]{1,25}/g) ?? []));
    wire.socket.resume();
    const paths: string[] = [];
    for (let n = 0; n < 65; n++) paths.push(told(await wire.answer()).path);
    expect(paths).toEqual(Array.from({ length: 65 }, (_, n) => (n === 60 || n === 62 ? `${n}/` : `${n}`)));
  });

  it("leaves nothing of the old parser behind: no timeout, no listener", async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warn);
    const { port } = await start({ limits: { headersTimeout: 1_000, requestTimeout: 2_000 } });
    const wire = new Wire(port);
    for (let n = 0; n < 30; n++) {
      await wire.send(list);
      expect((await wire.answer())?.status).toBe(200);
    }
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await wire.send(requestText("GET /v1/a"));
    expect((await wire.answer())?.status).toBe(200);
    process.off("warning", warn);
    expect(warnings).toEqual([]);
  });

  it("gives its method to no other message", async () => {
    const { port, seen } = await start();
    // A request that Node answers by itself must not leave the mark to the next one.
    for (const headers of [["Expect: something"], ["Expect: 100-continue"]]) {
      const wire = new Wire(port);
      await wire.send(requestText("LIST /v1/a", headers));
      await wire.answer();
      await wire.send(requestText("GET /v1/b"));
      await wire.answer();
      wire.socket.destroy();
    }
    const wire = new Wire(port);
    await wire.send(`LIST /v1/a HTTP/1.1\r\n\r\n${requestText("GET /v1/b")}`);
    await wire.closed();
    expect(seen.filter((request) => request.path === "b").every((request) => request.operation === "read")).toBe(true);
    // Whatever headers a client makes up, GET stays GET.
    const marks = ["X-Writ-Method: LIST", "X-Method: LIST", "X-HTTP-Method-Override: LIST", "X-Original-Method: LIST"];
    const other = new Wire(port);
    await other.send(requestText("GET /v1/c", marks));
    expect(told(await other.answer()).operation).toBe("read");
  });

  it.each([
    "list /v1/a",
    "LISTS /v1/a",
    "LIS /v1/a",
    "SCANX /v1/a",
    "FOO /v1/a",
    "LI /v1/a",
    "REST /v1/a",
    "DCAN /v1/a",
    "LIST\t/v1/a",
    "ST /v1/a HTTP/1.1\r\n\r\nLIST /v1/a",
  ])("%j is no method", async (line) => {
    const { port, seen } = await start();
    const wire = new Wire(port);
    await wire.send(requestText("GET /v1/first") + requestText(line) + requestText("GET /v1/last"));
    expect((await wire.answer())?.status).toBe(200);
    const answer = await wire.answer();
    expect(answer?.status).toBe(400);
    expect(errorsOf(answer)).toEqual(["the request is not valid HTTP"]);
    expect(await wire.closed()).toBe("");
    expect(seen.map((request) => request.path)).toEqual(["first"]);
  });

  it.each(["L", "LI", "LIS", "LIST", "SC", "LIST /v1/a", "LIST /v1/a HTTP/1.1\r\nHost: a\r\n"])(
    "%j and then nothing ends in a timeout",
    async (text) => {
      const { port } = await start({ limits: { headersTimeout: 60, requestTimeout: 120 } });
      const wire = new Wire(port);
      await wire.send(text);
      expect((await wire.answer())?.status).toBe(408);
      await wire.closed();
    },
  );

  it("cannot be kept waiting by a slow body either", async () => {
    const { port } = await start({ limits: { headersTimeout: 60, requestTimeout: 120 } });
    const wire = new Wire(port);
    await wire.send(requestText("LIST /v1/a", ["Content-Length: 10"], "x"));
    expect((await wire.answer())?.status).toBe(408);
    await wire.closed();
  });

  it("goes with its socket: half sent, then gone", async () => {
    const { port, listener } = await start();
    for (const text of ["LIS", "LIST /v1/", requestText("GET /v1/a") + "LIS"]) {
      const wire = new Wire(port);
      await wire.pieces(text);
      wire.socket.destroy();
    }
    const half = new Wire(port);
    await half.pieces("LIS");
    half.socket.end();
    expect((await half.answer())?.status).toBe(400);
    const waiting = new Wire(port);
    await waiting.pieces("LIS");
    await listener.close(10);
    expect(await waiting.closed()).toBe("");
  });

  it("works over TLS", async () => {
    // A pre-shared key needs no certificate.
    const psk = Buffer.alloc(32, 7);
    const server = createTls(
      { IncomingMessage: Incoming, ciphers: "PSK", maxVersion: "TLSv1.2", pskCallback: () => psk },
      (incoming, outgoing) => {
        recovery.began(incoming, outgoing);
        outgoing.end(`${methodOf(incoming)} ${incoming.url}`);
      },
    );
    const recovery = recoverMethods(server, defaultLimits);
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const socket = connectTls({
      port: addressPort(server.address()),
      host: "127.0.0.1",
      ciphers: "PSK",
      maxVersion: "TLSv1.2",
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk, identity: "test" }),
    });
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.write(requestText("GET /1") + requestText("LIST /2") + requestText("LIST /3"));
    socket.write(requestText("GET /4", ["Connection: close"]));
    await new Promise((resolve) => socket.once("close", resolve));
    server.close();
    expect(text.match(/(GET|LIST) \/\d/g)).toEqual(["GET /1", "LIST /2", "LIST /3", "GET /4"]);
  });
});
