// Tokens in storage: the entry, and the indexes that lead to it (parent, mapping, expiry, place). All of a
// token's keys are written in one transaction, in an order of which every prefix is safe: indexes first, the entry last;
// at revocation first what is to end with it, then the entry.
// Must hold: a token whose entry is gone is no token, whatever index still names it; a child whose parent is gone is none;
// what hangs on a token is in the due index from the moment that the token is gone.

import type { KeyObject } from "node:crypto";
import { randomBuffer } from "../../lib/bytes.ts";
import type { Clock } from "../../lib/clock.ts";
import { Gates } from "../../lib/gates.ts";
import { hmacOf } from "../../lib/hmac.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { type PageInput, pageOf } from "../../sdk/page.ts";
import { pagesOf, type View, type ViewEntry, type ViewOp } from "../../sdk/view.ts";
import { childKey, cubbyholeName, dueKey, idKey, isToken, leaseOfToken } from "../leases/keys.ts";
import type { Tasks } from "../tasks.ts";
import { Accessors, isTokenId } from "./accessor.ts";
import type { MadeToken, NewToken, TokenEntry } from "./entry.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** Tokens that end in one write. */
const atOnce = 64;
/** What hangs on a token and ends with it in the same write; more is left to a task. */
const inline = 32;

const tokenPrefix = "hvs.";
const tokenRandom = 28;
/** Characters of a token that is made here. */
export const tokenLength = tokenPrefix.length + tokenRandom;

/** `length` characters of 62, without bias. */
export function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of randomBuffer(length)) if (byte < 248 && text.length < length) text += alphabet[byte % 62];
  }
  return text;
}

export interface TokenStoreOptions {
  readonly root: View;
  readonly key: KeyObject;
  readonly clock: Clock;
  readonly tasks: () => Tasks;
  /** Called at once when a token ends, before storage is asked. */
  onRevoked(id: string): void;
  /** Called once tokens are gone. */
  onEnded?(entries: readonly TokenEntry[]): void;
  /** Whether what made it has lost its access by now: then it is none. */
  refuses(entry: TokenEntry): boolean;
  /** Called when something is due at once: children and leases of a token that ended. */
  onDue(): void;
}

export class TokenStore {
  readonly #options: TokenStoreOptions;
  readonly #view: View;
  readonly #accessors: Accessors;
  readonly #gates = new Gates();

  constructor(options: TokenStoreOptions) {
    this.#options = options;
    this.#view = options.root.sub("token/");
    this.#accessors = new Accessors(options.key);
  }

  idOf(token: string): string {
    return hmacOf(this.#options.key).hex(token);
  }

  /** Where the ids of tokens stand that a mapping, or a whole mount, made. */
  mappingFolder(accessor: string, kind?: string, name?: string): string {
    return `token/${this.#mappingFolder(accessor, kind, name)}`;
  }

  #mappingFolder(accessor: string, kind?: string, name?: string): string {
    const folder = `by/${accessor}/`;
    if (kind === undefined || name === undefined) return folder;
    return `${folder}${hmacOf(this.#options.key).hex(`${kind}\n${name}`).slice(0, 32)}/`;
  }

  /** By id; expired entries too (the caller knows the time). */
  get(id: string): Promise<ViewEntry<TokenEntry> | null> {
    return this.#view.getJson<TokenEntry>(`id/${id}`);
  }

  async byAccessor(accessor: string): Promise<TokenEntry | null> {
    const prefix = this.#accessors.prefixOf(accessor);
    if (prefix === null) return null;
    const [id = ""] = await this.#view.list("id/", { after: prefix, limit: 1 });
    return id.startsWith(prefix) ? ((await this.get(id))?.value ?? null) : null;
  }

  /** In the order of their ids, which is none that a client could tell; a token that has ended keeps its place in it.
   *  Throws VaultError `invalid` where `after` is no accessor. */
  async accessors({ after, limit }: Partial<PageInput> = {}): Promise<string[]> {
    const before = after === undefined ? "" : this.#accessors.prefixOf(after);
    if (before === null) throw new VaultError("invalid", "after is no accessor");
    // "g" follows every digit of an id: the one that has the accessor is passed too.
    const page = pageOf({ after: before === "" ? undefined : `${before}g`, limit });
    return (await this.#view.list("id/", page)).filter(isTokenId).map((id) => this.#accessors.of(id));
  }

  /** `hung` are operations for what hangs on the token from the start: they stand behind it, so that none is there
   *  without it. */
  async create(input: NewToken, hung: (id: string) => readonly ViewOp[] = () => []): Promise<MadeToken> {
    const { client_token, ...rest } = input;
    const token = client_token ?? `${tokenPrefix}${randomText(tokenRandom)}`;
    const now = this.#options.clock.now();
    const id = this.idOf(token);
    const entry: TokenEntry = {
      ...rest,
      id,
      accessor: this.#accessors.of(id),
      type: "service",
      created_at: now,
      expires_at: rest.ttl === 0 ? 0 : now + rest.ttl * 1000,
      last_renewal: 0,
    };
    // A token of a name that was chosen may have left some when it had it before.
    const indexes = this.#indexes(entry);
    const fresh = client_token === undefined ? indexes.map((op): ViewOp => ({ ...op, expect: "absent" })) : indexes;
    try {
      await this.#options.root.write([
        ...fresh,
        { key: `token/id/${entry.id}`, value: entry, expect: "absent" },
        ...hung(entry.id),
      ]);
    } catch (error) {
      if (isVaultError(error, "conflict"))
        throw new VaultError("invalid", "cannot create a token with a duplicate ID", { cause: error });
      throw error;
    }
    // Who is blocked from here on has it found.
    if (!this.#options.refuses(entry)) return { token, entry };
    await this.revoke(entry.id);
    throw new VaultError("denied", "permission denied");
  }

  #indexes(entry: TokenEntry): ViewOp[] {
    const ops: ViewOp[] = [];
    if (entry.expires_at > 0) {
      ops.push(
        { key: dueKey(entry.expires_at, entry.id), value: true },
        { key: idKey(leaseOfToken(entry.path, entry.id)), value: true },
      );
    }
    if (entry.parent !== null) ops.push({ key: childKey(entry.parent, entry.id), value: true });
    if (entry.wrapping) ops.push({ key: childKey(entry.id, cubbyholeName(entry.id)), value: true });
    if (entry.mapping !== null) {
      const { accessor, kind, name } = entry.mapping;
      ops.push({ key: `token/${this.#mappingFolder(accessor, kind, name)}${entry.id}`, value: true });
    }
    return ops;
  }

  /** Gives it `ttl` more seconds from now. */
  async renew(found: ViewEntry<TokenEntry>, ttl: number): Promise<TokenEntry> {
    const now = this.#options.clock.now();
    const before = found.value;
    const entry: TokenEntry = {
      ...before,
      ttl,
      ...(before.last_renewal === 0 && { creation_ttl: before.ttl }),
      expires_at: ttl === 0 ? 0 : now + ttl * 1000,
      last_renewal: now,
    };
    const ops: ViewOp[] = [];
    if (entry.expires_at > 0) ops.push({ key: dueKey(entry.expires_at, entry.id), value: true });
    ops.push({ key: `token/id/${entry.id}`, value: entry, expect: found.version });
    if (before.expires_at > 0 && before.expires_at !== entry.expires_at)
      ops.push({ key: dueKey(before.expires_at, before.id), value: null });
    await this.#options.root.write(ops);
    return entry;
  }

  /** Takes one use. How many are left after it; null where there was none. */
  async use(id: string): Promise<number | null> {
    for (;;) {
      const found = await this.get(id);
      if (found === null || found.value.num_uses < 0) return null;
      if (found.value.num_uses === 0) return Infinity;
      const left = found.value.num_uses - 1;
      try {
        await this.#options.root.write([
          { key: `token/id/${id}`, value: { ...found.value, num_uses: left === 0 ? -1 : left }, expect: found.version },
        ]);
        return left;
      } catch (error) {
        if (!isVaultError(error, "conflict")) throw error;
      }
    }
  }

  /** Runs `task` while the token does not end: what it writes below the token is found when that ends. */
  whileThere<T>(id: string, task: () => Promise<T>): Promise<T> {
    return this.#gates.share(id, task);
  }

  /** Ends a token and all that hangs on it. The token itself is gone when this resolves; children and leases are due from
   *  then on, which survives a crash, and children are refused meanwhile because their parent is gone. */
  async revoke(id: string): Promise<void> {
    await this.revokeMany([id]);
  }

  /** Ends a token alone: its children go on without a parent, but for batch tokens. Cut off it can be done again. */
  async revokeAlone(id: string): Promise<void> {
    for await (const names of this.below(id)) {
      for (const child of names.filter(isToken)) await this.#orphan(id, child);
    }
    await this.revoke(id);
  }

  async #orphan(parent: string, child: string): Promise<void> {
    const found = await this.get(child);
    if (found === null || found.value.parent !== parent) return;
    const ops: ViewOp[] = [
      { key: `token/id/${child}`, value: { ...found.value, parent: null }, expect: found.version },
      { key: childKey(parent, child), value: null },
    ];
    try {
      await this.#options.root.write(ops);
      this.#options.onRevoked(child);
    } catch (error) {
      // It was used or renewed, or has ended.
      if (!isVaultError(error, "conflict")) throw error;
      await this.#orphan(parent, child);
    }
  }

  /** Ends a token that has uses left. True for one caller only, whatever else uses or ends the token meanwhile. */
  async claim(id: string): Promise<boolean> {
    return this.#gates.hold([id], async () => {
      const found = await this.get(id);
      if (found === null || found.value.num_uses < 0) return false;
      try {
        await this.#end([id], found.version);
        return true;
      } catch (error) {
        if (isVaultError(error, "conflict")) return false;
        throw error;
      }
    });
  }

  /** The same for many tokens, in as few writes as is bearable for those who wait. How many there were. */
  async revokeMany(ids: readonly string[]): Promise<number> {
    let ended = 0;
    for (let at = 0; at < ids.length; at += atOnce) {
      const some = ids.slice(at, at + atOnce);
      ended += await this.#gates.hold(some, () => this.#end(some));
    }
    return ended;
  }

  /** `version` is what is expected of a token that ends alone. */
  async #end(ids: readonly string[], version?: number): Promise<number> {
    const found = (await Promise.all(ids.map((id) => this.get(id)))).flatMap((entry) => entry?.value ?? []);
    if (found.length === 0) return 0;
    const below = await Promise.all(found.map(({ id }) => this.#view.list(`child/${id}/`, { limit: inline + 1 })));
    const ops: ViewOp[] = [];
    let tasks = 0;
    for (const [at, { id }] of found.entries()) {
      const names = below[at] ?? [];
      if (names.length <= inline) ops.push(...this.#dueNow(names));
      else {
        ops.push(this.#options.tasks().put("revoke-children", id.slice(0, 16), { id }));
        tasks += 1;
      }
    }
    const due = ops.length > tasks;
    const expect = version === undefined ? {} : { expect: version };
    for (const { id } of found) ops.push({ key: `token/id/${id}`, value: null, ...expect });
    for (const entry of found) for (const { key } of this.#indexes(entry)) ops.push({ key, value: null });
    // Last: as long as the token is there, what hangs on it must be found.
    for (const [at, { id }] of found.entries()) {
      const names = below[at] ?? [];
      if (names.length <= inline) for (const name of names) ops.push({ key: childKey(id, name), value: null });
    }
    for (const { id } of found) this.#options.onRevoked(id);
    // A child that ends together with its parent is named by both: gone is gone.
    await this.#options.root.write([...new Map(ops.map((op) => [op.key, op])).values()]);
    for (const { id } of found) this.#options.onRevoked(id);
    this.#options.onEnded?.(found);
    if (due) this.#options.onDue();
    if (tasks > 0)
      void this.#options
        .tasks()
        .run()
        .catch(() => {});
    return found.length;
  }

  /** What hangs on a token that ends. */
  #dueNow(names: readonly string[]): ViewOp[] {
    const now = this.#options.clock.now();
    return names.map((name) => ({ key: dueKey(now, name), value: true }));
  }

  /** Task: ends what a revoked parent left. The parent is there where the write that made the task was cut off. */
  async revokeChildren(id: string): Promise<void> {
    if ((await this.get(id)) !== null) return;
    for (;;) {
      const names = await this.#view.list(`child/${id}/`, { limit: atOnce });
      if (names.length === 0) return;
      await this.revokeMany(names.filter(isToken));
      const others = names.filter((name) => !isToken(name));
      await this.#options.root.write([
        ...this.#dueNow(others),
        ...names.map((name) => ({ key: childKey(id, name), value: null })),
      ]);
      if (others.length > 0) this.#options.onDue();
    }
  }

  /** Task: ends all tokens that a mapping made, or a whole mount. */
  revokeBy(accessor: string, kind?: string, name?: string): Promise<void> {
    return this.#endAll(this.#mappingFolder(accessor, kind, name));
  }

  /** Task: ends those tokens of a mount that `ends` says. */
  async revokeWhere(accessor: string, ends: (entry: TokenEntry) => boolean): Promise<void> {
    for await (const some of this.#entries(this.#mappingFolder(accessor))) {
      await this.revokeMany(some.filter(ends).map(({ id }) => id));
    }
  }

  /** Every token, some at a time. */
  all(): AsyncGenerator<readonly TokenEntry[]> {
    return this.#entries("id/");
  }

  /** Those that a mapping made, or a whole mount. */
  madeBy(accessor: string, kind?: string, name?: string): AsyncGenerator<readonly TokenEntry[]> {
    return this.#entries(this.#mappingFolder(accessor, kind, name));
  }

  /** What ends with a token: names of child tokens, of leases, and of its cubbyhole. */
  below(id: string): AsyncGenerator<readonly string[]> {
    return pagesOf(this.#view, `child/${id}/`, atOnce);
  }

  async *#entries(folder: string): AsyncGenerator<readonly TokenEntry[]> {
    for await (const names of pagesOf(this.#view, folder, atOnce)) {
      for (const name of names) if (name.endsWith("/")) yield* this.#entries(`${folder}${name}`);
      const ids = names.filter((name) => !name.endsWith("/"));
      const found = await Promise.all(ids.map((id) => this.get(id)));
      const entries = found.flatMap((entry) => entry?.value ?? []);
      if (entries.length > 0) yield entries;
    }
  }

  async #endAll(folder: string): Promise<void> {
    for (;;) {
      const names = await this.#view.list(folder, { limit: atOnce });
      if (names.length === 0) return;
      for (const name of names) if (name.endsWith("/")) await this.#endAll(`${folder}${name}`);
      const ids = names.filter((name) => !name.endsWith("/"));
      if (ids.length === 0) continue;
      await this.revokeMany(ids);
      // What stands here without a token.
      await this.#options.root.write(ids.map((id) => ({ key: `token/${folder}${id}`, value: null })));
    }
  }
}
