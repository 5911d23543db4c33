// What the audit has of requests whose body never was read: nobody learns unseen whether a token is valid.

import { beforeEach, expect, test } from "vitest";
import { type Harness, harness } from "../core/harness.ts";
import { type Answered, errorsOf, requestText, start, until, Wire } from "./fixture.ts";

let h: Harness;
let port = 0;

beforeEach(async () => {
  h = await harness();
  await h.ask("update", "sys/mounts/kv", { type: "kv" });
  const { vault } = h;
  const door = { handle: vault.handle.bind(vault), knows: vault.knows.bind(vault), refuse: vault.refuse.bind(vault) };
  // Who names an address in a header comes from there.
  const listen = { isProxy: (address: string) => address === "127.0.0.1" };
  ({ port } = await start({ door, app: { clock: h.clock }, listen }));
  h.tape.lines.length = 0;
});

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100));

const elsewhere = ["X-Forwarded-For: 198.51.100.7"];

async function head(path: string, token: string | null, from = elsewhere): Promise<Wire> {
  const wire = new Wire(port);
  const headers = [...(token === null ? [] : [`X-Vault-Token: ${token}`]), "Content-Length: 300000"];
  await wire.send(requestText(`POST /v1/${path}`, [...headers, ...from]));
  return wire;
}

async function refusal(path: string, token: string | null, from = elsewhere): Promise<Answered | null> {
  return (await head(path, token, from)).answer();
}

interface Entry {
  readonly type: string;
  readonly error?: string;
  readonly request?: { readonly path?: string };
}
const entries = (): Entry[] => h.tape.lines.map((line) => JSON.parse(line) as Entry);

test.each(["kv/a", "auth/userpass/login/a", "sys/wrapping/unwrap", "nowhere"])(
  "a token that is none is refused at %s as with a small body, and audited",
  async (path) => {
    const answer = await refusal(path, "hvs.nobodys");
    expect([answer?.status, errorsOf(answer)]).toEqual([403, ["permission denied", "invalid token"]]);
    expect(answer?.headers["connection"]).toBe("close");
    expect(entries().map(({ type }) => type)).toEqual(["request", "response"]);
    expect(h.tape.lines[1]).toContain("permission denied");
    expect(h.tape.lines.join("")).not.toContain("nobodys");
  },
);

test("without a token there is nothing to learn", async () => {
  expect((await refusal("kv/a", null))?.status).toBe(413);
  expect(entries()).toEqual([]);
});

test("who has a valid one and goes is audited", async () => {
  const wire = await head("kv/a", h.root);
  await settled();
  expect(entries()).toEqual([]);
  wire.socket.destroy();
  await until(() => entries().length >= 2);
  expect(entries().map(({ type }) => type)).toEqual(["request", "response"]);
  expect(h.tape.lines[1]).toContain("did not come whole");
});

test("a blocked address is told that, whatever its token is", async () => {
  await h.ask("update", "sys/blocks/address/203.0.113.0/24", { reason: "test" });
  h.tape.lines.length = 0;
  for (const token of [h.root, "hvs.nobodys", null]) {
    const answer = await refusal("kv/a", token, ["X-Forwarded-For: 203.0.113.7"]);
    expect([answer?.status, errorsOf(answer)]).toEqual([
      403,
      ["permission denied", "requests from this address are blocked"],
    ]);
  }
  expect(entries()).toHaveLength(6);
  const waiting = await head("kv/a", h.root);
  expect(await Promise.race([waiting.answer(), settled().then(() => null)])).toBeNull();
});
