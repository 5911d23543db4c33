// Where secrets live: `secret/<path>` holds what is known of one and the data of small versions, `version/<path>/<id>` the
// data of one that is larger, `config` the engine's settings. `plain/<path>` is what version 1 left, until it is taken over (upgrade.ts).
// Must hold: the write of `secret/<path>` is the commit point. Data is written before it and deleted after it, and an id
// is used once, so that whatever a crash leaves on a store without transactions, a reader sees the old secret or the new.
// Known gap: on such a store a crash may leave data that no secret names. It is encrypted like all data, is never
// shown, and goes with the secret's metadata.

import { randomBuffer } from "../../lib/bytes.ts";
import { Mutex } from "../../lib/mutex.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { checkKey } from "../../sdk/keys.ts";
import type { MountContext } from "../../sdk/mount.ts";
import type { Page } from "../../sdk/storage.ts";
import type { ViewEntry, ViewOp } from "../../sdk/view.ts";
import type { JsonObject } from "./json.ts";
import { dropEnded, keepInside } from "./inline.ts";
import { scan } from "./lists.ts";
import {
  addVersion,
  newSecret,
  noSettings,
  readable,
  type Secret,
  type Settings,
  type Version,
  type VersionState,
} from "./secret.ts";
import { plainKey, Upgrade } from "./upgrade.ts";

/** Of UTF-8: leaves room for what the vault puts before and after it in a storage key of 1,024 bytes. */
export const maxPath = 900;
const attempts = 8;

/** What was found for a read; `version` is null where it is deleted or destroyed. */
export interface Found {
  readonly secret: Secret;
  readonly number: number;
  readonly state: VersionState;
  readonly version: Version | null;
}

/** What an operation makes of a secret. */
export interface Step<T> {
  /** The secret after it; null removes it, undefined leaves it as it is. */
  readonly secret?: Secret | null | undefined;
  readonly put?: { readonly id: string; readonly version: Version } | undefined;
  /** Ids whose data goes. */
  readonly drop?: readonly string[];
  readonly result: T;
}

// One writer for each secret of a mount, across the mount objects of several generations: spares conflicts.
const locks = new Mutex();

const secretKey = (path: string): string => `secret/${path}`;
const versionKey = (path: string, id: string): string => `version/${path}/${id}`;

export class Store {
  readonly #context: MountContext;
  readonly #upgrade: Upgrade;

  constructor(context: MountContext) {
    this.#context = context;
    this.#upgrade = new Upgrade(context, (path) => this.#adopt(path));
  }

  async config(): Promise<Settings> {
    return (await this.#context.view.getJson<Settings>("config"))?.value ?? noSettings;
  }

  async changeConfig(change: (before: Settings) => Settings): Promise<void> {
    await this.#exclusive("config", async () => {
      const before = await this.#context.view.getJson<Settings>("config");
      const value = change(before?.value ?? noSettings);
      await this.#context.view.write([{ key: "config", value, expect: before?.version ?? "absent" }]);
    });
  }

  async secret(path: string): Promise<Secret | null> {
    return (await this.#entry(path))?.value ?? null;
  }

  /** Names one level below `folder`, which is "" or ends in a slash. */
  async list(folder: string, page: Page): Promise<readonly string[]> {
    if (!this.#upgrade.done) await this.#upgrade.run();
    return this.#context.view.list(secretKey(folder), page);
  }

  /** Paths of all secrets below `folder`. */
  async scan(folder: string): Promise<readonly string[]> {
    if (!this.#upgrade.done) await this.#upgrade.run();
    return scan(this.#context.view, secretKey(folder));
  }

  /** Ids of all data that is stored for a path, named by its secret or not. */
  async ids(path: string): Promise<string[]> {
    const names = await this.#context.view.list(`version/${path}/`);
    return names.filter((name) => !name.endsWith("/"));
  }

  /** As `find`, where all of it is in memory; undefined where storage has to be asked. */
  peek(path: string, number: number, now: number): Found | null | undefined {
    if (!this.#upgrade.done) return undefined;
    const entry = this.#context.view.peekJson<Secret>(secretKey(path));
    if (!entry) return entry;
    const secret = entry.value;
    const wanted = number > 0 ? number : secret.current;
    const state = secret.versions[wanted];
    if (state === undefined) return null;
    if (!readable(state, now)) return { secret, number: wanted, state, version: null };
    const version = secret.inline?.[wanted] ?? this.#context.view.peekJson<Version>(versionKey(path, state.id))?.value;
    return version && { secret, number: wanted, state, version };
  }

  /** Version `number`, the current one where 0; null where there is none. */
  async find(path: string, number: number, now: number): Promise<Found | null> {
    for (let before = 0, tries = 0; tries < attempts; tries++) {
      const entry = await this.#entry(path);
      if (entry === null) return null;
      const secret = entry.value;
      const wanted = number > 0 ? number : secret.current;
      const state = secret.versions[wanted];
      if (state === undefined) return null;
      if (!readable(state, now)) return { secret, number: wanted, state, version: null };
      const version =
        secret.inline?.[wanted] ?? (await this.#context.view.getJson<Version>(versionKey(path, state.id)))?.value;
      if (version !== undefined) return { secret, number: wanted, state, version };
      // Destroyed or pruned between the two reads, unless the secret is still the same.
      if (entry.version === before) break;
      before = entry.version;
    }
    this.#context.log.security("kv: the data of a version is missing from storage", { mount: this.#context.path });
    throw new VaultError("storage", "the data of this version is missing from storage; restore it from a backup");
  }

  /** Runs `decide` on the secret as it is and writes what it says; again where another writer came between. */
  change<T>(path: string, decide: (secret: Secret | null) => Step<T> | Promise<Step<T>>): Promise<T> {
    checkPath(path);
    return this.#exclusive(`secret/${path}`, async () => {
      const entry = await this.#entry(path);
      const { secret: decided, put, drop = [], result } = await decide(entry?.value ?? null);
      let secret = decided && dropEnded(decided);
      const ops: ViewOp[] = [];
      const whole = secret && put && keepInside(secret, put.version);
      if (whole) secret = whole;
      else if (put !== undefined) ops.push({ key: versionKey(path, put.id), value: put.version, expect: "absent" });
      if (secret !== undefined && (secret !== null || entry !== null))
        ops.push({ key: secretKey(path), value: secret, expect: entry?.version ?? "absent" });
      const inside = new Set(
        Object.values(entry?.value.versions ?? {}).map((state) => state.inline !== undefined && state.id),
      );
      for (const id of drop) if (!inside.has(id)) ops.push({ key: versionKey(path, id), value: null });
      if (ops.length > 0) await this.#context.view.write(ops);
      return result;
    });
  }

  #entry(path: string): Promise<ViewEntry<Secret> | null> {
    if (!this.#upgrade.done) return this.#upgrade.run().then(() => this.#entry(path));
    return this.#context.view.getJson<Secret>(secretKey(path));
  }

  /** What version 1 left at a path becomes the secret's next version, in one step with its removal there. Its id says which
   *  write of version 1 it was: after a crash in between it is not taken for another one. */
  #adopt(path: string): Promise<void> {
    const { view, clock } = this.#context;
    return this.#exclusive(`secret/${path}`, async () => {
      const plain = await view.getJson<JsonObject>(plainKey(path));
      if (plain === null) return;
      const entry = await view.getJson<Secret>(secretKey(path));
      const now = clock.now();
      const before = entry?.value ?? newSecret(now);
      const mark = `-plain-${plain.version}`;
      const ops: ViewOp[] = [];
      if (!Object.values(before.versions).some((state) => state.id.endsWith(mark))) {
        const id = `${before.current + 1}${mark}`;
        const { secret, pruned } = addVersion(before, await this.config(), id, now);
        ops.push({ key: versionKey(path, id), value: { data: plain.value } });
        ops.push({ key: secretKey(path), value: dropEnded(secret), expect: entry?.version ?? "absent" });
        for (const old of pruned)
          if (old.inline === undefined) ops.push({ key: versionKey(path, old.id), value: null });
      }
      ops.push({ key: plainKey(path), value: null, expect: plain.version });
      await view.write(ops);
    });
  }

  #exclusive<T>(name: string, task: () => Promise<T>): Promise<T> {
    return locks.run(`${this.#context.accessor}/${name}`, async () => {
      for (let left = attempts; ; left--) {
        try {
          return await task();
        } catch (error) {
          if (left <= 1 || !isVaultError(error, "conflict")) throw error;
        }
      }
    });
  }
}

/** A name for the data of version `number`. */
export const newId = (number: number): string => `${number}-${randomBuffer(8).toString("hex")}`;

/** Throws VaultError `invalid`. */
export function checkPath(path: string): void {
  const size = Buffer.byteLength(path);
  if (size > maxPath)
    throw new VaultError("invalid", `the path is ${size} bytes long; at most ${maxPath} are possible`);
  checkKey(path);
}
