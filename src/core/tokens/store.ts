// Tokens in storage: the entry, and the indexes that lead to it (accessor, parent, mapping, expiry). All of a token's
// keys are written in one transaction, in an order of which every prefix is safe: indexes first, the entry last; at
// revocation the entry first.
// Must hold: a token whose entry is gone is no token, whatever index still names it; a child whose parent is gone is none.

import { createHmac, randomBytes, type KeyObject } from "node:crypto";
import type { Clock } from "../../lib/clock.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { View, ViewEntry, ViewOp } from "../../sdk/view.ts";
import type { Tasks } from "../tasks.ts";
import type { NewToken, TokenEntry } from "./entry.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const dueDigits = 15;

/** `length` characters of 62, without bias. */
function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of randomBytes(length)) if (byte < 248 && text.length < length) text += alphabet[byte % 62];
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
}

export class TokenStore {
  readonly #options: TokenStoreOptions;
  readonly #view: View;

  constructor(options: TokenStoreOptions) {
    this.#options = options;
    this.#view = options.root.sub("token/");
  }

  idOf(token: string): string {
    return createHmac("sha256", this.#options.key).update(token).digest("hex");
  }

  #accessorKey(accessor: string): string {
    return `accessor/${createHmac("sha256", this.#options.key).update(`accessor\n${accessor}`).digest("hex")}`;
  }

  #mappingFolder(accessor: string, kind?: string, name?: string): string {
    const folder = `by/${accessor}/`;
    if (kind === undefined || name === undefined) return folder;
    return `${folder}${createHmac("sha256", this.#options.key).update(`${kind}\n${name}`).digest("hex").slice(0, 32)}/`;
  }

  /** By id; expired entries too (the caller knows the time). */
  get(id: string): Promise<ViewEntry<TokenEntry> | null> {
    return this.#view.getJson<TokenEntry>(`id/${id}`);
  }

  async byAccessor(accessor: string): Promise<TokenEntry | null> {
    const index = await this.#view.getJson<{ id: string }>(this.#accessorKey(accessor));
    return index === null ? null : ((await this.get(index.value.id))?.value ?? null);
  }

  async accessors(): Promise<string[]> {
    const found: string[] = [];
    for (const id of await this.#view.list("id/")) {
      const entry = await this.get(id);
      if (entry !== null) found.push(entry.value.accessor);
    }
    return found;
  }

  async create(input: NewToken): Promise<{ readonly token: string; readonly entry: TokenEntry }> {
    const { client_token, ...rest } = input;
    const token = client_token ?? `hvs.${randomText(28)}`;
    const now = this.#options.clock.now();
    const entry: TokenEntry = {
      ...rest,
      id: this.idOf(token),
      accessor: randomText(24),
      type: "service",
      created_at: now,
      expires_at: rest.ttl === 0 ? 0 : now + rest.ttl * 1000,
      last_renewal: 0,
    };
    try {
      await this.#options.root.write([
        ...this.#indexes(entry),
        { key: `token/id/${entry.id}`, value: entry, expect: "absent" },
      ]);
    } catch (error) {
      if (isVaultError(error, "conflict"))
        throw new VaultError("invalid", "cannot create a token with a duplicate ID", { cause: error });
      throw error;
    }
    return { token, entry };
  }

  #indexes(entry: TokenEntry): ViewOp[] {
    const link = { id: entry.id };
    const ops: ViewOp[] = [{ key: `token/${this.#accessorKey(entry.accessor)}`, value: { ...link } }];
    if (entry.expires_at > 0) ops.push({ key: this.#dueKey(entry), value: { ...link } });
    if (entry.parent !== null) ops.push({ key: `token/child/${entry.parent}/${entry.id}`, value: { ...link } });
    if (entry.mapping !== null) {
      const { accessor, kind, name } = entry.mapping;
      ops.push({ key: `token/${this.#mappingFolder(accessor, kind, name)}${entry.id}`, value: { ...link } });
    }
    return ops;
  }

  #dueKey(entry: TokenEntry): string {
    return `lease/due/${String(entry.expires_at).padStart(dueDigits, "0")}/${entry.id}`;
  }

  /** Gives it `ttl` more seconds from now. */
  async renew(found: ViewEntry<TokenEntry>, ttl: number): Promise<TokenEntry> {
    const now = this.#options.clock.now();
    const before = found.value;
    const entry: TokenEntry = { ...before, ttl, expires_at: ttl === 0 ? 0 : now + ttl * 1000, last_renewal: now };
    const ops: ViewOp[] = [];
    if (entry.expires_at > 0) ops.push({ key: this.#dueKey(entry), value: { id: entry.id } });
    ops.push({ key: `token/id/${entry.id}`, value: entry, expect: found.version });
    if (before.expires_at > 0 && before.expires_at !== entry.expires_at)
      ops.push({ key: this.#dueKey(before), value: null });
    await this.#options.root.write(ops);
    return entry;
  }

  /** Takes one use. False where none is left. */
  async use(id: string): Promise<{ readonly allowed: boolean; readonly last: boolean }> {
    for (;;) {
      const found = await this.get(id);
      if (found === null || found.value.num_uses < 0) return { allowed: false, last: false };
      if (found.value.num_uses === 0) return { allowed: true, last: false };
      const left = found.value.num_uses === 1 ? -1 : found.value.num_uses - 1;
      try {
        await this.#options.root.write([
          { key: `token/id/${id}`, value: { ...found.value, num_uses: left }, expect: found.version },
        ]);
        return { allowed: true, last: left < 0 };
      } catch (error) {
        if (!isVaultError(error, "conflict")) throw error;
      }
    }
  }

  /** Ends a token and all its children. The token itself is gone when this resolves; children follow as a task that
   *  survives a crash, and are refused meanwhile because their parent is gone. */
  async revoke(id: string): Promise<void> {
    const found = await this.get(id);
    if (found === null) return;
    const entry = found.value;
    const tasks = this.#options.tasks();
    const children = await this.#view.list(`child/${id}/`, { limit: 1 });
    const ops: ViewOp[] = [];
    if (children.length > 0) ops.push(tasks.put("revoke-children", id.slice(0, 16), { id }));
    ops.push({ key: `token/id/${id}`, value: null });
    for (const op of this.#indexes(entry)) ops.push({ key: op.key, value: null });
    this.#options.onRevoked(id);
    await this.#options.root.write(ops);
    this.#options.onRevoked(id);
    if (children.length > 0) void tasks.run().catch(() => {});
  }

  /** Task: ends what a revoked parent left. */
  async revokeChildren(id: string): Promise<void> {
    for (const child of await this.#view.list(`child/${id}/`)) {
      await this.revoke(child);
      await this.#options.root.write([{ key: `token/child/${id}/${child}`, value: null }]);
    }
  }

  /** Task: ends all tokens that a mapping made, or a whole mount. */
  async revokeBy(accessor: string, kind?: string, name?: string): Promise<void> {
    const folder = this.#mappingFolder(accessor, kind, name);
    for (const child of await this.#view.list(folder)) {
      if (!child.endsWith("/")) {
        await this.revoke(child);
        await this.#options.root.write([{ key: `token/${folder}${child}`, value: null }]);
        continue;
      }
      for (const id of await this.#view.list(`${folder}${child}`)) {
        await this.revoke(id);
        await this.#options.root.write([{ key: `token/${folder}${child}${id}`, value: null }]);
      }
    }
  }
}
