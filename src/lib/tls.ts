// TLS of one listener, from PEM files that may be replaced while it runs.
// Must hold: nothing older than TLS 1.2, and of that nothing without forward secrecy; what cannot be used (a key of another
// certificate, a file that others may read) is an error before it takes effect, and what was in use stays.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { Logger } from "./log.ts";
import { readSecretFile } from "./secretFile.ts";

export interface Tls {
  /** Paths of PEM files; the certificate's has its chain behind it. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Whose certificates clients show; null asks for none. */
  readonly clientCaFile: string | null;
  readonly requireClientCert: boolean;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** What node:tls takes. */
export interface TlsOptions extends SecureContextOptions {
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
}

/** By OpenSSL's code, where it is not that there is no key. */
const faults: Readonly<Record<string, string>> = {
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: "tls_key_file is not the key of tls_cert_file",
  ERR_SSL_EE_KEY_TOO_SMALL: "tls_cert_file has too weak a key: RSA needs 2048 bits or more, or take EC P-256",
  ERR_SSL_CA_KEY_TOO_SMALL: "tls_cert_file has an authority with too weak a key: RSA needs 2048 bits or more",
  ERR_SSL_CA_MD_TOO_WEAK: "tls_cert_file is signed with too weak a hash: have it made anew with SHA-256",
};

const day = 24 * 3600 * 1000;

/** Of TLS 1.2 only what keeps a recorded connection shut once the server's key is known, and is authenticated encryption:
 *  the "intermediate" list of https://ssl-config.mozilla.org. Node's own has static RSA and CBC. */
const ciphers = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  ...["ECDSA", "RSA"].flatMap((key) =>
    ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].map((rest) => `ECDHE-${key}-${rest}`),
  ),
].join(":");

async function readPublic(name: string, file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${name} cannot be read (${error.code ?? "unknown"})`);
  });
}

function certificate(name: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new Error(`${name} holds no PEM certificate`);
  }
}

/** Reads and checks the files. Throws an Error that names the setting at fault. `now` is milliseconds since 1970. */
export async function readTls(tls: Tls, now: number, log: Logger): Promise<TlsOptions> {
  const cert = await readPublic("tls_cert_file", tls.certFile);
  const { validToDate, validFromDate, subjectAltName, signatureAlgorithm } = certificate("tls_cert_file", cert);
  const key = await readSecretFile("tls_key_file", tls.keyFile);
  const ca = tls.clientCaFile === null ? null : await readPublic("tls_client_ca_file", tls.clientCaFile);
  if (ca !== null) certificate("tls_client_ca_file", ca);
  const options: TlsOptions = {
    cert,
    key,
    minVersion: tls.minVersion,
    ciphers,
    ...(ca !== null && { ca }),
    requestCert: ca !== null,
    rejectUnauthorized: tls.requireClientCert,
  };
  try {
    createSecureContext(options);
  } catch (error) {
    const { code } = error as { code?: string };
    throw new Error(faults[code ?? ""] ?? "tls_key_file holds no PEM key without a passphrase", { cause: error });
  }
  if (subjectAltName === undefined)
    log.warn("the TLS certificate names no host (subjectAltName): clients refuse it; have it made anew with its names");
  if (/sha1|md5/i.test(signatureAlgorithm ?? ""))
    log.warn("the TLS certificate is signed with a hash that clients refuse: have it made anew with SHA-256");
  const until = validToDate.getTime();
  if (validFromDate.getTime() > now)
    log.warn("the TLS certificate is not valid yet", { from: validFromDate.toISOString() });
  if (until <= now) log.warn("the TLS certificate has expired", { expired: validToDate.toISOString() });
  else if (until - now < 14 * day) log.warn("the TLS certificate expires soon", { expires: validToDate.toISOString() });
  return options;
}
