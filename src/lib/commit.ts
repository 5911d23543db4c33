// A git commit object as bytes: its parts, and what an SSH signature in it covers (gitformat-signature(5)).

import type { KeyObject } from "node:crypto";
import { verifySsh } from "./sshsig.ts";

export interface CommitObject {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly message: string;
  /** Armored; null where the commit is not signed. */
  readonly signature: string | null;
  /** The commit without its signature. */
  readonly covered: Buffer;
}

const field = /\ngpgsig ((?:[^\n]*\n )*[^\n]*)/;

/** Bytes are kept as they are: latin1 and back loses none. */
export function parseCommit(raw: Buffer): CommitObject {
  const text = raw.toString("latin1");
  const end = text.indexOf("\n\n");
  const header = end < 0 ? text : text.slice(0, end);
  const found = field.exec(header);
  const signature = found?.[1] ?? null;
  return {
    tree: /^tree ([0-9a-f]+)/.exec(header)?.[1] ?? "",
    parents: [...header.matchAll(/^parent ([0-9a-f]+)$/gm)].map((match) => match[1] ?? ""),
    message: raw.subarray(end < 0 ? raw.length : end + 2).toString("utf8"),
    signature: signature === null ? null : signature.replaceAll("\n ", "\n"),
    covered:
      found === null
        ? raw
        : Buffer.from(
            text.replace(found[0], () => ""),
            "latin1",
          ),
  };
}

/** Whether one of the keys signed it. */
export const signedBy = (commit: CommitObject, keys: readonly KeyObject[]): boolean =>
  commit.signature !== null && keys.some((key) => verifySsh(key, "git", commit.covered, commit.signature ?? ""));
