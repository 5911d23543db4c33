import { describe, expect, it } from "vitest";
import { VaultError } from "../../src/sdk/errors.ts";
import type { Request } from "../../src/sdk/request.ts";
import { errorsOf, exchange, start } from "./fixture.ts";

const share = Uint8Array.from({ length: 33 }, (_, at) => at * 7 + 200);
const [hex, base64] = [Buffer.from(share).toString("hex"), Buffer.from(share).toString("base64")];
const wiped = (bytes: Uint8Array | undefined): boolean => bytes?.every((byte) => byte === 0) ?? false;

const paths = [
  "sys/rekey/update",
  "sys/rekey/verify",
  "sys/rotate/root/update",
  "sys/rotate/root/verify",
  "sys/generate-root/update",
  "sys/generate-root-token/update",
];

/** What the door saw while it answered: the share is overwritten afterwards. */
async function taking(more: Parameters<typeof start>[0] = {}) {
  const given: { share: string; data: unknown }[] = [];
  const requests: Request[] = [];
  const server = await start({
    handle: async (request) => {
      requests.push(request);
      given.push({ share: Buffer.from(request.share ?? []).toString("hex"), data: { ...request.data } });
      return { data: { progress: 1 }, shape: "both" };
    },
    ...more,
  });
  return { ...server, given, requests };
}

describe("a request with a share", () => {
  it.each(paths)("to %s brings it as bytes beside the data, and overwrites them", async (path) => {
    const { port, given, requests } = await taking();
    for (const body of [
      { key: hex, nonce: "n-1" },
      { nonce: "n-1", key: base64, other: 1 },
    ]) {
      const answer = await exchange(port, `PUT /v1/${path}`, ["X-Vault-Token: t"], JSON.stringify(body));
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body)).toMatchObject({ progress: 1, data: { progress: 1 } });
    }
    expect(given).toEqual([
      { share: hex, data: { nonce: "n-1" } },
      { share: hex, data: { nonce: "n-1" } },
    ]);
    expect(requests.every((request) => wiped(request.share) && request.token === "t")).toBe(true);
  });

  it("overwrites it where the door refuses", async () => {
    const requests: Request[] = [];
    const { port } = await start({
      handle: (request) => {
        requests.push(request);
        return Promise.reject(new VaultError("denied", "permission denied"));
      },
    });
    const answer = await exchange(port, "POST /v1/sys/rekey/update", [], JSON.stringify({ key: hex }));
    expect([answer.status, errorsOf(answer)]).toEqual([403, ["permission denied"]]);
    expect(requests.map((request) => wiped(request.share))).toEqual([true]);
  });

  it.each(["", "{}", '{"key":""}', '{"key":7}', '{"key":"zz!"}', '{"key":"aa","nonce":7}', '{"key":"aa"', "[]"])(
    "%j is refused",
    async (body) => {
      const { port, given } = await taking();
      const answer = await exchange(port, "POST /v1/sys/rekey/update", [], body);
      expect([answer.status, answer.body.includes("zz")]).toEqual([400, false]);
      expect(given).toEqual([]);
    },
  );

  it("is not taken from pages of another origin, nor is what opens an attempt", async () => {
    const { port, given } = await taking();
    for (const path of ["sys/rekey/update", "sys/rekey/init", "sys/generate-root/attempt"]) {
      const answer = await exchange(port, `POST /v1/${path}`, ["Origin: https://evil.example"], '{"key":"aa"}');
      expect(answer.status, path).toBe(403);
    }
    expect(given).toEqual([]);
    expect((await exchange(port, "POST /v1/sys/rekey/init", [], "{}")).status).toBe(200);
  });

  it("is one at these paths alone: elsewhere a key is a field", async () => {
    const { port, given } = await taking();
    await exchange(port, "POST /v1/secret/data/x", [], JSON.stringify({ key: hex }));
    expect(given).toEqual([{ share: "", data: { key: hex } }]);
  });
});

describe("an answer with shares", () => {
  it("is written as bytes, bare and below data, and overwritten once it has left", async () => {
    const shares = [share.slice(), share.slice().reverse()];
    const { port } = await start({
      handle: async () => ({
        data: { nonce: "n", complete: true },
        shape: "both",
        handout: shares,
      }),
    });
    const answer = await exchange(port, "PUT /v1/sys/rekey/update", [], JSON.stringify({ key: hex, nonce: "n" }));
    const reverse = Buffer.from(share).reverse();
    const body = {
      keys: [hex, reverse.toString("hex")],
      keys_base64: [base64, reverse.toString("base64")],
      nonce: "n",
      complete: true,
    };
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { ...body, data: body }]);
    expect(answer.headers["cache-control"]).toBe("no-store");
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(shares.map(wiped)).toEqual([true, true]);
  });
});
