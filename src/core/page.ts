// Part of a list of names, as clients ask for it.

import { field, type Values } from "../sdk/fields.ts";

export const pageFields = {
  after: field.string("Names after this one"),
  limit: field.int("At most so many; all where 0"),
} as const;

/** `names` are sorted. */
export function pageOf(names: readonly string[], { after, limit = 0 }: Values<typeof pageFields>): readonly string[] {
  const rest = after === undefined ? names : names.filter((name) => name > after);
  return limit > 0 ? rest.slice(0, limit) : rest;
}
