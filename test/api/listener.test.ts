import { createServer as createNet } from "node:net";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Delivery } from "../../src/api/app.ts";
import { isLocal, parsePlace } from "../../src/lib/address.ts";
import { errorsOf, exchange, requestText, start, Wire } from "./fixture.ts";

describe("addresses", () => {
  it.each([
    ["127.0.0.1:8200", true],
    ["127.1.2.3:0", true],
    ["[::1]:8200", true],
    ["[0:0:0:0:0:0:0:1]:8200", true],
    ["[::ffff:127.0.0.1]:8200", true],
    ["/run/writ.sock", true],
    ["unix:/run/writ.sock", true],
    ["0.0.0.0:8200", false],
    ["[::]:8200", false],
    ["10.0.0.1:8200", false],
    ["128.0.0.1:1", false],
    ["[::2]:8200", false],
    ["[1::1]:8200", false],
    ["[::ffff:10.0.0.1]:8200", false],
  ])("%s is loopback: %s", (address, loopback) => expect(isLocal(parsePlace(address))).toBe(loopback));

  it.each([
    "",
    "localhost:8200",
    "127.0.0.1",
    "127.0.0.1:99999",
    "127.1:8200",
    "::1:8200",
    "[127.0.0.1]:8200",
    "http://127.0.0.1:8200",
    ":8200",
    "run/writ.sock",
  ])("%j is none", (address) => expect(() => parsePlace(address)).toThrow("listen address"));
});

describe("limits", () => {
  const status = async (port: number, text: string): Promise<number | undefined> => {
    const wire = new Wire(port);
    await wire.send(text);
    const answer = await wire.answer();
    if (answer !== null && answer.status >= 400)
      expect([errorsOf(answer), answer.headers["cache-control"]]).toEqual([[expect.any(String)], "no-store"]);
    return answer?.status;
  };

  it("of headers", async () => {
    const { port, seen } = await start();
    expect(await status(port, requestText("GET /v1/a", [`X-Long: ${"x".repeat(15_000)}`]))).toBe(200);
    expect(await status(port, requestText("GET /v1/a", [`X-Long: ${"x".repeat(17_000)}`]))).toBe(431);
    expect(await status(port, requestText(`GET /v1/${"a".repeat(17_000)}`))).toBe(431);
    expect(await status(port, requestText("LIST /v1/a", [`X-Long: ${"x".repeat(17_000)}`]))).toBe(431);
    expect(seen).toHaveLength(1);
  });

  it("of the number of headers: none is left out unseen", async () => {
    const { port, seen } = await start();
    const some = (count: number): string[] => Array.from({ length: count }, (_, n) => `a${n}: b`);
    expect(await status(port, requestText("GET /v1/a", some(199)))).toBe(200);
    expect(await status(port, requestText("GET /v1/a", some(200)))).toBe(431);
    expect(await status(port, requestText("GET /v1/a", [...Array<string>(2400).fill("a:"), "X-Vault-Token: t"]))).toBe(
      431,
    );
    expect(seen).toHaveLength(1);
  });

  it.each([
    ["two lengths", ["Content-Length: 4", "Content-Length: 5"]],
    ["length and encoding", ["Content-Length: 4", "Transfer-Encoding: chunked"]],
    ["encoding that does not end chunked", ["Transfer-Encoding: chunked, gzip"]],
    ["unknown encoding", ["Transfer-Encoding: xchunked"]],
    ["folded header", ["Content-Length: 4", " 5"]],
    ["space before the colon", ["Content-Length : 4"]],
    ["negative length", ["Content-Length: -4"]],
    ["length in hex", ["Content-Length: 0x4"]],
  ])("%s: refused, and nothing behind it is read", async (_name, headers) => {
    const { port, seen } = await start();
    for (const method of ["POST", "LIST"]) {
      const wire = new Wire(port);
      await wire.send(requestText(`${method} /v1/a`, headers, `0\r\n\r\n${requestText("GET /v1/smuggled")}`));
      expect((await wire.answer())?.status, method).toBe(400);
      expect(await wire.closed()).toBe("");
    }
    expect(seen).toEqual([]);
  });

  it("a body that is encoded beside its chunks is refused unread", async () => {
    const { port, seen } = await start();
    const statuses = async (coding: string) => {
      const each = ["POST", "GET", "DELETE", "LIST"].map(async (method) => {
        const wire = new Wire(port);
        await wire.send(requestText(`${method} /v1/a`, [`Transfer-Encoding: ${coding}`], "2\r\n{}\r\n0\r\n\r\n"));
        const answer = await wire.answer();
        wire.socket.destroy();
        return answer?.status;
      });
      return [...new Set(await Promise.all(each))];
    };
    expect(await statuses("gzip, chunked")).toEqual([415]);
    expect(seen).toEqual([]);
    expect(await statuses("Chunked")).toEqual([200]);
  });

  it.each([
    ["none", "GET /v1/a HTTP/1.1\r\n\r\n"],
    ["none, LIST", "LIST /v1/a HTTP/1.1\r\n\r\n"],
    ["an empty one", "GET /v1/a HTTP/1.1\r\nHost:\r\n\r\n"],
    ["a malformed one", "GET /v1/a HTTP/1.1\r\nHost: a/b@c\r\n\r\n"],
    ["one of two", "GET /v1/a HTTP/1.1\r\nHost: a\r\nX-A: b\r\nHOST: b\r\n\r\n"],
    ["one of two, LIST", "LIST /v1/a HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"],
  ])("a request needs a host: %s", async (_name, text) => {
    const { port, seen } = await start();
    const wire = new Wire(port);
    await wire.send(text);
    expect((await wire.answer())?.status).toBe(400);
    expect(seen).toEqual([]);
  });

  it("of bodies, before they are read where the length is told", async () => {
    const { port, seen } = await start({ limits: { bodyBytes: 1000 } });
    expect((await exchange(port, "POST /v1/a", [], JSON.stringify({ a: "x".repeat(990) }))).status).toBe(200);
    expect((await exchange(port, "POST /v1/a", [], JSON.stringify({ a: "x".repeat(993) }))).status).toBe(413);
    for (const method of ["POST", "GET", "DELETE", "LIST"]) {
      const wire = new Wire(port);
      await wire.send(requestText(`${method} /v1/a`, [`Content-Length: ${10 ** 12}`]));
      const answer = await wire.answer();
      expect([answer?.status, answer?.headers["connection"]], method).toEqual([413, "close"]);
      wire.socket.destroy();
    }
    expect(seen).toHaveLength(1);
  });

  it("of bodies, in the middle where it is not; then the connection ends without reading on for ever", async () => {
    const { port, seen } = await start({ limits: { bodyBytes: 1000, lingerBytes: 100_000, lingerTimeout: 5000 } });
    const wire = new Wire(port);
    await wire.send(requestText("POST /v1/a", ["Transfer-Encoding: chunked"], `3e8\r\n${"x".repeat(1000)}\r\n1\r\n`));
    await wire.send("y");
    expect((await wire.answer())?.status).toBe(413);
    let sent = 0;
    while (!wire.socket.destroyed && sent < 64 * 1024 * 1024) {
      await wire.send(`\r\n10000\r\n${"x".repeat(65_536)}`);
      sent += 65_536;
    }
    expect(wire.socket.destroyed).toBe(true);
    expect(seen).toEqual([]);
  });

  it("of bodies: what comes malformed behind an answer is not answered", async () => {
    const { port } = await start({ limits: { bodyBytes: 10, lingerTimeout: 5000 } });
    const wire = new Wire(port);
    await wire.send(requestText("POST /v1/a", ["Transfer-Encoding: chunked"], `b\r\n${"x".repeat(11)}`));
    expect((await wire.answer())?.status).toBe(413);
    await wire.send("\r\nzz\r\n");
    expect(await wire.closed()).toBe("");
  });

  it("tell a client that asks before it sends", async () => {
    const { port, seen } = await start({ limits: { bodyBytes: 1000 } });
    const wire = new Wire(port);
    await wire.send(requestText("POST /v1/a", ["Content-Length: 7", "Expect: 100-continue"]));
    expect((await wire.answer())?.status).toBe(100);
    await wire.send('{"a":1}');
    expect((await wire.answer())?.status).toBe(200);
    expect(seen[0]?.data).toEqual({ a: 1 });
    const large = new Wire(port);
    await large.send(requestText("POST /v1/a", ["Content-Length: 7000", "Expect: 100-continue"]));
    expect((await large.answer())?.status).toBe(413);
    expect((await exchange(port, "POST /v1/a", ["Expect: miracle"])).status).toBe(417);
  });

  it("of time: slow headers, a slow body, a slow chunk", async () => {
    const { port, seen } = await start({ limits: { headersTimeout: 60, requestTimeout: 120 } });
    for (const text of [
      "GET /v1/a HT",
      requestText("POST /v1/a", ["Content-Length: 9"], "{"),
      requestText("POST /v1/a", ["Transfer-Encoding: chunked"], "5\r\n{"),
    ]) {
      const wire = new Wire(port);
      await wire.send(text);
      expect((await wire.answer())?.status).toBe(408);
      expect(await wire.closed()).toBe("");
    }
    expect(seen).toEqual([]);
  });

  it("of idle connections", async () => {
    const { port } = await start({ limits: { keepAliveTimeout: 30 } });
    const wire = new Wire(port);
    await wire.send(requestText("LIST /v1/a"));
    expect((await wire.answer())?.status).toBe(200);
    expect(await wire.closed()).toBe("");
  });

  it("of connections", async () => {
    const { port, logged } = await start({ limits: { connections: 2 } });
    const wires = [new Wire(port), new Wire(port)];
    for (const wire of wires) {
      await wire.send(requestText("GET /v1/a"));
      expect((await wire.answer())?.status).toBe(200);
    }
    const third = new Wire(port);
    await third.closed();
    expect(logged.join("")).toContain("too many");
    await wires[0]?.send(requestText("LIST /v1/a"));
    expect((await wires[0]?.answer())?.status).toBe(200);
  });
});

describe("many requests on one connection", () => {
  const post = requestText("POST /v1/a", ["Content-Length: 2"], "{}");

  it("run some at a time, also with bodies; then the connection ends", async () => {
    const held: (() => void)[] = [];
    const handle = async (): Promise<object> => {
      await new Promise<void>((resolve) => held.push(resolve));
      return {};
    };
    const { port, seen } = await start({ handle });
    const wire = new Wire(port);
    await wire.send(post.repeat(700));
    while (seen.length < 16) await new Promise(setImmediate);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(seen).toHaveLength(16);
    for (const go of held) go();
    for (let n = 0; n < 16; n++) expect((await wire.answer())?.status).toBe(204);
    const refused = await wire.answer();
    expect([refused?.status, refused?.headers["connection"]]).toEqual([429, "close"]);
    expect(await wire.closed()).toBe("");
  });

  it("may go on for ever where never more than a few are unanswered", async () => {
    const held: (() => void)[] = [];
    const handle = async (): Promise<object> => {
      await new Promise<void>((resolve) => held.push(resolve));
      return {};
    };
    const { port } = await start({ handle });
    const wire = new Wire(port);
    await wire.send(post);
    for (let n = 0; n < 40; n++) {
      await wire.send(post);
      while (held.length < n + 2) await new Promise(setImmediate);
      held[n]?.();
      expect((await wire.answer())?.status).toBe(204);
    }
    wire.socket.destroy();
  });
});

describe("closing", () => {
  it("lets a request end, and takes no new connection", async () => {
    let finish = (): void => {};
    const { port, listener, seen } = await start({
      handle: async () => {
        await new Promise<void>((resolve) => (finish = resolve));
        return { data: { a: 1 } };
      },
    });
    const idle = new Wire(port);
    await idle.send(requestText("GET /v1/sys/health"));
    expect((await idle.answer())?.status).toBe(200);
    const wire = new Wire(port);
    await wire.send(requestText("GET /v1/a"));
    while (seen.length === 0) await new Promise(setImmediate);
    const closed = listener.close(10_000);
    await idle.closed();
    expect(await new Wire(port).closed()).toBe("");
    finish();
    expect((await wire.answer())?.status).toBe(200);
    await closed;
  });

  it("cuts off what takes longer than the grace", async () => {
    const { port, listener, seen } = await start({ handle: () => new Promise(() => {}) });
    const wire = new Wire(port);
    await wire.send(requestText("GET /v1/a") + requestText("LIST /v1/a"));
    while (seen.length === 0) await new Promise(setImmediate);
    await listener.close(30);
    expect(await wire.closed()).toBe("");
  });
});

describe("a unix socket", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "writ-api-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("is its owner's alone, and local", async () => {
    const path = join(folder, "a.sock");
    const mask = process.umask();
    const { seen, address } = await start({ listen: { address: `unix:${path}` } });
    expect(address).toBe(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(mask);
    expect((await exchange(path, "LIST /v1/a")).status).toBe(200);
    expect(seen[0]?.connection).toEqual({ remoteAddress: "", remotePort: 0, local: true });
  });

  it("replaces what a killed process left, and nothing that lives or is no socket", async () => {
    const stale = join(folder, "stale.sock");
    const killed = spawnSync(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    expect([killed.signal, (await stat(stale)).isSocket()]).toEqual(["SIGKILL", true]);
    await start({ listen: { address: stale } });
    const living = join(folder, "living.sock");
    const other = createNet().listen(living);
    await new Promise((resolve) => other.once("listening", resolve));
    await expect(start({ listen: { address: living } })).rejects.toThrow("EADDRINUSE");
    other.close();
    const file = join(folder, "file");
    await writeFile(file, "kept");
    await expect(start({ listen: { address: file } })).rejects.toThrow("EADDRINUSE");
    expect((await stat(file)).isFile()).toBe(true);
  });

  it("or a port that is taken is an error", async () => {
    const { address } = await start();
    await expect(start({ listen: { address } })).rejects.toThrow("EADDRINUSE");
  });
});

describe("the webhook", () => {
  const receiving = async (purpose: "api" | "webhook", maxBytes = 1000) => {
    const deliveries: Delivery[] = [];
    const server = await start({
      app: {
        webhook: {
          maxBytes,
          receive: async (delivery) => {
            deliveries.push(delivery);
            if (delivery.body.length === 3) throw new Error("s3cret");
            return delivery.method === "POST"
              ? { status: 202, message: "queued" }
              : { status: 405, message: "POST only" };
          },
        },
      },
      listen: { purpose },
    });
    return { ...server, deliveries };
  };

  it.each(["api", "webhook"] as const)("gets the raw body on a listener for the %s", async (purpose) => {
    const { port, deliveries, seen } = await receiving(purpose);
    const answer = await exchange(
      port,
      "POST /v1/sys/gitops/webhook?x=1",
      ["X-Hub-Signature-256: sha256=00"],
      '{ "a" : 1 }\n',
    );
    expect([answer.status, answer.body]).toEqual([202, '{"message":"queued"}\n']);
    expect(Buffer.from(deliveries[0]?.body ?? []).toString()).toBe('{ "a" : 1 }\n');
    expect(deliveries[0]?.headers["x-hub-signature-256"]).toBe("sha256=00");
    const get = await exchange(port, "GET /v1/sys/gitops/webhook");
    expect([get.status, errorsOf(get)]).toEqual([405, ["POST only"]]);
    const failed = await exchange(port, "POST /v1/sys/gitops/webhook", [], "abc");
    expect([failed.status, failed.body.includes("s3cret")]).toEqual([500, false]);
    expect(seen).toEqual([]);
  });

  it("has a limit of its own", async () => {
    const { port, deliveries } = await receiving("api", 10);
    expect((await exchange(port, "POST /v1/sys/gitops/webhook", [], "x".repeat(11))).status).toBe(413);
    const wire = new Wire(port);
    await wire.send(
      requestText("POST /v1/sys/gitops/webhook", ["Transfer-Encoding: chunked"], `b\r\n${"x".repeat(11)}`),
    );
    expect((await wire.answer())?.status).toBe(413);
    expect(deliveries).toEqual([]);
  });

  it("listener serves nothing else", async () => {
    const { port, deliveries, seen } = await receiving("webhook");
    for (const line of [
      "GET /v1/sys/health",
      "GET /",
      "POST /v1/sys/unseal",
      "LIST /v1/a",
      "GET /v1/sys/gitops/status",
      "POST /v1/sys/gitops/webhook/",
      "POST /v1/sys//gitops/webhook",
      "POST /v1/sys/gitops/%77ebhook",
      "POST /v1/sys/gitops/webhook/../../../a",
      "GET http://writ/v1/a",
      "HEAD /v1/sys/health",
    ]) {
      const answer = await exchange(port, line);
      expect(answer.status, line).toBe(404);
    }
    expect([deliveries, seen]).toEqual([[], []]);
  });

  it("is no route where there is none", async () => {
    const { port, seen } = await start();
    await exchange(port, "POST /v1/sys/gitops/webhook", [], "{}");
    expect(seen[0]?.path).toBe("sys/gitops/webhook");
  });
});
