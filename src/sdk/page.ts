// Part of a list of names, as clients ask for it.

import { field, type Values } from "./fields.ts";
import type { Page } from "./storage.ts";

export const pageFields = {
  after: field.string("Names after this one"),
  limit: field.int("At most so many; all where 0"),
} as const;

export type PageInput = Values<typeof pageFields>;

/** As views and storage take it. */
export const pageOf = ({ after, limit = 0 }: PageInput): Page => ({
  ...(after !== undefined && { after }),
  ...(limit > 0 && { limit }),
});

/** Of `names` in memory, which are sorted. */
export function partOf(names: readonly string[], { after, limit = 0 }: PageInput): readonly string[] {
  const rest = after === undefined ? names : names.filter((name) => name > after);
  return limit > 0 ? rest.slice(0, limit) : rest;
}
