// What `writ doctor` can tell of the files that ssh reads, before it is asked.
// Known gap: whether a host key is the remote's own is known only once the remote answers.

const armor = /-----BEGIN ([A-Z ]*)PRIVATE KEY-----([^-]*)-----END/;
const magic = "openssh-key-v1\0";

/** What is wrong with a private key for ssh that nobody types a passphrase for; null where nothing is. */
export function wrongDeployKey(file: Buffer): string | null {
  const [, kind, body = ""] = armor.exec(file.toString("latin1")) ?? [];
  const unlock = "make one of its own for the server, without a passphrase (ssh-keygen -t ed25519 -N '')";
  if (kind === undefined) return `holds no private key: ${unlock}`;
  if (kind !== "OPENSSH ") return /ENCRYPTED/.test(kind + body) ? `has a passphrase: ${unlock}` : null;
  const key = Buffer.from(body, "base64");
  if (key.toString("latin1", 0, magic.length) !== magic) return `is damaged: ${unlock}`;
  // The name of the cipher comes first, with its length.
  const at = magic.length + 4;
  return key.toString("latin1", at, at + 4) === "none" ? null : `has a passphrase: ${unlock}`;
}

/** The same of a file of host keys. */
export function wrongKnownHosts(file: Buffer): string | null {
  const lines = file.toString("utf8").split("\n");
  const keys = lines.filter((line) => /^\s*[^#\s]+\s+\S+\s+\S+/.test(line));
  if (keys.length > 0) return null;
  return "holds no host key: ssh-keyscan prints those of a host; compare them with what the forge publishes before they go in";
}
