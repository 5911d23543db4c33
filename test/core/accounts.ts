// An engine for tests of leases: it makes accounts in a world outside of the vault, which the test makes fail, hang, forget
// or take its time.

import { randomBytes } from "node:crypto";
import { VaultError } from "../../src/sdk/errors.ts";
import { field } from "../../src/sdk/fields.ts";
import { handler, type MountPlugin } from "../../src/sdk/mount.ts";
import type { View } from "../../src/sdk/view.ts";

export class World {
  /** Accounts that exist, and when they end by themselves. */
  readonly accounts = new Map<string, number>();
  /** Accounts that were ever made, and how often each was ended. */
  readonly ended = new Map<string, number>();
  made = 0;
  revoking = 0;
  /** Most revocations at once. */
  most = 0;
  /** Tests put these in place of what works. Each gets the user's name. */
  onCreate: (user: string) => Promise<void> = async () => {};
  onRevoke: (user: string) => Promise<void> = async () => {};
  onRenew: (user: string) => Promise<void> = async () => {};

  async create(user: string, until: number): Promise<void> {
    await this.onCreate(user);
    this.accounts.set(user, until);
    this.made += 1;
  }

  async renew(user: string, until: number): Promise<void> {
    await this.onRenew(user);
    this.accounts.set(user, until);
  }

  async count(): Promise<number> {
    return this.accounts.size;
  }

  async revoke(user: string): Promise<void> {
    this.revoking += 1;
    this.most = Math.max(this.most, this.revoking);
    try {
      await this.onRevoke(user);
      this.accounts.delete(user);
      this.ended.set(user, (this.ended.get(user) ?? 0) + 1);
    } finally {
      this.revoking -= 1;
    }
  }
}

/** The same in the mount's own storage: a world for each mount, which goes on where it was cut off. */
export class KeptWorld extends World {
  readonly #view: View;

  constructor(view: View) {
    super();
    this.#view = view;
  }

  override async create(user: string, until: number): Promise<void> {
    await this.#view.write([{ key: `account/${user}`, value: { until } }]);
  }

  override renew(user: string, until: number): Promise<void> {
    return this.create(user, until);
  }

  override async count(): Promise<number> {
    return (await this.#view.list("account/")).length;
  }

  override async revoke(user: string): Promise<void> {
    await this.#view.write([{ key: `account/${user}`, value: null }]);
  }
}

/** Never. */
export const hang = (): Promise<void> => new Promise(() => {});

const userOf = (undo: Readonly<Record<string, unknown>>): string => String(undo["user"]);

export const accounts = (given: World | ((view: View) => World), type = "accounts"): MountPlugin => ({
  type,
  class: "secret",
  description: "Accounts in a world that tests move",
  options: {},
  resources: [
    {
      kind: type === "accounts" ? "AccountRole" : `${type[0]?.toUpperCase()}${type.slice(1)}Role`,
      description: "Accounts that can be had",
      name: "roles",
      path: "roles/:name",
      fields: {
        ttl: field.duration("How long; the mount's default where 0", { default: 0 }),
        max_ttl: field.duration("At most; the mount's where 0", { default: 0 }),
      },
    },
  ],
  mount: ({ view }) => {
    const world = typeof given === "function" ? given(view) : given;
    return {
      routes: [
        {
          path: "creds/:role",
          on: {
            read: handler({
              summary: "Make an account",
              mutates: true,
              run: async (call) => {
                const role = call.resource<{ ttl: number; max_ttl: number }>("roles").get(call.params["role"] ?? "");
                if (role === null) throw new VaultError("invalid", "unknown role");
                const user = `${call.params["role"] ?? ""}-${randomBytes(6).toString("hex")}`;
                const { ttl, max_ttl } = role;
                await call.lease({ type: "account", ttl, max_ttl }, { user }, (granted) =>
                  world.create(user, granted.expiresAt),
                );
                // The last word of the plugin may fail too.
                if (call.params["role"] === "clumsy") throw new VaultError("internal", "fell over its own feet");
                return { data: { username: user } };
              },
            }),
          },
        },
        {
          path: "fixed/:role",
          on: {
            update: handler({
              summary: "Make an account whose lease nobody renews",
              run: async (call) => {
                const user = `fixed-${randomBytes(6).toString("hex")}`;
                await call.lease({ type: "fixed", ttl: 0, max_ttl: 0 }, { user }, (granted) =>
                  world.create(user, granted.expiresAt),
                );
                return { data: { username: user } };
              },
            }),
          },
        },
        {
          path: "count",
          on: {
            read: handler({
              summary: "How many accounts there are",
              run: async () => ({ data: { count: await world.count() } }),
            }),
          },
        },
        {
          path: "wrong",
          on: {
            read: handler({
              summary: "Lease without saying that it mutates",
              run: async (call) => {
                await call.lease({ type: "account", ttl: 0, max_ttl: 0 }, { user: "wrong" }, () =>
                  world.create("wrong", 0),
                );
                return null;
              },
            }),
          },
        },
        {
          path: "note",
          on: {
            update: handler({
              summary: "Write something into the mount's own storage",
              run: async () => {
                await view.write([{ key: "note", value: { here: true } }]);
                return null;
              },
            }),
          },
        },
      ],
      leases: {
        account: {
          revoke: (undo) => world.revoke(userOf(undo)),
          renew: (undo, granted) => world.renew(userOf(undo), granted.expiresAt),
        },
        fixed: { revoke: (undo) => world.revoke(userOf(undo)) },
      },
    };
  },
});
