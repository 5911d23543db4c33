// The same attacks with the defence taken out that stops them: each has to do harm then, or it proves nothing. And those
// that take seconds, with all defences in.

import { performance } from "node:perf_hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Defence, defences, type DefenceName } from "./hostile/defences.ts";
import { deliveries } from "./hostile/deliveries.ts";
import { reason, repositories } from "./hostile/repositories.ts";
import { patience, remotes, WebRemote } from "./hostile/remotes.ts";
import { World } from "./hostile/world.ts";
import { sweep } from "./kit.ts";

/** What a wake needs to become a fetch, at most; it is waited for only where nothing else shows. */
const moment = 20_000;

test("there are enough attacks, each with a name of its own, and every defence is attacked", () => {
  const attacks = [
    ...deliveries.map((each) => ({ ...each, kind: "delivery" })),
    ...repositories.map((each) => ({ ...each, kind: "repository" })),
    ...remotes.map((each) => ({ ...each, kind: "remote" })),
  ];
  expect(new Set(attacks.map(({ kind, name }) => `${kind} ${name}`)).size).toBe(attacks.length);
  expect(attacks.length).toBeGreaterThanOrEqual(60);
  expect(Object.keys(defences).filter((name) => attacks.every(({ defence }) => defence !== name))).toEqual([]);
});

describe("with every defence in", () => {
  let world: World;
  beforeAll(async () => {
    world = await World.open();
  });
  afterAll(() => world.close());
  test.each(repositories.filter(({ slow }) => slow))("$name", async ({ make, state, says }) => {
    const live = (await make(world)) ?? world.good;
    const memory = world.watch();
    const status = await world.sync();
    const taken = memory.end();
    expect(status.state, reason(status)).toBe(state);
    if (says !== undefined) expect(reason(status)).toMatch(says);
    expect(await world.harm(live, taken)).toEqual([]);
    await world.reset();
  });
});

/** What must not happen where `defence` is in; the world is ended with the tests of one defence. */
const worldWithout = (defence: DefenceName, more: { readonly remote?: WebRemote } = {}): Promise<World> => {
  const { edits, unhurried }: Defence = defences[defence];
  return World.open({ edits, ...(unhurried && { unhurried }), ...(more.remote && { remote: more.remote, patience }) });
};

const sent = (defence: DefenceName) => deliveries.filter((each) => each.defence === defence);
const pushed = (defence: DefenceName) => repositories.filter((each) => each.defence === defence);
const attacked = (Object.keys(defences) as DefenceName[]).filter((name) => sent(name).length + pushed(name).length > 0);

describe.each(attacked)("without %s", (defence) => {
  let world: World;
  beforeAll(async () => {
    world = await worldWithout(defence);
  });
  afterAll(async () => {
    await world.close();
    sweep();
  });

  for (const { name, send, fetches = 0 } of sent(defence)) {
    test(`${name} does harm`, async () => {
      const attack = async (): Promise<readonly string[]> => {
        const before = world.around.fetches() + fetches;
        const begun = performance.now();
        const memory = world.watch();
        const answer = await send(world);
        const taken = memory.end();
        const seconds = fetches === 0 ? 0 : Math.ceil((performance.now() - begun) / 1_000);
        const harm = await world.harm(world.good, taken);
        if (harm.length > 0 || answer === 999) return [...harm, ...(answer === 999 ? ["it waits for ever"] : [])];
        return (await world.woken(before + seconds, moment)) ? ["the server looked"] : [];
      };
      // How often a server looks depends on the machine, too.
      let harm: readonly string[] = [];
      for (let tries = 0; tries < 3 && harm.length === 0; tries++) harm = await attack();
      expect(harm).not.toEqual([]);
    });
  }
  for (const { name, make, clone = false } of pushed(defence)) {
    test(`${name} does harm`, async () => {
      const live = (await make(world)) ?? world.good;
      const memory = world.watch();
      await world.sync();
      expect(await world.harm(live, memory.end())).not.toEqual([]);
      // What an attack did may be past mending.
      await world.reset({ clone }).catch(async () => {
        await world.close();
        world = await worldWithout(defence);
      });
    });
  }
});

test.each(remotes)("without $defence $name does harm", async ({ defence, turn }) => {
  const remote = await WebRemote.open();
  const world = await worldWithout(defence, { remote });
  turn(remote, world);
  const memory = world.watch();
  const { running } = await world.sync({ wait: "12s" });
  const harm = await world.harm(world.good, memory.end());
  expect([...harm, ...remote.lured, ...(running ? ["it waits for ever"] : [])]).not.toEqual([]);
  await world.close();
  remote.close();
});
