// Whence something comes: the entities, the logins and the mappings in whose name it was made, and the addresses that asked
// for it, whoever made its maker included. Each is one word, so that what is kept can be asked about without reading anything else.
// Must hold: what is made in somebody's name has all that its maker has; nothing that a client sends is among it.

import { VaultError } from "../../sdk/errors.ts";
import { addressIn, ofAddress } from "../../sdk/origin.ts";
import type { Connection } from "../../sdk/request.ts";
import type { Alias } from "../identity/entity.ts";
import type { Mapping, TokenEntry } from "../tokens/entry.ts";

export type Origins = readonly string[];

export const ofEntity = (id: string): string => `entity/${id}`;
export const ofLogin = ({ accessor, name }: Alias): string => `login/${accessor}/${name}`;
export const ofMapping = ({ accessor, kind, name }: Omit<Mapping, "seq">): string =>
  `mapping/${accessor}/${kind}/${name}`;

/** The mount that a login or a mapping is at; null for an entity or an address. */
export const accessorIn = (origin: string): string | null =>
  origin.startsWith("entity/") || addressIn(origin) !== null ? null : (origin.split("/", 2)[1] ?? null);

type Made = Pick<TokenEntry, "entity_id" | "alias" | "mapping" | "origins">;

function ownOf({ entity_id: id, alias, mapping }: Omit<Made, "origins">): string[] {
  const own = id === undefined ? [] : [ofEntity(id)];
  if (alias !== null) own.push(ofLogin(alias));
  if (mapping !== null) own.push(ofMapping(mapping));
  return own;
}

/** Of a token, as far as it says so itself. */
export const originsOf = (entry: Made): string[] =>
  entry.origins === undefined ? ownOf(entry) : [...ownOf(entry), ...entry.origins];

/** More than whoever is honest has: a token holds them in itself. */
const most = 64;
/** Who makes his next token with the last one, from wherever he runs then, goes on: the first and the newest are kept. */
const mostAddresses = 8;

/** What a new token has to keep of its maker's, and of where it is asked for. Throws VaultError `invalid` where that is too
 *  much to keep. */
export function inherited(
  made: Omit<Made, "origins">,
  maker: Origins,
  at: Pick<Connection, "remoteAddress">,
): { readonly origins?: Origins } {
  const own = new Set(ownOf(made));
  const rest = maker.filter((origin) => addressIn(origin) === null && !own.has(origin));
  if (rest.length > most) {
    throw new VaultError("invalid", "this token comes from too many logins through each other to make another one");
  }
  const here = ofAddress(at);
  const [first, ...others] = new Set([...maker.filter((origin) => addressIn(origin) !== null), ...here]);
  // Who comes back to an address is there last.
  const newest = [...others.filter((origin) => !here.includes(origin)), ...here.filter((origin) => origin !== first)];
  const origins = [...rest, ...(first === undefined ? [] : [first]), ...newest.slice(1 - mostAddresses)];
  return origins.length === 0 ? {} : { origins };
}
