// What is known of secrets beside their data: settings, custom metadata, versions; their list; the engine's settings.

import { parseDuration } from "../../lib/duration.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, type Values } from "../../sdk/fields.ts";
import { type Call, type Handler, handler, type MountContext, type Route } from "../../sdk/mount.ts";
import { pageFields, type PageInput } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import { customOf } from "./custom.ts";
import { invalidHandlers } from "./invalid.ts";
import { mergePatch, objectOf } from "./json.ts";
import { detailed, keysAnswer, namesIn } from "./lists.ts";
import { missing, pathOf } from "./paths.ts";
import { newSecret, noSettings, type Secret, secretInfo, type Settings, settingsInfo } from "./secret.ts";
import type { Store } from "./store.ts";

const maxUint32 = 2 ** 32 - 1;
const settingsFields = {
  max_versions: field.int("How many versions are kept; 10 where 0", { minimum: 0, maximum: maxUint32 }),
  cas_required: field.bool("Whether each write must name the version that it follows"),
  metadata_cas_required: field.bool("Whether each change of metadata must name the one that it follows"),
  delete_version_after: field.string("How long a version lives, as a duration; for good where 0"),
};
const metadataFields = {
  ...settingsFields,
  custom_metadata: field.json("Any names with short texts, shown with the secret"),
  metadata_cas: field.int("Which change of the metadata this one follows, by number; 0 for none"),
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
    metadata_cas_required: input.metadata_cas_required ?? start("metadata_cas_required").metadata_cas_required ?? false,
    delete_version_after:
      lifetime === undefined
        ? start("delete_version_after").delete_version_after
        : lifetimeOf(lifetime, options.negative),
  };
}

function warnMandated(call: MetadataCall, config: Settings): void {
  for (const name of ["cas_required", "metadata_cas_required"] as const) {
    if (config[name] !== true || call.data[name] !== false) continue;
    call.warn(`"${name}" set to false, but is mandated by backend config. This value will be ignored.`);
  }
}

function checkMetadataCas(secret: Secret | null, config: Settings, cas: number | undefined): void {
  if (cas === undefined) {
    if (!secret?.metadata_cas_required && !config.metadata_cas_required) return;
    throw new VaultError("invalid", "metadata check-and-set parameter required for this call");
  }
  if (cas === (secret?.metadata_version ?? 0)) return;
  throw new VaultError(
    "invalid",
    secret === null
      ? "metadata_cas must be 0 when creating new metadata"
      : "metadata check-and-set parameter does not match the current version",
  );
}

const changed = (secret: Secret, settings: Settings, custom: Secret["custom"], now: number): Secret => ({
  ...secret,
  ...settings,
  custom,
  updated: now,
  metadata_version: (secret.metadata_version ?? 0) + 1,
});

async function write(store: Store, context: MountContext, call: MetadataCall): Promise<null> {
  const path = pathOf(call);
  const { custom_metadata: given, metadata_cas: cas, ...input } = call.data;
  if (given === undefined && Object.keys(input).length === 0) return null;
  const custom = given === undefined ? undefined : customOf(objectOf("custom_metadata", given ?? {}));
  const config = await store.config();
  warnMandated(call, config);
  return store.change(path, (before) => {
    checkMetadataCas(before, config, cas);
    const now = context.clock.now();
    const secret = before ?? newSecret(now);
    const settings = settingsOf(secret, input, { negative: false });
    return { secret: changed(secret, settings, custom === undefined ? secret.custom : custom, now), result: null };
  });
}

/** A merge patch (RFC 7396) of what `write` sets: null puts a setting back to its default and removes a custom name. */
async function patch(store: Store, context: MountContext, call: MetadataCall): Promise<null> {
  const path = pathOf(call);
  const { custom_metadata: given, metadata_cas: cas, ...input } = call.data;
  if (!Object.keys(call.request.data).some((name) => patched.has(name))) return null;
  const custom = given === undefined || given === null ? given : objectOf("custom_metadata", given);
  const config = await store.config();
  warnMandated(call, config);
  return store.change(path, (secret) => {
    if (secret === null) throw missing();
    checkMetadataCas(secret, config, cas);
    const reset = (name: keyof Settings): boolean =>
      Object.hasOwn(call.request.data, name) && call.request.data[name] === null;
    const settings = settingsOf(secret, input, { negative: false, reset });
    const merged =
      custom === undefined ? secret.custom : custom === null ? null : customOf(mergePatch(secret.custom, custom));
    return { secret: changed(secret, settings, merged, context.clock.now()), result: null };
  });
}

/** What a patch changes; one without any of it changes nothing, and is no change of the metadata. */
const patched: ReadonlySet<string> = new Set([...Object.keys(settingsFields), "custom_metadata"]);

/** The secret first, then all data stored for it, named or left behind by a crash. */
const remove = (store: Store, path: string): Promise<null> =>
  store.change(path, async () => ({ secret: null, drop: await store.ids(path), result: null }));

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

/** `answer` is given the folder ("" or with a slash at its end), the names in it, and the page where it is one level. */
function listHandlers(
  store: Store,
  answer: (folder: string, keys: readonly string[], page: PageInput | null) => Response | Promise<Response>,
): Readonly<Record<"list" | "scan", Handler>> {
  const folderOf = (call: Pick<Call, "params">): string => (call.params["path"] ? `${call.params["path"]}/` : "");
  return {
    list: handler({
      summary: "List the secrets and folders one level below a path",
      fields: pageFields,
      run: async (call) => {
        const folder = folderOf(call);
        return answer(folder, await namesIn(call.data, (page) => store.list(folder, page)), call.data);
      },
    }),
    scan: handler({
      summary: "List the secrets on all levels below a path",
      run: async (call) => {
        const folder = folderOf(call);
        return answer(folder, await store.scan(folder), null);
      },
    }),
  };
}

export function metadataRoutes(store: Store, context: MountContext): readonly Route[] {
  const { list, scan } = listHandlers(store, (_folder, keys, page) => keysAnswer(keys, page));
  const details = listHandlers(store, (folder, keys) => detailed(store, folder, keys));
  return [
    configRoute(store),
    { path: "metadata", on: { ...invalidHandlers, list, scan } },
    { path: "detailed-metadata/:path**", on: { list: details.list, scan: details.scan } },
    {
      path: "metadata/:path*",
      exists: async (call) => (await store.secret(pathOf(call))) !== null,
      on: {
        list,
        scan,
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
