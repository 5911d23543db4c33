// sys/tools: random bytes and hashes, for clients without good ones of their own.

import { createHash } from "node:crypto";
import { randomBuffer } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import { coreHandler } from "../call.ts";

const mostBytes = 131_072;
/** All are the system's generator: there is no other source. */
const sources = new Set(["platform", "seal", "all"]);
const algorithms: ReadonlyMap<string, string> = new Map([
  ["sha2-224", "sha224"],
  ["sha2-256", "sha256"],
  ["sha2-384", "sha384"],
  ["sha2-512", "sha512"],
  ["sha3-224", "sha3-224"],
  ["sha3-256", "sha3-256"],
  ["sha3-384", "sha3-384"],
  ["sha3-512", "sha3-512"],
]);

const format = (standard: "hex" | "base64") => field.string("hex or base64", { default: standard });
const bytes = field.int("How many bytes", { default: 32 });

function encoded(value: Buffer, given: string): string {
  if (given === "hex" || given === "base64") return value.toString(given);
  throw new VaultError("invalid", `unsupported encoding format; must be "hex" or "base64"`);
}

/** The path may name the source, the number of bytes, or both. */
const random: Handler = coreHandler({
  summary: "Random bytes",
  mutates: false,
  fields: { bytes, source: field.string("platform, seal or all"), format: format("base64") },
  run: async (call) => {
    const { source: first, urlbytes: second } = call.params;
    const source = (first === undefined || /^\d+$/.test(first) ? call.data.source : first) ?? "platform";
    const count = second ?? (first !== undefined && /^\d+$/.test(first) ? first : call.data.bytes);
    const { values } = parse({ bytes }, { bytes: count });
    if (!sources.has(source)) {
      throw new VaultError("invalid", `unsupported entropy source; must be "platform" or "seal", or "all"`);
    }
    if (values.bytes < 1) throw new VaultError("invalid", "'bytes' cannot be less than 1");
    if (values.bytes > mostBytes) throw new VaultError("invalid", `'bytes' should be less than ${mostBytes}`);
    if (source === "seal") call.warn("no seal/entropy augmentation available, using platform entropy source");
    return { data: { random_bytes: encoded(randomBuffer(values.bytes), call.data.format) }, shape: "both" };
  },
});

const hash: Handler = coreHandler({
  summary: "The hash of bytes",
  mutates: false,
  fields: {
    input: field.string("The bytes, in base64", { default: "", secret: true }),
    algorithm: field.string([...algorithms.keys()].join(", "), { default: "sha2-256" }),
    format: format("hex"),
  },
  run: async (call) => {
    const algorithm = algorithms.get(call.params["algorithm"] ?? call.data.algorithm);
    const input = Buffer.from(call.data.input, "base64");
    // Node reads over what is no base64.
    if (input.toString("base64") !== call.data.input) {
      throw new VaultError("invalid", "unable to decode input as base64");
    }
    if (algorithm === undefined) {
      throw new VaultError("invalid", `unsupported algorithm; use one of ${[...algorithms.keys()].join(", ")}`);
    }
    const sum = createHash(algorithm).update(input).digest();
    return { data: { sum: encoded(sum, call.data.format) }, shape: "both" };
  },
});

export const toolRoutes: readonly Route[] = [
  { path: "tools/random", on: { update: random } },
  { path: "tools/random/:source", on: { update: random } },
  { path: "tools/random/:source/:urlbytes", on: { update: random } },
  { path: "tools/hash", on: { update: hash } },
  { path: "tools/hash/:algorithm", on: { update: hash } },
];
