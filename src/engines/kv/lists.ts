// Lists of names: one level in pages, or all levels (SCAN); with what is known of each secret where that is asked for.

import { type PageInput, pageOf } from "../../sdk/page.ts";
import type { Response } from "../../sdk/request.ts";
import type { Page } from "../../sdk/storage.ts";
import type { View } from "../../sdk/view.ts";
import { missing } from "./paths.ts";
import { secretInfo } from "./secret.ts";
import type { Store } from "./store.ts";

/** Storage reads that one list waits for at the same time. */
const atOnce = 64;
const pageSize = 500;
/** What one answer tells of at most: each text in it is hashed for the audit. */
const mostDetailed = 1000;

/** By the view's own list, which stands as long as no name comes or goes. */
const whole = new WeakMap<readonly string[], Response>();

/** One level. Throws VaultError `not_found` where there is nothing. */
export async function namesIn(
  input: PageInput,
  list: (page: Page) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const keys = await list(pageOf(input));
  if (keys.length === 0) throw missing();
  return keys;
}

/** The answer that a list is; one object as long as the view's own list stands, which a page or a scan is not. */
export function keysAnswer(keys: readonly string[], page: PageInput | null): Response {
  if (page === null || page.after !== undefined || (page.limit ?? 0) > 0) return { data: { keys } };
  let response = whole.get(keys);
  if (response === undefined) {
    response = { data: Object.freeze({ keys }), shared: true };
    whole.set(keys, response);
  }
  return response;
}

/** Names of all entries below `prefix`, in pages. What comes or goes meanwhile is in it or not. */
export async function* walk(view: View, prefix: string, below = ""): AsyncGenerator<readonly string[]> {
  for (let after: string | undefined; ;) {
    const names = await view.list(prefix + below, { limit: pageSize, ...(after !== undefined && { after }) });
    const entries = names.filter((name) => !name.endsWith("/"));
    if (entries.length > 0) yield entries.map((name) => below + name);
    for (const name of names) if (name.endsWith("/")) yield* walk(view, prefix, below + name);
    after = names.at(-1);
    if (names.length < pageSize) return;
  }
}

/** Calls `task` with each item, some at the same time. */
export async function forEach<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += atOnce) await Promise.all(items.slice(at, at + atOnce).map(task));
}

/** All names below `prefix`. Throws VaultError `not_found` where there is nothing. */
export async function scan(view: View, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const names of walk(view, prefix)) keys.push(...names);
  if (keys.length === 0) throw missing();
  return keys;
}

/** The names with what is known of each secret; nothing of a folder. `folder` is "" or ends in a slash. */
export async function detailed(store: Store, folder: string, all: readonly string[]): Promise<Response> {
  const keys = all.slice(0, mostDetailed);
  const known = new Map<string, object>(keys.map((key) => [key, {}]));
  await forEach(
    keys.filter((key) => !key.endsWith("/")),
    async (key) => {
      const secret = await store.secret(folder + key);
      if (secret !== null) known.set(key, secretInfo(secret));
    },
  );
  // fromEntries defines properties: a secret may be called "__proto__".
  const data = { keys, key_info: Object.fromEntries(known) };
  if (keys.length === all.length) return { data };
  return { data, warnings: [`only the first ${mostDetailed} of the names are told; ask for more with "after"`] };
}
