// Entities that logins made: remembered so that they can be listed, named, written and ended. The id follows from the alias,
// so that two first logins at the same time are one person.
// Must hold: an id that was ended never comes back: the next login of that alias is another entity.

import type { KeyObject } from "node:crypto";
import { Mutex } from "../../lib/mutex.ts";
import type { View } from "../../sdk/view.ts";
import type { Directory } from "./directory.ts";
import { type Alias, aliasKey, derivedId, type Login, nameAfter } from "./entity.ts";

interface LoginRecord {
  readonly id: string;
  readonly aliases: readonly Alias[];
  readonly created: number;
  readonly number?: number;
}

const most = 100_000;
const everybody = "";

export class Logins {
  readonly #view: View;
  readonly #key: KeyObject;
  readonly #onEnded: () => void;
  readonly #lock = new Mutex();
  /** Known to be in storage. */
  readonly #known = new Map<string, Login>();
  /** The same by alias: the last that it was. */
  readonly #last = new Map<string, Login>();
  /** By alias: how many were ended. */
  readonly #ended = new Map<string, number>();

  /** `onEnded`: what is known of tokens is to be worked out again. */
  constructor(view: View, key: KeyObject, onEnded: () => void) {
    this.#view = view;
    this.#key = key;
    this.#onEnded = onEnded;
  }

  #id({ accessor, name }: Alias, number: number): string {
    return number === 0
      ? derivedId(this.#key, "alias", accessor, name)
      : derivedId(this.#key, "alias", accessor, name, String(number));
  }

  /** The entity that an alias is which no declaration has; recorded or not. One that was written since is a declaration,
   *  and has the alias no more. */
  async of(alias: Alias, directory: Directory): Promise<Login> {
    const last = this.#last.get(aliasKey(alias));
    if (last !== undefined && !directory.knows(last.id)) return last;
    for (let number = await this.#endedOf(alias); ; number += 1) {
      const id = this.#id(alias, number);
      if (directory.knows(id)) continue;
      const { accessor, name } = alias;
      return (
        this.#known.get(id) ?? { id, name: nameAfter("entity", id), alias: { accessor, name }, number, created: 0 }
      );
    }
  }

  /** The same, recorded. */
  async record(alias: Alias, at: number, directory: Directory): Promise<Login> {
    const login = await this.of(alias, directory);
    return this.#known.get(login.id) ?? this.#lock.run(aliasKey(alias), () => this.#record(alias, at, directory));
  }

  async #record(alias: Alias, at: number, directory: Directory): Promise<Login> {
    for (;;) {
      const login = await this.of(alias, directory);
      const stored = await this.get(login.id);
      if (stored !== null) return stored;
      const { id, number } = login;
      const value: LoginRecord = { id, aliases: [login.alias], created: at, ...(number > 0 && { number }) };
      await this.#view.write([{ key: `entity/${id}`, value }]);
      if ((await this.#endedOf(alias)) <= number) return this.#keep({ ...login, created: at });
      await this.#view.write([{ key: `entity/${id}`, value: null }]); // ended while it was being written
    }
  }

  async get(id: string): Promise<Login | null> {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    if (!isId.test(id)) return null;
    const record = (await this.#view.getJson<LoginRecord>(`entity/${id}`))?.value;
    const alias = record?.aliases[0];
    if (record === undefined || alias === undefined) return null;
    const { number = 0, created } = record;
    // It may have been ended while this was being read.
    if ((await this.#endedOf(alias)) > number) return null;
    return this.#keep({ id, name: nameAfter("entity", id), alias, number, created });
  }

  async named(name: string): Promise<Login | null> {
    const digits = /^entity_([0-9a-f]{8})[0-9a-f]{7}$/i.exec(name)?.[1]?.toLowerCase();
    if (digits === undefined) return null;
    const ids = await this.#view.list("entity/", { after: digits, limit: 64 });
    const id = ids.find((one) => nameAfter("entity", one) === name.toLowerCase());
    return id === undefined ? null : this.get(id);
  }

  /** Ids; also of those that were declared since. */
  list(): Promise<readonly string[]> {
    return this.#view.list("entity/");
  }

  /** Runs `task` while none is ended, with those of `ids` that are there. */
  hold<T>(ids: readonly string[], task: (logins: readonly Login[]) => Promise<T>): Promise<T> {
    return this.#lock.run(everybody, async () => {
      const found = await Promise.all([...new Set(ids)].map((id) => this.get(id)));
      return task(found.flatMap((login) => login ?? []));
    });
  }

  /** Nothing that was made for it is good any more. */
  async end(id: string): Promise<void> {
    await this.hold([id], async ([login]) => {
      if (login === undefined) return;
      const number = Math.max(await this.#endedOf(login.alias), login.number + 1);
      await this.#view.write([
        { key: this.#endedKey(login.alias), value: { number } },
        { key: `entity/${id}`, value: null },
      ]);
      this.#ended.set(aliasKey(login.alias), number);
      this.#known.delete(id);
      this.#last.delete(aliasKey(login.alias));
      this.#onEnded();
    });
  }

  #endedKey(alias: Alias): string {
    return `ended/${this.#id(alias, 0)}`;
  }

  async #endedOf(alias: Alias): Promise<number> {
    const key = aliasKey(alias);
    const known = this.#ended.get(key);
    if (known !== undefined) return known;
    const number = (await this.#view.getJson<{ number: number }>(this.#endedKey(alias)))?.value.number ?? 0;
    if (this.#ended.size >= most) this.#ended.clear();
    // Somebody may have ended one meanwhile.
    if (!this.#ended.has(key)) this.#ended.set(key, number);
    return this.#ended.get(key) ?? number;
  }

  #keep(login: Login): Login {
    if (this.#known.size >= most) {
      this.#known.clear();
      this.#last.clear();
    }
    this.#known.set(login.id, login);
    this.#last.set(aliasKey(login.alias), login);
    return login;
  }
}

const isId = /^[0-9a-f-]{36}$/;
