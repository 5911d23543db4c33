// `writ secrets|auth|audit`: where engines, auth methods and audit devices are, and what the API may change of that.

import { apiPath, type Client, dataIn } from "./client.ts";
import { dataOf, hidden, mapOf } from "./input.ts";
import type { Io } from "./io.ts";
import { isTable, json, show, type ShowOptions, table } from "./show.ts";

type Body = Readonly<Record<string, unknown>>;

export type Side = "mounts" | "auth";

/** As people and the API write it: with auth/ before that of an auth method. */
const placeOf = (side: Side, path: string): string =>
  `${side === "auth" ? "auth/" : ""}${path.replace(/^auth\//, side === "auth" ? "" : "auth/").replace(/\/+$/, "")}/`;

export async function listMounts(client: Client, io: Io, side: Side, options: ShowOptions): Promise<number> {
  const { body } = await client.call("GET", `sys/${side}`);
  const mounts = dataIn(body) as Readonly<Record<string, Body>>;
  if (!isTable(io, options)) json(io, mounts);
  else {
    const rows = Object.entries(mounts).map(([path, { type, accessor, description }]) => [
      path,
      type,
      accessor,
      description,
    ]);
    table(io, ["Path", "Type", "Accessor", "Description"], rows);
  }
  return 0;
}

export interface TuneOptions {
  readonly description?: string;
  readonly defaultLeaseTtl?: string;
  readonly maxLeaseTtl?: string;
  readonly listingVisibility?: string;
  readonly tokenType?: string;
}

const tuningOf = ({ defaultLeaseTtl, maxLeaseTtl, listingVisibility, tokenType }: TuneOptions): Body => ({
  ...(defaultLeaseTtl !== undefined && { default_lease_ttl: defaultLeaseTtl }),
  ...(maxLeaseTtl !== undefined && { max_lease_ttl: maxLeaseTtl }),
  ...(listingVisibility !== undefined && { listing_visibility: listingVisibility }),
  ...(tokenType !== undefined && { token_type: tokenType }),
});

export interface EnableOptions extends TuneOptions {
  readonly path?: string;
  readonly version?: string;
}

export async function enable(
  client: Client,
  io: Io,
  side: Side,
  type: string,
  words: readonly string[],
  options: EnableOptions,
): Promise<number> {
  const path = options.path ?? type;
  const config = { ...tuningOf(options), ...(await dataOf(words, io)) };
  await client.call("POST", `sys/${side}/${apiPath(path)}`, {
    type,
    ...(options.description && { description: options.description }),
    ...(options.version && { options: { version: options.version } }),
    ...(Object.keys(config).length > 0 && { config }),
  });
  io.out(`${type} is mounted at ${placeOf(side, path)}`);
  return 0;
}

export async function tune(client: Client, io: Io, side: Side, path: string, options: TuneOptions): Promise<number> {
  const { description } = options;
  const body = { ...tuningOf(options), ...(description !== undefined && { description }) };
  await client.call("POST", `sys/${side}/${apiPath(path)}/tune`, body);
  io.out(`Tuned: ${placeOf(side, path)}`);
  return 0;
}

export async function move(client: Client, io: Io, side: Side, from: string, to: string): Promise<number> {
  const [source, target] = [placeOf(side, from), placeOf(side, to)];
  await client.call("POST", "sys/remount", { from: source, to: target });
  io.out(`What was at ${source} is at ${target} now; its leases are being revoked`);
  return 0;
}

export async function disable(client: Client, io: Io, side: Side, path: string): Promise<number> {
  await client.call("DELETE", `sys/${side}/${apiPath(path)}`);
  io.out(`Nothing is mounted at ${placeOf(side, path)} any more`);
  return 0;
}

export async function listAudit(client: Client, io: Io, options: ShowOptions): Promise<number> {
  const { body } = await client.call("GET", "sys/audit");
  const devices = dataIn(body) as Readonly<Record<string, { type: string; options: Readonly<Record<string, string>> }>>;
  if (!isTable(io, options)) json(io, devices);
  else {
    const rows = Object.entries(devices).map(
      ([
        name,
        {
          type,
          options: { state, head },
        },
      ]) => [name, type, state, head],
    );
    table(io, ["Device", "Type", "State", "Lines"], rows);
  }
  return 0;
}

export interface DeviceOptions {
  readonly path?: string;
  readonly description?: string;
}

export async function enableAudit(
  client: Client,
  io: Io,
  type: string,
  words: readonly string[],
  options: DeviceOptions,
) {
  const path = options.path ?? type;
  await client.call("POST", `sys/audit/${apiPath(path)}`, {
    type,
    options: mapOf(words),
    ...(options.description && { description: options.description }),
  });
  io.out(`Lines go to ${path}/ too`);
  return 0;
}

export async function disableAudit(client: Client, io: Io, path: string): Promise<number> {
  await client.call("DELETE", `sys/audit/${apiPath(path)}`);
  io.out(`No lines go to ${path.replace(/\/+$/, "")}/ any more`);
  return 0;
}

/** What stands in the log in place of a value, to look for it there. */
export async function auditHash(client: Client, io: Io, device: string, options: ShowOptions): Promise<number> {
  const input = await hidden(io, "Value");
  const { body } = await client.call("POST", `sys/audit-hash/${apiPath(device)}`, { input });
  if (options.field !== undefined || !isTable(io, options)) show(io, body, dataIn(body), options);
  else io.out(String(dataIn(body)["hash"]));
  return 0;
}
