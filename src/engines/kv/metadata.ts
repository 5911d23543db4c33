// What is known of secrets beside their data: settings, custom metadata, versions; their list; the engine's settings.

import { parseDuration } from "../../lib/duration.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { type Call, handler, type MountContext, type Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { type JsonObject, mergePatch, objectOf } from "./json.ts";
import { missing, pathOf } from "./paths.ts";
import { newSecret, noSettings, type Secret, secretInfo, type Settings, settingsInfo } from "./secret.ts";
import type { Store } from "./store.ts";

const maxUint32 = 2 ** 32 - 1;
const settingsFields = {
  max_versions: field.int("How many versions are kept; 10 where 0", { minimum: 0, maximum: maxUint32 }),
  cas_required: field.bool("Whether each write must name the version that it follows"),
  delete_version_after: field.string("How long a version lives, as a duration; for good where 0"),
};
const metadataFields = {
  ...settingsFields,
  custom_metadata: field.json("Any names with short texts, shown with the secret"),
};
export const pageFields = {
  after: field.string("Names after this one"),
  limit: field.int("At most so many", { minimum: 1 }),
};

type MetadataCall = Call<typeof metadataFields>;
type SettingsInput = Values<typeof settingsFields>;

/** Seconds. Throws VaultError `invalid`. */
function lifetimeOf(text: string, negative: boolean): number {
  const minus = text.trim().startsWith("-");
  const seconds = parseDuration(minus ? text.trim().slice(1) : text);
  if (seconds === null || (minus && !negative)) {
    const more = negative ? ", or a negative one to turn it off" : ", not a negative one";
    throw new VaultError("invalid", `field "delete_version_after" must be a duration such as 90s or 1h30m${more}`);
  }
  return minus ? -Math.max(seconds, 1) : seconds;
}

/** The settings with what was given changed; with `reset`, what was given as null goes back to its default. */
function settingsOf(
  before: Settings,
  input: SettingsInput,
  options: { readonly negative: boolean; readonly reset?: (name: keyof Settings) => boolean },
): Settings {
  const reset = options.reset ?? (() => false);
  const start = (name: keyof Settings): Settings => (reset(name) ? noSettings : before);
  const lifetime = input.delete_version_after;
  return {
    max_versions: input.max_versions ?? start("max_versions").max_versions,
    cas_required: input.cas_required ?? start("cas_required").cas_required,
    delete_version_after:
      lifetime === undefined
        ? start("delete_version_after").delete_version_after
        : lifetimeOf(lifetime, options.negative),
  };
}

const wrongCustom = (problem: string): VaultError =>
  new VaultError("invalid", `custom_metadata validation failed: ${problem}`);
const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

/** Limits as in Vault: 64 names of 1 to 128 bytes with texts of 1 to 512 bytes. Throws VaultError `invalid`. */
function customOf(input: JsonObject): Readonly<Record<string, string>> | null {
  const entries = Object.entries(input);
  if (entries.length > 64) throw wrongCustom(`payload must contain at most 64 keys, provided ${entries.length}`);
  const problems: string[] = [];
  for (const [name, value] of entries) {
    const key = JSON.stringify(name.slice(0, 128));
    const size = Buffer.byteLength(name);
    if (size === 0 || size > 128) problems.push(`length of key ${key} is ${size} but must be 0 < len(key) <= 128`);
    if (unprintable.test(name)) problems.push(`key ${key} contains unprintable characters`);
    if (typeof value !== "string") {
      problems.push(`value for key ${key} must be a string`);
      continue;
    }
    const length = Buffer.byteLength(value);
    if (length === 0 || length > 512)
      problems.push(`length of value for key ${key} is ${length} but must be 0 < len(value) <= 512`);
    if (unprintable.test(value)) problems.push(`value for key ${key} contains unprintable characters`);
  }
  if (problems.length > 0) throw wrongCustom(problems.join("; "));
  return entries.length === 0 ? null : (Object.fromEntries(entries) as Record<string, string>);
}

function warnCas(call: MetadataCall, config: Settings): void {
  if (config.cas_required && call.data.cas_required === false) {
    call.warn('"cas_required" set to false, but is mandated by backend config. This value will be ignored.');
  }
}

async function write(store: Store, context: MountContext, call: MetadataCall): Promise<null> {
  const path = pathOf(call);
  const { custom_metadata: given, ...input } = call.data;
  if (given === undefined && Object.keys(input).length === 0) return null;
  const custom = given === undefined ? undefined : customOf(objectOf("custom_metadata", given ?? {}));
  warnCas(call, await store.config());
  return store.change(path, (before) => {
    const now = context.clock.now();
    const secret = before ?? newSecret(now);
    const settings = settingsOf(secret, input, { negative: false });
    const after: Secret = {
      ...secret,
      ...settings,
      custom: custom === undefined ? secret.custom : custom,
      updated: now,
    };
    return { secret: after, result: null };
  });
}

/** A merge patch (RFC 7396) of what `write` sets: null puts a setting back to its default and removes a custom name. */
async function patch(store: Store, context: MountContext, call: MetadataCall): Promise<null> {
  const path = pathOf(call);
  const { custom_metadata: given, ...input } = call.data;
  const custom = given === undefined || given === null ? given : objectOf("custom_metadata", given);
  warnCas(call, await store.config());
  return store.change(path, (secret) => {
    if (secret === null) throw missing();
    const reset = (name: keyof Settings): boolean =>
      Object.hasOwn(call.request.data, name) && call.request.data[name] === null;
    const settings = settingsOf(secret, input, { negative: false, reset });
    const after: Secret = {
      ...secret,
      ...settings,
      custom:
        custom === undefined ? secret.custom : custom === null ? null : customOf(mergePatch(secret.custom, custom)),
      updated: context.clock.now(),
    };
    return { secret: after, result: null };
  });
}

/** The secret first, then all data stored for it, named or left behind by a crash. */
const remove = (store: Store, path: string): Promise<null> =>
  store.change(path, async () => ({ secret: null, drop: await store.ids(path), result: null }));

async function list(store: Store, folder: string, page: Values<typeof pageFields>): Promise<Response> {
  const { after, limit } = page;
  const keys = await store.list(folder, {
    ...(after !== undefined && { after }),
    ...(limit !== undefined && { limit }),
  });
  if (keys.length === 0) throw missing();
  if (after !== undefined || limit !== undefined) return { data: { keys } };
  let response = lists.get(keys);
  if (response === undefined) {
    response = { data: Object.freeze({ keys }), shared: true };
    lists.set(keys, response);
  }
  return response;
}

/** By the view's own list, which stands as long as no name comes or goes. */
const lists = new WeakMap<readonly string[], Response>();

function configRoute(store: Store): Route {
  return {
    path: "config",
    on: {
      read: handler({
        summary: "Read the engine's settings",
        run: async () => ({ data: settingsInfo(await store.config()) }),
      }),
      update: handler({
        summary: "Change the engine's settings",
        fields: settingsFields,
        run: async (call) => {
          await store.changeConfig((before) => settingsOf(before, call.data, { negative: true }));
          return null;
        },
      }),
    },
  };
}

export function metadataRoutes(store: Store, context: MountContext): readonly Route[] {
  const listHandler = handler({
    summary: "List the secrets and folders one level below a path",
    fields: pageFields,
    run: (call) => list(store, call.params["path"] ?? "", call.data),
  });
  return [
    configRoute(store),
    { path: "metadata", on: { list: listHandler } },
    {
      path: "metadata/:path*",
      exists: async (call) => (await store.secret(pathOf(call))) !== null,
      on: {
        list: listHandler,
        read: handler({
          summary: "Read what is known of a secret",
          run: async (call) => {
            const secret = await store.secret(pathOf(call));
            if (secret === null) throw missing();
            return { data: secretInfo(secret) };
          },
        }),
        update: handler({
          summary: "Change the settings and custom metadata of a secret",
          fields: metadataFields,
          run: (call) => write(store, context, call),
        }),
        patch: handler({
          summary: "Change some of the settings and custom metadata of a secret",
          fields: metadataFields,
          run: (call) => patch(store, context, call),
        }),
        delete: handler({
          summary: "Remove a secret with all its versions for good",
          run: (call) => remove(store, pathOf(call)),
        }),
      },
    },
  ];
}
