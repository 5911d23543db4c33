// Logins for the tests of identity: userpass, and a method whose grants name groups.

import { handler } from "../../src/sdk/mount.ts";
import type { MountPlugin } from "../../src/sdk/mount.ts";
import { field } from "../../src/sdk/fields.ts";
import type { AuthResult } from "../../src/sdk/request.ts";
import { tokenFields } from "../../src/sdk/token.ts";
import { type Harness, harness, type HarnessOptions } from "./harness.ts";

const password = "correct horse";

/** Lets in whoever says who he is and where he belongs. */
export const directory: MountPlugin = {
  type: "directory",
  class: "auth",
  description: "Logins with groups",
  options: {},
  resources: [
    { kind: "DirectoryRole", description: "a role", name: "roles", path: "roles/:name", fields: { ...tokenFields } },
  ],
  mount: () => ({
    routes: [
      {
        path: "login",
        unauthenticated: true,
        on: {
          update: handler({
            summary: "Log in",
            fields: { name: field.string("Who", { required: true }), groups: field.strings("Where", { default: [] }) },
            run: async ({ data: { name, groups } }) => ({
              grant: {
                alias: { name, metadata: { site: "zurich" } },
                displayName: name,
                mapping: { resource: "roles", name: "all" },
                groups,
              },
            }),
          }),
        },
      },
    ],
  }),
};

export interface World extends Harness {
  readonly accessors: Readonly<Record<string, string>>;
}

export async function world(options: HarnessOptions = {}): Promise<World> {
  const h = await harness({ ...options, plugins: [directory, ...(options.plugins ?? [])] });
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "1" } });
  await h.ask("update", "secret/app/one", { a: "1" });
  await h.ask("update", "sys/policies/acl/reader", { policy: 'path "secret/app/*" { capabilities = ["read"] }' });
  for (const type of ["userpass", "directory"]) await h.ask("update", `sys/auth/${type}`, { type });
  await h.ask("update", "auth/directory/roles/all", {});
  const auth = (await h.ask("read", "sys/auth")).data as Record<string, { accessor: string }>;
  const accessors = Object.fromEntries(
    Object.entries(auth).map(([path, mount]) => [path.slice(0, -1), mount.accessor]),
  );
  return { ...h, accessors };
}

export async function user(h: Harness, name: string, more: Record<string, unknown> = {}): Promise<void> {
  await h.ask("update", `auth/userpass/users/${name}`, { password, ...more });
}

export async function login(h: Harness, name: string): Promise<AuthResult> {
  const { auth } = await h.ask("update", `auth/userpass/login/${name}`, { password }, null);
  if (auth === undefined) throw new Error("no auth");
  return auth;
}

export async function directoryLogin(h: Harness, name: string, ...groups: string[]): Promise<AuthResult> {
  const { auth } = await h.ask("update", "auth/directory/login", { name, groups }, null);
  if (auth === undefined) throw new Error("no auth");
  return auth;
}

/** A token of these rules alone. */
export async function tokenOf(h: Harness, name: string, policy: string): Promise<string> {
  await h.ask("update", `sys/policies/acl/${name}`, { policy });
  const { auth } = await h.ask("update", "auth/token/create", { policies: [name], no_default_policy: true });
  return auth?.client_token ?? "";
}

/** The id that a write answers with. */
export async function idOf(h: Harness, path: string, data: Record<string, unknown> = {}): Promise<string> {
  return ((await h.ask("update", path, data)).data?.["id"] ?? "") as string;
}
