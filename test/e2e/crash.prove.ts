// The quickstart killed at any moment of its first starts: the next one completes what was begun, and once its key is on
// disk nothing is lost.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { freePort, startWrit } from "./server.ts";

const moments = Array.from({ length: 10 }, (_, at) => 150 + at * 120);

test.each(moments)("killed after %i ms, three times", async (moment) => {
  const folder = await mkdtemp(join(tmpdir(), "writ-crash-"));
  const env = { WRIT_PORT: String(await freePort()), WRIT_DATA: join(folder, "data") };
  const keys = (): Promise<string | null> => readFile(join(folder, "data/quickstart.env"), "utf8").catch(() => null);
  try {
    let known: string | null = null;
    for (const part of [1, 1.3, 0.8]) {
      const running = startWrit(["quickstart"], { env });
      await pause(moment * part);
      await running.kill();
      // What was once on disk stays.
      if (known !== null) expect(await keys()).toBe(known);
      known = await keys();
    }
    const running = startWrit(["quickstart"], { env });
    await running.says("In another terminal");
    if (known !== null) expect(await keys()).toBe(known);
    const [, token = ""] = /^VAULT_TOKEN=(.*)$/m.exec((await keys()) ?? "") ?? [];
    const answer = await fetch(`http://127.0.0.1:${env.WRIT_PORT}/v1/secret/data/payments/db`, {
      headers: { "x-vault-token": token },
    });
    expect(answer.status).toBe(200);
    expect(await running.stop()).toBe(0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
