// What is known of a token while it changes.

import { afterEach, expect, test, vi } from "vitest";
import { AclCache } from "../../src/policy/match.ts";
import { harness } from "./harness.ts";

afterEach(() => void vi.restoreAllMocks());

test("what a token may is not kept where the token changed while that was worked out", async () => {
  const { ask, vault } = await harness();
  const core = vault.core;
  if (core === null) throw new Error("sealed");
  const { auth } = await ask("update", "auth/token/create", { policies: ["default"] });
  const token = auth?.client_token ?? "";
  const cache = new AclCache();
  vi.spyOn(AclCache.prototype, "merging").mockImplementationOnce(function* (...args) {
    const acl = yield* cache.merging(...args);
    core.sessions.forget(core.tokens.idOf(token));
    return acl;
  });
  await core.sessions.load(token, core.generation);
  expect(core.sessions.peek(token, core.generation)).toBeNull();
  await core.sessions.load(token, core.generation);
  expect(core.sessions.peek(token, core.generation)).not.toBeNull();
});
