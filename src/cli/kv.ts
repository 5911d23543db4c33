// `writ kv …`: secrets by their own paths, whichever version of the engine holds them.

import { apiPath, type Client, CommandError, dataIn, remote } from "./client.ts";
import { dataOf, mapOf } from "./input.ts";
import type { Io } from "./io.ts";
import { isTable, json, show, showKeys, type ShowOptions, table } from "./show.ts";

type Body = Readonly<Record<string, unknown>>;

export interface KvOptions extends ShowOptions {
  readonly mount?: string;
  readonly version?: string;
  readonly versions?: string;
  readonly cas?: number;
  readonly maxVersions?: number;
  readonly casRequired?: boolean;
  readonly deleteVersionAfter?: string;
  readonly customMetadata?: readonly string[];
}

interface Place {
  /** Without a slash at the end. */
  readonly mount: string;
  /** Below the mount; "" for the mount itself. */
  readonly path: string;
  readonly versioned: boolean;
}

const inside = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join("/");

/** Asks the server which engine the path lies in, as Vault's clients do. */
async function placeOf(client: Client, text: string, options: KvOptions): Promise<Place> {
  const part = text === "" || text === "/" ? "" : apiPath(text);
  if (part === "" && options.mount === undefined) throw new CommandError("give a path, such as secret/app");
  const whole = options.mount === undefined ? part : inside(apiPath(options.mount), part);
  const { body } = await client.call("GET", `sys/internal/ui/mounts/${whole}`);
  const data = (body?.["data"] ?? body ?? {}) as { path?: string; options?: Readonly<Record<string, string>> | null };
  const mount = apiPath(data.path ?? "");
  return { mount, path: whole.slice(mount.length + 1), versioned: data.options?.["version"] === "2" };
}

async function versionedPlace(client: Client, text: string, options: KvOptions): Promise<Place> {
  const place = await placeOf(client, text, options);
  if (!place.versioned) throw new CommandError(`${place.mount}/ keeps no versions: it is KV version 1`);
  return place;
}

const dataPath = ({ mount, path, versioned }: Place): string => inside(mount, versioned ? "data" : "", path);
const metadataPath = ({ mount, path, versioned }: Place): string => inside(mount, versioned ? "metadata" : "", path);

/** Who knows the API writes a path of it. */
const absent = (path: string): CommandError =>
  new CommandError(
    `there is nothing at ${path}` +
      (/\/(?:data|metadata)(?:\/|$)/.test(path) ? "; here paths have no data/ or metadata/ behind the mount" : ""),
    remote,
  );

/** Versions as whole numbers. Throws CommandError. */
function versionsOf(options: KvOptions): readonly number[] {
  const versions = (options.versions ?? "").split(",").filter(Boolean).map(Number);
  if (versions.length === 0 || versions.some((version) => !Number.isSafeInteger(version) || version < 1)) {
    throw new CommandError("name the versions: --versions 1,2");
  }
  return versions;
}

interface VersionMetadata {
  readonly version: number;
  readonly created_time: string;
  readonly deletion_time: string;
  readonly destroyed: boolean;
}

export async function get(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const place = await placeOf(client, path, options);
  const query = options.version === undefined ? "" : `?version=${encodeURIComponent(options.version)}`;
  const { status, body } = await client.call("GET", `${dataPath(place)}${query}`, undefined, [404]);
  const found = dataIn(body);
  const secret = place.versioned ? (found["data"] as Body | null | undefined) : status === 404 ? null : found;
  if (secret === null || secret === undefined) {
    const { deletion_time: deleted, destroyed, version } = (found["metadata"] ?? {}) as Partial<VersionMetadata>;
    if (version === undefined) throw absent(path);
    const how =
      destroyed === true ? "is destroyed" : `was deleted at ${deleted ?? ""}: writ kv undelete brings it back`;
    throw new CommandError(`version ${version} of ${path} ${how}`, remote);
  }
  if (options.field === undefined && isTable(io, options) && place.versioned) {
    const { version, created_time: created } = found["metadata"] as VersionMetadata;
    io.err(`${dataPath(place)}, version ${version} of ${created}`);
  }
  show(io, body, secret, options);
  return 0;
}

/** What a write answers with. */
function written(io: Io, path: string, body: Body | null, options: ShowOptions): number {
  if (body !== null && (options.field !== undefined || !isTable(io, options))) show(io, body, dataIn(body), options);
  else if (body === null) io.out(`Written to ${path}`);
  else io.out(`Written to ${path}, version ${String(dataIn(body)["version"])}`);
  return 0;
}

const casOf = ({ cas }: KvOptions): object => (cas === undefined ? {} : { options: { cas } });

export async function put(client: Client, io: Io, path: string, words: readonly string[], options: KvOptions) {
  const place = await placeOf(client, path, options);
  const secret = await dataOf(words, io);
  if (!place.versioned && options.cas !== undefined) throw new CommandError("--cas needs KV version 2");
  const { body } = await client.call(
    "POST",
    dataPath(place),
    place.versioned ? { data: secret, ...casOf(options) } : secret,
  );
  return written(io, dataPath(place), body, options);
}

const mergePatch = { "Content-Type": "application/merge-patch+json" };

export async function patch(client: Client, io: Io, path: string, words: readonly string[], options: KvOptions) {
  const place = await versionedPlace(client, path, options);
  const changes = { data: await dataOf(words, io), ...casOf(options) };
  const { body, status } = await client.call("PATCH", dataPath(place), changes, [404], mergePatch);
  if (status === 404) throw absent(path);
  return written(io, dataPath(place), body, options);
}

export async function list(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const place = await placeOf(client, path, options);
  const { body, status } = await client.call("GET", `${metadataPath(place)}/?list=true`, undefined, [404]);
  const keys = dataIn(body)["keys"] as readonly string[] | undefined;
  if (status === 404 || keys === undefined) throw absent(path);
  showKeys(io, keys, options);
  return 0;
}

export async function remove(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const place = await placeOf(client, path, options);
  if (options.versions === undefined) await client.call("DELETE", dataPath(place));
  else await change(client, await versionedPlace(client, path, options), "delete", options);
  io.out(`Deleted ${dataPath(place)}`);
  return 0;
}

async function change(client: Client, place: Place, what: "delete" | "undelete" | "destroy", options: KvOptions) {
  await client.call("POST", inside(place.mount, what, place.path), { versions: versionsOf(options) });
}

export async function undelete(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  await change(client, await versionedPlace(client, path, options), "undelete", options);
  io.out(`Versions ${versionsOf(options).join(", ")} of ${path} are back`);
  return 0;
}

export async function destroy(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  await change(client, await versionedPlace(client, path, options), "destroy", options);
  io.out(`Versions ${versionsOf(options).join(", ")} of ${path} are destroyed for good`);
  return 0;
}

/** Writes an old version again, as the newest, unless somebody else writes meanwhile. */
export async function rollback(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const place = await versionedPlace(client, path, options);
  if (options.version === undefined) throw new CommandError("name the version to go back to: --version 1");
  const now = dataIn((await client.call("GET", metadataPath(place))).body)["current_version"];
  const old = await client.call(
    "GET",
    `${dataPath(place)}?version=${encodeURIComponent(options.version)}`,
    undefined,
    [404],
  );
  const secret = dataIn(old.body)["data"];
  if (secret === null || secret === undefined)
    throw new CommandError(`version ${options.version} of ${path} is gone`, remote);
  const { body } = await client.call("POST", dataPath(place), { data: secret, options: { cas: now } });
  return written(io, dataPath(place), body, options);
}

interface Version {
  readonly created_time: string;
  readonly deletion_time: string;
  readonly destroyed: boolean;
}

async function metadata(client: Client, place: Place, path: string) {
  const { body, status } = await client.call("GET", metadataPath(place), undefined, [404]);
  if (status === 404) throw absent(path);
  return { body, data: dataIn(body) };
}

export async function history(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const found = await metadata(client, await versionedPlace(client, path, options), path);
  const versions = found.data["versions"] as Readonly<Record<string, Version>>;
  if (!isTable(io, options)) json(io, versions);
  else {
    const state = ({ destroyed, deletion_time: gone }: Version): string =>
      destroyed ? "destroyed" : gone === "" ? "there" : `deleted ${gone}`;
    const rows = Object.entries(versions).map(([version, each]) => [version, each.created_time, state(each)]);
    table(io, ["Version", "Created", "State"], rows);
  }
  return 0;
}

export async function getMetadata(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const found = await metadata(client, await versionedPlace(client, path, options), path);
  const { versions: _versions, ...rest } = found.data;
  show(io, found.body, rest, options);
  return 0;
}

function metadataOf(options: KvOptions): Body {
  const custom = mapOf(options.customMetadata);
  return {
    ...(options.maxVersions !== undefined && { max_versions: options.maxVersions }),
    ...(options.casRequired !== undefined && { cas_required: options.casRequired }),
    ...(options.deleteVersionAfter !== undefined && { delete_version_after: options.deleteVersionAfter }),
    ...(custom !== undefined && { custom_metadata: custom }),
  };
}

export async function writeMetadata(
  client: Client,
  io: Io,
  method: "POST" | "PATCH",
  path: string,
  options: KvOptions,
) {
  const place = await versionedPlace(client, path, options);
  await client.call(method, metadataPath(place), metadataOf(options), [], method === "PATCH" ? mergePatch : {});
  io.out(`Written to ${metadataPath(place)}`);
  return 0;
}

export async function deleteMetadata(client: Client, io: Io, path: string, options: KvOptions): Promise<number> {
  const place = await versionedPlace(client, path, options);
  await client.call("DELETE", metadataPath(place));
  io.out(`Deleted ${path} with all its versions`);
  return 0;
}
