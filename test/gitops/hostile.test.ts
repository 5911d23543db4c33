// Attacks on a whole server, each of which must leave the last good generation live: hostile.prove.ts takes the defences
// out and has to see each of them succeed.

import { performance } from "node:perf_hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deliveries } from "./hostile/deliveries.ts";
import { reason, repositories } from "./hostile/repositories.ts";
import { patience, remotes, WebRemote } from "./hostile/remotes.ts";
import { World } from "./hostile/world.ts";
import { sweep } from "./kit.ts";

let world: World;
let web: { readonly remote: WebRemote; readonly world: World };
beforeAll(async () => {
  const remote = await WebRemote.open();
  world = await World.open();
  web = { remote, world: await World.open({ remote, patience }) };
});
afterAll(async () => {
  await world.close();
  await web.world.close();
  web.remote.close();
  sweep();
});

/** Longer than a wake takes to become a fetch. */
const moment = 400;

describe("deliveries", () => {
  let fetches = 0;
  beforeAll(() => {
    fetches = world.around.fetches();
  });
  test.each(deliveries.filter((each) => each.fetches === undefined))("$name", async ({ send, answer }) => {
    const memory = world.watch();
    expect(answer).toContain(await send(world));
    expect(await world.harm(world.good, memory.end())).toEqual([]);
  });
  test("none of them made the server look at its remote", async () => {
    expect(await world.woken(fetches, moment)).toBe(false);
  });
});

describe("deliveries that are good", () => {
  test.each(deliveries.filter((each) => each.fetches !== undefined))("$name", async ({ send, answer, fetches = 0 }) => {
    const unhurried = await World.open({ unhurried: true });
    try {
      const before = unhurried.around.fetches();
      const begun = performance.now();
      expect(answer).toContain(await send(unhurried));
      const allowed = fetches + Math.ceil((performance.now() - begun) / 1_000);
      expect(await unhurried.woken(before + allowed, moment)).toBe(false);
    } finally {
      await unhurried.close();
    }
  });
});

describe("remotes", () => {
  test.each(remotes)("$name", async ({ turn, says }) => {
    turn(web.remote, web.world);
    const memory = web.world.watch();
    const status = await web.world.sync();
    expect(status.state, reason(status)).toBe("failed");
    expect(reason(status)).toMatch(says);
    expect(await web.world.harm(web.world.good, memory.end())).toEqual([]);
    expect(web.remote.lured).toEqual([]);
    web.remote.hostile = () => false;
    await web.world.reset();
  });
});

describe("repositories", () => {
  test.each(repositories.filter(({ slow }) => slow !== true))("$name", async ({ make, state, says, clone = false }) => {
    try {
      const live = (await make(world)) ?? world.good;
      const memory = world.watch();
      const status = await world.sync();
      const { server, started } = memory.end();
      expect(status.state, reason(status)).toBe(state);
      if (says !== undefined) expect(reason(status)).toMatch(says);
      expect(await world.harm(live, { server, started })).toEqual([]);
    } finally {
      await world.reset({ clone });
    }
  });
});
