// A real server under eight writers, killed at any moment, 200 times on each storage, also while it mounts, unmounts, rotates
// its keys, changes its shares and applies commits.
// Must hold after each start on what the kill left: the old or the new share unseals; every answered write is there; what
// was not answered is there whole or not at all.

import { afterAll, beforeAll, expect, test } from "vitest";
import { build } from "./server.ts";
import { Siege, works } from "./siege.ts";

const rounds = 200;
const sieges: Siege[] = [];

beforeAll(build);
afterAll(() => Promise.all(sieges.map(({ server }) => server.remove())));

test.concurrent.each(["sqlite", "file"])(
  `on %s: no answered write lost, nothing half visible, in ${rounds} rounds`,
  async (type) => {
    const siege = await Siege.begin(type);
    sieges.push(siege);
    const { server, model } = siege;
    const before = Date.now();
    for (let round = 0; round < rounds; round++) await siege.round(round, works[round % works.length] ?? "nothing");
    await model.checkAll();
    expect(await server.stop()).toBe(0);
    const seconds = Math.round((Date.now() - before) / 1000);
    const { rotations, rekeys, commit } = siege;
    console.log(`${type}: ${rounds} kills in ${seconds} s; ${model.summary()}`);
    console.log(`${type}: ${rotations} rotations and ${rekeys} rekeys answered, commit ${commit} live`);
    expect(model.answered).toBeGreaterThan(rounds * 8);
    expect(Math.min(rotations, rekeys, commit)).toBeGreaterThan(0);
  },
  1_800_000,
);
