// Deleting all that stands below a prefix, in writes that others do not have to wait long for.

import type { View } from "../sdk/view.ts";

const atOnce = 200;

/** Deletes at most `most` entries below `prefix`, which ends in "/". How many there were; fewer than `most` means that
 *  nothing is left. */
export async function dropSome(view: View, prefix: string, most: number): Promise<number> {
  let dropped = 0;
  while (dropped < most) {
    const names = await view.list(prefix, { limit: Math.min(atOnce, most - dropped) });
    if (names.length === 0) break;
    const keys = names.filter((name) => !name.endsWith("/"));
    if (keys.length > 0) await view.write(keys.map((name) => ({ key: `${prefix}${name}`, value: null })));
    dropped += keys.length;
    for (const name of names) {
      if (name.endsWith("/") && dropped < most) dropped += await dropSome(view, `${prefix}${name}`, most - dropped);
    }
  }
  return dropped;
}

export async function dropAll(view: View, prefix: string): Promise<void> {
  await dropSome(view, prefix, Infinity);
}
