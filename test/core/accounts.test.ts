// The engine that tests lease with keeps the contract of leases itself.

import { mountConformance } from "../conformance/mount.ts";
import { accounts, KeptWorld } from "./accounts.ts";

mountConformance(
  "accounts",
  accounts((view) => new KeptWorld(view)),
  {
    objects: [{ resource: "roles", name: "app", spec: { ttl: 600, max_ttl: 3600 } }],
    steps: [
      { operation: "update", path: "note" },
      { operation: "read", path: "creds/app" },
      { operation: "update", path: "fixed/app" },
    ],
    observe: [{ operation: "read", path: "count" }],
    secrets: ["a canary that stands nowhere"],
    params: { role: ["app", "none"] },
  },
);
