import { createSecretKey, randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Accessors } from "./accessor.ts";

const key = () => createSecretKey(randomBytes(32));
const ids = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));

test("leads back to the id that it was made of, and under its key alone", () => {
  const accessors = new Accessors(key());
  const others = new Accessors(key());
  fc.assert(
    fc.property(ids, (id) => {
      const accessor = accessors.of(id);
      expect(accessor).toMatch(/^[A-Za-z0-9]{22}$/);
      expect(accessors.prefixOf(accessor)).toBe(id.slice(0, 32));
      expect(others.prefixOf(accessor)).not.toBe(id.slice(0, 32));
    }),
  );
});

test("what is no accessor leads nowhere", () => {
  const accessors = new Accessors(key());
  for (const text of ["", "a".repeat(21), "a".repeat(23), "-".repeat(22), "9".repeat(22)]) {
    expect(accessors.prefixOf(text), text).toBeNull();
  }
});

test("what is no id of a token is refused, and spoils no accessor that comes after it", () => {
  const accessors = new Accessors(key());
  const id = "0f".repeat(32);
  const before = accessors.of(id);
  for (const text of ["", "ab", "0f".repeat(15), "0F".repeat(32), `${id}0f`, "-".repeat(64)]) {
    expect(() => accessors.of(text), text).toThrow("no id");
  }
  expect(accessors.of(id)).toBe(before);
});
