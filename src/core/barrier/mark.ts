// Marks: entries whose key says all there is to say, as in an index. They have no content to be encrypted, so they are no
// age files, each of which costs as much as ten of them: one byte 1, a salt (16 bytes), and HMAC-SHA-256 of version, key and
// salt under a key of the keyring that outlives its terms (32 bytes).
// Must hold: nobody without the key makes one; it stands for no other key and version, and never for a value, whose first
// byte is that of age's first line; no two are the same bytes, whatever versions come again (sum.ts counts on that).

import { equalBytes, randomBuffer } from "../../lib/bytes.ts";
import { type Hmac, macSize } from "../../lib/hmac.ts";
import type { Stored } from "../../sdk/storage.ts";
import { framed } from "./sum.ts";

const format = 1;
const saltSize = 16;
const markSize = 1 + saltSize + macSize;

export function createMark(mac: Hmac, key: string, version: number): Buffer {
  const mark = Buffer.alloc(markSize);
  mark[0] = format;
  mark.set(randomBuffer(saltSize), 1);
  mac.write(framed(key, version, mark.subarray(0, 1 + saltSize)), mark, 1 + saltSize);
  return mark;
}

/** Whether it is a mark of this key and version. */
export function isMark(mac: Hmac, key: string, { value, version }: Stored): boolean {
  if (value.length !== markSize || value[0] !== format) return false;
  const expected = Buffer.alloc(macSize);
  mac.write(framed(key, version, value.subarray(0, 1 + saltSize)), expected, 0);
  return equalBytes(expected, value.subarray(1 + saltSize));
}
