import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { silent } from "../../src/lib/log.ts";
import type { Operation, Response } from "../../src/sdk/request.ts";
import { type Op, type StorageBackend, storageWith } from "../../src/sdk/storage.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness, type HarnessOptions, refusal } from "./harness.ts";

type Shares = readonly Uint8Array[];

/** A request with a share beside its data; the share stays the test's. */
function give(
  h: Harness,
  path: string,
  nonce: unknown,
  share: Uint8Array | undefined,
  token: string | null = h.root,
  operation: Operation = "update",
): Promise<Response> {
  return h.vault.handle({
    id: randomUUID(),
    operation,
    path,
    data: Object.assign(Object.create(null) as Record<string, unknown>, nonce === undefined ? {} : { nonce }),
    token,
    connection: { remoteAddress: "127.0.0.1", remotePort: 4711, local: true },
    headers: {},
    time: h.clock.now(),
    ...(share !== undefined && { share }),
  });
}

async function unseals(h: Harness, shares: Shares, threshold: number): Promise<boolean> {
  await h.vault.unseal(null, { reset: true });
  for (const share of shares.slice(0, threshold)) {
    try {
      if (!(await h.vault.unseal(Uint8Array.from(share), { reset: false })).sealed) return true;
    } catch {
      return false;
    }
  }
  return false;
}

async function opened(options: HarnessOptions = {}): Promise<Harness> {
  const h = await harness({ shares: 5, threshold: 3, ...options });
  expect(await unseals(h, h.shares, 3)).toBe(true);
  await h.ask("update", "sys/policy/kept", { policy: 'path "kept" { capabilities = ["read"] }' });
  return h;
}

const kept = async (h: Harness): Promise<unknown> => (await h.ask("read", "sys/policy/kept")).data?.["rules"];

/** Gives present shares until the new ones come. */
async function rekey(h: Harness, present: Shares, more: Record<string, unknown> = {}): Promise<Response> {
  const { data } = await h.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2, ...more });
  let last: Response = {};
  for (const share of present) last = await give(h, "sys/rekey/update", data?.["nonce"], share);
  return last;
}

/** Uses shares for a root token. */
async function makeRoot(h: Harness, shares: Shares): Promise<void> {
  const { data } = await h.ask("update", "sys/generate-root/attempt");
  for (const share of shares) await give(h, "sys/generate-root/update", data?.["nonce"], share);
}

/** What the answer hands out, as copies. */
const handed = (answer: Response): Shares => (answer.handout ?? []).map((share) => Uint8Array.from(share));

/** Each way to start over with the same storage. */
async function restarted(h: Harness): Promise<Harness> {
  await h.vault.seal();
  return h.reopen();
}

describe("sys/rekey", () => {
  it("makes new shares and a new root key; the old ones open nothing once new ones were used", async () => {
    const h = await opened();
    const idle = { nonce: "", started: false, t: 0, n: 0, progress: 0, required: 3, pgp_fingerprints: null };
    expect((await h.ask("read", "sys/rekey/init")).data).toEqual({
      ...idle,
      backup: false,
      verification_required: false,
    });
    const keyring = await h.storage.get("core/keyring");
    const answer = await rekey(h, h.shares.slice(1, 4));
    const fresh = handed(answer);
    expect(answer.data).toMatchObject({ complete: true, verification_required: false });
    expect(fresh.map((share) => share.length)).toEqual([33, 33, 33]);
    expect((await h.storage.get("core/keyring"))?.value).not.toEqual(keyring?.value);
    // Whoever asked may have lost the answer: either set opens, again and again.
    for (const [shares, threshold] of [
      [h.shares, 3],
      [fresh, 2],
    ] as const) {
      const other = await h.reopen(await memoryCopy(h.storage));
      expect(await unseals(other, shares, threshold)).toBe(true);
      expect(await kept(other)).toContain("kept");
      expect(await unseals(await restarted(other), h.shares, 3)).toBe(shares === h.shares);
    }
    const after = await restarted(h);
    expect(after.vault.sealStatus()).toMatchObject({ t: 2, n: 3 });
    expect(await unseals(after, fresh.slice(1), 2)).toBe(true);
    expect(await unseals(await restarted(after), h.shares, 3)).toBe(false);
    expect(await unseals(after, fresh.slice(1), 2)).toBe(true);
    expect(await kept(after)).toContain("kept");
    // The root key is another one: the old keyring does not even open with the new shares.
    const record = Buffer.from((await h.storage.get("core/seal"))?.value ?? []).toString();
    expect(record).not.toContain("former");
  });

  it("whose answer is lost is done again with the old shares; new ones end them by making a root token too", async () => {
    const h = await opened();
    await rekey(h, h.shares.slice(0, 3));
    const fresh = handed(await rekey(h, h.shares.slice(0, 3)));
    expect(await recordOf(h.storage)).toHaveProperty("former");
    await makeRoot(h, fresh.slice(0, 2));
    expect(await recordOf(h.storage)).not.toHaveProperty("former");
    const after = await restarted(h);
    expect(await unseals(after, h.shares, 3)).toBe(false);
    expect(await unseals(after, fresh, 2)).toBe(true);
  });

  it("with verification, counts only once enough new shares were given back", async () => {
    const h = await opened();
    const answer = await rekey(h, h.shares.slice(0, 3), { require_verification: true });
    const fresh = handed(answer);
    const nonce = answer.data?.["verification_nonce"];
    expect(answer.data).toMatchObject({ complete: true, verification_required: true });
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ started: true, verification_nonce: nonce });
    expect(await refusal(give(h, "sys/rekey/update", answer.data?.["nonce"], h.shares[0]))).toMatch(/verify them/);
    const copy = await h.reopen(await memoryCopy(h.storage));
    expect(await unseals(copy, fresh, 2)).toBe(false);
    expect(await unseals(copy, h.shares, 3)).toBe(true);
    expect((await give(h, "sys/rekey/verify", nonce, fresh[0])).data).toMatchObject({
      started: true,
      progress: 1,
      t: 2,
    });
    expect((await h.ask("delete", "sys/rekey/verify")).data).toMatchObject({ progress: 0 });
    expect(await refusal(give(h, "sys/rekey/verify", nonce, fresh[0]))).toMatch(/nonce/);
    const again = (await h.ask("read", "sys/rekey/verify")).data?.["nonce"];
    await give(h, "sys/rekey/verify", again, fresh[2]);
    expect(await refusal(give(h, "sys/rekey/verify", again, h.shares[0]))).toMatch(/^invalid/);
    await give(h, "sys/rekey/verify", again, fresh[2]);
    expect((await give(h, "sys/rekey/verify", again, fresh[0])).data).toEqual({ nonce: again, complete: true });
    expect(await recordOf(h.storage)).not.toHaveProperty("former");
    expect(await refusal(h.ask("delete", "sys/rekey/verify"))).toMatch(/^invalid/);
    const after = await restarted(h);
    expect(await unseals(after, h.shares, 3)).toBe(false);
    expect(await unseals(after, fresh, 2)).toBe(true);
    expect(await kept(after)).toContain("kept");
  });

  it("that asks for verification and is cancelled has used the shares that it was given: those before them are over", async () => {
    const h = await opened();
    const fresh = handed(await rekey(h, h.shares.slice(0, 3)));
    expect(await recordOf(h.storage)).toHaveProperty("former");
    // The shares from before say nothing of the new ones.
    await rekey(h, h.shares.slice(0, 3), { require_verification: true });
    await h.ask("delete", "sys/rekey/init");
    expect(await recordOf(h.storage)).toHaveProperty("former");
    await rekey(h, fresh.slice(0, 2), { require_verification: true });
    await h.ask("delete", "sys/rekey/init");
    expect(await recordOf(h.storage)).not.toHaveProperty("former");
    const after = await restarted(h);
    expect(await unseals(after, h.shares, 3)).toBe(false);
    expect(await unseals(after, fresh, 2)).toBe(true);
    expect(await kept(after)).toContain("kept");
  });

  it("is cancelled, and forgotten at seal", async () => {
    const h = await opened();
    const { data } = await h.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2 });
    expect(await refusal(h.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2 }))).toMatch(
      /in progress/,
    );
    await give(h, "sys/rekey/update", data?.["nonce"], h.shares[0]);
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ progress: 1, required: 3, n: 3, t: 2 });
    expect(await refusal(h.ask("delete", "sys/rekey/init", { nonce: "x" }))).toMatch(/nonce/);
    await h.ask("delete", "sys/rekey/init");
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ started: false, progress: 0 });
    expect(await refusal(give(h, "sys/rekey/update", data?.["nonce"], h.shares[0]))).toMatch(/no rekey/);
    await h.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2 });
    await h.vault.seal();
    await unseals(h, h.shares, 3);
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ started: false });
  });

  it.each([
    { secret_shares: 3 },
    { secret_shares: 3, secret_threshold: 4 },
    { secret_shares: 3, secret_threshold: 1 },
    { secret_shares: 3, secret_threshold: 2, pgp_keys: ["a"] },
    { secret_shares: 3, secret_threshold: 2, backup: true },
  ])("refuses to start with %j", async (asked) => {
    const h = await opened();
    expect(await refusal(h.ask("update", "sys/rekey/init", asked))).toMatch(/^invalid/);
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ started: false });
  });

  it("refuses wrong nonces and shares, and leaves everything as it is", async () => {
    const h = await opened();
    const { data } = await h.ask("update", "sys/rekey/init", { secret_shares: 1, secret_threshold: 1 });
    for (const nonce of [undefined, "", randomUUID()]) {
      expect(await refusal(give(h, "sys/rekey/update", nonce, h.shares[0]))).toMatch(/nonce/);
    }
    expect(await refusal(give(h, "sys/rekey/update", data?.["nonce"], undefined))).toMatch(/key/);
    const wrong = Uint8Array.from(h.shares[2] ?? []).map((byte, at) => (at === 3 ? byte ^ 1 : byte));
    await give(h, "sys/rekey/update", data?.["nonce"], h.shares[0]);
    await give(h, "sys/rekey/update", data?.["nonce"], h.shares[1]);
    expect(await refusal(give(h, "sys/rekey/update", data?.["nonce"], wrong))).toMatch(/^invalid/);
    expect((await h.ask("read", "sys/rekey/init")).data).toMatchObject({ started: true, progress: 0 });
    expect(await unseals(await restarted(h), h.shares, 3)).toBe(true);
  });

  it("asks for sudo, or for nothing where config says so, and no share stands in the audit", async () => {
    const h = await opened();
    await h.ask("update", "sys/policy/sys", { policy: 'path "sys/*" { capabilities = ["read", "update", "delete"] }' });
    const made = await h.ask("update", "auth/token/create", { policies: ["sys"] });
    for (const token of [made.auth?.client_token ?? "", "", null]) {
      for (const base of ["sys/rekey", "sys/rotate/root"]) {
        expect(await refusal(h.ask("read", `${base}/init`, {}, token))).toMatch(/^(denied|unauthenticated)/);
        expect(await refusal(give(h, `${base}/update`, "x", h.shares[0], token))).toMatch(/^(denied|unauthenticated)/);
      }
    }
    const open = await opened({ allowUnauthenticated: ["rekey"] });
    const { data } = await open.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2 }, null);
    let answer: Response = {};
    for (const share of open.shares.slice(0, 3))
      answer = await give(open, "sys/rekey/update", data?.["nonce"], share, null);
    const log = [...open.tape.lines, ...open.log].join("\n");
    expect(log).toContain("sys/rekey/update");
    for (const share of [...open.shares, ...handed(answer)]) {
      for (const form of ["hex", "base64", "latin1"] as const) {
        expect(log.includes(Buffer.from(share).toString(form))).toBe(false);
      }
    }
    expect(await refusal(open.ask("read", "sys/generate-root/attempt", {}, null))).toMatch(/^unauthenticated/);
  });

  it("overwrites new shares whose answer no audit device keeps: the old ones go on", async () => {
    const h = await opened();
    const { data } = await h.ask("update", "sys/rekey/init", { secret_shares: 3, secret_threshold: 2 });
    await give(h, "sys/rekey/update", data?.["nonce"], h.shares[0]);
    await give(h, "sys/rekey/update", data?.["nonce"], h.shares[1]);
    const writes = h.tape.lines.length;
    const last = give(h, "sys/rekey/update", data?.["nonce"], h.shares[2]);
    // Its request entry is kept, its response entry is not.
    while (h.tape.lines.length === writes) await new Promise(setImmediate);
    h.tape.fail = true;
    expect(await refusal(last)).toMatch(/^audit/);
    const after = await h.reopen();
    expect(await unseals(after, h.shares, 3)).toBe(true);
    expect(await kept(after)).toContain("kept");
  });
});

async function memoryCopy(from: StorageBackend): Promise<StorageBackend> {
  const to = await memory.open({}, silent);
  const walk = async (prefix: string): Promise<void> => {
    for (const name of await from.list(prefix)) {
      if (name.endsWith("/")) {
        await walk(prefix + name);
        continue;
      }
      const stored = await from.get(prefix + name);
      if (stored !== null) await to.write([{ key: prefix + name, value: stored.value, version: stored.version }]);
    }
  };
  await walk("");
  return to;
}

describe("a crash during a rekey", () => {
  interface Cut {
    readonly left: number;
    readonly atomic: boolean;
    /** The operation at which it stops lands all the same. */
    readonly lands: boolean;
  }

  /** Storage that ends after some more operations. */
  function cutting(
    inner: StorageBackend,
    cut: Cut,
  ): { readonly storage: StorageBackend; arm(): void; over(): boolean } {
    let armed = false;
    let left = cut.left;
    const one = async (ops: readonly Op[]): Promise<void> => {
      if (armed && left-- <= 0) {
        if (cut.lands && left === -1) await inner.write(ops);
        throw new Error("the power is out");
      }
      await inner.write(ops);
    };
    const storage: StorageBackend = storageWith(inner, {
      atomic: cut.atomic,
      get: async (key) => {
        if (armed && left < 0) throw new Error("the power is out");
        return inner.get(key);
      },
      write: async (ops) => {
        if (cut.atomic) return one(ops);
        for (const op of ops) await one([op]);
      },
    });
    return { storage, arm: () => (armed = true), over: () => left < 0 };
  }

  it.each([
    { atomic: true, lands: false, verify: false },
    { atomic: true, lands: true, verify: false },
    { atomic: false, lands: false, verify: false },
    { atomic: false, lands: true, verify: false },
    { atomic: true, lands: false, verify: true },
    { atomic: false, lands: true, verify: true },
    { atomic: false, lands: false, verify: true },
  ])("leaves shares that open it: %j", async ({ verify, ...how }) => {
    let cuts = 0;
    const opening = new Set<string>();
    for (let left = 0; ; left++) {
      const inner = await memory.open({}, silent);
      const cut = cutting(inner, { left, ...how });
      const h = await opened({ storage: cut.storage });
      cut.arm();
      let fresh: Shares = [];
      const run = async (): Promise<void> => {
        const answer = await rekey(h, h.shares.slice(0, 3), { require_verification: verify });
        fresh = handed(answer);
        if (verify) {
          const nonce = answer.data?.["verification_nonce"];
          for (const share of fresh.slice(0, 2)) await give(h, "sys/rekey/verify", nonce, share);
        } else await makeRoot(h, fresh.slice(0, 2));
      };
      await run().catch(() => {});
      const whole = !cut.over();
      const after = await h.reopen(inner);
      // What nobody has been handed cannot be tried; what has been, is tried alone.
      const [byNew, byOld] = [
        fresh.length > 0 && (await unseals(await h.reopen(await memoryCopy(inner)), fresh, 2)),
        await unseals(await h.reopen(await memoryCopy(inner)), h.shares, 3),
      ];
      expect(byNew || byOld, `after ${left}`).toBe(true);
      opening.add(`${byNew ? "new" : ""}${byOld ? "old" : ""}`);
      const [shares, threshold] = byNew ? [fresh, 2] : [h.shares, 3];
      expect(await unseals(after, shares, threshold)).toBe(true);
      expect(await kept(after)).toContain("kept");
      // And the vault goes on from there: another rekey and a restart.
      const last = handed(await rekey(after, shares.slice(0, threshold)));
      const end = await restarted(after);
      expect(await unseals(end, last, 2)).toBe(true);
      expect(await unseals(await restarted(end), shares, threshold)).toBe(false);
      if (whole) break;
      cuts += 1;
    }
    expect(cuts).toBeGreaterThan(how.atomic ? 1 : 2);
    expect([...opening]).toContain("new");
    expect([...opening].some((which) => which.includes("old"))).toBe(true);
  });
});

it("a rekey that was cut off between the record and the keyring never was", async () => {
  const inner = await memory.open({}, silent);
  let torn = false;
  const storage: StorageBackend = storageWith(inner, {
    atomic: false,
    write: async (ops) => {
      const [first, ...rest] = ops;
      if (!torn || first?.key !== "core/seal" || rest.length === 0) return inner.write(ops);
      await inner.write([first]);
      throw new Error("torn");
    },
  });
  const h = await opened({ storage });
  torn = true;
  expect(await refusal(rekey(h, h.shares.slice(0, 3)))).toMatch(/^internal/);
  expect(JSON.stringify(await recordOf(inner))).toContain("former");
  // It is asked for again with the same shares, in the same process and in another.
  expect(await refusal(give(h, "sys/rekey/update", "", h.shares[0]))).toMatch(/nonce/);
  const other = await h.reopen();
  expect(await unseals(other, h.shares, 3)).toBe(true);
  expect(other.vault.sealStatus()).toMatchObject({ t: 3, n: 5 });
  expect(await recordOf(inner)).not.toHaveProperty("former");
});

const recordOf = async (storage: StorageBackend): Promise<unknown> =>
  JSON.parse(Buffer.from((await storage.get("core/seal"))?.value ?? []).toString()) as unknown;

describe("sys/generate-root", () => {
  const decode = (encoded: unknown, otp: unknown): string => {
    const bytes = Buffer.from(String(encoded), "base64");
    return Buffer.from(bytes.map((byte, at) => byte ^ (Buffer.from(String(otp))[at] ?? 0))).toString();
  };

  it.each(["sys/generate-root", "sys/generate-root-token"])("%s makes a root token of shares", async (base) => {
    const h = await opened();
    expect((await h.ask("read", `${base}/attempt`)).data).toMatchObject({
      started: false,
      otp_length: 32,
      required: 3,
    });
    const { data } = await h.ask("update", `${base}/attempt`);
    const otp = String(data?.["otp"]);
    expect(otp).toMatch(/^[A-Za-z0-9]{32}$/);
    expect((await h.ask("read", `${base}/attempt`)).data).toMatchObject({
      started: true,
      otp: "",
      nonce: data?.["nonce"],
    });
    let answer: Response = {};
    for (const [at, share] of h.shares.slice(0, 3).entries()) {
      answer = await give(h, `${base}/update`, data?.["nonce"], share);
      expect(answer.data).toMatchObject({ progress: at + 1, complete: at === 2 });
    }
    expect(String(answer.data?.["encoded_token"])).not.toContain("=");
    const token = decode(answer.data?.["encoded_token"], otp);
    expect(token).toMatch(/^hvs\.[A-Za-z0-9]{28}$/);
    const self = (await h.ask("read", "auth/token/lookup-self", {}, token)).data;
    expect(self).toMatchObject({ policies: ["root"], ttl: 0, orphan: true });
    const log = [...h.tape.lines, ...h.log].join("\n");
    for (const secret of [token, otp, String(answer.data?.["encoded_token"])]) expect(log).not.toContain(secret);
    expect(h.log.some((line) => line.includes('"security":true') && line.includes("root token"))).toBe(true);
    expect((await h.ask("read", `${base}/attempt`)).data).toMatchObject({ started: false });
  });

  it("takes a password of one's own, and refuses others, wrong shares and callers", async () => {
    const h = await opened();
    expect(await refusal(h.ask("read", "sys/generate-root/attempt", {}, null))).toMatch(/^unauthenticated/);
    expect(await refusal(h.ask("update", "sys/generate-root/attempt", { otp: "short" }))).toMatch(/32/);
    expect(await refusal(h.ask("update", "sys/generate-root/attempt", { pgp_key: "x" }))).toMatch(/pgp_key/);
    const otp = "0123456789abcdefghijklmnopqrstuv";
    const { data } = await h.ask("update", "sys/generate-root/attempt", { otp });
    expect(data).toMatchObject({ otp: "", started: true });
    expect(await refusal(h.ask("update", "sys/generate-root/attempt"))).toMatch(/in progress/);
    const nonce = data?.["nonce"];
    expect(await refusal(give(h, "sys/generate-root/update", "other", h.shares[0]))).toMatch(/nonce/);
    const stranger = await opened();
    await give(h, "sys/generate-root/update", nonce, stranger.shares[0]);
    await give(h, "sys/generate-root/update", nonce, stranger.shares[1]);
    expect(await refusal(give(h, "sys/generate-root/update", nonce, stranger.shares[2]))).toMatch(/^invalid/);
    await h.ask("delete", "sys/generate-root/attempt");
    expect(await refusal(give(h, "sys/generate-root/update", nonce, h.shares[0]))).toMatch(/no root generation/);
  });

  it("works without a token where config says so", async () => {
    const h = await opened({ allowUnauthenticated: ["generate-root"] });
    const { data } = await h.ask("update", "sys/generate-root/attempt", {}, null);
    let answer: Response = {};
    for (const share of h.shares.slice(0, 3)) {
      answer = await give(h, "sys/generate-root/update", data?.["nonce"], share, null);
    }
    const token = decode(answer.data?.["encoded_token"], data?.["otp"]);
    expect((await h.ask("read", "auth/token/lookup-self", {}, token)).data).toMatchObject({ policies: ["root"] });
    expect(await refusal(h.ask("read", "sys/rekey/init", {}, null))).toMatch(/^unauthenticated/);
  });
});
