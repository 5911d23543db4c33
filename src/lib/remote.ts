// How another repository is reached: its URL by a strict grammar, and credentials as environment for git.
// Must hold: no secret is part of a URL or of an argument list; ssh trusts the pinned host keys only and reads no
// configuration of the machine or the user; a transport without protection is refused unless it was opened.

import { isAbsolute } from "node:path";
import { createGit } from "./git.ts";
import { openSecret, readSecret } from "./secretFile.ts";

/** What server config says. Files are absolute paths. */
export interface Access {
  readonly url: string;
  /** ssh: the private key, and the host keys that may answer. */
  readonly deployKeyFile?: string | undefined;
  readonly knownHostsFile?: string | undefined;
  /** https: a token sent as the password of `tokenUser`, only to this URL. */
  readonly tokenFile?: string | undefined;
  readonly tokenUser?: string | undefined;
  /** https: certificates to trust, instead of the machine's. */
  readonly caFile?: string | undefined;
  /** Opens paths and file:// URLs. */
  readonly allowFile?: boolean | undefined;
  /** Opens http:// to a loopback address. */
  readonly allowLoopbackHttp?: boolean | undefined;
}

export interface Remote {
  readonly url: string;
  readonly protocol: "https" | "http" | "ssh" | "file";
  /** For `createGit`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
}

const host = "(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\])";
const path = "[A-Za-z0-9_.~/+@%-]*";
const forms: readonly { readonly protocol: Remote["protocol"]; readonly form: RegExp }[] = [
  { protocol: "https", form: new RegExp(`^https://${host}(?::\\d{1,5})?/${path}$`, "u") },
  { protocol: "http", form: new RegExp(`^http://${host}(?::\\d{1,5})?/${path}$`, "u") },
  { protocol: "ssh", form: new RegExp(`^ssh://(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?${host}(?::\\d{1,5})?/${path}$`, "u") },
  { protocol: "ssh", form: new RegExp(`^[A-Za-z0-9_][A-Za-z0-9_.-]*@${host}:(?!-)${path}$`, "u") },
  { protocol: "file", form: /^(?:file:\/\/)?\/(?!\/)[^\p{Cc}\p{Cf}"'\\?#]*$/u },
];
const loopback = /^http:\/\/(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])(?::\d+)?\//u;

function protocolOf(access: Access): Remote["protocol"] {
  const found = forms.find(({ form }) => form.test(access.url));
  if (found === undefined || access.url.length > 2_000) {
    throw new Error(
      "remote must be https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH, without a password, query or fragment in it",
    );
  }
  if (found.protocol === "file" && access.allowFile !== true) {
    throw new Error("remote is a local path: set allow_file_remote: true to allow that");
  }
  if (found.protocol === "http" && !(access.allowLoopbackHttp === true && loopback.test(access.url))) {
    throw new Error("remote is plain http: use https (allow_loopback_http opens 127.0.0.1, ::1 and localhost only)");
  }
  return found.protocol;
}

/** Paths end up in a command line that git hands to a shell, in which ssh expands % and divides at spaces. */
function plainPath(name: string, file: string): string {
  if (!isAbsolute(file) || !/^[A-Za-z0-9_./+@=,~-]+$/u.test(file)) {
    throw new Error(`${name} must be an absolute path of letters, digits and _ . / + @ = , ~ - only`);
  }
  return file;
}

function sshCommand(access: Access): string {
  if (access.deployKeyFile === undefined || access.knownHostsFile === undefined) {
    throw new Error("an ssh remote needs deploy_key_file and known_hosts_file");
  }
  const settings = [
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    `UserKnownHostsFile=${plainPath("known_hosts_file", access.knownHostsFile)}`,
    "GlobalKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "BatchMode=yes",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
  ];
  const options = settings.map((setting) => `-o ${setting}`).join(" ");
  return `ssh -F /dev/null -i ${plainPath("deploy_key_file", access.deployKeyFile)} ${options}`;
}

/** The credentials of https: as configuration in the environment (git-config(1), GIT_CONFIG_COUNT), bound to the URL. */
async function webEnvironment(access: Access): Promise<Pick<Remote, "environment" | "secrets">> {
  const entries: [string, string][] = [];
  const secrets: string[] = [];
  if (access.tokenFile !== undefined) {
    const token = await readSecret("token_file", access.tokenFile);
    const user = access.tokenUser ?? "x-access-token";
    if (!/^[A-Za-z0-9_.-]+$/u.test(user)) throw new Error("token_user must be letters, digits and _ . - only");
    const basic = Buffer.from(`${user}:${token}`).toString("base64");
    secrets.push(token, basic);
    entries.push([`http.${access.url}.extraHeader`, `Authorization: Basic ${basic}`]);
  }
  if (access.caFile !== undefined) entries.push(["http.sslCAInfo", plainPath("ca_file", access.caFile)]);
  const environment: Record<string, string> = { GIT_CONFIG_COUNT: String(entries.length) };
  for (const [at, [key, value]] of entries.entries()) {
    environment[`GIT_CONFIG_KEY_${at}`] = key;
    environment[`GIT_CONFIG_VALUE_${at}`] = value;
  }
  return { environment, secrets };
}

/** Reads the credentials and checks everything that can be checked without the network. Throws Error naming the setting,
 *  never a value. */
export async function openRemote(access: Access): Promise<Remote> {
  const protocol = protocolOf(access);
  const web = protocol === "https" || protocol === "http";
  for (const [name, value, fits] of [
    ["deploy_key_file", access.deployKeyFile, protocol === "ssh"],
    ["known_hosts_file", access.knownHostsFile, protocol === "ssh"],
    ["token_file", access.tokenFile, web],
    ["ca_file", access.caFile, protocol === "https"],
  ] as const) {
    if (value !== undefined && !fits) throw new Error(`${name} does nothing for this kind of remote: remove it`);
  }
  if (web) return { url: access.url, protocol, ...(await webEnvironment(access)) };
  if (protocol === "file") return { url: access.url, protocol, environment: {}, secrets: [] };
  const environment = { GIT_SSH_COMMAND: sshCommand(access) };
  // Never read here, but ssh would refuse it late and less clearly.
  await checkSecret("deploy_key_file", access.deployKeyFile ?? "");
  return { url: access.url, protocol, environment, secrets: [] };
}

/** Asks a remote for its refs: whether one of that name is there, or whether it answers at all. Throws GitError. */
export async function probeRemote(remote: Remote, ref = "HEAD"): Promise<boolean> {
  const git = createGit({
    gitDir: null,
    environment: remote.environment,
    secrets: remote.secrets,
    protocols: [remote.protocol],
    timeout: 30_000,
  });
  return (await git.run(["ls-remote", "--", remote.url, ref])).length > 0;
}

async function checkSecret(name: string, file: string): Promise<void> {
  await (await openSecret(name, file)).close();
}
