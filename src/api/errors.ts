// Errors as clients read them: the only place that knows the HTTP number of an error code.
// Must hold: what is not a VaultError tells the client nothing but a request id, and the log no message (messages of the
// runtime quote the values that they are about).

import type { Logger } from "../lib/log.ts";
import { type ErrorCode, isVaultError, VaultError } from "../sdk/errors.ts";

const statuses: Readonly<Record<ErrorCode, number>> = {
  invalid: 400,
  unauthenticated: 403,
  denied: 403,
  not_found: 404,
  unsupported: 405,
  media_type: 415,
  too_large: 413,
  conflict: 409, // RFC 9110 section 15.5.10: resubmit. Vault's 412 is about replication, its 400 (check-and-set) is `invalid`
  managed: 400,
  sealed: 503,
  uninitialized: 400, // as Vault answers unseal; a request through the door is refused as sealed before that
  rate_limited: 429,
  upstream: 502,
  audit: 500,
  storage: 500,
  internal: 500,
};

export const statusOf = (code: ErrorCode): number => statuses[code];

/** Any error as a VaultError that may be shown. */
export function presentable(error: unknown, id: string, log: Logger): VaultError {
  if (isVaultError(error)) {
    if (statuses[error.code] === 500)
      log.error("a request failed", { request_id: id, code: error.code, at: frames(error.cause) });
    return error;
  }
  const name = error instanceof Error ? error.name : typeof error;
  log.error("a request failed on an unexpected error", { request_id: id, error: name, at: frames(error) });
  return new VaultError("internal", `internal error; the server's log has it under request id ${id}`, { cause: error });
}

/** Where an error came from, without its message. */
function frames(error: unknown): readonly string[] {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  return stack
    .split("\n")
    .filter((line) => line.startsWith("    at "))
    .slice(0, 12)
    .map((line) => line.trim());
}
