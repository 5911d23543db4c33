// The JSON that a client gets for an answer: Vault's envelope, and what stands in its place. Here and not in api, because an
// answer that is wrapped is kept as the very text that unwrapping it gives.

import type { Operation, Response } from "../sdk/request.ts";

// Kept by identity: the core promises that a shared object never changes.
const shared = new WeakMap<object, string>();

function jsonOf(response: Response): string {
  const { data } = response;
  if (data === null || data === undefined) return "null";
  if (response.shared !== true) return JSON.stringify(data);
  let json = shared.get(data);
  if (json === undefined) shared.set(data, (json = JSON.stringify(data)));
  return json;
}

/** Whether it says nothing beside its data. */
const isBare = ({ auth, warnings, outcome, wrapInfo }: Response): boolean =>
  auth === undefined &&
  (warnings === undefined || warnings.length === 0) &&
  outcome === undefined &&
  wrapInfo === undefined;

/** No data where a client reads, or no keys where he lists: Vault's 404 without a text. */
export function isAbsent(operation: Operation, response: Response): boolean {
  if (operation !== "read" && operation !== "list" && operation !== "scan") return false;
  if (response.raw !== undefined || !isBare(response)) return false;
  const { data } = response;
  if (data === null || data === undefined) return true;
  const keys = operation === "read" ? undefined : data["keys"];
  return Array.isArray(keys) && keys.length === 0;
}

const own = new Set(
  "request_id lease_id renewable lease_duration data wrap_info warnings auth mount_type errors".split(" "),
);

/** The data once more, for a place beside the envelope's own fields, which nothing of it takes the place of. */
function besideOf(data: Response["data"], json: string): string {
  if (data === null || data === undefined) return "";
  const names = Object.keys(data);
  const free = names.filter((name) => !own.has(name));
  if (free.length === 0) return "";
  const text =
    free.length === names.length ? json : JSON.stringify(Object.fromEntries(free.map((name) => [name, data[name]])));
  return text.length > 2 ? `,${text.slice(1, -1)}` : "";
}

/** Null where there is nothing to tell. */
export function envelopeOf(id: string, response: Response): string | null {
  if (response.raw !== undefined) return response.raw;
  const { auth, lease, warnings, wrapInfo } = response;
  const data = jsonOf(response);
  if (data === "null" && lease === undefined && isBare(response)) return null;
  if (response.shape === "bare" && data !== "null") return data;
  const said = warnings === undefined || warnings.length === 0 ? "null" : JSON.stringify(warnings);
  const terms =
    lease === undefined
      ? '"lease_id":"","renewable":false,"lease_duration":0'
      : `"lease_id":${JSON.stringify(lease.id)},"renewable":${lease.renewable},"lease_duration":${lease.duration}`;
  const grant = auth === undefined ? "null" : JSON.stringify(auth);
  const type = response.mountType === undefined ? '""' : JSON.stringify(response.mountType);
  if (wrapInfo !== undefined) {
    return `{"request_id":"",${terms},"data":null,"wrap_info":${JSON.stringify(wrapInfo)},"warnings":null,"auth":null,"mount_type":""}`;
  }
  const envelope = `{"request_id":"${id}",${terms},"data":${data},"wrap_info":null,"warnings":${said},"auth":${grant},"mount_type":${type}`;
  return `${envelope}${response.shape === "both" ? besideOf(response.data, data) : ""}}`;
}
