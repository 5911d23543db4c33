// The data of secrets: read, write, patch, delete, undelete, destroy, and the names in it. Semantics, texts and statuses
// are those of Vault's KV version 2.

import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import { type Call, handler, type MountContext, type Route } from "../../sdk/mount.ts";
import type { Response } from "../../sdk/request.ts";
import { checkSecretSize } from "../../sdk/size.ts";
import { type JsonObject, isObject, mergePatch, objectOf, subkeys } from "./json.ts";
import { missing, pathOf, versionField, versionsOf } from "./paths.ts";
import {
  addVersion,
  changeVersions,
  deletionOf,
  newSecret,
  readable,
  type Secret,
  type Settings,
  type Version,
  versionInfo,
  type VersionState,
} from "./secret.ts";
import { type Found, newId, type Step, type Store } from "./store.ts";

const writeFields = {
  data: field.json("The secret: any JSON object"),
  options: field.json("cas: the version that must be current, 0 for none"),
};
const versionsFields = { versions: field.json("Which versions, by number") };

type WriteCall = Call<typeof writeFields>;

/** Null where none is given. Throws VaultError `invalid`. */
function casOf(options: unknown): number | null {
  if (options === undefined || options === null) return null;
  const given = objectOf("options", options);
  if (!Object.hasOwn(given, "cas")) return null;
  try {
    return parse({ cas: field.int("", { default: 0 }) }, given).values.cas;
  } catch (error) {
    throw new VaultError("invalid", "error parsing check-and-set parameter", { cause: error });
  }
}

function checkCas(secret: Secret, config: Settings, cas: number | null): void {
  if (cas === null) {
    if (!secret.cas_required && !config.cas_required) return;
    throw new VaultError("invalid", "check-and-set parameter required for this call");
  }
  if (cas !== secret.current) {
    throw new VaultError("invalid", "check-and-set parameter did not match the current version");
  }
}

function dataOf(call: WriteCall): JsonObject {
  if (call.data.data === undefined || call.data.data === null) throw new VaultError("invalid", "no data provided");
  return objectOf("data", call.data.data);
}

/** The step that makes `data` the current version. */
function putStep(secret: Secret, config: Settings, data: JsonObject, now: number): Step<Response> {
  checkSecretSize(data);
  const id = newId(secret.current + 1);
  const added = addVersion(secret, config, id, now);
  const number = added.secret.current;
  const state = added.secret.versions[number] as VersionState;
  return {
    secret: added.secret,
    put: { id, version: { data } },
    drop: added.pruned.map((old) => old.id),
    result: { data: versionInfo(added.secret, number, state) },
  };
}

/** Throws VaultError `not_found`, with the metadata where there was a version. */
function open(found: Found | null, name: string): { readonly found: Found; readonly version: Version } {
  if (found === null) throw missing();
  if (found.version !== null) return { found, version: found.version };
  const metadata = versionInfo(found.secret, found.number, found.state);
  throw new VaultError("not_found", [], { data: { [name]: null, metadata } });
}

interface Answer {
  readonly secret: Secret;
  readonly response: Response;
}

class DataRoutes {
  readonly #store: Store;
  readonly #context: MountContext;
  /** By the cached entry of the version: goes when the cache lets go of it. */
  readonly #answers = new WeakMap<Version, Answer>();

  constructor(store: Store, context: MountContext) {
    this.#store = store;
    this.#context = context;
  }

  read(path: string, number: number): Response | Promise<Response> {
    const now = this.#context.clock.now();
    const known = this.#store.peek(path, number, now);
    if (known !== undefined) return this.#answer(known);
    return this.#store.find(path, number, now).then((found) => this.#answer(found));
  }

  #answer(read: Found | null): Response {
    const { found, version } = open(read, "data");
    const { secret, state } = found;
    const known = this.#answers.get(version);
    if (known !== undefined && known.secret === secret) return known.response;
    const metadata = versionInfo(secret, found.number, state);
    const response: Response = { data: Object.freeze({ data: version.data, metadata }), shared: true };
    this.#answers.set(version, { secret, response });
    return response;
  }

  async write(call: WriteCall): Promise<Response> {
    const path = pathOf(call);
    const data = dataOf(call);
    const cas = casOf(call.data.options);
    const config = await this.#store.config();
    return this.#store.change(path, (before) => {
      const now = this.#context.clock.now();
      const secret = before ?? newSecret(now);
      checkCas(secret, config, cas);
      return putStep(secret, config, data, now);
    });
  }

  async patch(call: WriteCall): Promise<Response> {
    const path = pathOf(call);
    const patch = dataOf(call);
    const cas = casOf(call.data.options);
    const config = await this.#store.config();
    return this.#store.change(path, async (secret) => {
      if (secret === null) throw missing();
      checkCas(secret, config, cas);
      const now = this.#context.clock.now();
      const found = await this.#store.find(path, 0, now);
      if (found === null) throw missing();
      if (found.version === null) {
        throw new VaultError("not_found", [], { data: { ...versionInfo(found.secret, found.number, found.state) } });
      }
      return putStep(secret, config, mergePatch(found.version.data, patch), now);
    });
  }

  /** Marks versions as deleted; the current one where none is named. */
  async remove(path: string, numbers: readonly number[] | null): Promise<null> {
    return this.#store.change(path, (secret) => {
      if (secret === null) return { result: null };
      const now = this.#context.clock.now();
      const changed = changeVersions(secret, numbers ?? [secret.current], (state) =>
        readable(state, now) ? { ...state, deletion: now } : state,
      );
      return { secret: changed === secret ? undefined : changed, result: null };
    });
  }

  async restore(path: string, numbers: readonly number[]): Promise<null> {
    const config = await this.#store.config();
    return this.#store.change(path, (secret) => {
      if (secret === null) return { result: null };
      const now = this.#context.clock.now();
      const deletion = deletionOf(secret, config, now);
      const changed = changeVersions(secret, numbers, (state) =>
        state.destroyed || state.deletion === 0 ? state : { ...state, deletion },
      );
      return { secret: changed === secret ? undefined : changed, result: null };
    });
  }

  /** Ends the data of versions. Data of versions that count as destroyed already is dropped again: a crash may have left it. */
  async destroy(path: string, numbers: readonly number[]): Promise<null> {
    return this.#store.change(path, (secret) => {
      if (secret === null) return { result: null };
      const changed = changeVersions(secret, numbers, (state) =>
        state.destroyed ? state : { ...state, destroyed: true },
      );
      const drop = [...new Set(numbers)].flatMap((number) => secret.versions[number]?.id ?? []);
      return { secret: changed === secret ? undefined : changed, drop, result: null };
    });
  }

  async subkeys(path: string, number: number, depth: number): Promise<Response> {
    const { found, version } = open(await this.#store.find(path, number, this.#context.clock.now()), "subkeys");
    const metadata = versionInfo(found.secret, found.number, found.state);
    return { data: { subkeys: isObject(version.data) ? subkeys(version.data, depth) : null, metadata } };
  }
}

export function dataRoutes(store: Store, context: MountContext): readonly Route[] {
  const routes = new DataRoutes(store, context);
  const versions = (
    path: string,
    summary: string,
    run: (secret: string, numbers: readonly number[]) => Promise<null>,
  ): Route => ({
    path,
    on: {
      update: handler({
        summary,
        fields: versionsFields,
        run: async (call) => run(pathOf(call), versionsOf(call.data.versions)),
      }),
    },
  });
  return [
    {
      path: "data/:path*",
      exists: async (call) => (await store.secret(pathOf(call))) !== null,
      on: {
        read: handler({
          summary: "Read a version of a secret",
          fields: { version: versionField },
          run: (call) => routes.read(pathOf(call), call.data.version),
        }),
        update: handler({
          summary: "Write a new version of a secret",
          fields: writeFields,
          run: (call) => routes.write(call),
        }),
        patch: handler({
          summary: "Write a new version: the current one with a merge patch (RFC 7396) applied",
          fields: writeFields,
          run: (call) => routes.patch(call),
        }),
        delete: handler({
          summary: "Mark the current version as deleted",
          run: (call) => routes.remove(pathOf(call), null),
        }),
      },
    },
    versions("delete/:path*", "Mark versions as deleted", (path, numbers) => routes.remove(path, numbers)),
    versions("undelete/:path*", "Bring deleted versions back", (path, numbers) => routes.restore(path, numbers)),
    versions("destroy/:path*", "End the data of versions for good", (path, numbers) => routes.destroy(path, numbers)),
    {
      path: "subkeys/:path*",
      on: {
        read: handler({
          summary: "Read the names in a version of a secret, without its values",
          fields: {
            version: versionField,
            depth: field.int("How many levels; all where 0", { default: 0, minimum: 0 }),
          },
          run: (call) => routes.subkeys(pathOf(call), call.data.version, call.data.depth),
        }),
      },
    },
  ];
}
