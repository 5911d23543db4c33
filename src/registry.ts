// THE list of plugins, and the only file that imports them. Adding one is its folder and one line here.

import { plugin as fileAudit } from "./audit/file/index.ts";
import { plugin as gitAudit } from "./audit/git/index.ts";
import { plugin as approle } from "./auth/approle/index.ts";
import { plugin as userpass } from "./auth/userpass/index.ts";
import { coreKinds } from "./core/kinds.ts";
import { plugin as kv } from "./engines/kv/index.ts";
import { policyKind } from "./policy/compile.ts";
import { policyTestKind } from "./policy/policyTest.ts";
import type { AuditPlugin } from "./sdk/audit.ts";
import type { Kind } from "./sdk/kind.ts";
import type { MountPlugin } from "./sdk/mount.ts";
import { kindOf } from "./sdk/resourceKind.ts";
import type { SealPlugin } from "./sdk/seal.ts";
import type { StoragePlugin } from "./sdk/storage.ts";
import { plugin as recipients } from "./seals/recipients/index.ts";
import { plugin as shamir } from "./seals/shamir/index.ts";
import { plugin as file } from "./storage/file/index.ts";
import { plugin as memory } from "./storage/memory/index.ts";
import { plugin as sqlite } from "./storage/sqlite/index.ts";

export const storages: readonly StoragePlugin[] = [sqlite, file, memory];
export const seals: readonly SealPlugin[] = [shamir, recipients];
export const audits: readonly AuditPlugin[] = [fileAudit, gitAudit];
export const mounts: readonly MountPlugin[] = [kv, approle, userpass];

/** Every kind of document. The reconciler's worker imports this module for it. */
export const kinds: readonly Kind[] = [
  policyKind,
  policyTestKind,
  ...coreKinds(mounts),
  ...mounts.flatMap((plugin) => plugin.resources.map((resource) => kindOf(plugin, resource))),
];
