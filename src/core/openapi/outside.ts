// Routes that api serves in front of the door, as documents and help tell of them. What they do stands in api/lifecycle
// and gitops/webhook; a test compares the paths.

import { field } from "../../sdk/fields.ts";
import type { RouteShape } from "./paths.ts";

const code = (what: string) => field.int(`The status where the server is ${what}`, { minimum: 200, maximum: 599 });

const initFields = {
  secret_shares: field.int("How many shares"),
  secret_threshold: field.int("How many of them unseal"),
  recovery_shares: field.int("How many recovery shares, where the seal opens by itself"),
  recovery_threshold: field.int("How many of them are needed"),
} as const;

const unsealFields = {
  key: field.string("A share of the key, as hex or base64", { secret: true }),
  reset: field.bool("Forgets the shares given so far"),
} as const;

/** Below sys/. */
export const outsideRoutes: readonly RouteShape[] = [
  {
    path: "init",
    unauthenticated: true,
    on: {
      read: { summary: "Whether the vault is initialised" },
      update: { summary: "Initialise the vault, once", fields: initFields },
    },
  },
  {
    path: "unseal",
    unauthenticated: true,
    on: { update: { summary: "Give a share of the key", fields: unsealFields } },
  },
  { path: "seal-status", unauthenticated: true, on: { read: { summary: "Whether the vault is sealed" } } },
  { path: "leader", unauthenticated: true, on: { read: { summary: "Which server leads" } } },
  {
    path: "health",
    unauthenticated: true,
    on: {
      read: {
        summary: "The state of the server, as a status",
        fields: {
          standbyok: field.bool("Whether a standby answers as an active server does"),
          perfstandbyok: field.bool("The same of a performance standby"),
          activecode: code("active"),
          standbycode: code("a standby"),
          sealedcode: code("sealed"),
          uninitcode: code("not initialised"),
        },
      },
    },
  },
  {
    path: "gitops/webhook",
    unauthenticated: true,
    on: { update: { summary: "A forge's delivery, signed; served where config names its secrets", open: true } },
  },
];
