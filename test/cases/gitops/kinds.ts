// Small kinds for the cases of this folder: one of each sort that the compiler tells apart.

import { field } from "../../../src/sdk/fields.ts";
import type { Kind } from "../../../src/sdk/kind.ts";
import { tokenFields } from "../../../src/sdk/token.ts";

const mountFields = {
  path: field.string("Where it is mounted; the name where left out"),
  type: field.string("Which plugin", { required: true }),
  description: field.string("What it is for", { default: "" }),
  options: field.map("Options of the plugin", { default: {} }),
  config: field.object("Tuning", {
    default_lease_ttl: field.duration("TTL where nothing else says", { default: 0 }),
    max_lease_ttl: field.duration("The longest TTL", { default: 0, maximum: 31_536_000 }),
  }),
} as const;

const policy: Kind = {
  name: "Policy",
  description: "What tokens may do",
  mount: null,
  fields: {
    rules: field.list(
      "What is allowed, path by path",
      {
        path: field.string("Path below /v1/", { required: true }),
        capabilities: field.strings("What may be done there", {
          required: true,
          enum: ["create", "read", "update", "delete", "list", "sudo", "deny"],
        }),
        allowed_parameters: field.json("Fields a request may have"),
      },
      { required: true },
    ),
  },
  normalize: (name) => name.trim().toLowerCase(),
  builtin: ["default", "root"],
  check: ({ spec }) =>
    ((spec["rules"] ?? []) as readonly { readonly path: string }[]).flatMap(({ path }, at) =>
      path.startsWith("/") ? [{ path: ["rules", at, "path"], message: "begins with a slash" }] : [],
    ),
  ceiling: ({ spec }) =>
    ((spec["rules"] ?? []) as readonly { readonly capabilities: readonly string[] }[]).flatMap(({ capabilities }, at) =>
      capabilities.includes("sudo")
        ? [{ path: ["rules", at, "capabilities"], message: "gives sudo", allow: "sudo" }]
        : [],
    ),
};

const entity: Kind = {
  name: "Entity",
  description: "A person or a service",
  mount: null,
  fields: {
    aliases: field.list(
      "Login names",
      {
        mount: field.string("Path of the auth method", { required: true, mount: "auth" }),
        name: field.string("The login name there", { required: true }),
      },
      { default: [] },
    ),
    policies: field.strings("Policies", { default: [], ref: "Policy" }),
    metadata: field.map("Facts", { default: {} }),
    disabled: field.bool("Denies everything", { default: false }),
  },
};

const user: Kind = {
  name: "UserpassUser",
  description: "A login with a password",
  mount: { class: "auth", type: "userpass" },
  fields: { password: field.string("The password", { secret: true, required: true }), ...tokenFields },
  normalize: (name) => name.trim().toLowerCase(),
};

export const kinds: readonly Kind[] = [
  policy,
  { name: "SecretEngine", description: "A secret engine", mount: null, fields: mountFields },
  { name: "AuthMethod", description: "An auth method", mount: null, fields: mountFields },
  entity,
  {
    name: "Group",
    description: "Entities that share policies",
    mount: null,
    fields: {
      policies: field.strings("Policies", { default: [], ref: "Policy" }),
      member_entities: field.strings("Entities", { default: [], ref: "Entity" }),
      member_groups: field.strings("Groups", { default: [], ref: "Group" }),
    },
  },
  user,
];
