// What the quickstart is told by its environment, where its parts are, and the server configuration that it writes.

import { join, resolve } from "node:path";
import { CommandError } from "../cli/client.ts";

/** The name that deliveries carry. */
export const repositoryName = "quickstart/policies";

export interface Place {
  readonly port: number;
  readonly address: string;
  /** The data folder; the rest is inside. */
  readonly data: string;
  readonly environmentFile: string;
  /** Stands from before the initialisation until quickstart.env is on disk. */
  readonly marker: string;
  readonly configFile: string;
  readonly storage: string;
  readonly audit: string;
  readonly webhookSecret: string;
  readonly repository: string;
  readonly clone: string;
  readonly schemas: string;
}

/** Reads WRIT_PORT and WRIT_DATA. Throws CommandError. */
export function placeOf(env: Readonly<Record<string, string | undefined>>): Place {
  const text = env["WRIT_PORT"]?.trim() || "8200";
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw new CommandError("WRIT_PORT must be a port number from 1 to 65535");
  }
  const data = resolve(env["WRIT_DATA"]?.trim() || "writ-data");
  // The path goes into a Git remote, a shell script and shell lines to copy.
  if (/[\p{Cc}\p{Cf}\s"'\\?#$`]/u.test(data)) {
    throw new CommandError("WRIT_DATA must be a folder whose path has no blanks, quotes or other special characters");
  }
  return {
    port,
    address: `http://127.0.0.1:${port}`,
    data,
    environmentFile: join(data, "quickstart.env"),
    marker: join(data, "quickstart.init"),
    configFile: join(data, "writ.yaml"),
    storage: join(data, "storage"),
    audit: join(data, "audit.git"),
    webhookSecret: join(data, "webhook.secret"),
    repository: join(data, "policies.git"),
    clone: join(data, "policies"),
    schemas: join(data, "schemas"),
  };
}

export const configText = (place: Place): string => `# Written by the quickstart at each start; changes here are lost.
# For a server of your own, copy what you need: see "In production" in the README.
cluster_name: quickstart
storage: { type: sqlite, path: storage }
seal: { type: shamir }
listeners:
  - address: 127.0.0.1:${place.port}
audit:
  - { type: git, path: audit.git, interval: 1s }
gitops:
  remote: ${JSON.stringify(place.repository)}
  allow_file_remote: true
  branch: main
  webhook:
    repository: ${repositoryName}
    secret_files: [webhook.secret]
  secrets:
    - paths: [secret/data/quickstart/*]
cache_path: cache
log: { level: warn }
`;
