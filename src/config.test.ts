import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { describe, expect, test } from "vitest";
import { ConfigError, configSchema, readConfig, type Tables } from "./config.ts";
import { createAjv } from "./configCheck.ts";
import { gitopsFields } from "./gitops/settings.ts";
import { field } from "./sdk/fields.ts";

const tables = {
  storage: { sqlite: { path: field.string("Folder", { required: true }) }, memory: {} },
  seal: { shamir: {} },
  audit: {
    file: {
      path: field.string("File", { required: true }),
      sync: field.string("When", { enum: ["none", "batch"], default: "none" }),
    },
    git: {
      path: field.string("Folder", { required: true }),
      interval: field.duration("How often", { default: 5 }),
      deploy_key_file: field.string("Key"),
    },
  },
  gitops: gitopsFields,
} satisfies Tables;

const good = `storage: { type: sqlite, path: data }
seal: { type: shamir }
listeners:
  - address: 127.0.0.1:8200
  - { socket: run/writ.sock, serves: webhook }
audit:
  - { type: file, path: /var/log/writ/audit.log, sync: batch, required: true }
  - { type: git, name: trail, path: audit, interval: 1m, deploy_key_file: keys/audit }
gitops:
  remote: /srv/policies.git
  allow_file_remote: true
  webhook: { secret_files: [keys/hook], repository: acme/policies }
  secrets: [{ paths: [secret/data/path] }]
cache_path: cache
max_lease_ttl: 1000h
`;
const validate = createAjv().compile(configSchema(tables));
const read = (text: string) => readConfig(text, "/etc/writ/writ.yaml", tables, validate);
const faults = (text: string): readonly string[] => {
  try {
    read(text);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
};
const places = (text: string): readonly string[] =>
  faults(text).map((fault) => fault.replace("/etc/writ/writ.yaml:", ""));

test("a whole file is read: defaults filled in, durations in seconds, paths from the file's folder", () => {
  expect(read(good)).toMatchObject({
    storage: { type: "sqlite", settings: { path: "/etc/writ/data" } },
    seal: { type: "shamir", settings: {} },
    listeners: [
      { address: "127.0.0.1:8200", serves: "api", tls: null, proxies: [] },
      { address: "/etc/writ/run/writ.sock", serves: "webhook", tls: null, proxies: [] },
    ],
    audit: [
      { type: "file", name: "file", required: true, settings: { path: "/var/log/writ/audit.log", sync: "batch" } },
      {
        type: "git",
        name: "trail",
        required: false,
        settings: { path: "/etc/writ/audit", interval: 60, deploy_key_file: "/etc/writ/keys/audit" },
      },
    ],
    gitops: {
      remote: "/srv/policies.git",
      branch: "main",
      webhook: { secret_files: ["/etc/writ/keys/hook"], repository: "acme/policies" },
      secrets: [{ directory: "", paths: ["secret/data/path"] }],
    },
    cachePath: "/etc/writ/cache",
    log: { level: "info", format: "json" },
    defaultLeaseTtl: 2_764_800,
    keepGenerations: 34_560_000,
    maxLeaseTtl: 3_600_000,
    allowRemoteInit: false,
    clusterName: "writ",
  });
});

test("gitops may be left out", () => {
  const text = good.replace(/gitops:[\s\S]*cache_path/, "cache_path");
  expect(read(text).gitops).toBeNull();
});

describe("what is wrong is named with its place and what to do", () => {
  test.each([
    ["an unknown key", good.replace("seal:", "sael: 1\nseal:"), ['2:1: unknown key "sael"; did you mean "seal"?']],
    [
      "an unknown key of a plugin",
      good.replace("sync: batch", "synk: batch"),
      ['7:50: audit[0]: unknown key "synk"; did you mean "sync"?'],
    ],
    [
      "a key of another plugin",
      good.replace("sync: batch", "interval: 5"),
      [/^7:50: audit\[0\]: unknown key "interval"/],
    ],
    [
      "an unknown key in gitops.webhook",
      good.replace("repository:", "repo:"),
      [/^12:3: gitops\.webhook: "repository" is/, /^12:41: .*"repo"/],
    ],
    ["a missing section", good.replace("seal: { type: shamir }\n", ""), [/^1:1: "seal" is missing: What turns/]],
    ["a missing type", good.replace("{ type: shamir }", "{}"), ['2:1: seal: "type" is missing: Which plugin']],
    ["an unknown type", good.replace("type: shamir", "type: shamri"), ["2:9: seal.type: must be one of: shamir"]],
    ["a missing plugin field", good.replace(", path: data", ""), ['1:1: storage: "path" is missing: Folder']],
    [
      "a wrong type",
      good.replace("allow_file_remote: true", "allow_file_remote: yes"),
      ["11:3: gitops.allow_file_remote: must be true or false"],
    ],
    [
      "a bad duration",
      good.replace("1m", "soon"),
      ["8:44: audit[1].interval: must be a duration such as 90s, 1h30m or 7d"],
    ],
    [
      "an address that others reach",
      good.replace("127.0.0.1", "0.0.0.0"),
      [/^4:5: listeners\[0\]: address is reached by other machines, .* tls_cert_file/],
    ],
    [
      "a key without its certificate",
      good.replace("8200", "8200\n    tls_key_file: a.key"),
      [/tls_cert_file and tls_key_file are given together/],
    ],
    [
      "client certificates without TLS",
      good.replace("8200", "8200\n    tls_client_ca_file: ca.pem"),
      [/client certificates need TLS/],
    ],
    [
      "client certificates of nobody",
      good.replace(
        "8200",
        "8200\n    tls_cert_file: a.pem\n    tls_key_file: a.key\n    tls_require_and_verify_client_cert: true",
      ),
      [/needs tls_client_ca_file/],
    ],
    [
      "a proxy by name",
      good.replace("8200", "8200\n    x_forwarded_for_authorized_addrs: [proxy.example.com]"),
      [/must be an address or a range/],
    ],
    ["a public name", good.replace("127.0.0.1", "vault.example.com"), [/must be an IP address/]],
    ["an address without a port", good.replace(":8200", ""), [/must be an IP address and a port/]],
    [
      "address and socket",
      good.replace("socket: run", 'address: "127.0.0.1:1", socket: run'),
      [/^5:5: listeners\[1\]: give either/],
    ],
    ["no api listener", good.replace("8200", "8200\n    serves: webhook"), [/one of them must serve the api/]],
    ["no audit device", good.replace(/audit:\n.*\n.*\n/, "audit: []\n"), ["6:1: audit: must have at least one entry"]],
    ["two devices of one name", good.replace("trail", "file"), [/^8:5: audit\[1\]: has the same name/]],
    ["no folder for the clone", good.replace("cache_path: cache\n", ""), [/^9:1: gitops: needs "cache_path"/]],
    [
      "a default above the maximum",
      good.replace("1000h", "1h"),
      ["1:1: default_lease_ttl: must not exceed max_lease_ttl"],
    ],
    ["a duplicate key", `${good}cache_path: other\n`, ["16:1: this key stands twice in one map; remove one"]],
    [
      "an alias",
      good.replace("cache_path: cache", "cache_path: &a cache\ncluster_name: *a"),
      [/^14:16: anchors/, /^15:15: anchors/],
    ],
    ["a tag", good.replace("type: shamir", "type: !x shamir"), [/tags/]],
    ["a merge key", good.replace("seal: {", "seal: { <<: {},"), [/^2:9: seal: unknown key "<<"/]],
    ["two documents", `${good}---\na: 1\n`, [/one document/]],
    ["broken YAML", "storage: [\n", [/^2:1: /]],
    ["an empty file", "", ["1:1: must be a map of keys and values"]],
  ] as const)("%s", (_name, text, wanted) => {
    const found = places(text);
    expect(found).toHaveLength(wanted.length);
    for (const [at, want] of wanted.entries()) {
      if (typeof want === "string") expect(found[at]).toBe(want);
      else expect(found[at]).toMatch(want);
    }
  });
});

test("a listener for everybody has TLS, and proxies that it believes", () => {
  const text = good.replace(
    "127.0.0.1:8200",
    "0.0.0.0:8200\n    tls_cert_file: tls/a.pem\n    tls_key_file: tls/a.key\n    x_forwarded_for_authorized_addrs: [10.0.0.0/8]",
  );
  expect(read(text).listeners[0]).toEqual({
    address: "0.0.0.0:8200",
    serves: "api",
    tls: {
      certFile: "/etc/writ/tls/a.pem",
      keyFile: "/etc/writ/tls/a.key",
      clientCaFile: null,
      requireClientCert: false,
      minVersion: "TLSv1.2",
    },
    openMetrics: false,
    proxies: ["10.0.0.0/8"],
  });
});

test("all faults are reported together, in the order of the file", () => {
  const text = good
    .replace("path: data", "pth: data")
    .replace("127.0.0.1", "10.0.0.1")
    .replace("max_lease", "max_laese");
  // What needs whole values (the address) is looked at once the shape is right.
  expect(places(text).map((fault) => fault.split(" ")[0])).toEqual(["1:1:", "1:26:", "15:1:"]);
});

test("no message repeats a value of the file", () => {
  const secret = "hvs.Z5ZTopSecretTopSecretTopSecret";
  for (const at of good.matchAll(/: ?([^\s{}[\],]+)/g)) {
    const start = at.index + at[0].indexOf(at[1] ?? "");
    for (const value of [secret, `"${secret}`, `[${secret}`, `!${secret} x`, `*${secret}`, `${secret}: x: y`]) {
      const text = good.slice(0, start) + value + good.slice(start + (at[1] ?? "").length);
      expect(
        faults(text)
          .join("\n")
          .replaceAll(/unknown key "[^"]*"/g, ""),
      ).not.toContain(secret);
    }
  }
});

test("the schema agrees with the reader, and refuses a table with a secret value", () => {
  const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false });
  expect(ajv.validate(configSchema(tables), parse(good))).toBe(true);
  const bad = { ...tables, seal: { kms: { key: field.string("Key", { secret: true }) } } };
  expect(() => configSchema(bad)).toThrow("must be a file");
});

test("a listener tells its measurements without a token only where that is said", () => {
  const opened = good.replace(
    "- address: 127.0.0.1:8200",
    "- address: 127.0.0.1:8200\n    telemetry: { unauthenticated_metrics_access: true }",
  );
  expect(read(opened).listeners.map(({ openMetrics }) => openMetrics)).toEqual([true, false]);
  expect(read(good).listeners.map(({ openMetrics }) => openMetrics)).toEqual([false, false]);
});
