// `writ read|write|list|delete|unwrap`: any path of the API.

import { apiPath, type Answer, type Client, CommandError, dataIn, remote } from "./client.ts";
import { dataOf, hiddenWord, refuseShown } from "./input.ts";
import type { Io } from "./io.ts";
import { isTable, json, plain, show, showKeys, type ShowOptions } from "./show.ts";

type Body = Readonly<Record<string, unknown>>;

export interface PathOptions extends ShowOptions {
  readonly wrapTtl?: string;
  readonly force?: boolean;
}

const wrapped = ({ wrapTtl }: PathOptions) => (wrapTtl === undefined ? {} : { "X-Vault-Wrap-TTL": wrapTtl });
const queryOf = (data: Body): string => {
  const query = new URLSearchParams(Object.entries(data).map(([key, value]) => [key, String(value)])).toString();
  return query === "" ? "" : `?${query}`;
};

/** The part of an answer that people want to see: what is wrapped, the login, or the data with its lease. */
export function contentOf(body: Body): Body {
  const { wrap_info: wrap, auth, lease_id: lease, lease_duration: ttl, renewable } = body;
  if (wrap !== null && wrap !== undefined) return wrap as Body;
  if (auth !== null && auth !== undefined) return auth as Body;
  const data = (body["data"] ?? body) as Body;
  return lease ? { lease_id: lease, lease_duration: ttl, lease_renewable: renewable, ...data } : data;
}

export function showAnswer(io: Io, { body }: Answer, options: ShowOptions): void {
  for (const warning of (body?.["warnings"] ?? []) as readonly string[]) io.err(`warning: ${plain(warning)}`);
  if (body === null) {
    if (options.field !== undefined) throw new CommandError("the answer is empty: there is no field to show");
    if (isTable(io, options)) io.out("Done");
    return;
  }
  show(io, body, contentOf(body), options);
}

/** What lies below a mount of KV version 2, by the first word behind the mount. */
const kvRoutes = new Set(["config", "data", "delete", "destroy", "metadata", "subkeys", "undelete"]);

/** Nothing is at a path; where it is one of `writ kv`'s, that is said. */
export async function absent(client: Client, path: string, { body }: Answer, below = "data"): Promise<CommandError> {
  const said = ((body?.["errors"] ?? []) as readonly unknown[]).map((text) => plain(String(text))).join("; ");
  const text = `there is nothing at ${path}${said === "" ? "" : `: ${said}`}`;
  const { body: found } = await client.call(
    "GET",
    `sys/internal/ui/mounts/${apiPath(path)}`,
    undefined,
    [400, 403, 404],
  );
  const mount = dataIn(found) as { path?: string; options?: Readonly<Record<string, string>> | null };
  const inside = `${path.replace(/^\/+/, "")}/`.slice(mount.path?.length ?? 0);
  if (mount.options?.["version"] !== "2" || kvRoutes.has(inside.split("/")[0] ?? ""))
    return new CommandError(text, remote);
  const hint = `${mount.path} is KV version 2: use writ kv, or ${mount.path}${below}/${inside}`.replace(/\/+$/, "");
  return new CommandError(`${text}; ${hint}`, remote);
}

export async function read(client: Client, io: Io, path: string, words: readonly string[], options: PathOptions) {
  const query = queryOf(await dataOf(words, io));
  const answer = await client.call("GET", `${apiPath(path)}${query}`, undefined, [404], wrapped(options));
  if (answer.status === 404) throw await absent(client, path, answer);
  showAnswer(io, answer, options);
  return 0;
}

export async function write(client: Client, io: Io, path: string, words: readonly string[], options: PathOptions) {
  if (words.length === 0 && options.force !== true) {
    throw new CommandError("give key=value, @FILE or -; --force writes without data");
  }
  const answer = await client.call("POST", apiPath(path), await dataOf(words, io), [404], wrapped(options));
  if (answer.status === 404) throw await absent(client, path, answer);
  showAnswer(io, answer, options);
  return 0;
}

export async function list(client: Client, io: Io, path: string, options: PathOptions): Promise<number> {
  const answer = await client.call("GET", `${apiPath(path)}?list=true`, undefined, [404], wrapped(options));
  if (answer.status === 404) throw await absent(client, path, answer, "metadata");
  const keys = dataIn(answer.body)["keys"] as readonly string[] | undefined;
  if (keys === undefined) showAnswer(io, answer, options);
  else showKeys(io, keys, options);
  return 0;
}

export async function remove(client: Client, io: Io, path: string, options: PathOptions): Promise<number> {
  const answer = await client.call("DELETE", apiPath(path), undefined, [404]);
  if (answer.status === 404) throw await absent(client, path, answer);
  if (answer.body === null && isTable(io, options)) io.out(`Deleted ${path}`);
  else if (answer.body !== null) showAnswer(io, answer, options);
  return 0;
}

/** The wrapping token comes from standard input; where none is piped in, the caller's own token is one. */
export async function unwrap(client: Client, io: Io, source: string | undefined, options: PathOptions) {
  refuseShown(source, "a wrapping token");
  const token = source === undefined ? null : await hiddenWord(io, "Wrapping token");
  const answer =
    token === null
      ? await client.call("POST", "sys/wrapping/unwrap")
      : await client.as(token).call("POST", "sys/wrapping/unwrap");
  if (answer.body !== null && !isTable(io, options) && options.field === undefined) json(io, answer.body);
  else showAnswer(io, answer, options);
  return 0;
}

/** What can be asked at a path, as the server tells it. */
export async function help(client: Client, io: Io, path: string): Promise<number> {
  const { body } = await client.call("GET", `${apiPath(path)}?help=1`);
  const text = body?.["help"];
  io.out(typeof text === "string" ? text.trimEnd() : "the server says nothing about it");
  return 0;
}
