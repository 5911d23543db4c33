// Making, looking up and ending the secret ids of a role.
// Must hold: a secret id never has more uses, a longer life or wider addresses than its role allows when it is made.

import { randomUUID } from "node:crypto";
import { cidrsWithin, mostCidrs, wrongCidr } from "../../lib/cidr.ts";
import { rfc3339 } from "../../lib/clock.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { checkMetadata } from "../../sdk/metadata.ts";
import { type Call, handler, type Handler, type Route } from "../../sdk/mount.ts";
import { ofAddress } from "../../sdk/origin.ts";
import { pageFields, partOf } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { checkCustom } from "./identifiers.ts";
import { type Role, roleOf } from "./role.ts";
import type { SecretId, SecretIds, Terms } from "./secretIds.ts";

const termFields = {
  metadata: field.map("Facts for the token's metadata and the audit", { default: {} }),
  cidr_list: field.strings("Addresses that may log in with it, within the role's", { default: [], most: mostCidrs }),
  token_bound_cidrs: field.strings("Addresses that may use its tokens, within the role's", {
    default: [],
    most: mostCidrs,
  }),
  num_uses: field.int("Logins with it, within the role's; the role's where left out", { minimum: 0 }),
  ttl: field.duration("How long it lives, within the role's; the role's where left out"),
} as const;

const secretIdField = { secret_id: field.string("The secret id", { default: "", secret: true }) } as const;
const accessorField = { secret_id_accessor: field.string("Its accessor", { default: "" }) } as const;

function checkCidrs(name: string, given: readonly string[], allowed: readonly string[]): readonly string[] {
  if (wrongCidr(given) !== null) {
    throw new VaultError("invalid", `failed to validate CIDR blocks: ${name} holds one that is no address range`);
  }
  if (allowed.length > 0 && !cidrsWithin(given, allowed)) {
    throw new VaultError("invalid", `CIDR blocks of ${name} should be a subset of CIDR blocks on the role`);
  }
  return given;
}

/** What is asked for, or the role's; 0 is no limit. */
function within(asked: number | undefined, limit: number, text: string): number {
  if (asked === undefined) return limit;
  if (limit > 0 && (asked === 0 || asked > limit)) throw new VaultError("invalid", text);
  return asked;
}

function termsOf(data: Values<typeof termFields>, role: Role): Terms {
  checkMetadata("metadata", data.metadata);
  return {
    metadata: data.metadata,
    cidr_list: checkCidrs("cidr_list", data.cidr_list, role.secret_id_bound_cidrs),
    token_bound_cidrs: checkCidrs("token_bound_cidrs", data.token_bound_cidrs, role.token_bound_cidrs),
    num_uses: within(
      data.num_uses,
      role.secret_id_num_uses,
      "num_uses cannot be higher than the role's secret_id_num_uses",
    ),
    ttl: within(data.ttl, role.secret_id_ttl, "ttl cannot be longer than the role's secret_id_ttl"),
  };
}

async function create(secretIds: SecretIds, call: Call<typeof termFields>, secretId: string): Promise<Response> {
  const { name, role, since } = roleOf(call);
  if (!role.bind_secret_id) throw new VaultError("invalid", "bind_secret_id is not set on the role");
  const origins = [...new Set([...(call.caller?.origins ?? []), ...ofAddress(call.connection)])];
  const terms: Terms = { ...termsOf(call.data, role), role_since: since, ...(origins.length > 0 && { origins }) };
  const accessor = await secretIds.create(name, secretId, terms);
  return {
    data: {
      secret_id: secretId,
      secret_id_accessor: accessor,
      secret_id_num_uses: terms.num_uses,
      secret_id_ttl: terms.ttl,
    },
  };
}

const shown = (accessor: string, entry: SecretId): Response => ({
  data: {
    secret_id_accessor: accessor,
    secret_id_num_uses: entry.num_uses,
    secret_id_ttl: entry.ttl,
    creation_time: rfc3339(entry.created_at),
    expiration_time: entry.expires_at === 0 ? "0001-01-01T00:00:00Z" : rfc3339(entry.expires_at),
    last_updated_time: rfc3339(entry.updated_at),
    metadata: entry.metadata,
    cidr_list: entry.cidr_list,
    token_bound_cidrs: entry.token_bound_cidrs,
  },
});

const missingAccessor = (): VaultError =>
  new VaultError("not_found", "failed to find accessor entry for secret_id_accessor");

function given(value: string, name: string): string {
  if (value === "") throw new VaultError("invalid", `missing ${name}`);
  return value;
}

const accessorIn = (secretIds: SecretIds, name: string, { secret_id }: Values<typeof secretIdField>): string =>
  secretIds.accessor(name, given(secret_id, "secret_id").trim());

/** DELETE and POST do the same, as in Vault. */
const both = (one: Handler): Route["on"] => ({ update: one, delete: one });

const byId = (secretIds: SecretIds): readonly Route[] => [
  {
    path: "role/:name/secret-id/lookup",
    on: {
      update: handler({
        summary: "A secret id's properties",
        mutates: false,
        fields: secretIdField,
        run: async (call) => {
          const { name } = roleOf(call);
          const accessor = accessorIn(secretIds, name, call.data);
          const found = await secretIds.find(name, accessor);
          return found === null ? null : shown(accessor, found);
        },
      }),
    },
  },
  {
    path: "role/:name/secret-id/destroy",
    on: both(
      handler({
        summary: "End a secret id",
        fields: secretIdField,
        run: async (call) => {
          const { name } = roleOf(call);
          await secretIds.destroy(name, accessorIn(secretIds, name, call.data));
          return null;
        },
      }),
    ),
  },
];

const byAccessor = (secretIds: SecretIds): readonly Route[] => [
  {
    path: "role/:name/secret-id-accessor/lookup",
    on: {
      update: handler({
        summary: "A secret id's properties, by its accessor",
        mutates: false,
        fields: accessorField,
        run: async (call) => {
          const { name } = roleOf(call);
          const accessor = given(call.data.secret_id_accessor, "secret_id_accessor");
          const found = await secretIds.find(name, accessor);
          if (found === null) throw missingAccessor();
          return shown(accessor, found);
        },
      }),
    },
  },
  {
    path: "role/:name/secret-id-accessor/destroy",
    on: both(
      handler({
        summary: "End a secret id, by its accessor",
        fields: accessorField,
        run: async (call) => {
          const { name } = roleOf(call);
          const accessor = given(call.data.secret_id_accessor, "secret_id_accessor");
          if (!(await secretIds.destroy(name, accessor))) throw missingAccessor();
          return null;
        },
      }),
    ),
  },
];

export const secretIdRoutes = (secretIds: SecretIds): readonly Route[] => [
  {
    path: "role/:name/secret-id",
    on: {
      update: handler({
        summary: "Make a secret id, whoever declares the role",
        fields: termFields,
        run: (call) => create(secretIds, call, randomUUID()),
      }),
      list: handler({
        summary: "Accessors of a role's secret ids",
        fields: pageFields,
        run: async (call) => ({ data: { keys: partOf(await secretIds.list(roleOf(call).name), call.data) } }),
      }),
    },
  },
  {
    path: "role/:name/custom-secret-id",
    on: {
      update: handler({
        summary: "Take a secret id of one's own",
        fields: { ...secretIdField, ...termFields },
        run: (call) => create(secretIds, call, checkCustom(call.data.secret_id.trim())),
      }),
    },
  },
  ...byId(secretIds),
  ...byAccessor(secretIds),
];
