// One secret with its versions, as plain data: what is stored, what each operation makes of it, how clients see it.
// Nothing here reads or writes storage.

import { rfc3339 } from "../../lib/clock.ts";
import { durationText } from "../../lib/duration.ts";
import type { JsonObject } from "./json.ts";

/** The data of one version. */
export interface Version {
  readonly data: JsonObject;
}

/** Times are milliseconds since 1970; 0 is none. */
export interface VersionState {
  /** Names the entry that holds the data, or would; never used for two writes, so that a reader finds that data or none. */
  readonly id: string;
  /** Bytes of the data, where it stands in the secret itself. */
  readonly inline?: number;
  readonly created: number;
  /** When it is, or was, deleted. */
  readonly deletion: number;
  readonly destroyed: boolean;
}

export interface Settings {
  /** 0 where not set. */
  readonly max_versions: number;
  readonly cas_required: boolean;
  /** Whether each change of the metadata must name the one that it follows. Not in what was stored before there was this. */
  readonly metadata_cas_required?: boolean;
  /** Seconds, 0 where not set. In the engine's config a negative one turns deletion by age off. */
  readonly delete_version_after: number;
}

export interface Secret extends Settings {
  /** 0 before the first version. */
  readonly current: number;
  readonly oldest: number;
  readonly created: number;
  /** When the last version came, or the last change of settings or custom metadata. */
  readonly updated: number;
  /** Counts the changes of settings and custom metadata; 0 where left out. */
  readonly metadata_version?: number;
  readonly custom: Readonly<Record<string, string>> | null;
  readonly versions: Readonly<Record<number, VersionState>>;
  /** Data of versions that have no entry of their own. */
  readonly inline?: Readonly<Record<number, Version>>;
}

const defaultMaxVersions = 10;

export const noSettings: Settings = { max_versions: 0, cas_required: false, delete_version_after: 0 };

export const newSecret = (now: number): Secret => ({
  ...noSettings,
  current: 0,
  oldest: 0,
  created: now,
  updated: now,
  custom: null,
  versions: {},
});

/** Whether a version's data may be read at this time. */
export const readable = (state: VersionState, now: number): boolean =>
  !state.destroyed && (state.deletion === 0 || state.deletion > now);

/** When a version that begins its life now is deleted by age: the shorter of both limits counts. */
export function deletionOf(secret: Settings, config: Settings, now: number): number {
  if (config.delete_version_after < 0) return 0;
  const limits = [secret.delete_version_after, config.delete_version_after].filter((seconds) => seconds > 0);
  return limits.length === 0 ? 0 : now + Math.min(...limits) * 1000;
}

/** A new current version, and the states that it pushes out. As in Vault the larger of both limits counts. */
export function addVersion(
  secret: Secret,
  config: Settings,
  id: string,
  now: number,
): { readonly secret: Secret; readonly pruned: readonly VersionState[] } {
  const current = secret.current + 1;
  const versions: Record<number, VersionState> = {
    ...secret.versions,
    [current]: { id, created: now, deletion: deletionOf(secret, config, now), destroyed: false },
  };
  const keep = Math.max(secret.max_versions, config.max_versions) || defaultMaxVersions;
  const oldest = current - secret.oldest >= keep ? current - keep + 1 : secret.oldest;
  const pruned: VersionState[] = [];
  for (const [number, state] of Object.entries(versions)) {
    if (Number(number) >= oldest) continue;
    pruned.push(state);
    delete versions[Number(number)];
  }
  return { secret: { ...secret, current, oldest, updated: now, versions }, pruned };
}

/** The secret with those versions changed; the same object where `change` leaves all as they were. */
export function changeVersions(
  secret: Secret,
  numbers: readonly number[],
  change: (state: VersionState) => VersionState,
): Secret {
  const versions: Record<number, VersionState> = { ...secret.versions };
  let changed = false;
  for (const number of numbers) {
    const state = versions[number];
    if (state === undefined) continue;
    versions[number] = change(state);
    changed ||= versions[number] !== state;
  }
  return changed ? { ...secret, versions } : secret;
}

const time = (ms: number): string => (ms === 0 ? "" : rfc3339(ms));

/** What a read or a write says of one version. Frozen. */
export const versionInfo = (secret: Secret, number: number, state: VersionState): Readonly<Record<string, unknown>> =>
  Object.freeze({
    created_time: time(state.created),
    custom_metadata: secret.custom,
    deletion_time: time(state.deletion),
    destroyed: state.destroyed,
    version: number,
  });

export const settingsInfo = (settings: Settings): Record<string, unknown> => ({
  cas_required: settings.cas_required,
  delete_version_after: durationText(settings.delete_version_after),
  max_versions: settings.max_versions,
  metadata_cas_required: settings.metadata_cas_required ?? false,
});

export const secretInfo = (secret: Secret): Record<string, unknown> => ({
  ...settingsInfo(secret),
  created_time: time(secret.created),
  current_metadata_version: secret.metadata_version ?? 0,
  current_version: secret.current,
  custom_metadata: secret.custom,
  oldest_version: secret.oldest,
  updated_time: time(secret.updated),
  versions: Object.fromEntries(
    Object.entries(secret.versions).map(([number, state]) => [
      number,
      {
        created_time: time(state.created),
        deletion_time: time(state.deletion),
        destroyed: state.destroyed,
      },
    ]),
  ),
});
