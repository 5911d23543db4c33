// Secret ids: state of a role. `secret/<role>/<accessor>` is one, and the accessor is a keyed hash of it, so that one entry
// serves the login, the lookup by accessor and the list. `due/<expiry>/<role>.<accessor>` orders by time those that end.
// Must hold: a secret id is refused from the very millisecond that it ends, whatever is still stored; uses are counted
// exactly, however many come at once; an entry that ends is in the index for as long as it exists.

import { Mutex } from "../../lib/mutex.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { MountContext } from "../../sdk/mount.ts";
import { pagesOf, type ViewEntry, type ViewOp } from "../../sdk/view.ts";
import { accessorOf, roleKey } from "./identifiers.ts";

export interface SecretId {
  /** Milliseconds since 1970. */
  readonly created_at: number;
  readonly updated_at: number;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires_at: number;
  /** Seconds; 0 for ever. */
  readonly ttl: number;
  /** Logins left; 0 for no limit. */
  readonly num_uses: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Addresses that may log in with it. */
  readonly cidr_list: readonly string[];
  readonly token_bound_cidrs: readonly string[];
  /** In whose name it was made. Those older than this have none. */
  readonly origins?: readonly string[];
  /** Since when the role was there that it was made for: it is of no use to a later one of that name. Those older than this
   *  have none. */
  readonly role_since?: number;
}

export type Terms = Omit<SecretId, "created_at" | "updated_at" | "expires_at">;

const dueDigits = 15;
/** How many that have ended each new one takes with it: what is stored follows what is alive without a timer. */
const swept = 8;
const atOnce = 100;

/** `folder` is "secret/<role's key>/". */
function dueKey(folder: string, accessor: string, { expires_at }: SecretId): string {
  const time = String(expires_at).padStart(dueDigits, "0");
  return `due/${time}/${folder.slice("secret/".length, -1)}.${accessor}`;
}

export class SecretIds {
  readonly #context: MountContext;
  readonly #lock = new Mutex();

  constructor(context: MountContext) {
    this.#context = context;
  }

  accessor(role: string, secretId: string): string {
    return accessorOf(this.#context.mac("ids"), role, secretId);
  }

  #folder(role: string): string {
    return `secret/${roleKey(this.#context.mac("ids"), role)}/`;
  }

  #dueKey(role: string, accessor: string, secretId: SecretId): string {
    return dueKey(this.#folder(role), accessor, secretId);
  }

  /** Null where there is none, or not any more. Accessors are names in storage: what is no accessor names nothing. */
  async #entry(role: string, accessor: string): Promise<ViewEntry<SecretId> | null> {
    if (!/^[0-9a-f-]{36}$/.test(accessor)) return null;
    const found = await this.#context.view.getJson<SecretId>(`${this.#folder(role)}${accessor}`);
    return found === null || this.#over(found.value) ? null : found;
  }

  #over({ expires_at }: SecretId): boolean {
    return expires_at !== 0 && this.#context.clock.now() >= expires_at;
  }

  /** Null where there is none, or not any more. */
  async find(role: string, accessor: string): Promise<SecretId | null> {
    return (await this.#entry(role, accessor))?.value ?? null;
  }

  async create(role: string, secretId: string, terms: Terms): Promise<string> {
    const accessor = this.accessor(role, secretId);
    const key = `${this.#folder(role)}${accessor}`;
    const now = this.#context.clock.now();
    const expires = terms.ttl === 0 ? 0 : now + terms.ttl * 1000;
    const value: SecretId = { ...terms, created_at: now, updated_at: now, expires_at: expires };
    const before = await this.#context.view.getJson<SecretId>(key);
    if (before !== null && !this.#over(before.value)) throw taken();
    const ops: ViewOp[] = expires === 0 ? [] : [{ key: this.#dueKey(role, accessor, value), value: true }];
    ops.push({ key, value, expect: before?.version ?? "absent" });
    try {
      await this.#context.view.write(ops);
    } catch (error) {
      if (isVaultError(error, "conflict") && (await this.#entry(role, accessor)) !== null) throw taken();
      throw error;
    }
    await this.sweep(swept);
    return accessor;
  }

  /** Takes one use. False where none is left. The version decides, also against an end of the role meanwhile; the lock
   *  saves those who come at once from writing in vain. */
  use(role: string, accessor: string): Promise<boolean> {
    return this.#lock.run(`${role}\n${accessor}`, async () => {
      for (;;) {
        const found = await this.#entry(role, accessor);
        if (found === null) return false;
        const { value, version } = found;
        if (value.num_uses === 0) return true;
        const key = `${this.#folder(role)}${accessor}`;
        const left = { ...value, num_uses: value.num_uses - 1, updated_at: this.#context.clock.now() };
        try {
          if (left.num_uses === 0) await this.#context.view.write(this.#removal(role, accessor, found));
          else await this.#context.view.write([{ key, value: left, expect: version }]);
          return true;
        } catch (error) {
          if (!isVaultError(error, "conflict")) throw error;
        }
      }
    });
  }

  /** The entry first: an index that is left over leads nowhere. */
  #removal(role: string, accessor: string, { value, version }: ViewEntry<SecretId>): ViewOp[] {
    const ops: ViewOp[] = [{ key: `${this.#folder(role)}${accessor}`, value: null, expect: version }];
    if (value.expires_at !== 0) ops.push({ key: this.#dueKey(role, accessor, value), value: null });
    return ops;
  }

  /** False where there was none. */
  destroy(role: string, accessor: string): Promise<boolean> {
    return this.#lock.run(`${role}\n${accessor}`, async () => {
      const found = await this.#entry(role, accessor);
      if (found === null) return false;
      await this.#context.view.write(this.#removal(role, accessor, found));
      return true;
    });
  }

  /** Accessors of those that are alive. */
  async list(role: string): Promise<string[]> {
    const alive: string[] = [];
    for (const accessor of await this.#context.view.list(this.#folder(role))) {
      if ((await this.#entry(role, accessor)) !== null) alive.push(accessor);
    }
    return alive;
  }

  /** Removes what has ended, at most so many. Returns how many were due. */
  async sweep(limit: number): Promise<number> {
    const { view, clock } = this.#context;
    let seen = 0;
    for (const time of await view.list("due/", { limit })) {
      if (Number(time.slice(0, -1)) > clock.now()) break;
      for (const name of await view.list(`due/${time}`, { limit: limit - seen })) {
        seen += 1;
        const key = `secret/${name.replace(".", "/")}`;
        const found = await view.getJson<SecretId>(key);
        const ops: ViewOp[] = [{ key: `due/${time}${name}`, value: null }];
        // A chosen id that was taken anew ends at another time.
        if (found?.value.expires_at === Number(time.slice(0, -1))) {
          ops.unshift({ key, value: null, expect: found.version });
        }
        await view.write(ops).catch(unlessConflict);
      }
      if (seen >= limit) break;
    }
    return seen;
  }

  async tidy(): Promise<void> {
    while ((await this.sweep(atOnce)) >= atOnce);
  }

  /** Ends those of a role that `ends` says so of. */
  async clear(role: string, ends: (secretId: SecretId) => boolean = () => true): Promise<number> {
    return this.#endIn(this.#folder(role), ends);
  }

  /** The same of all roles. */
  async endWhere(ends: (secretId: SecretId) => boolean): Promise<number> {
    let ended = 0;
    for await (const folders of pagesOf(this.#context.view, "secret/", atOnce)) {
      for (const folder of folders) ended += await this.#endIn(`secret/${folder}`, ends);
    }
    return ended;
  }

  async #endIn(folder: string, ends: (secretId: SecretId) => boolean): Promise<number> {
    const { view } = this.#context;
    let ended = 0;
    for await (const accessors of pagesOf(view, folder, atOnce)) {
      const found = await Promise.all(accessors.map((accessor) => view.getJson<SecretId>(`${folder}${accessor}`)));
      const ops = accessors.flatMap((accessor, at): ViewOp[] => {
        const value = found[at]?.value;
        if (value === undefined || !ends(value)) return [];
        ended += 1;
        const entry: ViewOp = { key: `${folder}${accessor}`, value: null };
        return value.expires_at === 0 ? [entry] : [entry, { key: dueKey(folder, accessor, value), value: null }];
      });
      if (ops.length > 0) await view.write(ops);
    }
    return ended;
  }
}

const taken = (): VaultError => new VaultError("invalid", "failed to store secret_id: SecretID is already registered");

function unlessConflict(error: unknown): void {
  if (!isVaultError(error, "conflict")) throw error;
}
