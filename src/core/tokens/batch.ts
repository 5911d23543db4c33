// Batch tokens: what the token may and until when stands in the token itself, encrypted and authenticated, and nothing of
// it in storage. So making one costs no write, and one cannot be listed, counted, renewed or revoked by itself: it ends
// with its time, its parent, its mapping or its mount.
// "hvb." and base64url of: format (1 byte), salt (16), AES-256-GCM of JSON, tag (16). The key is HMAC-SHA-256(vault's key,
// format | salt) and encrypts this one token, so the nonce is zero (NIST SP 800-38D section 8: the key is the unique part).
// Must hold: a token that this vault did not make, or of which one bit was changed, opens to nothing; a token has one
// spelling; a change of the keyring's term leaves batch tokens as they are.

import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";
import { randomBuffer } from "../../lib/bytes.ts";
import type { Clock } from "../../lib/clock.ts";
import { hmacOf, macSize } from "../../lib/hmac.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { MadeToken, NewToken, TokenEntry } from "./entry.ts";

const prefix = "hvb.";
const format = 1;
const saltSize = 16;
const tagSize = 16;
const nonce = Buffer.alloc(12);
/** Characters: it travels in a header. */
const longest = 8 * 1024;

interface Content extends Pick<
  TokenEntry,
  | "parent"
  | "policies"
  | "mapping"
  | "alias"
  | "entity_id"
  | "groups"
  | "origins"
  | "display_name"
  | "path"
  | "created_at"
  | "ttl"
  | "bound_cidrs"
> {
  /** Names come from clients: they are no names of JSON here. */
  readonly meta: readonly (readonly [string, string])[] | null;
}

export const isBatch = (token: string): boolean => token.startsWith(prefix);

export interface BatchOptions {
  /** The same for the life of the vault. */
  readonly key: KeyObject;
  readonly clock: Clock;
  idOf(token: string): string;
}

export class BatchTokens {
  readonly #options: BatchOptions;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /** Throws VaultError `invalid` where a batch token cannot be what is asked for. */
  create(input: NewToken): MadeToken {
    const limits = { num_uses: input.num_uses, period: input.period, id: input.client_token };
    for (const [name, value] of Object.entries(limits)) {
      if (value) throw new VaultError("invalid", `batch tokens cannot have "${name}" set`);
    }
    if (input.ttl === 0) throw new VaultError("invalid", "batch tokens cannot live for ever");
    const { parent, policies, mapping, alias, entity_id, groups, origins, display_name, path, ttl, bound_cidrs } =
      input;
    const meta = input.meta === null ? null : Object.entries(input.meta);
    const created_at = this.#options.clock.now();
    const who = { alias, ...(entity_id !== undefined && { entity_id }), ...(groups !== undefined && { groups }) };
    const whence = origins === undefined ? {} : { origins };
    const content = {
      parent,
      policies,
      mapping,
      ...who,
      ...whence,
      display_name,
      meta,
      path,
      created_at,
      ttl,
      bound_cidrs,
    };
    const token = this.#seal(content);
    if (token.length > longest) {
      throw new VaultError(
        "invalid",
        "policies and metadata are too long for a batch token, which carries them in itself",
      );
    }
    return { token, entry: this.#entry(token, content) };
  }

  /** Null where this vault did not make it. */
  open(token: string): TokenEntry | null {
    if (!isBatch(token) || token.length > longest) return null;
    const bytes = Buffer.from(token.slice(prefix.length), "base64url");
    if (bytes.length <= 1 + saltSize + tagSize || bytes[0] !== format || spell(bytes) !== token) return null;
    const head = bytes.subarray(0, 1 + saltSize);
    const decipher = createDecipheriv("aes-256-gcm", this.#keyOf(head), nonce, { authTagLength: tagSize });
    decipher.setAAD(head);
    decipher.setAuthTag(bytes.subarray(-tagSize));
    let text: string;
    try {
      text = decipher.update(bytes.subarray(head.length, -tagSize), undefined, "utf8") + decipher.final("utf8");
    } catch {
      return null;
    }
    return this.#entry(token, JSON.parse(text) as Content);
  }

  #seal(content: Content): string {
    const head = Buffer.concat([Buffer.of(format), randomBuffer(saltSize)]);
    const cipher = createCipheriv("aes-256-gcm", this.#keyOf(head), nonce, { authTagLength: tagSize });
    cipher.setAAD(head);
    const body = [cipher.update(JSON.stringify(content), "utf8"), cipher.final(), cipher.getAuthTag()];
    return spell(Buffer.concat([head, ...body]));
  }

  #keyOf(head: Uint8Array): Buffer {
    const key = Buffer.alloc(macSize);
    hmacOf(this.#options.key).write(head, key, 0);
    return key;
  }

  #entry(token: string, content: Content): TokenEntry {
    return {
      ...content,
      meta: content.meta === null ? null : Object.fromEntries(content.meta),
      id: this.#options.idOf(token),
      accessor: "",
      type: "batch",
      expires_at: content.created_at + content.ttl * 1000,
      last_renewal: 0,
      max_ttl: 0,
      explicit_max_ttl: 0,
      period: 0,
      renewable: false,
      num_uses: 0,
    };
  }
}

const spell = (bytes: Buffer): string => `${prefix}${bytes.toString("base64url")}`;
