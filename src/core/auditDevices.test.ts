// What becomes of a device that the API makes where something fails in between.

import { generateKeyPairSync } from "node:crypto";
import { expect, test, vi } from "vitest";
import { TestStore, TestView } from "../../test/conformance/view.ts";
import { manualClock } from "../lib/clock.ts";
import { silent } from "../lib/log.ts";
import type { AuditDevice, AuditPlugin } from "../sdk/audit.ts";
import { VaultError } from "../sdk/errors.ts";
import { AuditDevices, type AuditDevicesOptions } from "./auditDevices.ts";

const record = (path: string) => ({ type: "file", description: "", options: { path } });

function prepared(configured: AuditDevicesOptions["configured"] = [], store = new TestStore()) {
  const open = new Map<string, AuditDevice>();
  const attached = new Set<string>();
  const plugin: AuditPlugin = {
    type: "file",
    description: "Keeps nothing",
    fields: {},
    fromApi: async ({ path = "" }, { taken }) => {
      if (taken.includes(path)) throw new VaultError("invalid", "another device has that file");
      return { path };
    },
    open: async (name, settings) => {
      if (settings["path"] === "broken") throw new VaultError("audit", "the disk is full");
      const device: AuditDevice = {
        type: "file",
        name,
        head: async () => null,
        read: async () => [],
        write: async () => {},
        close: async () => void open.delete(name),
      };
      open.set(name, device);
      return device;
    },
  };
  const broker = {
    add: vi.fn(async ({ name }: AuditDevice) => void attached.add(name)),
    remove: vi.fn(async (name: string) => {
      if (attached.delete(name)) await open.get(name)?.close();
    }),
  };
  const view = new TestView(store, "audit/");
  const devices = new AuditDevices({
    view,
    configured,
    api: { plugins: [plugin], folders: ["/folder"] },
    broker: broker as unknown as AuditDevicesOptions["broker"],
    keys: { signing: generateKeyPairSync("ed25519").privateKey },
    log: silent,
    clock: manualClock(),
  });
  return { devices, view, broker, store, open: () => [...open.keys()], attached };
}

const lost = (): Promise<never> => Promise.reject(new VaultError("storage", "the disk is gone"));

test("one that the broker does not take is closed, and its name and file are free again", async () => {
  const { devices, broker, open } = prepared();
  broker.add.mockImplementationOnce(() => Promise.reject(new VaultError("invalid", "another vault's")));
  await expect(devices.enable("more", record("a"))).rejects.toThrow("another vault's");
  expect([open(), devices.records.size]).toEqual([[], 0]);
  await devices.enable("more", record("a"));
  expect(open()).toEqual(["more"]);
});

test("one that cannot be recorded is let go of, and its name and file are free again", async () => {
  const { devices, view, open, attached } = prepared();
  vi.spyOn(view, "write").mockImplementationOnce(lost);
  await expect(devices.enable("more", record("a"))).rejects.toThrow("the disk is gone");
  expect([open(), attached.size, devices.records.size]).toEqual([[], 0, 0]);
  await devices.enable("more", record("a"));
  expect([open(), [...attached]]).toEqual([["more"], ["more"]]);
});

test("one that does not open is the asker's fault, and takes nothing", async () => {
  const { devices, broker } = prepared();
  await expect(devices.enable("more", record("broken"))).rejects.toMatchObject({
    code: "invalid",
    message: "the disk is full",
  });
  expect([broker.add.mock.calls.length, devices.records.size]).toEqual([0, 0]);
});

test("disabling that cannot be recorded is done again, and frees name and file", async () => {
  const { devices, view, open } = prepared();
  await devices.enable("more", record("a"));
  vi.spyOn(view, "write").mockImplementationOnce(lost);
  await expect(devices.disable("more")).rejects.toThrow("the disk is gone");
  expect(devices.records.has("more")).toBe(true);
  await devices.disable("more");
  expect([devices.records.size, open()]).toEqual([0, []]);
  await devices.enable("other", record("a"));
});

test("there are sixteen at most, also where they are made at once", async () => {
  const { devices, open } = prepared();
  const made = await Promise.allSettled(
    Array.from({ length: 18 }, (_, at) => devices.enable(`more-${at}`, record(`${at}`))),
  );
  const refused = made.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
  expect(refused).toEqual(Array.from({ length: 2 }, () => expect.stringMatching(/there are 16 audit devices already/)));
  expect(open()).toHaveLength(16);
});

test("the same name twice at once is made once", async () => {
  const { devices, open } = prepared();
  const made = await Promise.allSettled([devices.enable("more", record("a")), devices.enable("more", record("b"))]);
  expect(made.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  expect(open()).toEqual(["more"]);
});

test("the server config's names and files are its own, also where it names them later", async () => {
  const configured = [{ name: "main", settings: { path: "a" } }];
  const one = prepared(configured);
  await expect(one.devices.enable("main", record("b"))).rejects.toThrow("path already in use");
  await expect(one.devices.enable("more", record("a"))).rejects.toThrow("another device has that file");
  await expect(one.devices.disable("main")).rejects.toThrow("stands in the server config");
  await one.devices.enable("more", record("b"));
  await one.devices.enable("third", record("c"));
  const later = prepared([{ name: "more", settings: { path: "x" } }], one.store);
  expect((await later.devices.open()).map(({ name }) => name)).toEqual(["third"]);
  expect([...later.devices.records.keys()]).toEqual(["more", "third"]);
  const taken = prepared([{ name: "main", settings: { path: "c" } }], one.store);
  expect((await taken.devices.open()).map(({ name }) => name)).toEqual(["more"]);
});
