// Clocks that are set, a year ahead and a year behind.

import { describe, expect, it } from "vitest";
import { Time } from "../../src/core/time.ts";
import { steadyClock } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import { FaultyStore } from "../crash/store.ts";
import { type Harness, harness, refusal } from "./harness.ts";

const year = 365 * 24 * 3600 * 1000;
const hour = 3600 * 1000;

async function tokenOf(h: Harness, ttl: string): Promise<string> {
  const answer = await h.ask("update", "auth/token/create", { policies: ["default"], ttl });
  return answer.auth?.client_token ?? "";
}
const lookup = (h: Harness, token: string) => h.ask("read", "auth/token/lookup-self", {}, token);

/** A machine whose clock is set, beside time itself. */
function machine() {
  const at = { wall: Date.UTC(2026, 0, 1), passed: 0 };
  const boot = () =>
    steadyClock(
      () => at.wall,
      () => at.passed,
    );
  return {
    boot,
    set: (ms: number) => void (at.wall += ms),
    pass: (ms: number) => {
      at.wall += ms;
      at.passed += ms;
    },
  };
}

describe("a clock that is set", () => {
  it.each([
    ["behind", -year],
    ["ahead and back", year],
  ])("a year %s within one run: no token outlives its time", async (_, jump) => {
    const { boot, set, pass } = machine();
    const h = await harness({ clock: boot() });
    const token = await tokenOf(h, "1h");
    const other = await tokenOf(h, "30h");
    pass(hour / 2);
    set(jump);
    if (jump < 0) {
      await lookup(h, token);
      pass(hour / 2 - 1000);
      await lookup(h, token);
      pass(1000);
    } else {
      expect(await refusal(lookup(h, other))).toMatch(/^unauthenticated/);
      set(-jump);
      // What had expired once is not alive again.
      expect(await refusal(lookup(h, other))).toMatch(/^unauthenticated/);
    }
    expect(await refusal(lookup(h, token))).toMatch(/^unauthenticated/);
    await h.vault.tick();
    expect(await refusal(lookup(h, token))).toMatch(/^unauthenticated/);
    // And new ones live as long as they are to.
    const fresh = await tokenOf(h, "1h");
    pass(hour - 1000);
    await lookup(h, fresh);
    pass(1000);
    expect(await refusal(lookup(h, fresh))).toMatch(/^unauthenticated/);
  });

  it("a year behind at a restart: expired stays expired, after a seal at once, after a crash but for a minute", async () => {
    for (const crash of [false, true]) {
      const { boot, set, pass } = machine();
      const store = new FaultyStore(true);
      const h = await harness({ storage: store, clock: boot() });
      await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
      await h.ask("update", "secret/config", { delete_version_after: "1h" });
      await h.ask("update", "secret/data/x", { data: { n: 1 } });
      const token = await tokenOf(h, "1h");
      const longer = await tokenOf(h, "3h");
      pass(hour + 61_000);
      // The tick saves the time and, here, cannot end the token.
      if (crash) {
        const before = new Map(store.entries);
        await h.vault.tick();
        for (const [key, entry] of before)
          if (key.startsWith("token/") || key.startsWith("lease/")) store.entries.set(key, entry);
      } else await h.vault.seal();
      set(-year);
      const again = await h.reopen(new FaultyStore(true, store.entries), boot());
      expect(await refusal(lookup(again, token))).toMatch(/^unauthenticated/);
      expect(await refusal(again.ask("read", "secret/data/x"))).toMatch(/^not_found/);
      expect(again.log.join("\n")).toMatch(/"security":true.*clock is behind what this vault has seen/);
      // Time goes on from there: what has time left has no more than that.
      await lookup(again, longer);
      pass(2 * hour);
      expect(await refusal(lookup(again, longer))).toMatch(/^unauthenticated/);
      await again.vault.seal();
    }
  });

  it("a year ahead at a restart: what ends in that year has ended", async () => {
    const { boot, set } = machine();
    const store = new FaultyStore(true);
    const h = await harness({ storage: store, clock: boot() });
    const token = await tokenOf(h, "20h");
    await h.vault.seal();
    set(year);
    const again = await h.reopen(store, boot());
    expect(await refusal(lookup(again, token))).toMatch(/^unauthenticated/);
    await again.ask("read", "sys/mounts");
  });

  it("whose mark is damaged in storage is believed and told of: the vault is unsealed, and marks the time again", async () => {
    const { boot, set } = machine();
    const store = new FaultyStore(true);
    const h = await harness({ storage: store, clock: boot() });
    await h.vault.seal();
    const key = "time/mark";
    const stored = await store.get(key);
    const value = Uint8Array.from(stored?.value ?? []).map((byte, at, all) =>
      at === all.length - 1 ? byte ^ 1 : byte,
    );
    await store.write([{ key, value, version: stored?.version ?? 1 }]);
    const again = await h.reopen(store, boot());
    expect(again.log.join("\n")).toMatch(/"security":true.*cannot be read: the machine's clock is believed/);
    await again.vault.tick();
    set(-hour);
    const last = await h.reopen(store, boot());
    expect(last.log.join("\n")).toMatch(/"security":true.*clock is behind what this vault has seen/);
  });

  it("that cannot be saved is told of once, not at each try, until it can be", async () => {
    const { boot, pass } = machine();
    const clock = boot();
    const lines: string[] = [];
    let full = true;
    const write = async () => {
      if (full) throw new Error("the disk is full");
      return [];
    };
    const time = new Time(
      { getJson: async () => null, write },
      clock,
      createLogger({ write: (line) => lines.push(line) }),
    );
    await time.open();
    for (const now of [true, true, false, true, true]) {
      full = now;
      pass(61_000);
      await time.tick();
    }
    expect(lines.map((line) => /"error":"([^"]*)"/.exec(line)?.[1])).toEqual(["the disk is full", "the disk is full"]);
  });
});
