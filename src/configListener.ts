// One entry of `listeners` in `writ.yaml`.
// Must hold: what other machines reach is TLS; who may name another client's address is written down, address by address.

import { isLocal, type Place, parsePlace } from "./lib/address.ts";
import { wrongCidr } from "./lib/cidr.ts";
import type { Tls } from "./lib/tls.ts";
import { field, type Values } from "./sdk/fields.ts";

export interface Listener {
  /** "127.0.0.1:8200", "[::1]:8200", or the absolute path of a unix socket. */
  readonly address: string;
  readonly serves: "api" | "webhook";
  readonly tls: Tls | null;
  /** Addresses of proxies whose X-Forwarded-For names the client. */
  readonly proxies: readonly string[];
  /** sys/metrics answers without a token here. */
  readonly openMetrics: boolean;
}

export const listenerFields = {
  address: field.string("Address and port, such as 127.0.0.1:8200"),
  socket: field.string("Path of a unix socket"),
  serves: field.string("Everything, or deliveries of the forge alone", { enum: ["api", "webhook"], default: "api" }),
  tls_cert_file: field.string("The server's certificate and its chain, PEM"),
  tls_key_file: field.string("The certificate's private key, PEM; only its owner may read it"),
  tls_min_version: field.string("The oldest TLS that is spoken", { enum: ["tls12", "tls13"], default: "tls12" }),
  tls_client_ca_file: field.string("Clients are asked for certificates of these authorities, PEM"),
  tls_require_and_verify_client_cert: field.bool("Clients without a valid certificate are not let in", {
    default: false,
  }),
  telemetry: field.object(
    "What is told of the server without a token",
    { unauthenticated_metrics_access: field.bool("sys/metrics answers without a token here", { default: false }) },
    { default: { unauthenticated_metrics_access: false } },
  ),
  x_forwarded_for_authorized_addrs: field.strings(
    "Addresses or ranges of proxies whose X-Forwarded-For names the client; from all others it means nothing",
    { default: [] },
  ),
} as const;

type Given = Values<typeof listenerFields>;

/** What is wrong beyond the schema; null where nothing is. */
export function listenerFault(given: Given): string | null {
  const { address, socket, tls_cert_file: cert, tls_key_file: key } = given;
  if ((address === undefined) === (socket === undefined)) {
    return 'give either "address" (such as 127.0.0.1:8200) or "socket" (a path)';
  }
  if ((cert === undefined) !== (key === undefined)) return "tls_cert_file and tls_key_file are given together";
  if (cert === undefined && (given.tls_client_ca_file !== undefined || given.tls_require_and_verify_client_cert)) {
    return "client certificates need TLS: give tls_cert_file and tls_key_file";
  }
  if (given.tls_require_and_verify_client_cert && given.tls_client_ca_file === undefined) {
    return "tls_require_and_verify_client_cert needs tls_client_ca_file: whose certificates are valid";
  }
  const wrong = wrongCidr(given.x_forwarded_for_authorized_addrs);
  if (wrong !== null) return "x_forwarded_for_authorized_addrs: each must be an address or a range such as 10.0.0.0/8";
  if (address === undefined) return null;
  const place = placeOf(address);
  if (place === null || "path" in place)
    return 'address must be an IP address and a port, such as "127.0.0.1:8200" or "[::1]:8200"';
  return cert !== undefined || isLocal(place)
    ? null
    : "address is reached by other machines, and nothing is served to them in clear: give tls_cert_file and " +
        "tls_key_file, or listen on 127.0.0.1, ::1 or a unix socket behind a TLS proxy";
}

function placeOf(address: string): Place | null {
  try {
    return parsePlace(address);
  } catch {
    return null;
  }
}

export const listenerOf = (given: Given): Listener => ({
  address: given.socket ?? given.address ?? "",
  serves: given.serves === "webhook" ? "webhook" : "api",
  tls:
    given.tls_cert_file === undefined || given.tls_key_file === undefined
      ? null
      : {
          certFile: given.tls_cert_file,
          keyFile: given.tls_key_file,
          clientCaFile: given.tls_client_ca_file ?? null,
          requireClientCert: given.tls_require_and_verify_client_cert,
          minVersion: given.tls_min_version === "tls13" ? "TLSv1.3" : "TLSv1.2",
        },
  proxies: given.x_forwarded_for_authorized_addrs,
  openMetrics: given.telemetry.unauthenticated_metrics_access,
});
