// `writ seal` against a vault with an engine that makes accounts elsewhere, over HTTP: what it says, what it ends first, and
// that nothing holds it up.

import { createServer } from "node:http";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { run } from "../../src/cli/program.ts";
import type { Io } from "../../src/cli/io.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { start } from "../api/fixture.ts";
import { accounts, hang, World } from "../core/accounts.ts";
import { type Harness, harness } from "../core/harness.ts";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function prepared(options: { readonly leaseDeadline?: number } = {}) {
  const world = new World();
  const h = await harness({ plugins: [accounts(world)], clock: systemClock, ...options });
  await h.ask("update", "sys/mounts/db", { type: "accounts" });
  await h.ask("update", "db/roles/app", { ttl: "10m", max_ttl: "1h" });
  const { port } = await start({ handle: (request) => h.vault.handle(request), app: { clock: systemClock } });
  const timer = setInterval(() => void h.vault.tick().catch(() => {}), 50);
  ends.push(() => clearInterval(timer));
  return { h, world, address: `http://127.0.0.1:${port}` };
}

const got = async (h: Harness): Promise<string> => String((await h.ask("read", "db/creds/app")).lease?.id);

async function writ(address: string, token: string, ...args: readonly string[]) {
  const said = { out: "", err: "" };
  const io: Io = {
    out: (line) => (said.out += `${line}\n`),
    err: (line) => (said.err += `${line}\n`),
    env: { VAULT_ADDR: address, VAULT_TOKEN: token },
    secret: () => Promise.resolve(Buffer.from("")),
    input: () => Promise.resolve(""),
    progress: () => {},
    raw: (text) => (said.out += text),
  };
  return { code: await run(args, io), ...said };
}

const isSealed = (h: Harness): boolean => h.vault.sealStatus().sealed;

describe("writ seal", () => {
  test.each([["seal"], ["operator", "seal"]])(
    "says how many outside accounts stay alive, and seals: %s",
    async (...args) => {
      const { h, world, address } = await prepared();
      for (let made = 0; made < 3; made += 1) await got(h);
      const { code, out } = await writ(address, h.root, ...args);
      expect([code, isSealed(h), world.accounts.size]).toEqual([0, true, 3]);
      expect(out).toBe(
        "3 outside accounts stay alive in other systems, until they expire there or this vault is unsealed and ends them:\n" +
          "  3 of db/\n  to end them first: writ seal --revoke-first\nSealed\n",
      );
    },
  );

  test("seals where the token may not count, and says so", async () => {
    const { h, address } = await prepared();
    await h.ask("update", "sys/policies/acl/brake", {
      policy: 'path "sys/seal" { capabilities = ["update", "sudo"] }',
    });
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["brake"] });
    const { code, out } = await writ(address, auth?.client_token ?? "", "seal");
    expect([code, isSealed(h)]).toEqual([0, true]);
    expect(out).toMatch(
      /^Outside accounts that stay alive could not be counted \(GET sys\/leases\/outside: 403.*\)\.\nSealed\n$/,
    );
  });

  test("seals whatever it is answered", async () => {
    const { port } = await start({ handle: async ({ path }) => (path === "sys/seal" ? {} : { data: { keys: [] } }) });
    const { code, out } = await writ(`http://127.0.0.1:${port}`, "t", "seal");
    expect([code, out]).toEqual([0, expect.stringMatching(/could not be counted.*\nSealed\n$/)]);
  });

  test("is held up by a count that does not come for three seconds at most", async () => {
    let sealed = false;
    const server = createServer((request, response) => {
      if (request.url !== "/v1/sys/seal") return;
      sealed = true;
      response.writeHead(204).end();
    }).listen(0, "127.0.0.1");
    ends.push(() => server.closeAllConnections() ?? server.close());
    await once(server, "listening");
    const bound = server.address();
    const begun = performance.now();
    const { code, out } = await writ(`http://127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`, "t", "seal");
    expect([code, sealed]).toEqual([0, true]);
    expect(performance.now() - begun).toBeLessThan(40_000);
    expect(out).toContain("no answer within 2.5 s");
  });
});

describe("writ seal --revoke-first", () => {
  test("ends all, also while others ask for more, and then seals", async () => {
    const { h, world, address } = await prepared();
    for (let made = 0; made < 40; made += 1) await got(h);
    let refused = 0;
    const over = new AbortController();
    const others = (async () => {
      while (!over.signal.aborted) {
        await got(h).catch((error: VaultError) => (error.code === "rate_limited" ? (refused += 1) : null));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const { code, out } = await writ(address, h.root, "seal", "--revoke-first");
    over.abort();
    await others;
    expect([code, isSealed(h), world.accounts.size]).toEqual([0, true, 0]);
    expect(refused).toBeGreaterThan(0);
    expect(out).toMatch(
      /^Ending \d+ outside accounts; nothing new is leased meanwhile\.\nNo outside account is left\.\nSealed\n$/,
    );
  });

  test("does not seal where something is left: it says what and why, and that writ seal would", async () => {
    const { h, world, address } = await prepared();
    const id = await got(h);
    world.onRevoke = () => Promise.reject(new VaultError("upstream", "the database is away"));
    const { code, out, err } = await writ(address, h.root, "seal", "--revoke-first", "--timeout", "3s");
    expect([code, isSealed(h)]).toEqual([2, false]);
    expect(out).toMatch(new RegExp(`\\n${id}: the database is away, after \\d attempts?\\n$`));
    expect(err).toMatch(
      /1 outside account could not be ended within 3 s.*The vault is not sealed: writ seal does that at once/,
    );
    // The stop is over.
    world.onRevoke = async () => {};
    await got(h);
    expect((await writ(address, h.root, "seal")).code).toBe(0);
    expect(isSealed(h)).toBe(true);
  });

  test("does not wait longer than its bound for a system that hangs", async () => {
    const { h, world, address } = await prepared({ leaseDeadline: 60_000 });
    await got(h);
    world.onRevoke = hang;
    const { code, out } = await writ(address, h.root, "seal", "--revoke-first", "--timeout=1s");
    expect([code, isSealed(h)]).toEqual([2, false]);
    expect(out).toContain("1 were not tried to the end yet");
  });

  test("refuses a bound that is none, and a token that may not", async () => {
    const { h, address } = await prepared();
    for (const timeout of ["soon", "0", "2h"]) {
      expect(await writ(address, h.root, "seal", "--revoke-first", "--timeout", timeout)).toMatchObject({ code: 1 });
    }
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["default"] });
    const refused = await writ(address, auth?.client_token ?? "", "seal", "--revoke-first");
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining("The vault is not sealed") });
    expect(isSealed(h)).toBe(false);
  });
});
