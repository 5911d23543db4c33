// A vault whose seal opens by itself, from initialisation to restarts, rekeys and seals by hand.

import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateX25519Identity } from "age-encryption";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import type { Response } from "../../src/sdk/request.ts";
import { plugin as recipients } from "../../src/seals/recipients/index.ts";
import { type Harness, harness, refusal } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "writ-unattended-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "identity");
const put = (...identities: readonly string[]): void => writeFileSync(file, identities.join("\n"), { mode: 0o600 });

let identity = "";
let h: Harness;

const seal = () => recipients.create({ identity_file: file });

function give(at: Harness, path: string, nonce: unknown, share: Uint8Array | undefined): Promise<Response> {
  return at.vault.handle({
    id: randomUUID(),
    operation: "update",
    path,
    data: { nonce },
    token: at.root,
    connection: { remoteAddress: "127.0.0.1", remotePort: 4711, local: true },
    headers: {},
    time: at.clock.now(),
    ...(share !== undefined && { share }),
  });
}

const unseal = (at: Harness, share: Uint8Array | undefined) =>
  at.vault.unseal(Uint8Array.from(share ?? []), { reset: false });

async function restart(at: Harness): Promise<Harness> {
  const next = await at.reopen();
  await next.vault.unsealAlone();
  return next;
}

beforeEach(async () => {
  identity = await generateX25519Identity();
  put(identity);
  h = await harness({ seal, shares: 3, threshold: 2 });
  await h.vault.tick();
});

describe("a vault that unseals by itself", () => {
  it("is open after its initialisation and after each start, and says what its shares are", async () => {
    expect(h.vault.sealStatus()).toMatchObject({ type: "recipients", sealed: false, recovery_seal: true, t: 2, n: 3 });
    await h.ask("update", "sys/policy/kept", { policy: 'path "kept" { policy = "read" }' });
    const next = await restart(h);
    expect(next.vault.sealStatus()).toMatchObject({ sealed: false });
    expect((await next.ask("read", "sys/policy/kept")).data?.["rules"]).toContain("kept");
  });

  it("is initialised with recovery shares only, and never by itself", async () => {
    expect(await refusal(h.vault.initialize({ shares: 1, threshold: 1 }))).toMatch(/already/);
    const empty = await h.reopen(await emptyStorage());
    await empty.vault.unsealAlone();
    expect(empty.vault.sealStatus()).toMatchObject({ initialized: false, sealed: true });
    expect(await refusal(empty.vault.initialize({ shares: 1, threshold: 1 }))).toMatch(/takes recovery_shares/);
    const shamir = await harness();
    const other = await (await harness({ shares: 1 })).reopen(await emptyStorage());
    const recovery = { shares: 1, threshold: 1 };
    expect(await refusal(other.vault.initialize({ shares: 0, threshold: 0, recovery }))).toMatch(/takes secret_shares/);
    expect(shamir.vault.sealStatus()).toMatchObject({ recovery_seal: false });
  });

  it("tries again while its identity is not there", async () => {
    rmSync(file);
    const next = await restart(h);
    expect(next.vault.sealStatus()).toMatchObject({ sealed: true });
    const failures = (): string[] => next.log.filter((line) => line.includes("could not unseal by itself"));
    expect(failures()).toHaveLength(1);
    expect(failures()[0]).toContain("identity_file cannot be read (ENOENT)");
    await next.vault.tick();
    expect(failures()).toHaveLength(1);
    next.clock.advance(1_000);
    await next.vault.tick();
    expect(failures()).toHaveLength(2);
    put(await generateX25519Identity());
    next.clock.advance(2_000);
    await next.vault.tick();
    expect(failures().at(-1)).toContain("not made with the identity");
    put(identity);
    next.clock.advance(2_000);
    await next.vault.tick();
    expect(next.vault.sealStatus()).toMatchObject({ sealed: true });
    next.clock.advance(2_000);
    await next.vault.tick();
    expect(next.vault.sealStatus()).toMatchObject({ sealed: false });
  });

  it("stays sealed once it was sealed by hand, until a restart or enough recovery shares", async () => {
    await h.ask("update", "sys/seal");
    h.clock.advance(600_000);
    await h.vault.tick();
    expect(h.vault.sealStatus()).toMatchObject({ sealed: true });
    expect((await restart(h)).vault.sealStatus()).toMatchObject({ sealed: false });
    expect(await unseal(h, h.shares[2])).toMatchObject({ sealed: true, progress: 1 });
    rmSync(file);
    expect(await refusal(unseal(h, h.shares[0]))).toMatch(/identity_file cannot be read/);
    put(identity);
    await unseal(h, h.shares[2]);
    expect(await unseal(h, h.shares[0])).toMatchObject({ sealed: false });
  });

  it("makes root tokens for recovery shares, and for no others", async () => {
    const { data } = await h.ask("update", "sys/generate-root/attempt");
    const wrong = Uint8Array.from(h.shares[1] ?? []).map((byte, at) => (at === 3 ? byte ^ 1 : byte));
    await give(h, "sys/generate-root/update", data?.["nonce"], h.shares[0]);
    expect(await refusal(give(h, "sys/generate-root/update", data?.["nonce"], wrong))).toMatch(
      /not the recovery shares/,
    );
    await give(h, "sys/generate-root/update", data?.["nonce"], h.shares[0]);
    const done = await give(h, "sys/generate-root/update", data?.["nonce"], h.shares[1]);
    expect(done.data).toMatchObject({ complete: true });
  });

  it.each([false, true])(
    "changes root key, recovery shares and identity by a rekey; verification: %s",
    async (verify) => {
      await h.ask("update", "sys/policy/kept", { policy: 'path "kept" { policy = "read" }' });
      const next = await generateX25519Identity();
      put(identity, next);
      const asked = { secret_shares: 2, secret_threshold: 2, require_verification: verify };
      const { data } = await h.ask("update", "sys/rekey-recovery-key/init", asked);
      await give(h, "sys/rekey-recovery-key/update", data?.["nonce"], h.shares[0]);
      const answer = await give(h, "sys/rekey-recovery-key/update", data?.["nonce"], h.shares[1]);
      const fresh = (answer.handout ?? []).map((share) => Uint8Array.from(share));
      if (verify) {
        const nonce = answer.data?.["verification_nonce"];
        for (const share of fresh) await give(h, "sys/rekey-recovery-key/verify", nonce, share);
      } else {
        // Not used yet: both sets are taken, and the server starts all the same.
        const between = await restart(h);
        expect(between.vault.sealStatus()).toMatchObject({ sealed: false });
        await between.vault.seal();
        await unseal(between, h.shares[0]);
        expect(await unseal(between, h.shares[2])).toMatchObject({ sealed: false });
      }
      put(next);
      const after = await restart(h);
      expect(after.vault.sealStatus()).toMatchObject({ sealed: false, t: 2, n: 2 });
      expect((await after.ask("read", "sys/policy/kept")).data?.["rules"]).toContain("kept");
      await after.vault.seal();
      await unseal(after, fresh[1]);
      expect(await unseal(after, fresh[0])).toMatchObject({ sealed: false });
      await after.vault.seal();
      await unseal(after, h.shares[0]);
      expect(await refusal(unseal(after, h.shares[1]))).toMatch(/not the recovery shares/);
    },
  );

  it("has no recovery key to change where shares unseal", async () => {
    const shamir = await harness();
    const asked = { secret_shares: 1, secret_threshold: 1 };
    expect(await refusal(shamir.ask("update", "sys/rekey-recovery-key/init", asked))).toMatch(
      /shamir seal has no recovery/,
    );
  });
});

async function emptyStorage() {
  const { plugin } = await import("../../src/storage/memory/index.ts");
  const { silent } = await import("../../src/lib/log.ts");
  return plugin.open({}, silent);
}
