// What clients of KV and of the operations below sys/ see on the wire: statuses, and the bodies that they match on.

import { beforeAll, describe, expect, test } from "vitest";
import { type Harness, harness } from "../core/harness.ts";
import { type Answered, exchange, start } from "./fixture.ts";

let h: Harness;
let port = 0;

beforeAll(async () => {
  h = await harness();
  await h.ask("update", "sys/mounts/kv1", { type: "kv" });
  await h.ask("update", "sys/mounts/kv2", { type: "kv", options: { version: "2" } });
});

const json = (answer: Answered): unknown => JSON.parse(answer.body);

async function send(line: string, body?: unknown): Promise<Answered> {
  const patch = line.startsWith("PATCH") ? ["Content-Type: application/merge-patch+json"] : [];
  const [method, path] = line.split(" ");
  return exchange(
    port,
    `${method} /v1/${path}`,
    [`X-Vault-Token: ${h.root}`, ...patch],
    body === undefined ? "" : JSON.stringify(body),
  );
}

type Step = readonly [line: string, body: unknown, status: number, answer?: object];
const nothing = { errors: [] };
const envelope = { request_id: expect.any(String), lease_id: "", renewable: false, wrap_info: null, auth: null };

async function walk(steps: readonly Step[]): Promise<void> {
  ({ port } = await start({ door: { handle: (request) => h.vault.handle(request), leader: () => h.vault.leader() } }));
  for (const [line, body, status, answer] of steps) {
    const got = await send(line, body);
    expect(got.status, `${line}: ${got.body}`).toBe(status);
    if (status === 204) expect(got.body, line).toBe("");
    if (answer !== undefined) expect(json(got), line).toMatchObject(answer);
    if (answer === nothing) expect(json(got), line).toEqual(nothing);
  }
}

describe("KV", () => {
  test("version 1", async () => {
    await walk([
      ["GET kv1/a", undefined, 404, nothing],
      ["LIST kv1/", undefined, 404, nothing],
      ["POST kv1/a", {}, 400, { errors: ["missing data fields"] }],
      ["POST kv1/a", { x: "1", ttl: "1m" }, 204],
      ["PUT kv1/a/b", { x: [1] }, 204],
      ["GET kv1/a", undefined, 200, { ...envelope, data: { x: "1", ttl: "1m" }, lease_duration: 60, warnings: null }],
      ["LIST kv1/", undefined, 200, { data: { keys: ["a", "a/"] } }],
      ["GET kv1?list=true", undefined, 200, { data: { keys: ["a", "a/"] } }],
      ["SCAN kv1/", undefined, 200, { data: { keys: ["a", "a/b"] } }],
      ["PATCH kv1/a", {}, 405],
      ["DELETE kv1/a", undefined, 204],
      ["DELETE kv1/a", undefined, 204],
    ]);
  });

  test("version 2, as the kv commands call it", async () => {
    const version = (number: number, more = {}): object => ({
      version: number,
      destroyed: false,
      deletion_time: "",
      ...more,
    });
    await walk([
      ["GET kv2/data/a", undefined, 404, nothing],
      ["LIST kv2/metadata", undefined, 404, nothing],
      ["POST kv2/data/a", {}, 400, { errors: ["no data provided"] }],
      ["POST kv2/data/a", { data: { x: "1", y: "2" }, options: { cas: 0 } }, 200, { ...envelope, data: version(1) }],
      [
        "POST kv2/data/a",
        { data: {}, options: { cas: 0 } },
        400,
        { errors: ["check-and-set parameter did not match the current version"] },
      ],
      ["PATCH kv2/data/a", { data: { y: null, z: "3" }, options: { cas: 1 } }, 200, { data: version(2) }],
      ["GET kv2/data/a", undefined, 200, { data: { data: { x: "1", z: "3" }, metadata: version(2) } }],
      ["GET kv2/data/a?version=1", undefined, 200, { data: { data: { x: "1", y: "2" }, metadata: version(1) } }],
      ["GET kv2/subkeys/a?version=1&depth=1", undefined, 200, { data: { subkeys: { x: null, y: null } } }],
      ["PATCH kv2/data/none", { data: {} }, 404, nothing],
      // kv delete, kv undelete, kv destroy
      ["DELETE kv2/data/a", undefined, 204],
      [
        "GET kv2/data/a",
        undefined,
        404,
        { ...envelope, data: { data: null, metadata: { version: 2, destroyed: false } } },
      ],
      ["PATCH kv2/data/a", { data: {} }, 404, { data: { version: 2 } }],
      ["PUT kv2/undelete/a", { versions: ["2"] }, 204],
      ["PUT kv2/delete/a", { versions: ["1", "2"] }, 204],
      ["PUT kv2/undelete/a", { versions: "1,2" }, 204],
      ["PUT kv2/destroy/a", { versions: [1] }, 204],
      ["PUT kv2/destroy/a", {}, 400, { errors: ["No version number provided"] }],
      ["GET kv2/data/a?version=1", undefined, 404, { data: { data: null, metadata: { destroyed: true } } }],
      // kv metadata put, patch, get, delete
      ["POST kv2/metadata/a", { cas_required: true, max_versions: 5, custom_metadata: { a: "1", b: "2" } }, 204],
      ["PATCH kv2/metadata/a", { custom_metadata: { a: null }, delete_version_after: "90s" }, 204],
      ["PATCH kv2/metadata/none", { max_versions: 1 }, 404, nothing],
      [
        "GET kv2/metadata/a",
        undefined,
        200,
        {
          data: {
            cas_required: true,
            max_versions: 5,
            custom_metadata: { b: "2" },
            delete_version_after: "1m30s",
            current_version: 2,
            versions: { 1: { destroyed: true } },
          },
        },
      ],
      ["POST kv2/data/a", { data: {} }, 400, { errors: ["check-and-set parameter required for this call"] }],
      // kv rollback
      ["PUT kv2/data/a", { data: { x: "1" }, options: { cas: 2 } }, 200, { data: { version: 3 } }],
      ["LIST kv2/metadata", undefined, 200, { data: { keys: ["a"] } }],
      [
        "LIST kv2/detailed-metadata",
        undefined,
        200,
        { data: { keys: ["a"], key_info: { a: { current_version: 3 } } } },
      ],
      [
        "GET kv2/config",
        undefined,
        200,
        { data: { max_versions: 0, cas_required: false, delete_version_after: "0s" } },
      ],
      ["POST kv2/config", { cas_required: true }, 204],
      [
        "POST kv2/metadata/a",
        { cas_required: false },
        200,
        { data: null, warnings: [expect.stringContaining("mandated by backend config")] },
      ],
      ["POST kv2/config", { cas_required: false }, 204],
      ["DELETE kv2/metadata/a", undefined, 204],
      ["GET kv2/metadata/a", undefined, 404, nothing],
      ["GET kv2/a", undefined, 404, { data: null, warnings: [expect.stringContaining("'vault kv get'")] }],
      ["POST kv2/a", { x: 1 }, 404, { data: null, warnings: [expect.stringContaining("'vault kv put'")] }],
      ["POST kv2/subkeys/a", {}, 405],
    ]);
    expect((await exchange(port, "PATCH /v1/kv2/data/a", [`X-Vault-Token: ${h.root}`], "{}")).status).toBe(415);
  });
});

test("operations below sys/", async () => {
  const policy = 'path "a" { capabilities = ["read"] }';
  const password = 'length = 8 rule "charset" { charset = "ab" }';
  await walk([
    ["GET sys/leader", undefined, 200, { ha_enabled: false }],
    ["PUT sys/step-down", undefined, 204],
    ["GET sys/ha-status", undefined, 200, { data: { nodes: [{ active_node: true }] }, nodes: [{ active_node: true }] }],
    ["GET sys/host-info", undefined, 200, { data: { memory: {} }, memory: {} }],
    ["LIST sys/version-history", undefined, 200, { data: { keys: ["2.0.0"] } }],
    ["GET sys/version-history?list=true", undefined, 200],
    ["GET sys/loggers", undefined, 200, { data: { writ: "debug" }, writ: "debug" }],
    ["POST sys/loggers/writ", { level: "warn" }, 204],
    ["DELETE sys/loggers", undefined, 204],
    ["POST sys/tools/random/16", {}, 200, { data: { random_bytes: expect.stringMatching(/==$/) } }],
    ["POST sys/tools/hash", { input: "YQ==" }, 200, { data: { sum: expect.stringMatching(/^[0-9a-f]{64}$/) } }],
    ["PUT sys/policies/password/p", { policy: password }, 204],
    ["GET sys/policies/password/p", undefined, 200, { data: { policy: password } }],
    [
      "GET sys/policies/password/p/generate",
      undefined,
      200,
      { data: { password: expect.stringMatching(/^[ab]{8}$/) } },
    ],
    ["LIST sys/policies/password", undefined, 200, { data: { keys: ["p"] } }],
    ["DELETE sys/policies/password/p", undefined, 204],
    ["GET sys/policies/password/p", undefined, 404, { errors: ["policy does not exist"] }],
    ["POST sys/policies/acl/p", { policy }, 204],
    ["POST sys/policies/acl/p", { policy: "path" }, 400],
    ["GET sys/policies/acl/p", undefined, 200, { data: { name: "p", policy } }],
    ["GET sys/policies/acl/none", undefined, 404, nothing],
    ["LIST sys/policies/acl", undefined, 200, { data: { keys: ["default", "p", "root"] } }],
    ["GET sys/policy", undefined, 200, { policies: ["default", "p", "root"], keys: ["default", "p", "root"] }],
    ["POST sys/policy/p", { rules: policy }, 200, { warnings: [expect.stringContaining("deprecated")] }],
    ["GET sys/policy/p", undefined, 200, { name: "p", rules: policy }],
    ["DELETE sys/policy/p", undefined, 204],
    ["DELETE sys/policies/acl/p", undefined, 204],
    ["DELETE sys/policies/acl/root", undefined, 400],
    [
      "POST sys/capabilities-self",
      { paths: ["a"] },
      200,
      { data: { a: ["root"], capabilities: ["root"] }, a: ["root"] },
    ],
    ["POST sys/capabilities", { paths: ["a"], token: h.root }, 200, { data: { a: ["root"] } }],
    ["GET sys/key-status", undefined, 200, { data: { term: expect.any(Number) } }],
    ["PUT sys/rotate", undefined, 204],
    ["PUT sys/rotate/keyring", undefined, 204],
    ["GET sys/rekey/init", undefined, 200, { started: false }],
    ["PUT sys/rekey/init", { secret_shares: 1, secret_threshold: 1 }, 200, { started: true }],
    ["DELETE sys/rekey/init", undefined, 204],
    ["GET sys/generate-root-token/attempt", undefined, 200, { started: false }],
    ["PUT sys/generate-root-token/attempt", {}, 200, { started: true }],
    ["PUT sys/generate-root-token/attempt", {}, 400],
    ["DELETE sys/generate-root-token/attempt", undefined, 204],
    ["GET sys/generate-root/attempt", undefined, 200],
    ["GET sys/rotate/config", undefined, 200, { enabled: true }],
    ["PUT sys/rotate/keyring/config", { interval: "48h" }, 204],
    ["GET sys/rotate/keyring/config", undefined, 200, { interval: "48h0m0s" }],
    ["GET sys/raw/a", undefined, 404],
  ]);
});
