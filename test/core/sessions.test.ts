// What is known of a token while it changes.

import { afterEach, expect, test, vi } from "vitest";
import { AclCache } from "../../src/policy/match.ts";
import { type Harness, harness } from "./harness.ts";

afterEach(() => void vi.restoreAllMocks());

const made = async ({ ask }: Harness, token?: string): Promise<string> =>
  (await ask("update", "auth/token/create", { policies: ["maker"] }, token)).auth?.client_token ?? "";

/** A vault with a token, of which the next one to be asked for waits for `meanwhile` once its rules are merged. */
async function prepared() {
  const h = await harness();
  const core = h.vault.core;
  if (core === null) throw new Error("sealed");
  await h.ask("update", "sys/policies/acl/maker", {
    policy: 'path "auth/token/create" { capabilities = ["update"] }',
  });
  const load = async (token: string, meanwhile: () => Promise<void> | void) => {
    const cache = new AclCache();
    vi.spyOn(AclCache.prototype, "gather").mockImplementationOnce(async (...args) => {
      const acl = await cache.gather(...args);
      await meanwhile();
      return acl;
    });
    return core.sessions.load(token, core.generation);
  };
  return { h, core, token: await made(h), load };
}

test("what a token may is not kept where the token changed while that was worked out", async () => {
  const { core, token, load } = await prepared();
  await load(token, () => core.sessions.forget(core.tokens.idOf(token)));
  expect(core.sessions.peek(token, core.generation)).toBeNull();
  await core.sessions.load(token, core.generation);
  expect(core.sessions.peek(token, core.generation)).not.toBeNull();
});

test("a token that is revoked meanwhile, or whose parent is, lets nobody in", async () => {
  const { h, core, token: parent, load } = await prepared();
  const child = await made(h, parent);
  const other = await made(h);
  const revoke = (token: string) => async () => core.tokens.revoke(core.tokens.idOf(token));
  await expect(load(other, revoke(other))).rejects.toMatchObject({ code: "unauthenticated" });
  core.sessions.clear();
  await expect(load(child, revoke(parent))).rejects.toMatchObject({ code: "unauthenticated" });
  for (const token of [parent, child, other]) expect(core.sessions.peek(token, core.generation)).toBeNull();
});
