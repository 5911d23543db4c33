import { createSecretKey, randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { manualClock } from "../../lib/clock.ts";
import { isVaultError } from "../../sdk/errors.ts";
import { BatchTokens } from "./batch.ts";
import type { NewToken } from "./entry.ts";

const clock = manualClock();
const idOf = (token: string): string => `id of ${token}`;
const tokens = new BatchTokens({ key: createSecretKey(randomBytes(32)), clock, idOf });

const wanted: NewToken = {
  parent: "p",
  policies: ["a", "b"],
  mapping: { accessor: "auth_x_1", kind: "AppRole", name: "app", seq: 7 },
  alias: { accessor: "auth_x_1", name: "app" },
  display_name: "approle",
  meta: { "\\": "a name that JSON.parse garbles others by", team: "x" },
  path: "auth/approle/login",
  ttl: 60,
  max_ttl: 600,
  explicit_max_ttl: 0,
  period: 0,
  renewable: true,
  num_uses: 0,
  bound_cidrs: ["10.0.0.0/8"],
};

describe("batch tokens", () => {
  test("carry what they are", () => {
    const { token, entry } = tokens.create(wanted);
    expect(token).toMatch(/^hvb\.[A-Za-z0-9_-]+$/);
    expect(tokens.open(token)).toEqual(entry);
    expect(entry).toEqual({
      ...wanted,
      id: idOf(token),
      accessor: "",
      type: "batch",
      created_at: clock.now(),
      expires_at: clock.now() + 60_000,
      last_renewal: 0,
      max_ttl: 0,
      renewable: false,
    });
    expect(Buffer.from(token.slice(4), "base64url").toString("latin1")).not.toContain("approle");
  });

  test("of the same content are never the same", () => {
    const made = new Set(Array.from({ length: 100 }, () => tokens.create(wanted).token));
    expect(made.size).toBe(100);
  });

  test("open to nothing once a bit is changed, one character is, or another vault made them", () => {
    const { token } = tokens.create(wanted);
    const bytes = Buffer.from(token.slice(4), "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(tokens.open(`hvb.${changed.toString("base64url")}`), `bit ${bit}`).toBeNull();
    }
    for (let length = 0; length < token.length; length++) expect(tokens.open(token.slice(0, length))).toBeNull();
    const elsewhere = new BatchTokens({ key: createSecretKey(randomBytes(32)), clock, idOf });
    expect(elsewhere.open(token)).toBeNull();
  });

  test("have one spelling", () => {
    // A content whose length leaves unused bits in the last character.
    const spare = [1, 2, 3].map((n) => tokens.create({ ...wanted, display_name: "x".repeat(n) }).token);
    for (const token of spare) {
      expect(tokens.open(token)).not.toBeNull();
      for (const other of [`${token}=`, `${token}==`, `${token} `, token.replace("-", "+"), token.replace("_", "/")]) {
        if (other !== token) expect(tokens.open(other)).toBeNull();
      }
      for (const last of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
        const other = token.slice(0, -1) + last;
        if (other !== token) expect(tokens.open(other)).toBeNull();
      }
    }
  });

  test("are never read from what somebody made up", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, formatted) => {
        if (formatted) bytes[0] = 1;
        expect(tokens.open(`hvb.${Buffer.from(bytes).toString("base64url")}`)).toBeNull();
      }),
    );
  });

  test.each([{ num_uses: 1 }, { period: 60 }, { ttl: 0 }, { client_token: "chosen-by-a-person" }])(
    "cannot have %j",
    (more) => {
      expect(() => tokens.create({ ...wanted, ...more })).toThrow(/batch tokens cannot/);
    },
  );

  test("are not made longer than a header takes", () => {
    const long = { ...wanted, meta: { a: "x".repeat(7000) } };
    try {
      tokens.create(long);
      expect.unreachable();
    } catch (error) {
      expect(isVaultError(error, "invalid")).toBe(true);
    }
  });
});
