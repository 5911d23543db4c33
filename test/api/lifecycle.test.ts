import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { lifecycle } from "../../src/api/lifecycle.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { active, errorsOf, exchange, requestText, sealStatus, start, Wire } from "./fixture.ts";

// Unbound on purpose: each is called on the object that its stand-in was called on.
/* eslint-disable typescript/unbound-method */
const originals = {
  push: Readable.prototype.push,
  end: ServerResponse.prototype.end,
  alloc: Buffer.alloc,
  concat: Buffer.concat,
};
/* eslint-enable typescript/unbound-method */
const json = (answer: { readonly body: string } | null): unknown => JSON.parse(answer?.body ?? "null");
const share = Uint8Array.from({ length: 33 }, (_, at) => at * 7 + 200);
const hex = Buffer.from(share).toString("hex");
const base64 = Buffer.from(share).toString("base64");

describe("status calls", () => {
  it("are bare and need no token", async () => {
    const { port, seen } = await start();
    expect(json(await exchange(port, "GET /v1/sys/seal-status"))).toEqual(sealStatus);
    expect(json(await exchange(port, "GET /v1/sys/leader/"))).toEqual({ ha_enabled: false });
    expect(json(await exchange(port, "GET /v1/sys/init"))).toEqual({ initialized: true });
    expect(json(await exchange(port, "GET /v1/sys/health"))).toEqual(active);
    for (const path of ["seal-status", "leader", "health"]) {
      const answer = await exchange(port, `POST /v1/sys/${path}`, [], "{}");
      expect([answer.status, errorsOf(answer)], path).toEqual([405, ["unsupported operation"]]);
      expect((await exchange(port, `LIST /v1/sys/${path}`)).status).toBe(405);
    }
    expect(seen).toEqual([]);
  });

  it("are for these paths alone: the rest, seal too, goes through the door", async () => {
    const { port, seen } = await start();
    for (const path of [
      "sys/seal",
      "sys/health/x",
      "sys/initx",
      "sys/unseal/x",
      "Sys/init",
      "sys/generate-root/attempt",
    ]) {
      await exchange(port, `PUT /v1/${path}`, [], "{}");
      expect(seen.at(-1)?.path).toBe(path);
    }
    // However the path is spelt, it is one route.
    expect(json(await exchange(port, "GET /v1/sys/%73eal-status"))).toEqual(sealStatus);
    expect(seen).toHaveLength(6);
  });

  const states = {
    active: {},
    standby: { standby: true },
    performance: { standby: true, performance_standby: true },
    dr: { replication_dr_mode: "secondary" },
    sealed: { sealed: true, standby: true },
    uninitialized: { initialized: false, sealed: true },
  } as const;
  it.each([
    ["active", "", 200],
    ["active", "?activecode=299", 299],
    ["active", "?activecode=204", 204],
    ["active", "?sealedcode=200&standbyok=true", 200],
    ["standby", "", 429],
    ["standby", "?standbyok=true", 200],
    ["standby", "?standbyok", 429],
    ["standby", "?standbyok=false", 429],
    ["standby", "?standbyok=1&activecode=250", 250],
    ["standby", "?standbycode=503", 503],
    ["performance", "", 473],
    ["performance", "?perfstandbyok=true", 200],
    ["performance", "?performancestandbycode=222", 222],
    ["dr", "", 472],
    ["dr", "?drsecondarycode=201", 201],
    ["sealed", "", 503],
    ["sealed", "?sealedcode=200", 200],
    ["uninitialized", "", 501],
    ["uninitialized", "?uninitcode=200&sealedcode=599", 200],
    ["active", "?activecode=abc", 400],
    ["active", "?sealedcode=99", 400],
    ["active", "?uninitcode=100", 400],
    ["active", "?activecode=600", 400],
    ["active", "?activecode=304", 400],
    ["active", "?activecode=200&activecode=201", 400],
    ["active", "?activecode=", 400],
    ["active", "?standbyok=maybe", 400],
  ] as const)("health of %s with %j is %i, to GET and HEAD", async (state, query, status) => {
    const health = { ...active, ...states[state] };
    const { port } = await start({ door: { health: () => health } });
    const get = await exchange(port, `GET /v1/sys/health${query}`);
    expect(get.status).toBe(status);
    if (status !== 400 && status !== 204) expect(json(get)).toEqual(health);
    const head = await exchange(port, `HEAD /v1/sys/health${query}`);
    expect([head.status, head.headers["content-length"]]).toEqual([status, get.headers["content-length"]]);
  });
});

describe("unseal", () => {
  const unsealing = async () => {
    const given: { share: Uint8Array | null; reset: boolean }[] = [];
    const server = await start({
      door: {
        unseal: async (one, { reset }) => {
          given.push({ share: one, reset });
          return { ...sealStatus, progress: 2 };
        },
      },
    });
    return { ...server, given };
  };

  it.each([
    ["PUT", JSON.stringify({ key: hex })],
    ["POST", JSON.stringify({ key: base64, reset: false, migrate: false, other: [1] })],
    ["POST", JSON.stringify({ key: hex.toUpperCase(), reset: null })],
    ["POST", `{"key":"x","key":"${base64.replaceAll("/", "\\/").replaceAll("+", "\\u002B")}"}`],
  ])("%s %.20s gives the share as bytes", async (method, body) => {
    const { port, given } = await unsealing();
    const answer = await exchange(
      port,
      `${method} /v1/sys/unseal`,
      ["Content-Type: application/x-www-form-urlencoded"],
      body,
    );
    expect([answer.status, json(answer)]).toEqual([200, { ...sealStatus, progress: 2 }]);
    expect(given).toEqual([{ share, reset: false }]);
  });

  it("forgets the attempt with reset", async () => {
    const { port, given } = await unsealing();
    expect((await exchange(port, "PUT /v1/sys/unseal", [], '{"reset":true,"key":""}')).status).toBe(200);
    expect(given).toEqual([{ share: null, reset: true }]);
  });

  it.each([
    "",
    "{}",
    "null",
    '{"key":""}',
    '{"key":5}',
    '{"key":["aa"]}',
    '{"key":"xyz!"}',
    '{"reset":"true"}',
    '{"migrate":true,"key":"aa"}',
    '{"key":"aa"',
    "key=aa",
    `{"key":"${"a".repeat(70_000)}"}`,
  ])("%.40j is refused", async (body) => {
    const { port, given, logged } = await unsealing();
    const answer = await exchange(port, "PUT /v1/sys/unseal", [], body);
    expect(answer.status).toBe(body.length > 65_536 ? 413 : 400);
    expect(answer.body).not.toContain("xyz");
    expect(errorsOf(answer)).toEqual([expect.any(String)]);
    expect([given, logged]).toEqual([[], []]);
  });

  it("is no reading, and not for pages of other origins", async () => {
    const { port, given } = await unsealing();
    expect((await exchange(port, "GET /v1/sys/unseal")).status).toBe(405);
    const body = JSON.stringify({ key: hex });
    for (const origin of ["https://evil.example", "null", "http://writ:81"]) {
      expect((await exchange(port, "PUT /v1/sys/unseal", [`Origin: ${origin}`], body)).status).toBe(403);
    }
    expect(given).toEqual([]);
    expect((await exchange(port, "PUT /v1/sys/unseal", ["Origin: http://writ"], body)).status).toBe(200);
  });

  it("tells what the seal says", async () => {
    const { port } = await start({
      door: { unseal: () => Promise.reject(new VaultError("uninitialized", "server is not yet initialized")) },
    });
    const answer = await exchange(port, "PUT /v1/sys/unseal", [], '{"key":"aa"}');
    expect([answer.status, errorsOf(answer)]).toEqual([400, ["server is not yet initialized"]]);
  });
});

describe("init", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "writ-api-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const initializing = async (options: Parameters<typeof start>[0] = {}) => {
    const asked: unknown[] = [];
    const handed: Uint8Array[] = [];
    const server = await start({
      ...options,
      door: {
        initialize: async (given) => {
          asked.push(given);
          const shares = [share.slice(), share.slice().reverse()];
          handed.push(...shares);
          return { shares, recovery: false, rootToken: "s.root" };
        },
      },
    });
    return { ...server, asked, handed };
  };
  const body =
    '{"secret_shares":2,"secret_threshold":2,"stored_shares":1,"pgp_keys":null,"recovery_shares":0,"recovery_pgp_keys":[],"root_token_pgp_key":""}';

  it("answers with shares in hex and base64, and overwrites them", async () => {
    const { port, asked, handed } = await initializing();
    const answer = await exchange(port, "PUT /v1/sys/init", [], body);
    const reverse = Buffer.from(share).reverse();
    expect([answer.status, json(answer)]).toEqual([
      200,
      { keys: [hex, reverse.toString("hex")], keys_base64: [base64, reverse.toString("base64")], root_token: "s.root" },
    ]);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(asked).toEqual([{ shares: 2, threshold: 2 }]);
    expect(handed.every((one) => one.every((byte) => byte === 0))).toBe(true);
  });

  it.each([
    "{}",
    '{"secret_shares":2}',
    '{"secret_shares":"2","secret_threshold":2}',
    '{"secret_shares":2.5,"secret_threshold":2}',
    "[]",
    "",
    '{"secret_shares":1,"secret_threshold":1,"pgp_keys":["a"]}',
    '{"secret_shares":1,"secret_threshold":1,"recovery_shares":5}',
    '{"secret_shares":1,"secret_threshold":1,"recovery_threshold":5}',
    '{"secret_shares":1,"secret_threshold":1,"root_token_pgp_key":"k"}',
  ])("%j is refused", async (wrong) => {
    const { port, asked } = await initializing();
    expect((await exchange(port, "POST /v1/sys/init", [], wrong)).status).toBe(400);
    expect(asked).toEqual([]);
  });

  it("asks for recovery shares, and answers with them", async () => {
    const asked: unknown[] = [];
    const { port } = await start({
      door: {
        initialize: async (given) => {
          asked.push(given);
          return { shares: [share.slice()], recovery: true, rootToken: "s.root" };
        },
      },
    });
    const wanted =
      '{"stored_shares":1,"secret_shares":0,"secret_threshold":0,"recovery_shares":1,"recovery_threshold":1}';
    const answer = await exchange(port, "PUT /v1/sys/init", [], wanted);
    expect(asked).toEqual([{ shares: 0, threshold: 0, recovery: { shares: 1, threshold: 1 } }]);
    const recovery = { recovery_keys: [hex], recovery_keys_base64: [base64] };
    expect(json(answer)).toEqual({ keys: [], keys_base64: [], ...recovery, root_token: "s.root" });
  });

  it("is for this machine only, unless configured", async () => {
    const path = join(folder, "init.sock");
    const local = await initializing({ listen: { address: path } });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await exchange(path, "PUT /v1/sys/init", [], body)).status).toBe(200);
    await local.listener.close(0);
    const socket = { remoteAddress: "10.0.0.9", remotePort: 4000, localPort: 8200 } as Socket;
    const incoming = { method: "PUT", headers: {}, socket } as IncomingMessage;
    const remote = lifecycle["/v1/sys/init"]?.(
      { incoming, outgoing: new ServerResponse(incoming), query: "" },
      { door: local.door, allowInit: "local" },
    );
    await expect(remote).rejects.toMatchObject({ code: "denied" });
    const page = await initializing();
    expect((await exchange(page.port, "PUT /v1/sys/init", ["Origin: https://evil.example"], body)).status).toBe(403);
    expect(page.asked).toEqual([]);
  });
});

/** Keeps what streams hand on (packets, pieces of bodies), what is answered, and what is allocated or joined. */
function watchBuffers(): { readonly seen: Uint8Array[]; holding(texts: readonly string[]): string[]; stop(): void } {
  const seen: Uint8Array[] = [];
  const note = <T>(value: T): T => {
    if (value instanceof Uint8Array) seen.push(value);
    return value;
  };
  const spies = [
    vi.spyOn(Readable.prototype, "push").mockImplementation(function (this: Readable, chunk, encoding) {
      return originals.push.call(this, note(chunk), encoding);
    }),
    vi.spyOn(ServerResponse.prototype, "end").mockImplementation(function (this: ServerResponse, ...given: unknown[]) {
      note(given[0]);
      return (originals.end as (...given: unknown[]) => ServerResponse).apply(this, given);
    }),
    vi.spyOn(Buffer, "alloc").mockImplementation((...given) => note(originals.alloc(...given))),
    vi.spyOn(Buffer, "concat").mockImplementation((...given) => note(originals.concat(...given))),
  ];
  const holding = (texts: readonly string[]): string[] =>
    seen
      .map((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"))
      .filter((content) => texts.some((text) => content.includes(text)));
  return { seen, holding, stop: () => spies.forEach((spy) => spy.mockRestore()) };
}

describe("key material", () => {
  const text = JSON.stringify({ key: hex });
  const unseal = (part = text): string => requestText("PUT /v1/sys/unseal", [`Content-Length: ${text.length}`], part);

  it("is overwritten in every buffer that a share comes in", async () => {
    const watch = watchBuffers();
    try {
      const slow = Promise.withResolvers<void>();
      const { port } = await start({
        handle: async ({ path }) => {
          if (path === "slow") await slow.promise;
          return { data: {} };
        },
      });
      // Once on Node's fast path; after a LIST the packets come as buffers of the server's. One body comes in two.
      const wire = new Wire(port);
      await wire.pieces(unseal(), requestText("LIST /v1/a") + unseal(text.slice(0, 30)), text.slice(30) + unseal());
      for (let n = 0; n < 4; n++) expect((await wire.answer())?.status).toBe(200);
      // Held back behind a request that is not answered yet.
      const held = new Wire(port);
      await held.pieces(
        requestText("GET /v1/slow") + requestText("LIST /v1/a") + unseal(text.slice(0, 30)),
        text.slice(30),
        unseal(),
      );
      slow.resolve();
      for (let n = 0; n < 4; n++) expect((await held.answer())?.status).toBe(200);
      const cut = new Wire(port);
      await cut.pieces("LIS", requestText("T /v1/a") + unseal());
      for (let n = 0; n < 2; n++) expect((await cut.answer())?.status).toBe(200);
      const bytes = new Wire(port);
      await bytes.pieces("LI", "S", requestText("T /v1/a") + unseal());
      for (let n = 0; n < 2; n++) expect((await bytes.answer())?.status).toBe(200);
      // Given up half way, and too long.
      const aborted = new Wire(port);
      await aborted.pieces(unseal(text.slice(0, 40)));
      aborted.socket.destroy();
      const large = new Wire(port);
      const chunk = `11000\r\n${text}${" ".repeat(69_632 - text.length)}\r\n`;
      await large.pieces(requestText("PUT /v1/sys/unseal", ["Transfer-Encoding: chunked"], chunk));
      expect((await large.answer())?.status).toBe(413);
    } finally {
      watch.stop();
    }
    expect(watch.seen.length).toBeGreaterThan(20);
    expect(watch.holding([hex.slice(0, 8), hex.slice(-8)])).toEqual([]);
  });

  it("is overwritten in the answer to init", async () => {
    const watch = watchBuffers();
    let answer: Awaited<ReturnType<Wire["answer"]>> = null;
    try {
      const { port } = await start({
        door: { initialize: async () => ({ shares: [share.slice()], recovery: false, rootToken: "r" }) },
      });
      answer = await exchange(port, "PUT /v1/sys/init", [], '{"secret_shares":1,"secret_threshold":1}');
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    } finally {
      watch.stop();
    }
    expect(answer?.body).toContain(hex);
    // The client of this test holds the answer too, behind its headers.
    const left = watch.holding([hex.slice(0, 8), base64.slice(0, 8)]);
    expect(left.filter((content) => !content.startsWith("HTTP/1.1 200"))).toEqual([]);
  });
});

describe("help", () => {
  it("is asked of the door, of every path", async () => {
    const { port, seen } = await start({
      handle: async () => ({ text: { type: "application/json", body: '{"help":"x"}\n' } }),
      app: { webhook: { receive: async () => ({ status: 200, message: "taken" }), maxBytes: 10 } },
    });
    for (const path of [...Object.keys(lifecycle), "/v1/sys/gitops/webhook", "/v1/secret/a"]) {
      const answer = await exchange(port, `GET ${path}?help=1`);
      expect([answer.status, answer.body, answer.headers["content-type"]]).toEqual([
        200,
        '{"help":"x"}\n',
        "application/json",
      ]);
      expect(seen.at(-1)).toMatchObject({ operation: "help", path: path.slice("/v1/".length) });
    }
    const count = seen.length;
    expect((await exchange(port, "GET /v1/sys/health?help=false")).status).toBe(200);
    expect((await exchange(port, "GET /v1/sys/health?help=maybe")).status).toBe(400);
    expect((await exchange(port, "POST /v1/sys/seal-status?help=1")).status).toBe(405);
    expect(seen).toHaveLength(count);
  });
});
