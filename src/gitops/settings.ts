// The `gitops:` section of the server config: where policy comes from and how much of it is taken.
// Must hold: Git cannot change any of this; secrets are files here, never values; what passes `openSettings` is not
// checked again.

import { isAbsolute } from "node:path";
import { isBranch } from "../lib/git.ts";
import { openRemote, type Remote } from "../lib/remote.ts";
import { readSecret } from "../lib/secretFile.ts";
import { VaultError } from "../sdk/errors.ts";
import { field, type Values } from "../sdk/fields.ts";

const limitDefaults = {
  files: 20_000,
  file_bytes: 1024 * 1024,
  total_bytes: 256 * 1024 * 1024,
  fetch_bytes: 1024 * 1024 * 1024,
  fetch_timeout: 60,
} as const;

export const gitopsFields = {
  remote: field.string("The policy repository: https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH", {
    required: true,
  }),
  branch: field.string("The branch that is applied", { default: "main" }),
  directory: field.string("The folder of the repository that holds the documents; all of it where empty", {
    default: "",
  }),
  poll_interval: field.duration("How often to look without being told, give or take 20 %", {
    default: 60,
    minimum: 1,
    maximum: 86_400,
  }),
  allow_file_remote: field.bool("Allows a path or file:// URL as remote", { default: false }),
  allow_loopback_http: field.bool("Allows http:// to this machine", { default: false }),
  deploy_key_file: field.string("ssh: file (0600) with the private key"),
  known_hosts_file: field.string("ssh: file with the host keys that may answer"),
  token_file: field.string("https: file (0600) with an access token"),
  token_user: field.string("https: the user name that goes with the token", { default: "x-access-token" }),
  ca_file: field.string("https: file with the certificates to trust instead of the machine's"),
  webhook: field.object("Deliveries of a forge, which only say that there may be something new", {
    forge: field.string("Whose deliveries they are", { enum: ["github"], default: "github" }),
    secret_files: field.strings("One or two files (0600) with the secrets that may sign a delivery", {
      required: true,
    }),
    repository: field.string("OWNER/NAME as the forge calls it; deliveries of others are refused", {
      required: true,
      pattern: "^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$",
    }),
  }),
  limits: field.object(
    "What one commit may hold and a fetch may take; beyond it the commit is refused",
    {
      files: field.int("YAML files", { default: limitDefaults.files, minimum: 1, maximum: 1_000_000 }),
      file_bytes: field.int("Bytes of one file", {
        default: limitDefaults.file_bytes,
        minimum: 1,
        maximum: 16 * 1024 * 1024,
      }),
      total_bytes: field.int("Bytes of all files", {
        default: limitDefaults.total_bytes,
        minimum: 1,
        maximum: 1024 * 1024 * 1024,
      }),
      fetch_bytes: field.int("Bytes of one fetch on disk", { default: limitDefaults.fetch_bytes, minimum: 65_536 }),
      fetch_timeout: field.duration("How long one fetch may take", { default: 60, minimum: 1, maximum: 3_600 }),
    },
    { default: limitDefaults },
  ),
  max_deletions: field.int("A commit that deletes more documents is held until it is allowed", {
    default: 10,
    minimum: 0,
  }),
  allow: field.strings("What Git may do beyond its ceiling, by the names that `writ check` prints", { default: [] }),
  secrets: field.list(
    "Which documents may refer to which secrets by from_secret; none unless listed",
    {
      directory: field.string("Documents below this folder of the repository; all where empty", { default: "" }),
      paths: field.strings("Secret paths such as secret/data/team/db; a * at the end stands for any rest", {
        required: true,
      }),
    },
    { default: [] },
  ),
} as const;

export type GitopsConfig = Values<typeof gitopsFields>;

export interface SecretRule {
  readonly directory: string;
  readonly paths: readonly string[];
}

export interface SourceLimits {
  readonly files: number;
  readonly fileBytes: number;
  readonly totalBytes: number;
  readonly fetchBytes: number;
  /** Milliseconds. */
  readonly fetchTimeout: number;
}

/** Plain data, so that it can be handed to a worker. */
export interface Settings {
  readonly remote: Remote;
  readonly branch: string;
  /** Without slashes at its ends; "" for the whole repository. */
  readonly directory: string;
  /** Milliseconds. */
  readonly pollInterval: number;
  readonly limits: SourceLimits;
  readonly maxDeletions: number;
  readonly allow: readonly string[];
  readonly secrets: readonly SecretRule[];
  readonly webhook: {
    readonly forge: "github";
    readonly secrets: readonly string[];
    readonly repository: string;
  } | null;
}

const invalid = (message: string): VaultError => new VaultError("invalid", `gitops: ${message}`);

/** A folder inside the repository: plain segments, none of which git or a file system reads in another way. */
export function cleanDirectory(name: string, input: string): string {
  const directory = input.replace(/^\.?\/+|\/+$/g, "");
  const segments = directory === "" || directory === "." ? [] : directory.split("/");
  if (!segments.every((segment) => /^(?!\.{1,2}$)(?!\.git$)[A-Za-z0-9_.][A-Za-z0-9_. @+-]*$/iu.test(segment))) {
    throw invalid(`${name} must be a folder inside the repository, such as vault/policies`);
  }
  return segments.join("/");
}

/** A literal, or a literal prefix followed by "*". */
function cleanPattern(input: string): string {
  if (!/^[^\s*]+\*?$/u.test(input) || input.startsWith("/") || input === "*") {
    throw invalid("secrets.paths must be secret paths such as secret/data/team/db or secret/data/team/*");
  }
  return input;
}

async function openWebhook(webhook: NonNullable<GitopsConfig["webhook"]>): Promise<NonNullable<Settings["webhook"]>> {
  if (webhook.secret_files.length < 1 || webhook.secret_files.length > 2) {
    throw invalid("webhook.secret_files must name one or two files");
  }
  const secrets: string[] = [];
  for (const file of webhook.secret_files) {
    const secret = await readSecret("webhook.secret_files", file);
    if (secret.length < 16) throw invalid("webhook.secret_files must hold at least 16 characters each");
    secrets.push(secret);
  }
  return { forge: "github", secrets, repository: webhook.repository };
}

/** Reads the files that the section names and checks everything that can be checked without the network.
 *  Throws VaultError `invalid` that names the setting. */
export async function openSettings(config: GitopsConfig): Promise<Settings> {
  if (!isBranch(config.branch)) {
    throw invalid("branch must be a plain branch name of letters, digits and _ . - + @ in segments divided by /");
  }
  for (const [name, file] of Object.entries({
    deploy_key_file: config.deploy_key_file,
    known_hosts_file: config.known_hosts_file,
    token_file: config.token_file,
    ca_file: config.ca_file,
  })) {
    if (file !== undefined && !isAbsolute(file)) throw invalid(`${name} must be an absolute path`);
  }
  try {
    return {
      remote: await openRemote({
        url: config.remote,
        deployKeyFile: config.deploy_key_file,
        knownHostsFile: config.known_hosts_file,
        tokenFile: config.token_file,
        tokenUser: config.token_user,
        caFile: config.ca_file,
        allowFile: config.allow_file_remote,
        allowLoopbackHttp: config.allow_loopback_http,
      }),
      branch: config.branch,
      directory: cleanDirectory("directory", config.directory),
      pollInterval: config.poll_interval * 1_000,
      limits: {
        files: config.limits.files,
        fileBytes: config.limits.file_bytes,
        totalBytes: config.limits.total_bytes,
        fetchBytes: config.limits.fetch_bytes,
        fetchTimeout: config.limits.fetch_timeout * 1_000,
      },
      maxDeletions: config.max_deletions,
      allow: config.allow,
      secrets: config.secrets.map((rule) => ({
        directory: cleanDirectory("secrets.directory", rule.directory),
        paths: rule.paths.map(cleanPattern),
      })),
      webhook: config.webhook === undefined ? null : await openWebhook(config.webhook),
    };
  } catch (error) {
    if (error instanceof VaultError) throw error;
    throw invalid(error instanceof Error ? error.message : "cannot be read");
  }
}

/** Whether a document in `file` may take the secret at `path`. */
export const mayRefer = (rules: readonly SecretRule[], file: string, path: string): boolean =>
  rules.some(
    (rule) =>
      (rule.directory === "" || file.startsWith(`${rule.directory}/`)) &&
      rule.paths.some((pattern) =>
        pattern.endsWith("*")
          ? path.startsWith(pattern.slice(0, -1)) && !/\/\.{0,2}(\/|$)/.test(path)
          : path === pattern,
      ),
  );
