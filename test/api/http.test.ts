import { describe, expect, it, vi } from "vitest";
import { manualClock } from "../../src/lib/clock.ts";
import { VaultError, type ErrorCode } from "../../src/sdk/errors.ts";
import type { Response } from "../../src/sdk/request.ts";
import { errorsOf, exchange, requestText, start, Wire } from "./fixture.ts";

const json = (answer: { readonly body: string }): Record<string, unknown> =>
  JSON.parse(answer.body) as Record<string, unknown>;

describe("a request", () => {
  it.each([
    ["GET /v1/a/b", "read", "a/b"],
    ["GET /v1/a/b/", "read", "a/b"],
    ["GET /v1/a/b?list=true", "list", "a/b/"],
    ["GET /v1/a/b/?list=1", "list", "a/b/"],
    ["GET /v1/a/b?list=false", "read", "a/b"],
    ["GET /v1/a/b?list=", "read", "a/b"],
    ["GET /v1/a/b?scan=true", "scan", "a/b/"],
    ["GET /v1/a/b?help=1", "help", "a/b"],
    ["HEAD /v1/a/b", "read", "a/b"],
    ["POST /v1/a/b/", "update", "a/b"],
    ["PUT /v1/a/b", "update", "a/b"],
    ["DELETE /v1/a/b", "delete", "a/b"],
    ["GET /v1/sys/%69nit/x%20y", "read", "sys/init/x y"],
  ])("%s is %s of %s", async (line, operation, path) => {
    const { port, seen } = await start();
    expect((await exchange(port, line)).status).toBe(200);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ operation, path, data: {}, token: null, time: Date.UTC(2026, 0, 1) });
    expect(seen[0]).not.toHaveProperty("wrapTtl");
    expect(seen[0]?.connection).toMatchObject({ remoteAddress: "127.0.0.1", local: true });
  });

  it.each([
    "GET /v1/../etc",
    "GET /v1/a%2fb",
    "GET /v1/a%00",
    "GET http://writ/v1/a",
    "GET /v1/%ff",
    "GET /v1/a?list=yes",
    "GET /v1/a?__proto__=1",
  ])("%s is refused", async (line) => {
    const { port, seen } = await start();
    const answer = await exchange(port, line);
    expect(answer.status).toBe(400);
    expect(errorsOf(answer)).toEqual([expect.any(String)]);
    expect(seen).toEqual([]);
  });

  it.each(["/v1", "/v1/", "/v2/a", "/ui/", "/v1x", "/favicon.ico", "/v1/?list=true"])("%s is nowhere", async (path) => {
    const { port, seen } = await start();
    const answer = await exchange(port, `GET ${path}`);
    expect([answer.status, errorsOf(answer)]).toEqual([404, [expect.any(String)]]);
    expect(seen).toEqual([]);
  });

  it("moves from doubled slashes, with its method and its query", async () => {
    const { port, seen } = await start();
    for (const line of [
      "GET /v1//secret///a?version=2",
      "POST //v1/secret/a?version=2",
      "LIST /v1/secret//a?version=2",
    ]) {
      const answer = await exchange(port, line, [], line.startsWith("POST") ? "{}" : "");
      expect([answer.status, answer.headers["location"]]).toEqual([307, "/v1/secret/a?version=2"]);
    }
    expect(seen).toEqual([]);
  });

  it("has its token in either header, and one token only", async () => {
    const { port, seen } = await start();
    const tokens: (readonly [readonly string[], string | null])[] = [
      [["X-Vault-Token: a"], "a"],
      [["Authorization: Bearer a"], "a"],
      [["authorization: bearer   a"], "a"],
      [["X-Vault-Token: a", "Authorization: Bearer a"], "a"],
      [["X-Vault-Token: a", "Authorization: Basic b"], "a"],
      [["Authorization: Basic b"], null],
      [["Authorization: a"], null],
      [["Authorization: Bearer"], null],
      [["X-Vault-Token:"], null],
    ];
    for (const [headers, token] of tokens) {
      seen.length = 0;
      expect((await exchange(port, "GET /v1/a", headers)).status, headers.join()).toBe(200);
      expect(seen[0]?.token, headers.join()).toBe(token);
    }
    seen.length = 0;
    for (const headers of [
      ["X-Vault-Token: a", "Authorization: Bearer b"],
      ["X-Vault-Token: a", "X-Vault-Token: b"],
      ["Authorization: Bearer a", "Authorization: Bearer b"],
      ["Authorization: Basic a", "Authorization: Bearer b", "X-Vault-Token: a"],
    ]) {
      const answer = await exchange(port, "GET /v1/a", headers);
      expect([answer.status, errorsOf(answer)]).toEqual([400, ["the request carries more than one token"]]);
    }
    expect(seen).toEqual([]);
  });

  it("has no namespace but the root", async () => {
    const { port, seen } = await start();
    for (const name of ["", "root", "root/", "/"])
      expect((await exchange(port, "GET /v1/a", [`X-Vault-Namespace: ${name}`])).status).toBe(200);
    for (const name of ["team", "root/team", "rooted"]) {
      expect((await exchange(port, "GET /v1/a", [`X-Vault-Namespace: ${name}`])).status).toBe(404);
    }
    expect(seen).toHaveLength(4);
    for (const path of ["sys/health", "sys/seal-status", "sys/init"]) {
      const named = await exchange(port, `GET /v1/${path}`, ["X-Vault-Namespace: team"]);
      expect([named.status, errorsOf(named)], path).toEqual([404, [expect.stringContaining("no namespaces")]]);
      expect((await exchange(port, `GET /v1/${path}`, ["X-Vault-Namespace: root"])).status).toBe(200);
    }
  });

  it("may carry what clients send by habit", async () => {
    const { port, seen } = await start();
    for (const header of [
      "X-Vault-Request: true",
      "X-Vault-Request: false",
      "X-Vault-MFA: a:b",
      "X-Vault-Inconsistent: x",
    ])
      expect((await exchange(port, "GET /v1/a", [header])).status, header).toBe(200);
    expect(seen).toHaveLength(4);
  });

  it("has the TTL of its wrapping in seconds", async () => {
    const { port, seen } = await start();
    for (const [header, ttl] of [
      ["90", 90],
      ["5m", 300],
      ["0", 0],
    ] as const) {
      await exchange(port, "GET /v1/a", [`X-Vault-Wrap-TTL: ${header}`]);
      expect(seen.at(-1)?.wrapTtl).toBe(ttl);
    }
    expect((await exchange(port, "GET /v1/a", ["X-Vault-Wrap-TTL: soon"])).status).toBe(400);
    expect(seen).toHaveLength(3);
  });

  it("has an id of its own", async () => {
    const { port, seen } = await start();
    const first = json(await exchange(port, "GET /v1/a"));
    await exchange(port, "GET /v1/a");
    expect(first["request_id"]).toBe(seen[0]?.id);
    expect(seen[0]?.id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    expect(seen[1]?.id).not.toBe(seen[0]?.id);
  });

  it("of another method is none", async () => {
    const { port, seen } = await start();
    for (const method of ["TRACE", "LINK", "SEARCH", "PROPFIND", "QUERY"]) {
      const answer = await exchange(port, `${method} /v1/a`);
      expect([answer.status, errorsOf(answer)], method).toEqual([405, ["unsupported method"]]);
      expect(answer.headers["allow"]).toContain("LIST");
    }
    const options = await exchange(port, "OPTIONS /v1/a");
    expect([options.status, options.body]).toEqual([204, ""]);
    expect(options.headers["allow"]).toContain("PATCH");
    const wire = new Wire(port);
    await wire.send(requestText("CONNECT writ:80", [], requestText("GET /v1/smuggled")));
    const connect = await wire.answer();
    expect([connect?.status, errorsOf(connect)]).toEqual([405, ["unsupported method"]]);
    expect(await wire.closed()).toBe("");
    for (const method of ["FOO", "get", "GETX", "PRI"]) {
      expect((await exchange(port, `${method} /v1/a`)).status, method).toBe(400);
    }
    expect(seen).toEqual([]);
  });
});

describe("fields", () => {
  it("come from the query where there is no body", async () => {
    const { port, seen } = await start();
    await exchange(port, "GET /v1/a?version=2&x=1&x=2&list=false&b=%20+");
    expect(seen[0]?.data).toEqual({ version: "2", x: ["1", "2"], b: "  " });
    await exchange(port, "DELETE /v1/a?versions=1,2");
    expect(seen[1]?.data).toEqual({ versions: "1,2" });
    expect(Object.getPrototypeOf(seen[0]?.data)).toBeNull();
    await exchange(port, "POST /v1/a?token=query", [], '{"a":1}');
    await exchange(port, "POST /v1/a?token=query");
    expect(seen.slice(2).map((request) => request.data)).toEqual([{ a: 1 }, {}]);
  });

  const form = "Content-Type: application/x-www-form-urlencoded";
  it.each([
    [[], '{"a":{"b":[1,"x",null,true]}}', { a: { b: [1, "x", null, true] } }],
    [["Content-Type: application/json; charset=utf-8"], ' {"a":1} ', { a: 1 }],
    [["Content-Type: text/plain"], '{"a":1}', { a: 1 }],
    [["Content-Type: application/merge-patch+json"], '{"a":1}', { a: 1 }],
    [[form], '\n{"a":1}', { a: 1 }],
    [[form], "a=1&a=2&b=x%20y", { a: ["1", "2"], b: "x y" }],
    [[`${form}; charset=utf-8`], "a=1", { a: "1" }],
    [[], "null", {}],
    [[], "  ", {}],
    [[], '{"a":1,"a":2}', { a: 2 }],
    [[], '{"constructor":1,"hasOwnProperty":2}', { constructor: 1, hasOwnProperty: 2 }],
    [
      [],
      '{"f":0.10000000000000001,"g":3.1415926535897931,"z":-1.10e3,"x":0.000}',
      { f: 0.1, g: Math.PI, z: -1100, x: 0 },
    ],
    [
      [],
      '{"n":9007199254740991,"s":"12345678901234567890","big":1000000000000000000000,"e":1e100}',
      { n: 9007199254740991, s: "12345678901234567890", big: 1e21, e: 1e100 },
    ],
  ] as const)("%j of %s", async (headers, body, data) => {
    const { port, seen } = await start();
    const answer = await exchange(port, "POST /v1/a", headers, body);
    expect(answer.status).toBe(200);
    expect(seen[0]?.data).toEqual(Object.assign(Object.create(null) as object, data));
    expect(Object.getPrototypeOf(seen[0]?.data)).toBeNull();
  });

  it.each([
    "{",
    "[]",
    "[{}]",
    '"a"',
    "1",
    "true",
    "a=1",
    "{}x",
    "\ufeff{}",
    '{"a":s3cret}',
    '{"__proto__":{"admin":true}}',
    '{"a":[{"\\u005f_proto__":1}]}',
    String.raw`{"a":{"\\":1}}`,
    String.raw`{"a":[{"b":1,"\u005C" :1}]}`,
    '{"a":12345678901234567890}',
    '{"a":[1e400]}',
    '{"a":-1e400}',
    '{"a":9007199254740993}',
    '{"a":12345678901234567}',
    '{"a":3.1415926535897932}',
    '{"a":3.141592653589793238}',
    '{"a":1e-999}',
    '{"a":0.12345678901234567890123}',
    `{"a":${"[".repeat(64)}${"]".repeat(64)}}`,
    `{"a":${"[".repeat(1_000_000)}`,
    new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
  ])("%.60s is no body", async (body) => {
    const { port, seen } = await start();
    const wire = new Wire(port);
    const bytes = Buffer.from(body);
    await wire.send(requestText("POST /v1/a", ["X-Vault-Token: t", `Content-Length: ${bytes.length}`]));
    await wire.send(bytes);
    const answer = await wire.answer();
    expect(answer?.status).toBe(400);
    expect(answer?.body).not.toContain("s3cret");
    expect(errorsOf(answer)).toEqual([expect.any(String)]);
    expect(seen).toEqual([]);
  });

  it("may be nested as deep as the limit", async () => {
    const { port } = await start({ limits: { depth: 5 } });
    const nested = (depth: number): string => `${'{"a":'.repeat(depth - 1)}{}${"}".repeat(depth - 1)}`;
    expect((await exchange(port, "POST /v1/a", [], nested(5))).status).toBe(200);
    expect((await exchange(port, "POST /v1/a", [], nested(6))).status).toBe(400);
  });

  it("are counted before they are parsed", async () => {
    const { port, seen } = await start({ limits: { members: 1000, stringBytes: 2000 } });
    const parse = vi.spyOn(JSON, "parse");
    const list = (count: number): string => `{"a":[${Array(count).fill(1).join(",")}]}`;
    const form = (count: number): string => Array(count).fill("a").join("&");
    const [json, encoded]: (readonly string[])[] = [[], ["Content-Type: application/x-www-form-urlencoded"]];
    for (const [headers, body, status] of [
      [json, list(999), 200],
      [json, list(1000), 400],
      [json, JSON.stringify(Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [n, 1]))), 400],
      [json, JSON.stringify({ a: "x".repeat(2000) }), 200],
      [json, JSON.stringify({ a: "x".repeat(2001) }), 400],
      [json, JSON.stringify({ ["x".repeat(2001)]: 1 }), 400],
      [json, `{"a":"${"x".repeat(2001)}`, 400],
      [json, `${'{"a":'.repeat(65)}1${"}".repeat(65)}`, 400],
      [encoded, form(1000), 200],
      [encoded, form(1001), 400],
      [encoded, `b=1&a=${"x".repeat(1998)}`, 200],
      [encoded, `b=1&a=${"x".repeat(1999)}`, 400],
      [encoded, `a=${"x".repeat(1999)}&b=1`, 400],
      [encoded, `${" ".repeat(500)}${list(1000)}`, 400],
    ] as const) {
      parse.mockClear();
      seen.length = 0;
      const answer = await exchange(port, "POST /v1/a", headers, body);
      const bodies = parse.mock.calls.filter(([text]) => text.trim() === body.trim());
      const parsed = status === 200 && headers === json ? 1 : 0;
      expect([answer.status, bodies.length, seen.length], body.slice(0, 20)).toEqual([
        status,
        parsed,
        Number(status === 200),
      ]);
    }
    parse.mockRestore();
  });

  it("may hold a long number, and are not worked on for long because of it", async () => {
    const { port } = await start();
    for (const digits of [`1${"0".repeat(1_000_000)}1`, `0.${"0".repeat(1_000_000)}1`, `1${"0".repeat(3_000_000)}`]) {
      expect((await exchange(port, "POST /v1/a", ["X-Vault-Token: t"], `{"a":${digits}}`)).status).toBe(400);
    }
  });

  it("are judged by the time at which the last of them has come", async () => {
    const clock = manualClock();
    let begun: () => void = () => {};
    const headers = new Promise<void>((resolve) => (begun = resolve));
    const { port, seen } = await start({ app: { clock }, door: { crowded: () => (begun(), null) } });
    const wire = new Wire(port);
    await wire.send(requestText("POST /v1/a", ["Content-Length: 9"], '{"a"'));
    await headers;
    clock.advance(60_000);
    await wire.send(':"b"}');
    expect((await wire.answer())?.status).toBe(200);
    expect(seen[0]).toMatchObject({ data: { a: "b" }, time: Date.UTC(2026, 0, 1) + 60_000 });
  });

  it("of PATCH are a merge patch", async () => {
    const { port, seen } = await start();
    const merge = await exchange(
      port,
      "PATCH /v1/a",
      ["Content-Type: Application/merge-patch+json; charset=utf-8"],
      '{"a":null}',
    );
    expect(merge.status).toBe(200);
    expect(seen[0]).toMatchObject({ operation: "patch", data: { a: null } });
    for (const type of [["Content-Type: application/json"], []]) {
      expect((await exchange(port, "PATCH /v1/a", type, "{}")).status).toBe(415);
    }
    expect((await exchange(port, "POST /v1/a", ["Content-Encoding: gzip"], "{}")).status).toBe(415);
    expect(seen).toHaveLength(1);
  });
});

describe("an answer", () => {
  const answering = async (response: Response, line = "POST /v1/a") => {
    const { port } = await start({ handle: async () => response });
    return exchange(port, line);
  };
  const empty = { lease_id: "", renewable: false, lease_duration: 0, wrap_info: null, warnings: null, auth: null };

  it("is Vault's envelope", async () => {
    const answer = await answering({ data: { a: 1 }, mountType: "kv" });
    expect(answer.status).toBe(200);
    expect(json(answer)).toEqual({ ...empty, request_id: expect.any(String), data: { a: 1 }, mount_type: "kv" });
    expect(answer.headers).toMatchObject({ "cache-control": "no-store", "content-type": "application/json" });
  });

  it("has warnings, a lease and an auth where there are any", async () => {
    const auth = {
      client_token: "t",
      accessor: "a",
      policies: ["default"],
      token_policies: ["default"],
      metadata: null,
      lease_duration: 60,
      renewable: true,
      entity_id: "",
      token_type: "service",
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    } as const;
    const answer = await answering({ warnings: ["w"], auth, lease: { id: "l", duration: 9, renewable: true } });
    expect(json(answer)).toMatchObject({
      data: null,
      warnings: ["w"],
      auth,
      lease_id: "l",
      lease_duration: 9,
      renewable: true,
    });
    expect(json(await answering({ warnings: ["w"] }))).toMatchObject({ data: null, warnings: ["w"] });
  });

  it("is bare, or in both places, where the route says so", async () => {
    expect(json(await answering({ data: { a: 1 }, shape: "bare" }))).toEqual({ a: 1 });
    expect(json(await answering({ data: { "a/": 1 }, shape: "both" }))).toMatchObject({
      "a/": 1,
      data: { "a/": 1 },
      auth: null,
    });
    expect(json(await answering({ data: {}, shape: "both" }))).toMatchObject({ data: {}, auth: null });
    // A client that finds a list where a login belongs gives up.
    const data = { auth: ["userpass"], errors: ["x"], secret: ["kv"], warnings: "x" };
    expect(await answering({ data, shape: "both" }).then(json)).toEqual({
      ...json(await answering({ data })),
      request_id: expect.any(String) as unknown,
      secret: ["kv"],
    });
    const { data: only, ...rest } = json(await answering({ data: { auth: [] }, shape: "both" }));
    expect([only, rest["auth"]]).toEqual([{ auth: [] }, null]);
  });

  it.each([
    [{}, "POST /v1/a", 204],
    [{ data: null, warnings: [] }, "DELETE /v1/a", 204],
    [{ data: {} }, "POST /v1/a", 200],
    [{}, "GET /v1/a", 404],
    [{ data: null }, "LIST /v1/a", 404],
    [{ data: { keys: [] } }, "LIST /v1/a", 404],
    [{ data: { keys: [] } }, "GET /v1/a?list=true", 404],
    [{ data: { keys: ["x"] } }, "LIST /v1/a", 200],
    [{ data: { keys: [] } }, "GET /v1/a", 200],
    [{ data: {} }, "GET /v1/a", 200],
    [{ outcome: "accepted" }, "POST /v1/a", 202],
    [{ data: { a: 1 }, outcome: "sealed" }, "GET /v1/a", 503],
    [{ data: { a: 1 }, outcome: "standby" }, "GET /v1/a", 429],
    [{ data: { a: 1 }, outcome: "uninitialized" }, "GET /v1/a", 501],
  ] as const)("of %j to %s is %i", async (response, line, status) => {
    const answer = await answering(response, line);
    expect(answer.status).toBe(status);
    if (status === 204) expect(answer.body).toBe("");
    if (status === 404) expect(json(answer)).toEqual({ errors: [] });
  });

  it("keeps the JSON of shared data by its identity, and of no other", async () => {
    let made = 0;
    const counted = (): Record<string, unknown> => ({
      a: {
        toJSON: () => {
          made++;
          return made;
        },
      },
    });
    const [shared, own] = [counted(), counted()];
    const { port } = await start({
      handle: async ({ path }) => (path === "own" ? { data: own } : { data: shared, shared: true }),
    });
    for (let n = 0; n < 3; n++) expect(json(await exchange(port, "GET /v1/shared"))["data"]).toEqual({ a: 1 });
    for (let n = 2; n < 5; n++) expect(json(await exchange(port, "GET /v1/own"))["data"]).toEqual({ a: n });
  });

  it("to HEAD has the headers of GET and no body", async () => {
    const { port } = await start({ handle: async () => ({ data: { a: "é".repeat(10) } }) });
    const wire = new Wire(port);
    await wire.send(requestText("HEAD /v1/a") + requestText("GET /v1/a") + requestText("HEAD /v1/sys/health"));
    const head = await wire.answer({ head: true });
    const get = await wire.answer();
    expect(get?.body).toContain("éé");
    expect(head?.headers["content-length"]).toBe(get?.headers["content-length"]);
    expect((await wire.answer({ head: true }))?.status).toBe(200);
  });

  it.each(
    Object.entries({
      invalid: 400,
      unauthenticated: 403,
      denied: 403,
      not_found: 404,
      unsupported: 405,
      media_type: 415,
      too_large: 413,
      conflict: 409,
      managed: 400,
      sealed: 503,
      uninitialized: 400,
      rate_limited: 429,
      upstream: 502,
      audit: 500,
      storage: 500,
      internal: 500,
    } satisfies Record<ErrorCode, number>),
  )("to an error that is %s has status %i", async (code, status) => {
    const { port } = await start({ handle: () => Promise.reject(new VaultError(code as ErrorCode, ["one", 'two"'])) });
    const answer = await exchange(port, "GET /v1/a");
    expect([answer.status, json(answer)]).toEqual([status, { errors: ["one", 'two"'] }]);
    expect(answer.headers["cache-control"]).toBe("no-store");
  });

  it("hints beside an error without a text", async () => {
    const { port } = await start({
      handle: () => Promise.reject(new VaultError("not_found", [], { warnings: ["use another path"] })),
    });
    const answer = await exchange(port, "GET /v1/a");
    expect([answer.status, json(answer)]).toMatchObject([404, { data: null, warnings: ["use another path"] }]);
    expect(json(answer)).not.toHaveProperty("errors");
  });

  it("may carry data beside an error", async () => {
    const data = { data: null, metadata: { version: 1 } };
    const { port } = await start({
      handle: ({ path }) => Promise.reject(new VaultError("not_found", path === "deleted" ? [] : "why", { data })),
    });
    const deleted = await exchange(port, "GET /v1/deleted");
    expect([deleted.status, json(deleted)]).toMatchObject([404, { data, auth: null, request_id: expect.any(String) }]);
    expect(json(deleted)).not.toHaveProperty("errors");
    expect(json(deleted)).toHaveProperty("warnings", null);
    expect(json(await exchange(port, "GET /v1/other"))).toMatchObject({ errors: ["why"], data });
    const missing = await start({ handle: () => Promise.reject(new VaultError("not_found", [])) });
    expect(json(await exchange(missing.port, "GET /v1/a"))).toEqual({ errors: [] });
  });

  it("to an unexpected error tells an id, and the log where it came from; neither tells what it says", async () => {
    const thrown: unknown[] = [new TypeError("s3cret at /etc/writ"), "s3cret", { toString: () => "s3cret" }, null];
    const { port, logged, seen } = await start({
      handle: () => {
        throw thrown.shift();
      },
    });
    for (let left = thrown.length; left > 0; left--) {
      const answer = await exchange(port, "GET /v1/a");
      expect(answer.status).toBe(500);
      expect(errorsOf(answer)).toEqual([
        `internal error; the server's log has it under request id ${seen.at(-1)?.id ?? ""}`,
      ]);
      expect(logged.at(-1)).toContain(seen.at(-1)?.id);
    }
    expect(logged[0]).toContain("http.test.ts");
    expect(logged.join("")).not.toContain("s3cret");
  });

  it("that cannot be written as JSON is an error too", async () => {
    const { port } = await start({ handle: async () => ({ data: { n: 1n } }) });
    expect((await exchange(port, "GET /v1/a")).status).toBe(500);
  });

  it("is never another request's", async () => {
    const { port } = await start({
      handle: async ({ path, data }) => {
        for (let turn = Number(path.slice(2)) % 9; turn > 0; turn--) await new Promise(setImmediate);
        return { data: { path, sent: data["sent"] ?? null } };
      },
    });
    const wires = Array.from({ length: 20 }, () => new Wire(port));
    await Promise.all(
      wires.map(async (wire, w) => {
        for (let n = 0; n < 30; n++) {
          const sent = `${w}.${n}`;
          const body = JSON.stringify({ sent });
          await wire.send(
            n % 3 === 0
              ? requestText(`POST /v1/p/${w * 31 + n}`, [`Content-Length: ${body.length}`], body)
              : requestText(`GET /v1/p/${w * 31 + n}?sent=${sent}`),
          );
          expect((JSON.parse((await wire.answer())?.body ?? "{}") as { data?: unknown }).data).toEqual({
            path: `p/${w * 31 + n}`,
            sent,
          });
        }
      }),
    );
  });
});

describe("the front page", () => {
  it("is for people", async () => {
    const { port } = await start();
    const answer = await exchange(port, "GET /");
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toContain("text/plain");
    expect(answer.body).toContain("VAULT_ADDR");
  });
});

describe("what an answer carries beside its data", () => {
  it("is in its head, errors too", async () => {
    const headers = ["X-Ratelimit-Limit", "5", "Retry-After", "3"];
    const ok = await start({ handle: async () => ({ data: { a: 1 }, headers }) });
    expect((await exchange(ok.port, "GET /v1/a")).headers).toMatchObject({ "x-ratelimit-limit": "5" });
    const limited = await start({
      handle: async () => {
        const error = new VaultError("rate_limited", "too many");
        error.headers = headers;
        throw error;
      },
    });
    const answer = await exchange(limited.port, "GET /v1/a");
    expect([answer.status, answer.headers["retry-after"], json(answer)]).toEqual([429, "3", { errors: ["too many"] }]);
  });

  it("is a wrapping token in place of it, or an answer given before as it was", async () => {
    const wrapInfo = { token: "hvs.x", accessor: "a", ttl: 60, creation_time: "t", creation_path: "p" };
    const wrapped = await start({ handle: async () => ({ wrapInfo, mountType: "kv" }) });
    const { seen, port } = wrapped;
    expect(json(await exchange(port, "GET /v1/a", ["X-Vault-Wrap-TTL: 1m"]))).toEqual({
      request_id: "",
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data: null,
      wrap_info: wrapInfo,
      warnings: null,
      auth: null,
      mount_type: "",
    });
    expect(seen[0]?.wrapTtl).toBe(60);
    const raw = '{"request_id":"x","data":{"n":12345678901234567890}}';
    const unwrapped = await start({ handle: async () => ({ raw, data: { n: 1 } }) });
    expect((await exchange(unwrapped.port, "POST /v1/sys/wrapping/unwrap")).body).toBe(`${raw}\n`);
  });
});
