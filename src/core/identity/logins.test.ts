import { createSecretKey } from "node:crypto";
import { expect, test } from "vitest";
import type { View } from "../../sdk/view.ts";
import { Table } from "../table.ts";
import { MountTable } from "../mounts.ts";
import { whole } from "../../lib/slices.ts";
import { Directory } from "./directory.ts";
import { Logins } from "./logins.ts";

const key = createSecretKey(Buffer.alloc(32, 7));
const nobody = whole(Directory.of(new Table(), new MountTable(new Map()), key));
const alias = { accessor: "auth_userpass_1", name: "ada" };

/** A view over a map, whose reads and writes of entities wait where a test says so. */
function storage() {
  const entries = new Map<string, object>();
  const gates = { read: Promise.resolve(), write: Promise.resolve() };
  const view = {
    getJson: async (name: string) => {
      const value = entries.get(name);
      if (name.startsWith("entity/")) await gates.read;
      return value === undefined ? null : { value, version: 1 };
    },
    write: async (ops: readonly { readonly key: string; readonly value: object | null }[]) => {
      if (ops.some((op) => op.key.startsWith("entity/") && op.value !== null)) await gates.write;
      for (const { key: name, value } of ops) {
        if (value === null) entries.delete(name);
        else entries.set(name, value);
      }
      return ops.map(() => 1);
    },
  };
  const open = () => new Logins(view as unknown as View, key, () => {});
  return { entries, gates, open };
}

test("one that is ended while it is read is not found by that read, nor by any later", async () => {
  const { gates, open } = storage();
  const { id } = await open().record(alias, 1, nobody);
  const logins = open();
  const gate = Promise.withResolvers<void>();
  gates.read = gate.promise;
  const reading = logins.get(id);
  await new Promise(setImmediate);
  gates.read = Promise.resolve();
  await logins.end(id);
  gate.resolve();
  expect(await reading).toBeNull();
  expect(await logins.get(id)).toBeNull();
});

test("one that is ended while another login records it does not come back", async () => {
  const { entries, gates, open } = storage();
  const logins = open();
  const { id } = await logins.of(alias, nobody);
  const gate = Promise.withResolvers<void>();
  gates.write = gate.promise;
  const recording = logins.record(alias, 1, nobody);
  await new Promise(setImmediate);
  // As another login left it, which was quicker.
  entries.set(`entity/${id}`, { id, aliases: [alias], created: 1 });
  await logins.end(id);
  gate.resolve();
  const made = await recording;
  expect(made.id).not.toBe(id);
  expect([...entries.keys()].filter((name) => name.startsWith("entity/"))).toEqual([`entity/${made.id}`]);
  expect((await logins.of(alias, nobody)).id).toBe(made.id);
});
