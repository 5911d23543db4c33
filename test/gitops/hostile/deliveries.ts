// Malicious deliveries, as bytes on a socket: what is sent, what is answered, and which defence stops it.

import { once } from "node:events";
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import type { DefenceName } from "./defences.ts";
import { secret, sign, type World } from "./world.ts";

export interface Delivery {
  readonly name: string;
  readonly defence: DefenceName;
  /** How many fetches it may cost beside one a second; none at all unless given. */
  readonly fetches?: number;
  /** What it is answered with; 0 where the connection is closed without a word. */
  readonly answer: readonly number[];
  readonly send: (world: World) => Promise<number>;
}

export const push = {
  ref: "refs/heads/main",
  before: "0".repeat(40),
  deleted: false,
  repository: { full_name: "acme/policies" },
};
const text = JSON.stringify(push);

type Header = readonly [name: string, value: string];
interface Message {
  readonly body?: string | Buffer;
  readonly method?: string;
  readonly type?: string | null;
  readonly event?: string | null;
  readonly signature?: string | null;
  /** After all others. */
  readonly more?: readonly Header[];
  /** Instead of Content-Length. */
  readonly length?: readonly Header[];
}

const header = (name: string, value: string | null): readonly Header[] => (value === null ? [] : [[name, value]]);

/** Request line, headers and body, whether or not HTTP allows them. */
function bytesOf(message: Message): Buffer {
  const body = Buffer.from(message.body ?? text);
  const headers: readonly Header[] = [
    ["Host", "vault.test"],
    ["Connection", "close"],
    ...header("Content-Type", message.type === undefined ? "application/json" : message.type),
    ...header("X-GitHub-Event", message.event === undefined ? "push" : message.event),
    ...header("X-Hub-Signature-256", message.signature === undefined ? sign(body) : message.signature),
    ...(message.more ?? []),
    ...(message.length ?? [["Content-Length", String(body.length)]]),
  ];
  const lines = [
    `${message.method ?? "POST"} /v1/sys/gitops/webhook HTTP/1.1`,
    ...headers.map((each) => each.join(": ")),
  ];
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), body]);
}

/** The status that comes back; 0 where none does. `parts` are written one after the other, each when there is room. */
export async function exchange(
  port: number,
  parts: Iterable<Buffer> | AsyncIterable<Buffer>,
  patience = 60_000,
): Promise<number> {
  const socket = connect(port, "127.0.0.1");
  let said = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    said += chunk;
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const late = setTimeout(() => {
    said = "HTTP/1.1 999 still open";
    socket.destroy();
  }, patience);
  await Promise.race([once(socket, "connect"), closed]).catch(() => {});
  for await (const part of parts) {
    if (said !== "" || socket.destroyed) break;
    if (!socket.write(part)) await Promise.race([once(socket, "drain"), closed]).catch(() => {});
  }
  await closed;
  clearTimeout(late);
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(said)?.[1] ?? 0);
}

export const post = (world: World, message: Message): Promise<number> => exchange(world.port, [bytesOf(message)]);

const row = (name: string, defence: DefenceName, answer: number | readonly number[], message: Message): Delivery => ({
  name,
  defence,
  answer: typeof answer === "number" ? [answer] : answer,
  send: (world) => post(world, message),
});

const mebibyte = Buffer.alloc(1024 * 1024, " ");
const gibibyte = 1024;

/** Endless blanks, until the server says something, or has taken what it must not take. */
async function* flood(world: World, head: Buffer, frame: (part: Buffer) => Buffer): AsyncGenerator<Buffer> {
  const memory = world.watch();
  yield head;
  for (let sent = 0; sent < gibibyte && memory.seen().server < 400; sent += 1) yield frame(mebibyte);
  memory.end();
}

const chunk = (part: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]);
const chunked: Message["length"] = [["Transfer-Encoding", "chunked"]];
const bare = (message: Message): Buffer => {
  const whole = bytesOf({ body: "", ...message });
  return whole;
};

const reordered = JSON.stringify({ repository: push.repository, deleted: false, before: push.before, ref: push.ref });
const replaced = JSON.stringify({ ...push, note: "\uFFFD" });
const wrongUtf8 = Buffer.from(replaced.replace("\uFFFD", "?"));
wrongUtf8[wrongUtf8.indexOf("?")] = 0xff;
const form = `payload=${encodeURIComponent(text)}`;
const older = (body: string): readonly Header[] => [["X-Hub-Signature", sign(body, secret, "sha1")]];
const repository = (name: string): Message => ({ body: JSON.stringify({ ...push, repository: { full_name: name } }) });
const ref = (name: unknown): Message => ({ body: JSON.stringify({ ...push, ref: name }) });

/** Who knows no secret, or only what one delivery showed. */
const forged: readonly Delivery[] = [
  row("no signature", "signature", 401, { signature: null }),
  row("an empty signature", "signature", 401, { signature: "" }),
  row("a signature by another secret", "signature", 401, { signature: sign(text, "another-secret-altogether") }),
  row("a signature by the empty secret", "signature", 401, { signature: sign(text, "") }),
  row("a signature by the secret with its line end", "signature", 401, { signature: sign(text, `${secret}\n`) }),
  row("the signature of another delivery", "signature", 401, { signature: sign(JSON.stringify({ zen: "x" })) }),
  row("a signature over the same JSON written anew", "signature", 401, {
    body: JSON.stringify(push, null, 2),
    signature: sign(text),
  }),
  row("a signature over the same fields in another order", "signature", 401, {
    body: reordered,
    signature: sign(text),
  }),
  row("a signature over the first half", "signature", 401, { signature: sign(text.slice(0, text.length / 2)) }),
  row("a signed body with a line end after it", "signature", 401, { body: `${text}\n`, signature: sign(text) }),
  row("the first half of a signature", "signature", 401, { signature: sign(text).slice(0, 39) }),
  row("a signature of zeros", "signature", 401, { signature: `sha256=${"0".repeat(64)}` }),
  row("a signature without its method", "signature", 401, { signature: sign(text).slice("sha256=".length) }),
  row("SHA-1 only", "sha256", 401, { signature: null, more: older(text) }),
  row("SHA-1 in the header of SHA-256", "sha256", 401, { signature: sign(text, secret, "sha1") }),
  row("SHA-1's digest under SHA-256's name", "sha256", 401, {
    signature: sign(text, secret, "sha1").replace("sha1", "sha256"),
  }),
  row("a good SHA-1 beside a wrong SHA-256", "sha256", 401, {
    signature: `sha256=${"1".repeat(64)}`,
    more: older(text),
  }),
  row("two signatures, the first one good", "oneSignature", 401, {
    more: [["X-Hub-Signature-256", `sha256=${"2".repeat(64)}`]],
  }),
  row("a list of signatures with a good one in it", "oneSignature", 401, { signature: `md5=00 ${sign(text)}` }),
  row("a signature in capitals", "oneSignature", 401, { signature: sign(text).toUpperCase() }),
  row("a captured delivery with a byte order mark before it", "exactBytes", 401, {
    body: `\uFEFF${text}`,
    signature: sign(text),
  }),
  row("a captured delivery with bytes that read the same", "exactBytes", 400, {
    body: wrongUtf8,
    signature: sign(replaced),
  }),
];

/** Who can have something signed, but not what is to be signed: a browser's form, another repository's hook. */
const misled: readonly Delivery[] = [
  row("JSON as a form", "contentType", 415, { type: "application/x-www-form-urlencoded" }),
  row("JSON as plain text", "contentType", 415, { type: "text/plain" }),
  row("JSON as multipart", "contentType", 415, { type: "multipart/form-data; boundary=x" }),
  row("JSON of another charset", "contentType", 415, { type: "application/json; charset=utf-16" }),
  row("no content type", "contentType", 415, { type: null }),
  row("a form with a payload", "contentType", 415, {
    body: form,
    type: "application/x-www-form-urlencoded",
  }),
  row("a body that says it is compressed", "encoding", 415, { more: [["Content-Encoding", "gzip"]] }),
  row("a body that says it is compressed twice", "encoding", 415, { more: [["Content-Encoding", "br, gzip"]] }),
  row("PUT", "method", 405, { method: "PUT" }),
  row("DELETE", "method", 405, { method: "DELETE" }),
  row("PATCH", "method", 405, { method: "PATCH" }),
  row("another repository", "repository", 403, repository("evil/policies")),
  row("a repository that begins alike", "repository", 403, repository("acme/policies-evil")),
  row("a repository that ends alike", "repository", 403, repository("x/acme/policies")),
  row("a repository with a NUL behind it", "repository", 403, repository("acme/policies\0")),
  row("a repository by inheritance", "ownFields", 400, {
    body: `{"ref":"refs/heads/main","__proto__":{"repository":{"full_name":"acme/policies"}}}`,
  }),
  row("a tag of the branch's name", "branch", 202, ref("refs/tags/main")),
  row("another branch", "branch", 202, ref("refs/heads/evil")),
  row("a branch that an option would be", "branch", 202, ref("refs/heads/--upload-pack=trap")),
  row("the branch by its short name", "branch", 202, ref("main")),
  row("the branch in capitals", "branch", 202, ref("refs/heads/MAIN")),
  row("the branch with a line end", "branch", 202, ref("refs/heads/main\n")),
  row("a list that reads as the branch", "types", 400, ref(["refs/heads/main"])),
  row("a list that reads as the repository", "types", 400, {
    body: JSON.stringify({ ...push, repository: { full_name: ["acme/policies"] } }),
  }),
  row("a deleted branch", "deleted", 202, { body: JSON.stringify({ ...push, deleted: true }) }),
  row("another event", "event", 202, { event: "pull_request" }),
  row("an event in capitals", "event", 400, { event: "PUSH" }),
  row("two events", "event", 400, { event: "ping", more: [["X-GitHub-Event", "push"]] }),
];

/** Who only wants to be in the way. */
const bulky: readonly Delivery[] = [
  {
    name: "a gibibyte, announced, unsigned",
    defence: "bodyLimit",
    answer: [413, 0],
    send: (world) =>
      exchange(
        world.port,
        flood(world, bare({ signature: null, length: [["Content-Length", String(2 ** 30)]] }), (part) => part),
        60_000,
      ),
  },
  {
    name: "a gibibyte in chunks, unsigned",
    defence: "bodyLimit",
    answer: [413, 0],
    send: (world) => exchange(world.port, flood(world, bare({ signature: null, length: chunked }), chunk), 60_000),
  },
  {
    name: "a gibibyte in chunks, called JSON and gzip",
    defence: "bodyLimit",
    answer: [413, 0],
    send: (world) =>
      exchange(
        world.port,
        flood(world, bare({ more: [["Content-Encoding", "gzip"]], length: chunked }), (part) =>
          chunk(gzipSync(part, { level: 0 })),
        ),
        60_000,
      ),
  },
  {
    name: "three quarters of a mebibyte, each byte a chunk of its own",
    defence: "joinedPieces",
    answer: [401, 408],
    send: (world) =>
      exchange(world.port, [
        bare({ signature: null, length: chunked }),
        Buffer.from(`${"1\r\n{\r\n".repeat(2 ** 19 + 2 ** 18)}0\r\n\r\n`),
      ]),
  },
  row("headers of 64 KiB", "headerLimit", 431, { more: [["X-Filler", "x".repeat(65_536)]] }),
  row("four hundred headers", "headerLimit", 431, {
    more: Array.from({ length: 400 }, (_, at): Header => [`X-${at}`, "y".repeat(80)]),
  }),
  {
    name: "headers that never end",
    defence: "patience",
    answer: [408],
    send: (world) => exchange(world.port, [bare({}).subarray(0, 60)], 12_000),
  },
  {
    name: "a body that never ends",
    defence: "patience",
    answer: [0, 408],
    send: (world) => exchange(world.port, [bytesOf({}).subarray(0, -10)], 12_000),
  },
  row("a length and chunks", "strictParser", 400, {
    body: `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
    signature: sign(text),
    length: [
      ["Content-Length", "5"],
      ["Transfer-Encoding", "chunked"],
    ],
  }),
  row("a control character in a header", "strictParser", 400, { more: [["X-Odd", "a\u0001b"]] }),
];

/** The same over and over. */
const repeated: readonly Delivery[] = [
  {
    name: "a good delivery, over and over for two seconds",
    defence: "oneFlight",
    answer: [202],
    fetches: 2,
    send: async (world) => {
      const end = performance.now() + 2_000;
      let last = 0;
      while (performance.now() < end) last = await post(world, {});
      return last;
    },
  },
  {
    name: "an unsigned delivery, three hundred times",
    defence: "quiet",
    answer: [401],
    send: (world) => times(300, () => post(world, { signature: null })),
  },
];

/** The last answer. */
async function times(count: number, send: () => Promise<number>): Promise<number> {
  let last = 0;
  for (let at = 0; at < count; at += 1) last = await send();
  return last;
}

export const deliveries: readonly Delivery[] = [...forged, ...misled, ...bulky, ...repeated];
