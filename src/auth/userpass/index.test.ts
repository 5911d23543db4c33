import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mountConformance } from "../../../test/conformance/mount.ts";
import { createKit, type Kit, refusal } from "../../../test/conformance/kit.ts";
import { Passwords } from "../../lib/password.ts";
import { createUserpass, plugin } from "./index.ts";
import { normalizeName } from "./name.ts";

// What is tested here is not the price of a hash, so it may be small.
const cheap = createUserpass(new Passwords({ N: 16, r: 1, p: 1 }));

mountConformance("userpass", cheap, {
  objects: [
    { resource: "users", name: "alice", spec: { token_policies: ["a"] }, secrets: { password: "correct horse 1" } },
    { resource: "users", name: "bob" },
  ],
  steps: [
    { operation: "update", path: "login/alice", data: { password: "correct horse 1" } },
    { operation: "update", path: "users/bob/password", data: { password: "battery staple 2" } },
    { operation: "update", path: "users/alice/password", data: { password: "battery staple 3" } },
  ],
  observe: [
    { operation: "update", path: "login/alice", data: { password: "correct horse 1" } },
    { operation: "update", path: "login/bob", data: { password: "battery staple 2" } },
    { operation: "update", path: "login/alice", data: { password: "battery staple 3" } },
  ],
  secrets: ["correct horse 1", "battery staple 2", "battery staple 3"],
  params: { name: ["alice", "nobody", " BOB "] },
});

async function vault(at = cheap): Promise<Kit> {
  const kit = createKit(at);
  await kit.declare("users", "Alice", { token_policies: ["readers"] }, { password: "s3cret" });
  return kit;
}

const login = async (kit: Kit, name: string, password: string): Promise<unknown> =>
  (await kit.call("update", `login/${name}`, { password })).response?.grant;

describe("logins", () => {
  test("a right password gives a grant for the one spelling of the name", async () => {
    const kit = await vault();
    const grant = {
      alias: { name: "alice", metadata: { username: "alice" } },
      displayName: "alice",
      mapping: { resource: "users", name: "alice" },
      metadata: { username: "alice" },
    };
    for (const name of ["alice", "ALICE", "  Alice ", "\uff21lice", "al\u200bice"]) {
      expect(await login(kit, name, "s3cret")).toEqual(grant);
    }
  });

  test("an unknown user, a wrong password and no password yet are refused alike", async () => {
    const kit = await vault();
    await kit.declare("users", "bob");
    for (const name of ["alice", "nobody", "bob"]) {
      const error = await refusal(login(kit, name, "wrong"));
      expect([error.code, error.errors]).toEqual(["invalid", ["invalid username or password"]]);
    }
    expect((await refusal(kit.call("update", "login/alice"))).errors).toEqual(["missing password"]);
  });

  test("all three take the same work", async () => {
    const kit = await vault(plugin);
    await kit.declare("users", "bob");
    const cost = async (name: string): Promise<number> => {
      const before = process.cpuUsage();
      for (let tries = 0; tries < 3; tries += 1) await refusal(login(kit, name, "wrong"));
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    const [known, unknown, without] = [await cost("alice"), await cost("nobody"), await cost("bob")];
    // A skipped hash would cost a hundredth.
    expect(unknown).toBeGreaterThan(known / 4);
    expect(without).toBeGreaterThan(known / 4);
  });

  test("whoever is not declared any more cannot log in, whatever is left of the state", async () => {
    const kit = await vault();
    const kept = [...kit.store.entries];
    await kit.undeclare("users", "alice");
    expect(kit.store.entries.size).toBe(0);
    for (const [key, value] of kept) kit.store.entries.set(key, value);
    expect((await refusal(login(kit, "alice", "s3cret"))).code).toBe("invalid");
  });

  test("more logins at once than may wait are told to come later", async () => {
    const kit = await vault();
    const results = await Promise.allSettled(Array.from({ length: 70 }, () => login(kit, "alice", "s3cret")));
    const refused = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason as { code: string }] : [],
    );
    expect(refused.map((error) => error.code)).toEqual(Array.from({ length: 4 }, () => "rate_limited"));
    expect(await login(kit, "alice", "s3cret")).toBeDefined();
  });
});

describe("passwords", () => {
  test("the password route sets it at once and for later", async () => {
    const kit = await vault();
    expect((await kit.call("update", "users/ALICE/password", { password: "n3w" })).response).toBeNull();
    await refusal(login(kit, "alice", "s3cret"));
    expect(await login(kit, "alice", "n3w")).toBeDefined();
    expect((await refusal(kit.call("update", "users/nobody/password", { password: "x" }))).errors).toEqual([
      "username does not exist",
    ]);
    for (const password of ["", undefined]) {
      const error = await refusal(kit.call("update", "users/alice/password", { password }));
      expect(error.errors).toEqual(["missing password"]);
    }
    const long = await refusal(kit.call("update", "users/alice/password", { password: "ä".repeat(513) }));
    expect(long.errors).toEqual(["the password is longer than 1024 bytes"]);
  });

  test("a stored hash that cannot be read lets nobody in", async () => {
    const kit = await vault();
    const [key, stored] = [...kit.store.entries][0] ?? ["", undefined];
    if (stored === undefined) throw new Error("nothing is stored");
    kit.store.entries.set(key, { bytes: Buffer.from('{"hash":"$scrypt$ln=40,r=8,p=1$AAAA$AAAA"}'), version: 99 });
    await expect(login(kit, "alice", "s3cret")).rejects.toThrow("cannot be read");
  });

  test("hashes are salted, tell their parameters, and fit one password", async () => {
    const passwords = new Passwords();
    const [one, two] = [await passwords.hash("pässword"), await passwords.hash("pässword")];
    expect(one).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$/);
    expect(one).not.toBe(two);
    expect(await passwords.verify(one, "pässword".normalize("NFD"))).toBe(true);
    expect(await passwords.verify(one, "Pässword")).toBe(false);
    expect(await passwords.verify(null, "")).toBe(false);
  });

  test("a hash made elsewhere with other parameters verifies (RFC 7914 section 12)", async () => {
    const key = Buffer.from(
      "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
      "hex",
    );
    const text = (bytes: Buffer): string => bytes.toString("base64").replaceAll("=", "");
    const stored = `$scrypt$ln=14,r=8,p=1$${text(Buffer.from("SodiumChloride"))}$${text(key)}`;
    expect(await new Passwords().verify(stored, "pleaseletmein")).toBe(true);
    expect(await new Passwords().verify(stored, "pleaseletmeout")).toBe(false);
  });
});

describe("names", () => {
  test.each([
    ["ALICE", "alice"],
    ["  alice\t", "alice"],
    ["al  ice", "al ice"],
    ["\u00a0alice\u3000", "alice"],
    ["STRASSE", "straße"],
    ["ΟΔΥΣΣΕΥΣ", "οδυσσευς"],
    ["ﬁsh", "FISH"],
    ["jose\u0301", "JOS\u00c9"],
    ["a\u200db\ufeff", "ab"],
    ["\ud800x", "\ufffdx"],
  ])("%j and %j are one", (one, two) => {
    expect(normalizeName(one)).toBe(normalizeName(two));
  });

  test("different letters stay different", () => {
    const names = ["alice", "alicе" /* Cyrillic e */, "al ice", "alíce", "alice1"];
    expect(new Set(names.map(normalizeName)).size).toBe(names.length);
  });

  test("every character has one spelling, whatever its case", () => {
    for (let code = 0; code <= 0x10ffff; code++) {
      const letter = String.fromCodePoint(code);
      const name = normalizeName(letter);
      if (normalizeName(name) !== name || normalizeName(letter.toUpperCase()) !== name)
        throw new Error(`U+${code.toString(16)}`);
    }
  });

  test("case and spaces around never matter", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (name) => {
        expect(normalizeName(`  ${name.toUpperCase()}\n`)).toBe(normalizeName(name));
      }),
    );
  });

  test("users show what Vault shows, and never the password", () => {
    const [users] = plugin.resources;
    expect(users?.show?.({ password: "x", token_policies: ["a"], token_ttl: 60 })).toMatchObject({
      token_policies: ["a"],
      policies: ["a"],
      token_ttl: 60,
      token_type: "default",
    });
    expect(JSON.stringify(users?.show?.({ password: "x" }))).not.toContain("password");
  });
});
