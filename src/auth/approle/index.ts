// Machines that log in with a role id and a secret id. The role is a declaration; its role id and its secret ids are
// state, made and ended through the API whoever declares the role.
// Must hold: an unknown role, a wrong, ended or used-up secret id and a wrong address are told apart by neither text nor
// steps; a login with a secret id of unlimited uses writes nothing here.

import { compileCidrs } from "../../lib/cidr.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import { type Call, handler, type MountContext, type MountPlugin, type Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { type Role, roleOf, roles } from "./role.ts";
import { RoleIds } from "./roleIds.ts";
import { secretIdRoutes } from "./secretIdRoutes.ts";
import { SecretIds } from "./secretIds.ts";

const loginFields = {
  role_id: field.string("The role id", { default: "" }),
  secret_id: field.string("The secret id, where the role asks for one", { default: "", secret: true }),
} as const;

/** A role id as it is made here: of one's own choice it could be the name of another role. */
const isDrawn = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const refused = (): VaultError => new VaultError("invalid", "invalid role or secret ID");

const fits = (ranges: readonly string[], address: string): boolean =>
  ranges.length === 0 || compileCidrs(ranges)?.(address) === true;

async function login(roleIds: RoleIds, secretIds: SecretIds, call: Call<typeof loginFields>): Promise<Response> {
  const roleId = call.data.role_id.trim();
  if (roleId === "") throw new VaultError("invalid", "missing role_id");
  const address = call.connection.remoteAddress;
  // All of it is read whatever the first read says: an unknown role takes the same steps.
  const known = await roleIds.nameOf(roleId);
  const name = known ?? "";
  const accessor = secretIds.accessor(name, call.data.secret_id.trim());
  const secretId = await secretIds.find(name, accessor);
  const declared = call.resource<Role>(roles.name);
  const role = declared.get(name);
  if (known === null || role === null || !fits(role.secret_id_bound_cidrs, address)) throw refused();
  if (role.bind_secret_id) {
    if (secretId === null || !fits(secretId.cidr_list, address)) throw refused();
    // Made for a role of this name that ended while it was made.
    if ((secretId.role_since ?? declared.since(name)) !== declared.since(name)) throw refused();
    if (secretId.num_uses !== 0 && !(await secretIds.use(name, accessor))) throw refused();
  }
  const bound = role.bind_secret_id ? secretId : null;
  return {
    grant: {
      alias: { name, ...(isDrawn.test(roleId) && { also: roleId }), metadata: { role_name: name } },
      displayName: "",
      mapping: { resource: roles.name, name },
      metadata: { ...bound?.metadata, role_name: name },
      boundCidrs: bound?.token_bound_cidrs ?? [],
      ...(bound?.origins && { origins: bound.origins }),
      ...(bound && { issuedAt: bound.created_at }),
    },
  };
}

/** Whether it is a role's name, its role id, or neither: those of its grant. */
async function namesOf(roleIds: RoleIds, login: string): Promise<readonly string[]> {
  const name = (await roleIds.find(login)) === null ? ((await roleIds.nameOf(login)) ?? login) : login;
  const roleId = await roleIds.find(name);
  return roleId !== null && isDrawn.test(roleId) ? [name, roleId] : [name];
}

const roleIdRoute = (roleIds: RoleIds): Route => ({
  path: "role/:name/role-id",
  on: {
    read: handler({
      summary: "The role id, made when it is first asked for",
      mutates: true,
      run: async (call) => ({ data: { role_id: await roleIds.of(roleOf(call).name) } }),
    }),
    update: handler({
      summary: "Choose the role id, whoever declares the role",
      fields: { role_id: field.string("The role id", { default: "" }) },
      run: async (call) => {
        await roleIds.set(roleOf(call).name, call.data.role_id);
        return null;
      },
    }),
  },
});

const tidyRoute = (context: MountContext, secretIds: SecretIds): Route => ({
  path: "tidy/secret-id",
  on: {
    update: handler({
      summary: "Remove secret ids that have ended, in the background",
      run: async () => {
        secretIds.tidy().catch((error: unknown) => {
          context.log.warn("tidying secret ids stopped", { error: error instanceof Error ? error.message : "failed" });
        });
        const started = "Tidy operation successfully started.";
        const where = "Any information from the operation will be printed to Vault's server logs.";
        return { outcome: "accepted", warnings: [`${started} ${where}`] };
      },
    }),
  },
});

export const plugin: MountPlugin = {
  type: "approle",
  class: "auth",
  description: "Logins of machines, with a role id and a secret id",
  options: {},
  resources: [roles],
  mount: (context) => {
    const roleIds = new RoleIds(context);
    const secretIds = new SecretIds(context);
    return {
      endIssued: async (which) =>
        (which.of === null ? 0 : await secretIds.clear(which.of, ({ created_at: at }) => at < which.before())) +
        (await secretIds.endWhere(({ created_at: at, origins = [] }) => at < which.before() && which.by(origins))),
      namesOf: (login) => namesOf(roleIds, login),
      routes: [
        roleIdRoute(roleIds),
        ...secretIdRoutes(secretIds),
        tidyRoute(context, secretIds),
        {
          path: "login",
          unauthenticated: true,
          role: async ({ request }) => {
            const roleId = request.data["role_id"];
            return typeof roleId === "string" ? roleIds.nameOf(roleId.trim()) : null;
          },
          on: {
            update: handler({
              summary: "Log in with a role id and a secret id",
              fields: loginFields,
              run: (call) => login(roleIds, secretIds, call),
            }),
          },
        },
      ],
    };
  },
};
