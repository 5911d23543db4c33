// People and services that log in with a name and a password. A user is a declaration; the password is state: Git may
// seed it once, from a secret, and it is changed through the API from then on.
// Must hold: an unknown user, a wrong password and a user without a password are told apart by neither text nor work.

import { BusyError, Passwords } from "../../lib/password.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import {
  type Call,
  handler,
  type MountContext,
  type MountPlugin,
  type Resource,
  type ResourceContext,
} from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { tokenFaults, tokenFields } from "../../sdk/token.ts";
import { normalizeName } from "./name.ts";

interface Password {
  readonly hash: string;
  /** Since when the user was there that it was set for: it is of no use to a later one of that name. Those that came with
   *  the user, or are older than this, have none. */
  readonly user_since?: number;
}

const isOf = ({ user_since }: Password, since: number): boolean => (user_since ?? since) === since;

/** Bytes of UTF-8. */
const longestPassword = 1024;
const longestName = 256;
const passwordField = field.string("The password", { secret: true });
const passwordKey = (name: string): string => `password/${encodeURIComponent(name)}`;

const busy = (error: unknown): never => {
  if (error instanceof BusyError) throw new VaultError("rate_limited", "too many logins at once; try again later");
  throw error;
};

function checkName(name: string): string {
  if (name === "") throw new VaultError("invalid", "missing username");
  if (Buffer.byteLength(name) > longestName) {
    throw new VaultError("invalid", `the username is longer than ${longestName} bytes`);
  }
  return name;
}

function checkPassword(password: string | undefined): string {
  if (password === undefined || password === "") throw new VaultError("invalid", "missing password");
  if (Buffer.byteLength(password) > longestPassword) {
    throw new VaultError("invalid", `the password is longer than ${longestPassword} bytes`);
  }
  return password;
}

async function setPassword(
  passwords: Passwords,
  { mount, name, since }: ResourceContext,
  password: string | undefined,
): Promise<void> {
  checkName(name);
  const hash = await passwords.hash(checkPassword(password)).catch(busy);
  const value: Password = { hash, ...(since !== undefined && { user_since: since }) };
  await mount.view.write([{ key: passwordKey(name), value }]);
}

const usersOf = (passwords: Passwords): Resource => ({
  kind: "UserpassUser",
  description: "A user who logs in with a password",
  name: "users",
  path: "users/:name",
  fields: { password: passwordField, ...tokenFields },
  aliases: {
    policies: "token_policies",
    ttl: "token_ttl",
    max_ttl: "token_max_ttl",
    bound_cidrs: "token_bound_cidrs",
  },
  needs: ["password"],
  refuses: { password_hash: "hashes that were made elsewhere are not taken; give the password" },
  normalize: normalizeName,
  parts: { policies: "token_policies" },
  check: tokenFaults,
  show: (spec) => {
    const shown = Object.keys(tokenFields).map((name) => [name, spec[name]]);
    // Clients that write the older name `policies` read it back.
    return {
      ...(Object.fromEntries(shown) as Record<string, unknown>),
      token_type: spec["token_type"] ?? "default",
      policies: spec["token_policies"],
    };
  },
  seed: async (context, secrets) => {
    if (secrets["password"] !== undefined) await setPassword(passwords, context, secrets["password"]);
  },
  seeded: async ({ mount, name, since }) => {
    const stored = await mount.view.getJson<Password>(passwordKey(name));
    return stored !== null && (since === undefined || isOf(stored.value, since));
  },
  remove: async ({ mount, name }) => {
    await mount.view.write([{ key: passwordKey(name), value: null }]);
  },
});

const nameOf = (call: Pick<Call, "params">): string => checkName(normalizeName(call.params["name"] ?? ""));

async function login(
  passwords: Passwords,
  context: MountContext,
  call: Call<{ password: typeof passwordField }>,
): Promise<Response> {
  const name = nameOf(call);
  const password = checkPassword(call.data.password);
  const right = await call.attempt(name, async () => {
    // Both are read whatever the first one says: an unknown user takes the same steps.
    const stored = await context.view.getJson<Password>(passwordKey(name));
    const since = call.resource("users").since(name);
    const known = since !== null && stored !== null && isOf(stored.value, since);
    return (await passwords.verify(known ? stored.value.hash : null, password).catch(busy)) || null;
  });
  if (right === null) throw new VaultError("invalid", "invalid username or password");
  const metadata = { username: name };
  return {
    grant: { alias: { name, metadata }, displayName: name, mapping: { resource: "users", name }, metadata },
  };
}

/** `passwords` is one for the process. */
export const createUserpass = (passwords: Passwords): MountPlugin => ({
  type: "userpass",
  class: "auth",
  description: "Logins with a name and a password",
  options: {},
  resources: [usersOf(passwords)],
  guessed: "users",
  mount: (context) => {
    return {
      routes: [
        {
          path: "users/:name/password",
          on: {
            update: handler({
              summary: "Set a user's password, whoever declares the user",
              fields: { password: passwordField },
              run: async (call) => {
                const name = nameOf(call);
                const since = call.resource("users").since(name);
                if (since === null) throw new VaultError("invalid", "username does not exist");
                await setPassword(passwords, { mount: context, name, since }, call.data.password);
                return null;
              },
            }),
          },
        },
        {
          path: "login/:name",
          unauthenticated: true,
          spelling: { name: normalizeName },
          role: async (call) => nameOf(call),
          on: {
            update: handler({
              summary: "Log in with a password",
              fields: { password: passwordField },
              run: (call) => login(passwords, context, call),
            }),
          },
        },
      ],
    };
  },
});

export const plugin: MountPlugin = createUserpass(new Passwords());
