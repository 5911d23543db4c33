import { afterEach, expect, test } from "vitest";
import { silent } from "../lib/log.ts";
import { isVaultError, type VaultError } from "../sdk/errors.ts";
import type { PolicyText } from "./hcl.ts";
import { readPolicy } from "./text.ts";
import { PolicyReader, type PolicyReaderOptions } from "./worker.ts";

const open: PolicyReader[] = [];
function opened(options: Partial<PolicyReaderOptions> = {}): PolicyReader {
  const reader = new PolicyReader({ log: silent, ...options });
  open.push(reader);
  return reader;
}
afterEach(async () => {
  for (const reader of open.splice(0)) await reader.close();
});

const many = (count: number, rule: (at: number) => string): string =>
  Array.from({ length: count }, (_none, at) => rule(at)).join("\n");
const plain = (count: number): string => many(count, (at) => `path "secret/${at}/*" { capabilities = ["read"] }`);

const outcome = async (read: () => PolicyText | Promise<PolicyText>): Promise<unknown> => {
  try {
    return await read();
  } catch (error) {
    if (!isVaultError(error)) throw error;
    return { code: error.code, errors: error.errors };
  }
};
const refused = async (read: Promise<unknown>): Promise<string> =>
  read.then(
    () => "was read",
    ({ code, message }: VaultError) => `${code}: ${message}`,
  );

test.each([
  ["short", 'time_zone = "Europe/Zurich"\npath "a" { capabilities = ["read"] }'],
  ["long", plain(3000)],
  [
    "long, with everything that a rule has",
    many(
      200,
      (at) =>
        `path "a/${at}" { capabilities = ["update"] expires = "2027-01-31T00:00:00Z" min_wrapping_ttl = "1m"
     allowed_parameters = { "é" = [1, true, "x", null, { __proto__ = [] }] } required_parameters = ["b"]
     when = { "==" = [{ var = "identity.name" }, "ada"] } }`,
    ),
  ],
  ["long, with a time zone", `time_zone = "Europe/Zurich"\n${plain(100)}`],
  ["long, with a fault of syntax", `${plain(100)}\npath "a" {\n  capabilities = [`],
  ["long, with a fault in a rule", `${plain(100)}\npath "a" { capabilities = ["raed"] }`],
  [
    "long, with a fault in a condition",
    `${plain(100)}\npath "a" { capabilities = ["read"] when = { "==" = [1, "a"] } }`,
  ],
  ["long, and no policy at all", "x".repeat(3000)],
  ["too long", " ".repeat(1_048_577)],
])("reads the same wherever it reads: %s", async (_what, text) => {
  const here = await outcome(() => readPolicy(text, "mine"));
  expect(await outcome(() => opened().read(text, "mine"))).toStrictEqual(here);
});

test("what is read in the thread is frozen as what is read here", async () => {
  const { rules } = await opened().read(plain(1000), "mine");
  expect(rules.every((rule) => Object.isFrozen(rule))).toBe(true);
  expect(rules).toHaveLength(1000);
});

/** A thread that does what its text begins with. */
const program = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from "node:worker_threads";
    parentPort.on("message", ({ id, question }) => {
      if (question.text.startsWith("die")) process.exit(3);
      if (question.text.startsWith("throw")) throw new Error("as nobody foresaw");
      if (question.text.startsWith("hang")) return;
      if (question.text.startsWith("odd")) parentPort.postMessage({ id, told: { name: "RangeError", stack: "at x" } });
      const bytes = new TextEncoder().encode(JSON.stringify([{ path: String(threadId), capabilities: [] }]));
      parentPort.postMessage({ id, value: { bytes, ends: [bytes.length], zone: null } });
    });
  `)}`,
);
const pad = (text: string): string => text.padEnd(3000);
const threadOf = async (reader: PolicyReader): Promise<string> =>
  (await reader.read(pad("read"), "mine")).rules[0]?.path ?? "";

test.each(["die", "throw"])(
  "a thread that ends fails the text it had, and the next one gets another: %s",
  async (how) => {
    const said: string[] = [];
    const log = { ...silent, error: (message: string) => void said.push(message) };
    const reader = opened({ url: program, log });
    const first = await threadOf(reader);
    expect(await threadOf(reader)).toBe(first);
    const [lost, after] = [reader.read(pad(how), "mine"), threadOf(reader)];
    expect(await refused(lost)).toMatch(/^internal: the policy could not be read/);
    expect(await after).not.toBe(first);
    expect(said).toEqual(["the thread that reads policies ended"]);
  },
);

test("a thread that is stuck is ended", async () => {
  const reader = opened({ url: program, deadline: 500 });
  expect(await refused(reader.read(pad("hang"), "mine"))).toMatch(/^internal: /);
});

test("what nobody foresaw comes back as what it was", async () => {
  const error: unknown = await opened({ url: program })
    .read(pad("odd"), "mine")
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "RangeError", stack: "at x" });
  expect(isVaultError(error)).toBe(false);
});

test("once closed nothing is read any more, not even what waits", async () => {
  const reader = opened({ url: program });
  const all = [reader.read(pad("hang"), "a"), reader.read(pad("hang"), "b")].map(refused);
  await reader.close();
  expect(await Promise.all(all)).toEqual(["sealed: Vault is sealed", "sealed: Vault is sealed"]);
  expect(await refused(reader.read(pad("read"), "c"))).toBe("sealed: Vault is sealed");
});

test("a thread without work ends, and another comes when there is some", async () => {
  const reader = opened({ url: program, idle: 0 });
  const first = await threadOf(reader);
  let next = first;
  // The idle thread's timer is older than this one, and fires before it.
  for (; next === first; next = await threadOf(reader)) await new Promise((resolve) => void setTimeout(resolve, 2));
  expect(next).not.toBe(first);
});
