// What went wrong between a command and its server, and what to do about it, in words. No token is in any of them.

import { plain } from "../lib/printable.ts";

const untrusted = "its certificate is not trusted here: name the authority's file in VAULT_CACERT";
const unfit = "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY do not fit: give a certificate and its own key, as PEM files";
/** By the code or the message of an error; the first one that fits counts. */
const faults: readonly (readonly [RegExp, string])[] = [
  [
    /ECONNREFUSED/,
    "nothing listens there: start the server (npm start, or writ server --config FILE), or set VAULT_ADDR",
  ],
  [/ENOENT/, "there is no such socket: start the server, or set VAULT_ADDR"],
  [/EACCES/, "the socket is its owner's alone: run this as the server's user, or set VAULT_ADDR"],
  [/ENOTFOUND|EAI_AGAIN/, "there is no such host: check VAULT_ADDR"],
  [/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/, "the host does not answer: check VAULT_ADDR and the network"],
  [/SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|CERT_SIGNATURE_FAILURE/, untrusted],
  [
    /CERT_HAS_EXPIRED/,
    "its certificate has expired: have the server take a new one (SIGHUP), or set this machine's clock",
  ],
  [/CERT_NOT_YET_VALID/, "its certificate is not valid yet: check the clocks of this machine and of the server"],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID/,
    "its certificate is for another name: check VAULT_ADDR, or set VAULT_TLS_SERVER_NAME",
  ],
  [/wrong version number|packet length too long/i, "no TLS is spoken there: is it VAULT_ADDR=http://…?"],
  [
    /alert certificate required|alert handshake failure/i,
    "the server wants a client certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
  ],
  [
    /alert (?:bad certificate|unknown ca|certificate)/i,
    "the server does not accept the certificate in VAULT_CLIENT_CERT",
  ],
  [/protocol version|unsupported protocol/i, "there is no version of TLS that both sides speak"],
  [/key values mismatch|no start line|bad end line/i, unfit],
  [
    /ECONNRESET|EPIPE|socket hang up/,
    "the server closed the connection: check http or https in VAULT_ADDR, and where it wants a client certificate VAULT_CLIENT_CERT",
  ],
];

/** Why no answer came from `address`. */
export function faultText(
  address: string,
  error: NodeJS.ErrnoException,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const said = `${error.code ?? ""} ${error.message}`;
  const text = faults.find(([pattern]) => pattern.test(said))?.[1] ?? plain(error.message);
  const unsafe = text === untrusted && env["VAULT_SKIP_VERIFY"] ? " (VAULT_SKIP_VERIFY is not obeyed)" : "";
  return `${address}: ${text}${unsafe}`;
}

/** How far the unsealing of a vault has come, by the answer of sys/seal-status; why else it does not serve. */
export function sealedText(status: Readonly<Record<string, unknown>>): string {
  if (status["initialized"] === false) return "it is not initialised: writ operator init";
  if (status["sealed"] === false)
    return "it is unsealed, and cannot answer now: try again, and see writ status and its log";
  const [given, needed] = [Number(status["progress"] ?? 0), Number(status["t"] ?? 0)];
  const missing = needed - given;
  return missing > 0
    ? `${missing} of ${needed} shares are missing: writ operator unseal, for each`
    : "writ operator unseal opens it";
}

/** What to do about a 403 for a token that was given. */
function deniedText(errors: readonly string[]): string {
  // Whom the server knows is told what lacks.
  if (errors.some((text) => text.startsWith("preflight capability check")))
    return "no engine is there, or the token may do nothing in it: writ secrets list shows what is mounted";
  const invalid = errors.join() === "permission denied" || errors.includes("invalid token");
  return invalid ? "the token is not valid, or not any more: writ login" : "";
}

/** What to do about a refusal; empty where the server says it all. `sealStatus` is asked where that decides. */
export async function nextText(
  refused: { readonly status: number; readonly errors: readonly string[]; readonly retryAfter: string | undefined },
  token: string | null,
  sealStatus: () => Promise<Readonly<Record<string, unknown>> | null>,
): Promise<string> {
  const { status, errors, retryAfter } = refused;
  if (status === 503) {
    const found = await sealStatus().catch(() => null);
    return found === null ? "" : sealedText(found);
  }
  if (status === 429) return retryAfter === undefined ? "try again later" : `try again in ${retryAfter} s`;
  if (status !== 403) return "";
  return token === null ? "no token is given: writ login, or set VAULT_TOKEN" : deniedText(errors);
}
