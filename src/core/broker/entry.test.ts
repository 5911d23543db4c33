// The fast formatter against one that builds objects and hashes with createHmac, on random requests; and nothing secret in
// any line.

import { createHmac, createSecretKey } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { AuthResult, Operation } from "../../sdk/request.ts";
import type { Exchange, Principal } from "../exchange.ts";
import { type Entry, Format, type Outcome } from "./entry.ts";
import { Hasher } from "./hasher.ts";

const rawKey = Buffer.alloc(32, 7);
const hasher = new Hasher(createSecretKey(rawKey));
const hmac = (text: string): string => `hmac-sha256:${createHmac("sha256", rawKey).update(text).digest("hex")}`;

function hashed(value: unknown): unknown {
  if (typeof value === "string") return hmac(value);
  if (typeof value === "number") return hmac(JSON.stringify(value));
  if (Array.isArray(value)) return value.map(hashed);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, hashed(member)]));
  }
  return value;
}

/** Vault's entry as an object, built from the specification of the format and not from the code. */
function reference(time: number, exchange: Exchange, outcome: Outcome | null): unknown {
  const { request, principal, mount, rule, facts } = exchange;
  const token = request.token === null || request.token === "" ? {} : { client_token: hmac(request.token) };
  const mounted =
    mount === null
      ? {}
      : { mount_point: mount.path, mount_type: mount.type, mount_accessor: mount.accessor, mount_class: mount.class };
  const names = rule?.split(" ")[0]?.split(",") ?? [];
  const who =
    principal === null
      ? { token_type: "default" }
      : {
          ...token,
          accessor: hmac(principal.accessor),
          display_name: principal.displayName,
          policies: principal.policies,
          token_policies: principal.tokenPolicies,
          identity_policies: principal.identityPolicies,
          metadata: principal.metadata,
          entity_id: principal.entityId,
          token_type: principal.tokenType,
          token_ttl: principal.ttl,
          token_issue_time: rfc3339(principal.issuedAt),
        };
  const data = outcome?.error === undefined ? outcome?.response.data : outcome.error.data;
  const auth = outcome?.response?.auth;
  return {
    time: rfc3339(time),
    type: outcome === null ? "request" : "response",
    generation: exchange.generation,
    ...(rule !== null && { rule }),
    ...(facts !== null && { facts }),
    auth: {
      ...who,
      policy_results: {
        allowed: exchange.allowed,
        ...(rule !== null && { granting_policies: names.map((name) => ({ name, namespace_id: "root", type: "acl" })) }),
      },
    },
    request: {
      id: request.id,
      ...(principal !== null && principal.entityId !== "" && { client_id: principal.entityId }),
      operation: request.operation,
      ...mounted,
      ...token,
      ...(principal !== null && { client_token_accessor: hmac(principal.accessor) }),
      namespace: { id: "root" },
      path: request.path,
      ...(Object.keys(request.data).length > 0 && { data: hashed(request.data) }),
      remote_address: request.connection.remoteAddress,
      remote_port: request.connection.remotePort,
      ...(request.wrapTtl !== undefined && { wrap_ttl: request.wrapTtl }),
    },
    ...(outcome !== null && {
      response: {
        ...mounted,
        ...(data !== null && data !== undefined && { data: hashed(data) }),
        ...(auth !== undefined && {
          auth: {
            client_token: hmac(auth.client_token),
            accessor: hmac(auth.accessor),
            policies: auth.policies,
            token_policies: auth.token_policies,
            identity_policies: auth.identity_policies ?? [],
            metadata: auth.metadata,
            num_uses: auth.num_uses,
            orphan: auth.orphan,
            entity_id: auth.entity_id,
            token_type: auth.token_type,
            token_ttl: auth.lease_duration,
            renewable: auth.renewable,
          },
        }),
        ...(outcome.response?.lease !== undefined && { secret: { lease_id: outcome.response.lease.id } }),
        ...((outcome.response?.warnings?.length ?? 0) > 0 && { warnings: outcome.response?.warnings }),
      },
    }),
    ...(outcome?.error !== undefined && { error: outcome.error.errors.join("; ") || outcome.error.code }),
  };
}

const planted = "correct horse battery staple";
/** Clear text: never the planted secret, but anything JSON must escape. */
const clear = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom('"', "\\\\", "\n", "\u2028", "\ud800", ""),
);
const names = fc.array(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/), { maxLength: 3 });
const leaf = fc.oneof(
  clear,
  clear.map((text) => `${text}${planted}${text}`),
  fc.constant(planted),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.constant(null),
);
const tree = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(clear, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;
const data = fc.dictionary(clear, tree, { maxKeys: 4 }) as fc.Arbitrary<Record<string, unknown>>;
const metadata = fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), clear, { maxKeys: 2, noNullPrototype: true });

const principal: fc.Arbitrary<Principal> = fc.record({
  accessor: fc.constant(`accessor-${planted}`),
  displayName: clear,
  policies: names,
  tokenPolicies: names,
  identityPolicies: names,
  entityId: fc.constantFrom("", "e-1"),
  origins: fc.constant([]),
  metadata,
  tokenType: fc.constantFrom("service" as const, "batch" as const),
  issuedAt: fc.integer({ min: 0, max: 4e12 }),
  ttl: fc.nat(),
});
const operations: Operation[] = ["create", "read", "update", "patch", "delete", "list", "scan", "help"];
const exchange: fc.Arbitrary<Exchange> = fc.record({
  request: fc.record(
    {
      id: fc.uuid(),
      operation: fc.constantFrom(...operations),
      path: clear,
      data,
      token: fc.constantFrom(null, "", `hvs.${planted}`),
      connection: fc.record({
        remoteAddress: fc.constantFrom("", "127.0.0.1", "::1"),
        remotePort: fc.nat(65_535),
        local: fc.boolean(),
      }),
      headers: fc.constant({ "x-vault-token": planted, authorization: planted }),
      time: fc.nat(),
      wrapTtl: fc.nat(),
    },
    { requiredKeys: ["id", "operation", "path", "data", "token", "connection", "headers", "time"] },
  ),
  mount: fc.option(
    fc.record({
      path: clear,
      type: clear,
      accessor: clear,
      class: fc.constantFrom("secret", "auth"),
      clear: fc.constant(null),
    }),
  ),
  principal: fc.option(principal),
  fields: fc.constant(null),
  generation: clear,
  facts: fc.option(fc.dictionary(clear, fc.oneof(clear, fc.nat(), fc.constant(null)), { noNullPrototype: true })),
  rule: fc.option(
    fc
      .tuple(fc.array(fc.stringMatching(/^[a-z]{1,5}$/), { minLength: 1, maxLength: 3 }), clear)
      .map(([who, path]) => `${who.join(",")} ${path}`),
  ),
  allowed: fc.boolean(),
});
const auth: fc.Arbitrary<AuthResult> = fc.record({
  client_token: fc.constant(`hvs.${planted}`),
  accessor: fc.constant(planted),
  policies: names,
  token_policies: names,
  metadata: fc.option(metadata),
  lease_duration: fc.nat(),
  renewable: fc.boolean(),
  entity_id: fc.constantFrom("", "e-1"),
  token_type: fc.constantFrom("service" as const, "batch" as const),
  orphan: fc.boolean(),
  mfa_requirement: fc.constant(null),
  num_uses: fc.nat(),
});
const outcomes: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({
    response: fc.record(
      {
        data: fc.option(data),
        shared: fc.constant(true as const),
        auth,
        warnings: fc.array(clear, { maxLength: 2 }),
        lease: fc.record({ id: clear, duration: fc.nat(), renewable: fc.boolean() }),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    error: fc
      .tuple(fc.array(clear, { maxLength: 2 }), fc.option(data, { nil: undefined }))
      .map(([texts, more]) => new VaultError("denied", texts, more === undefined ? {} : { data: more })),
  }),
);

/** As the window writes it, behind its link. */
function textOf({ opening, shared, rest }: Entry): string {
  const pieces = [opening, ...(shared?.pieces ?? []), ...rest];
  // They are kept as long as a token or a secret is: none may keep more than itself.
  for (const piece of pieces) if (typeof piece !== "string") expect(piece.buffer.byteLength).toBe(piece.length);
  return `{${Buffer.concat(pieces.map((piece) => Buffer.from(piece as string))).toString()}`;
}

test("the fast path is the reference, twice over for what is cached, and holds no secret", () => {
  const format = new Format(hasher);
  fc.assert(
    fc.property(exchange, outcomes, fc.integer({ min: 0, max: 4e12 }), (one, outcome, time) => {
      for (let again = 0; again < 2; again++) {
        const shared = format.shared(one);
        const lines = [format.request(time, shared), format.response(time, shared, one, outcome)].map(textOf);
        // Through JSON, as a reader gets it: lone surrogates and "-0" come out of both in the same way.
        const expected = [null, outcome].map(
          (each) => JSON.parse(JSON.stringify(reference(time, one, each))) as unknown,
        );
        expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(expected);
        for (const line of lines) {
          expect(line).not.toContain(planted);
          expect(line).not.toContain("\n");
          expect(line).not.toContain("undefined");
        }
      }
    }),
    { numRuns: 600 },
  );
});

test("one principal with another token is not served from the cache", () => {
  const format = new Format(hasher);
  const [one] = fc.sample(exchange, { numRuns: 1, seed: 1 });
  const [who] = fc.sample(principal, { numRuns: 1, seed: 1 });
  if (one === undefined || who === undefined) throw new Error("no sample");
  const lineOf = (token: string): string =>
    textOf(format.request(0, format.shared({ ...one, principal: who, request: { ...one.request, token } })));
  expect(lineOf("hvs.a")).toContain(hmac("hvs.a"));
  expect(lineOf("hvs.b")).toContain(hmac("hvs.b"));
  expect(lineOf("hvs.b")).not.toContain(hmac("hvs.a"));
});

test("a value with too many parts, too deep or with names too long is hashed as one text, in little time", () => {
  let deep: unknown = planted;
  for (let level = 0; level < 1000; level++) deep = [deep];
  const values = [
    Array.from({ length: 500_000 }, () => "x"),
    { deep },
    Object.fromEntries(Array.from({ length: 2000 }, (_one, at) => [`${"n".repeat(2000)}${at}`, true])),
  ];
  for (const value of values) expect(hasher.json(value)).toBe(`"${hmac(JSON.stringify(value))}"`);
  const fits = { keys: Array.from({ length: 10_000 }, (_one, at) => `key${at}`) };
  expect(JSON.parse(hasher.json(fits))).toEqual(hashed(fits));
});

test("what a mount is tuned to show stands in clear, by its own name alone, and nothing else does", () => {
  const format = new Format(hasher);
  const [one] = fc.sample(exchange, { numRuns: 1, seed: 1 });
  if (one === undefined) throw new Error("no sample");
  const names = { request: new Set(["team", "ids"]), response: new Set(["size"]) };
  const mount = { path: "kv/", type: "kv", accessor: "kv_1", class: "secret", clear: names };
  const given = {
    team: planted,
    ids: ["a", 1],
    size: 5,
    deep: { team: "red", other: "x", ids: [["b"]] },
    list: [{ team: "c" }],
  };
  const asked = { ...one, mount, request: { ...one.request, data: given } };
  const shared = format.shared(asked);
  const { data } = (JSON.parse(textOf(format.request(0, shared))) as { request: { data: unknown } }).request;
  expect(data).toEqual({
    team: planted,
    ids: ["a", 1],
    size: hmac("5"),
    deep: { team: "red", other: hmac("x"), ids: [[hmac("b")]] },
    list: [{ team: "c" }],
  });
  // An answer that was hashed for a mount that shows nothing, and the other way round.
  const answer = { response: { data: { team: "red", size: 5 }, shared: true as const } };
  const answered = (mounted: Exchange["mount"]): unknown => {
    const line = textOf(format.response(0, shared, { ...asked, mount: mounted }, answer));
    return (JSON.parse(line) as { response: { data: unknown } }).response.data;
  };
  for (let again = 0; again < 2; again++) {
    expect(answered({ ...mount, clear: null })).toEqual({ team: hmac("red"), size: hmac("5") });
    expect(answered(mount)).toEqual({ team: hmac("red"), size: 5 });
  }
  const long = "x".repeat(5000);
  expect(hasher.json({ team: long }, names.request)).toBe(`{"team":"${hmac(long)}"}`);
});

test("what a route says is for readers of the audit stands in clear, beside what its mount is tuned to show", () => {
  const format = new Format(hasher);
  const [one] = fc.sample(exchange, { numRuns: 1, seed: 1 });
  if (one === undefined) throw new Error("no sample");
  const fields = {
    reason: field.string("Why", { clear: true }),
    other: field.string("What"),
    key: field.string("A secret whatever else it says", { clear: true, secret: true }),
  };
  const mount = { path: "kv/", type: "kv", accessor: "kv_1", class: "secret" };
  const tuned = { request: new Set(["team"]), response: new Set<string>() };
  const data = { reason: "stolen laptop", other: "x", key: planted, team: "red" };
  const dataOf = (names: Exchange["mount"]): unknown => {
    const asked = { ...one, fields, mount: names, request: { ...one.request, data } };
    return (JSON.parse(textOf(format.request(0, format.shared(asked)))) as { request: { data: unknown } }).request.data;
  };
  const hidden = { other: hmac("x"), key: hmac(planted) };
  expect(dataOf({ ...mount, clear: null })).toEqual({ reason: "stolen laptop", team: hmac("red"), ...hidden });
  expect(dataOf({ ...mount, clear: tuned })).toEqual({ reason: "stolen laptop", team: "red", ...hidden });
});

test("numbers, raw JSON and bigints are hashed by their JSON text; what JSON has no word for is null or left out", () => {
  const raw = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON("12345678901234567890");
  const value = {
    a: 1.5,
    b: 1e21,
    c: -0,
    raw,
    big: 10n,
    nan: Number.NaN,
    gone: undefined,
    fn: () => 1,
    list: [undefined],
  };
  expect(JSON.parse(hasher.json(value))).toEqual({
    a: hmac("1.5"),
    b: hmac("1e+21"),
    c: hmac("0"),
    raw: hmac("12345678901234567890"),
    big: hmac("10"),
    nan: null,
    fn: null,
    list: [null],
  });
  expect(hasher.json(JSON.parse('{"__proto__":"x"}'))).toBe(`{"__proto__":"${hmac("x")}"}`);
});

test("a key that was wiped hashes no more the same", () => {
  const other = new Hasher(createSecretKey(rawKey));
  other.wipe();
  expect(other.hash("x")).not.toBe(hmac("x"));
  expect(() => new Hasher(createSecretKey(Buffer.alloc(65)))).toThrow("longer");
});
