// `writ read|write|list|delete|unwrap`: any path of the API.

import { apiPath, type Answer, type Client, CommandError, remote } from "./client.ts";
import { dataOf, hiddenWord } from "./input.ts";
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

export async function read(client: Client, io: Io, path: string, words: readonly string[], options: PathOptions) {
  const query = queryOf(await dataOf(words, io));
  const answer = await client.call("GET", `${apiPath(path)}${query}`, undefined, [404], wrapped(options));
  if (answer.status === 404) throw new CommandError(`there is nothing at ${path}`, remote);
  showAnswer(io, answer, options);
  return 0;
}

export async function write(client: Client, io: Io, path: string, words: readonly string[], options: PathOptions) {
  if (words.length === 0 && options.force !== true) {
    throw new CommandError("give key=value, @FILE or -; --force writes without data");
  }
  showAnswer(io, await client.call("POST", apiPath(path), await dataOf(words, io), [], wrapped(options)), options);
  return 0;
}

export async function list(client: Client, io: Io, path: string, options: PathOptions): Promise<number> {
  const answer = await client.call("GET", `${apiPath(path)}?list=true`, undefined, [404], wrapped(options));
  const { body, status } = answer;
  const keys = (body?.["data"] as Body | null | undefined)?.["keys"] as readonly string[] | undefined;
  if (status === 404) throw new CommandError(`there is nothing below ${path}`, remote);
  if (keys === undefined) showAnswer(io, answer, options);
  else showKeys(io, keys, options);
  return 0;
}

export async function remove(client: Client, io: Io, path: string, options: PathOptions): Promise<number> {
  const answer = await client.call("DELETE", apiPath(path));
  if (answer.body === null && isTable(io, options)) io.out(`Deleted ${path}`);
  else if (answer.body !== null) showAnswer(io, answer, options);
  return 0;
}

/** The wrapping token comes from standard input; where none is piped in, the caller's own token is one. */
export async function unwrap(client: Client, io: Io, source: string | undefined, options: PathOptions) {
  const token = source === undefined ? null : await hiddenWord(io, "Wrapping token");
  const answer =
    token === null
      ? await client.call("POST", "sys/wrapping/unwrap")
      : await client.as(token).call("POST", "sys/wrapping/unwrap");
  if (answer.body !== null && !isTable(io, options) && options.field === undefined) json(io, answer.body);
  else showAnswer(io, answer, options);
  return 0;
}
