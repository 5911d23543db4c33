import { expect, test } from "vitest";
import { type BlockView, list, restore, revoke } from "./blocks.ts";
import { type Answer, type Client, CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { seal } from "./seal.ts";

const block: BlockView = {
  type: "person",
  name: "alice",
  reason: "stolen \u001b[2Jlaptop",
  by: { display_name: "root" },
  since: "2026-01-01T00:00:00.000000000Z",
  documents: [],
  state: "revoking",
  whole: false,
  tokens: { examined: 0, revoked: 0 },
  leases: { found: 0, revoked: 0, left: 0, failing: [] },
  secret_ids: { revoked: 0 },
};
const failing = [{ lease_id: "db/creds/app/1", error: "no route", attempts: 2 }];

/** Answers each request with the next of these; an error is thrown. */
function scene(...answers: readonly (Answer | CommandError)[]) {
  const said = { out: "", err: "", progress: [] as (string | null)[], asked: [] as string[] };
  const left = [...answers];
  const client = {
    call: async (method: string, path: string, body?: unknown) => {
      said.asked.push(`${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`);
      const next = left.shift();
      if (next === undefined || next instanceof CommandError) throw next ?? new Error("asked too often");
      return next;
    },
  } as unknown as Client;
  const io = {
    out: (line: string) => (said.out += `${line}\n`),
    err: (line: string) => (said.err += `${line}\n`),
    progress: (text: string | null) => said.progress.push(text),
    env: {},
  } as unknown as Io;
  return { client, io, said };
}

const answer = (more: Partial<BlockView>, warnings: readonly string[] = []): Answer => ({
  status: 200,
  body: { data: { ...block, ...more }, warnings },
});
const options = { reason: "stolen laptop", force: false, wait: true };

test("revoke waits with progress until all is revoked", async () => {
  const leases = { found: 3, revoked: 1, left: 2, failing: [] };
  const { client, io, said } = scene(
    answer({}, ["it is blocked already"]),
    answer({ leases, tokens: { examined: 64, revoked: 1 } }),
    answer({
      state: "revoked",
      whole: true,
      leases: { ...leases, revoked: 3, left: 0 },
      tokens: { examined: 70, revoked: 2 },
    }),
  );
  expect(await revoke(client, io, "person", "team/alice b", options)).toBe(0);
  expect(said.asked).toEqual([
    'POST sys/blocks/person/team/alice%20b {"reason":"stolen laptop","force":false}',
    "GET sys/blocks/person/team/alice%20b",
    "GET sys/blocks/person/team/alice%20b",
  ]);
  expect(said.progress).toEqual([
    "revoked 0 tokens, 0 leases, 0 secret ids; 0 leases left, 0 tokens looked at",
    "revoked 1 token, 1 lease, 0 secret ids; 2 leases left, 64 tokens looked at",
    null,
  ]);
  expect(said.out).toContain("Revoked 2 tokens, 3 leases, 0 secret ids\n");
  expect(said.err).toBe("warning: it is blocked already\n");
});

test("revoke ends with 2 where nothing is left but leases that could not be ended, and says why", async () => {
  const { client, io, said } = scene(
    answer({}),
    // Not yet: it is still being gone through, and then another one may end.
    answer({ leases: { found: 1, revoked: 0, left: 1, failing } }),
    answer({ whole: true, leases: { found: 2, revoked: 0, left: 2, failing } }),
    answer({ whole: true, leases: { found: 2, revoked: 1, left: 1, failing } }),
  );
  expect(await revoke(client, io, "mount", "db", options)).toBe(2);
  expect(said.asked).toHaveLength(4);
  expect(said.err).toContain("not revoked yet: db/creds/app/1: no route (2 attempts)\n1 lease left");
});

test("revoke without waiting asks once; who blocked himself is not told that it failed", async () => {
  const quick = scene(answer({}));
  expect(await revoke(quick.client, quick.io, "person", "alice", { ...options, wait: false })).toBe(0);
  expect(quick.said.asked).toHaveLength(1);
  const self = scene(answer({}), new CommandError("GET sys/blocks: 403 permission denied", 2));
  await expect(revoke(self.client, self.io, "person", "alice", { ...options, force: true })).rejects.toThrow(
    /^it is blocked, and being revoked; you cannot ask how far that is: GET/,
  );
});

test("an address whose past stays good is blocked at once, and that is said", async () => {
  const { client, io, said } = scene(answer({ keep: true }));
  expect(await revoke(client, io, "address", "10.0.0.0/8", { ...options, keep: true })).toBe(0);
  expect(said.asked).toEqual([
    'POST sys/blocks/address/10.0.0.0/8 {"reason":"stolen laptop","force":false,"keep":true}',
  ]);
  expect(said.out).toContain("stays good elsewhere");
});

test("seal shows what is left to end from the first look on, and takes that back before it goes on", async () => {
  const left = (lease_count: number): Answer => ({
    status: 200,
    body: { data: { lease_count, complete: true, mounts: [], ending: false, failing: [] } },
  });
  const { client, io, said } = scene(left(2), left(2), left(0), { status: 204, body: null });
  expect(await seal(client, io, { revokeFirst: true, timeout: "2m" })).toBe(0);
  expect(said.progress).toEqual(["2 outside accounts left", null]);
  expect(said.out).toMatch(/No outside account is left\.\nSealed\n$/);
});

test("restore says why where it is told; the list cannot drive the terminal", async () => {
  const lifted = scene({ status: 204, body: null }, { status: 204, body: null });
  expect(await restore(lifted.client, lifted.io, "address", "2001:db8::/32", {})).toBe(0);
  expect(await restore(lifted.client, lifted.io, "person", "alice", { reason: "a&b" })).toBe(0);
  expect(lifted.said.asked).toEqual([
    "DELETE sys/blocks/address/2001%3Adb8%3A%3A/32",
    "DELETE sys/blocks/person/alice?reason=a%26b",
  ]);
  const other: BlockView = { ...block, type: "address", name: "10.0.0.0/8", since: "2025-01-01T00:00:00.000000000Z" };
  const shown = scene(
    { status: 200, body: { data: { key_info: { one: block, two: other } } } },
    { status: 404, body: null },
  );
  expect(await list(shown.client, shown.io, {})).toBe(0);
  expect(shown.said.out).not.toContain("\u001b[2J");
  expect(shown.said.out.indexOf("10.0.0.0/8")).toBeLessThan(shown.said.out.indexOf("alice"));
  expect(await list(shown.client, shown.io, {})).toBe(0);
  expect(shown.said.out).toContain("Nothing is blocked\n");
});
