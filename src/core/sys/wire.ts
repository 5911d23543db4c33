// sys/config/: whose pages may call the API (cors), headers for pages of this server (ui/headers), and headers of requests
// that the audit has (auditing/request-headers), with Vault's names and answers.

import { VaultError } from "../../sdk/errors.ts";
import { field } from "../../sdk/fields.ts";
import type { Handler, Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { type CoreCall, coreHandler } from "../call.ts";
import { ownOf } from "../settings.ts";

/** Headers that the API takes, whatever else is allowed. */
const standardHeaders = [
  "Content-Type",
  "X-Requested-With",
  "X-Vault-AWS-IAM-Server-ID",
  "X-Vault-MFA",
  "X-Vault-Namespace",
  "X-Vault-No-Request-Forwarding",
  "X-Vault-Policy-Override",
  "X-Vault-Request",
  "X-Vault-Token",
  "X-Vault-Wrap-Format",
  "X-Vault-Wrap-TTL",
  "Authorization",
];

const lower = (name: string): string => name.toLowerCase();
const lastOf = (path: string | undefined): string | undefined => path?.slice(path.lastIndexOf("/") + 1);
const headerOf = (call: Pick<CoreCall, "params">): string => lower(call.params["header"] ?? "");

const cors: Route = {
  path: "config/cors",
  sudo: true,
  on: {
    read: coreHandler({
      summary: "Whose pages may call the API",
      run: async (call) => {
        const current = call.core.settings.cors;
        return { data: current === null ? { enabled: false } : { enabled: true, ...current }, shape: "both" };
      },
    }),
    update: coreHandler({
      summary: "Let pages of other origins call the API",
      fields: {
        enable: field.bool("False switches it off", { default: true }),
        allowed_origins: field.strings("Origins such as https://vault.example.com, or * alone", { default: [] }),
        allowed_headers: field.strings("Headers that they may send beside those of the API", { default: [] }),
      },
      run: async ({ core, data }) => {
        if (!data.enable) return core.settings.setCors(null).then(() => null);
        const { allowed_origins } = data;
        if (allowed_origins.length === 0) {
          throw new VaultError("invalid", "at least one origin or the wildcard must be provided");
        }
        if (allowed_origins.includes("*") && allowed_origins.length > 1) {
          throw new VaultError("invalid", "to allow all origins the '*' must be the only value for allowed_origins");
        }
        const allowed_headers = [...new Set([...standardHeaders, ...data.allowed_headers])];
        await core.settings.setCors({ allowed_origins, allowed_headers });
        return null;
      },
    }),
    delete: coreHandler({
      summary: "Let no page of another origin call the API",
      run: async (call) => {
        await call.core.settings.setCors(null);
        return null;
      },
    }),
  },
};

const pageHeaders: readonly Route[] = [
  {
    path: "config/ui/headers",
    sudo: true,
    on: {
      list: coreHandler({
        summary: "Names of the headers that pages of this server get",
        run: async (call) => ({ data: { keys: Object.keys(call.core.settings.pageHeaders).sort() } }),
      }),
    },
  },
  {
    path: "config/ui/headers/:header",
    sudo: true,
    spelling: { header: lower },
    on: {
      read: coreHandler({
        summary: "A header that pages of this server get",
        fields: { multivalue: field.bool("Shows all values", { default: false }) },
        run: async (call) => {
          const values = ownOf(call.core.settings.pageHeaders, headerOf(call));
          if (values === undefined) throw new VaultError("not_found", []);
          return { data: call.data.multivalue ? { values } : { value: values[0] ?? "" } };
        },
      }),
      update: coreHandler({
        summary: "Give a header to pages of this server",
        fields: { values: field.strings("The values", { default: [] }) },
        run: async (call) => {
          const { values } = call.data;
          if (values.length === 0) throw new VaultError("invalid", "header and values must be specified");
          await call.core.settings.setPageHeader(headerOf(call), values);
          return null;
        },
      }),
      delete: coreHandler({
        summary: "Give a header no more",
        run: async (call) => {
          await call.core.settings.setPageHeader(headerOf(call), undefined);
          return null;
        },
      }),
    },
  },
];

const allAudited: Handler = coreHandler({
  summary: "Headers of requests that the audit has",
  run: async (call): Promise<Response> => ({ data: { headers: { ...call.core.settings.auditedHeaders } } }),
});

const auditedHeaders: readonly Route[] = [
  { path: "config/auditing/request-headers", sudo: true, on: { read: allAudited, list: allAudited } },
  {
    path: "config/auditing/request-headers/:header",
    sudo: true,
    spelling: { header: lower },
    on: {
      read: coreHandler({
        summary: "How the audit has a header",
        run: async (call) => {
          const name = headerOf(call);
          const audited = ownOf(call.core.settings.auditedHeaders, name);
          if (audited === undefined) throw new VaultError("invalid", "Could not find header in config");
          // Clients look for the name that they asked for.
          return { data: { [lastOf(call.request.sent) ?? name]: { ...audited } } };
        },
      }),
      update: coreHandler({
        summary: "Let the audit have a header of requests",
        fields: { hmac: field.bool("Its HMAC in place of its value", { default: false }) },
        run: async (call) => {
          await call.core.settings.setAuditedHeader(headerOf(call), { hmac: call.data.hmac });
          return null;
        },
      }),
      delete: coreHandler({
        summary: "Keep a header out of the audit",
        run: async (call) => {
          await call.core.settings.setAuditedHeader(headerOf(call), undefined);
          return null;
        },
      }),
    },
  },
];

export const configRoutes: readonly Route[] = [cors, ...pageHeaders, ...auditedHeaders];
