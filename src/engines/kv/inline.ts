// Small versions stand in the secret's own entry, so that to write one is one entry and not two.
// Must hold: where the data of a version stands is decided once, when it is written; what is destroyed or pushed out leaves
// the entry in the same write.

import type { Secret, Version } from "./secret.ts";

/** Bytes of JSON: of one version, and of all that stand in one secret. */
const largest = 1024;
const most = 8 * 1024;

/** The secret with its current version inside; null where that is too large for it. */
export function keepInside(secret: Secret, version: Version): Secret | null {
  const size = Buffer.byteLength(JSON.stringify(version.data));
  const state = secret.versions[secret.current];
  if (state === undefined || size > largest) return null;
  const used = Object.keys(secret.inline ?? {}).reduce(
    (sum, number) => sum + (secret.versions[Number(number)]?.inline ?? 0),
    0,
  );
  if (used + size > most) return null;
  return {
    ...secret,
    inline: { ...secret.inline, [secret.current]: version },
    versions: { ...secret.versions, [secret.current]: { ...state, inline: size } },
  };
}

/** The secret without the data of versions that are destroyed or gone; the same object where there is none. */
export function dropEnded(secret: Secret): Secret {
  const { inline, ...rest } = secret;
  if (inline === undefined) return secret;
  const there = Object.entries(inline).filter(([number]) => secret.versions[Number(number)]?.destroyed === false);
  if (there.length === Object.keys(inline).length) return secret;
  return there.length === 0 ? rest : { ...rest, inline: Object.fromEntries(there) };
}
