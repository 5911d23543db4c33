// identity/: who is who, as Git declares it, as the API writes it, and as logins made it.

import type { Route } from "../../sdk/mount.ts";
import { aliasRoutes } from "./aliases.ts";
import { entityRoutes } from "./entities.ts";
import { groupAliasRoutes } from "./groupAliases.ts";
import { groupRoutes } from "./groups.ts";
import { lookupRoutes } from "./lookup.ts";

export const identityRoutes: readonly Route[] = [
  ...entityRoutes,
  ...aliasRoutes,
  ...groupRoutes,
  ...groupAliasRoutes,
  ...lookupRoutes,
];
