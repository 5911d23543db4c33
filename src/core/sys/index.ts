// sys/ and the other mounts that every vault has. One file an area; each exports its routes.

import type { Route } from "../../sdk/mount.ts";
import { cubbyholeRoutes } from "../cubbyhole.ts";
import { identityRoutes } from "../identity/routes.ts";
import type { SystemMount } from "../mounts.ts";
import { tokenRoutes } from "../tokens/routes.ts";
import { auditRoutes } from "./audit.ts";
import { blockRoutes } from "./blocks.ts";
import { capabilityRoutes } from "./capabilities.ts";
import { configRoutes } from "./wire.ts";
import { internalRoutes } from "./internal.ts";
import { leaseRoutes } from "./leases.ts";
import { lockedUserRoutes } from "./lockedUsers.ts";
import { loggerRoutes } from "./loggers.ts";
import { mountRoutes } from "./mounts.ts";
import { outsideRoutes } from "./outside.ts";
import { metricRoutes } from "./metrics.ts";
import { nodeRoutes } from "./node.ts";
import { passwordRoutes } from "./passwords.ts";
import { policyRoutes } from "./policies.ts";
import { pluginRoutes } from "./plugins.ts";
import { rekeyRoutes } from "./rekey.ts";
import { remountRoutes } from "./remount.ts";
import { rotateRoutes } from "./rotate.ts";
import { rootRoutes } from "./generateRoot.ts";
import { sealRoutes } from "./seal.ts";
import { keyringRoutes } from "./keyring.ts";
import { specRoutes } from "./specs.ts";
import { storageRoutes } from "./storage.ts";
import { toolRoutes } from "./tools.ts";
import { quotaRoutes } from "./quotas.ts";
import { wrappingRoutes } from "./wrapping.ts";

export function systemMounts(extra: readonly Route[], open: ReadonlySet<string>): readonly SystemMount[] {
  return [
    {
      path: "sys/",
      type: "system",
      description: "system endpoints used for control, policy and debugging",
      routes: [
        ...sealRoutes,
        ...rotateRoutes,
        ...rekeyRoutes(open.has("rekey")),
        ...rootRoutes(open.has("generate-root")),
        ...mountRoutes,
        ...remountRoutes,
        ...pluginRoutes,
        ...policyRoutes,
        ...capabilityRoutes,
        ...internalRoutes,
        ...specRoutes,
        ...auditRoutes,
        ...blockRoutes,
        ...leaseRoutes,
        ...outsideRoutes,
        ...lockedUserRoutes,
        ...storageRoutes,
        ...wrappingRoutes,
        ...quotaRoutes,
        ...keyringRoutes,
        ...passwordRoutes,
        ...nodeRoutes,
        ...loggerRoutes,
        ...toolRoutes,
        ...configRoutes,
        ...metricRoutes,
        ...extra,
      ],
    },
    { path: "auth/token/", type: "token", description: "token based credentials", routes: tokenRoutes },
    {
      path: "cubbyhole/",
      type: "cubbyhole",
      description: "per-token private secret storage",
      routes: cubbyholeRoutes,
    },
    { path: "identity/", type: "identity", description: "identity store", routes: identityRoutes },
  ];
}
