import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { manualClock } from "../lib/clock.ts";
import { createLogger } from "../lib/log.ts";
import { createWebhook, type Delivery, maxDelivery } from "./webhook.ts";

const secrets = ["first-secret-of-the-webhook", "second-secret-of-the-webhook"] as const;
const push = { ref: "refs/heads/main", deleted: false, repository: { full_name: "Acme/Policies" } };
const sign = (body: string | Uint8Array, secret: string = secrets[0], digest = "sha256"): string =>
  `${digest}=${createHmac(digest, secret).update(body).digest("hex")}`;

function setup(branch = "main") {
  let wakes = 0;
  const lines: string[] = [];
  const clock = manualClock();
  const receive = createWebhook({
    webhook: { forge: "github", secrets, repository: "acme/policies" },
    branch,
    wake: () => {
      wakes += 1;
    },
    clock,
    log: createLogger({ write: (line) => lines.push(line) }),
  });
  return { receive, clock, lines, wakes: () => wakes };
}

function delivery(
  payload: unknown = push,
  more: {
    headers?: Record<string, string | string[] | undefined>;
    method?: string;
    body?: Uint8Array;
    signed?: string;
  } = {},
): Delivery {
  const body = more.body ?? Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  return {
    method: more.method ?? "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-github-event": "push",
      "x-hub-signature-256": more.signed ?? (body.length === 0 ? "" : sign(body)),
      ...more.headers,
    },
  };
}

describe("deliveries that count", () => {
  test("a push to the branch, with either secret, in any case of the repository's name", async () => {
    const { receive, wakes } = setup();
    expect(await receive(delivery())).toEqual({ status: 202, message: "accepted" });
    const text = JSON.stringify({ ...push, repository: { full_name: "ACME/policies" } });
    expect((await receive(delivery(text, { signed: sign(text, secrets[1]) }))).status).toBe(202);
    expect(
      (await receive(delivery(push, { headers: { "content-type": "application/json; charset=utf-8" } }))).status,
    ).toBe(202);
    expect(wakes()).toBe(3);
  });

  test("the signature of GitHub's own documentation", async () => {
    const { receive } = setup();
    // "It's a Secret to Everybody" over "Hello, World!", docs.github.com, "Testing the webhook payload validation".
    const documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    expect(sign("Hello, World!", "It's a Secret to Everybody")).toBe(documented);
    const own = createWebhook({
      webhook: { forge: "github", secrets: ["It's a Secret to Everybody"], repository: "a/b" },
      branch: "main",
      wake: () => {},
      clock: manualClock(),
      log: createLogger({ write: () => {} }),
    });
    const hello = delivery("Hello, World!", { signed: documented, headers: { "x-github-event": "ping" } });
    expect((await own(hello)).status).toBe(200);
    expect((await receive(hello)).status).toBe(401);
  });

  test("a body that starts with a byte order mark is verified as it was sent", async () => {
    const { receive } = setup();
    const body = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from("{}")]);
    expect((await receive(delivery("", { body, headers: { "x-github-event": "ping" } }))).status).toBe(200);
  });

  test("ping is answered; other events, branches, tags and deletions are ignored", async () => {
    const { receive, wakes } = setup();
    expect(await receive(delivery({ zen: "x" }, { headers: { "x-github-event": "ping" } }))).toMatchObject({
      status: 200,
    });
    for (const other of [
      delivery(push, { headers: { "x-github-event": "issues" } }),
      delivery({ ...push, ref: "refs/heads/other" }),
      delivery({ ...push, ref: "refs/tags/main" }),
      delivery({ ...push, ref: "main" }),
      delivery({ ...push, deleted: true }),
    ]) {
      expect(await receive(other)).toMatchObject({ status: 202, message: expect.stringContaining("ignored") });
    }
    expect(wakes()).toBe(0);
  });
});

const text = JSON.stringify(push);
const bytes = Buffer.from(text);
const invalidUtf8 = Buffer.concat([bytes.subarray(0, -1), Buffer.from([0xff, 0x7d])]);
const evil: readonly (readonly [string, Delivery, number])[] = [
  ["no signature", delivery(push, { headers: { "x-hub-signature-256": undefined } }), 401],
  ["an empty signature", delivery(push, { signed: "" }), 401],
  ["a signature by another secret", delivery(push, { signed: sign(text, "another-secret-altogether") }), 401],
  ["a signature by the empty secret", delivery(push, { signed: sign(text, "") }), 401],
  ["a signature of another body", delivery(push, { signed: sign(`${text} `) }), 401],
  ["a changed body", delivery(`${text}\n`, { signed: sign(text) }), 401],
  ["SHA-1 under the new header", delivery(push, { signed: sign(text, secrets[0], "sha1") }), 401],
  [
    "SHA-1 alone",
    delivery(push, {
      headers: { "x-hub-signature-256": undefined, "x-hub-signature": sign(text, secrets[0], "sha1") },
    }),
    401,
  ],
  ["SHA-512", delivery(push, { signed: sign(text, secrets[0], "sha512") }), 401],
  ["a bare digest", delivery(push, { signed: sign(text).slice(7) }), 401],
  ["an upper-case digest", delivery(push, { signed: `sha256=${sign(text).slice(7).toUpperCase()}` }), 401],
  ["a cut digest", delivery(push, { signed: sign(text).slice(0, -2) }), 401],
  ["a longer digest", delivery(push, { signed: `${sign(text)}00` }), 401],
  ["a digest with a blank", delivery(push, { signed: ` ${sign(text)}` }), 401],
  ["two signatures in one header", delivery(push, { signed: `${sign(text)}, ${sign(text, "wrong")}` }), 401],
  ["two signature headers", delivery(push, { headers: { "x-hub-signature-256": [sign(text), sign(text)] } }), 401],
  ["the secret as signature", delivery(push, { signed: `sha256=${secrets[0]}` }), 401],
  ["bytes that are not UTF-8, signed", delivery(push, { body: invalidUtf8, signed: sign(invalidUtf8) }), 400],
  [
    "bytes that are not UTF-8, signed as their replacement",
    delivery(push, { body: invalidUtf8, signed: sign(invalidUtf8.toString("utf8")) }),
    400,
  ],
  ["an empty body", delivery("", { body: Buffer.alloc(0), signed: sign("") }), 400],
  ["too large a body, signed", delivery("x".repeat(maxDelivery + 1)), 413],
  ["a form", delivery(push, { headers: { "content-type": "application/x-www-form-urlencoded" } }), 415],
  ["no content type", delivery(push, { headers: { "content-type": undefined } }), 415],
  ["another charset", delivery(push, { headers: { "content-type": "application/json; charset=utf-16" } }), 415],
  ["two content types", delivery(push, { headers: { "content-type": ["application/json", "text/plain"] } }), 415],
  ["a compressed body", delivery(push, { headers: { "content-encoding": "gzip" } }), 415],
  ["GET", delivery(push, { method: "GET" }), 405],
  ["no event", delivery(push, { headers: { "x-github-event": undefined } }), 400],
  ["two events", delivery(push, { headers: { "x-github-event": "ping, push" } }), 400],
  ["an event named __proto__", delivery(push, { headers: { "x-github-event": "__proto__\n" } }), 400],
  ["no JSON", delivery("push"), 400],
  ["JSON that is no object", delivery([push]), 400],
  ["null", delivery("null"), 400],
  ["no repository", delivery({ ref: "refs/heads/main" }), 400],
  ["a ref that is no text", delivery({ ...push, ref: ["refs/heads/main"] }), 400],
  [
    "a repository by inheritance",
    delivery('{"ref":"refs/heads/main","__proto__":{"repository":{"full_name":"acme/policies"}}}'),
    400,
  ],
  ["another repository", delivery({ ...push, repository: { full_name: "evil/policies" } }), 403],
  ["a repository that begins alike", delivery({ ...push, repository: { full_name: "acme/policies2" } }), 403],
  ["deep JSON", delivery(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), 400],
];

describe("deliveries that do not", () => {
  test.each(evil)("%s", async (_name, sent, status) => {
    const { receive, wakes } = setup();
    const receipt = await receive(sent);
    expect(receipt.status).toBe(status);
    expect(wakes()).toBe(0);
    expect(JSON.stringify(receipt)).not.toContain("secret-of-the");
  });

  test("a flood is logged once in ten seconds, with its number, and holds no secret", async () => {
    const { receive, lines, clock } = setup();
    for (let at = 0; at < 500; at += 1) await receive(delivery(push, { signed: "sha256=00" }));
    expect(lines).toHaveLength(1);
    clock.advance(10_000);
    await receive(delivery(push, { signed: "sha256=00" }));
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({ security: true, status: 401, refused_since_last: 500 });
    expect(lines.join("")).not.toContain("secret-of-the");
  });
});
