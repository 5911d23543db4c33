// Keys as paths of files. One name for each segment of a key, in lower case, so that file systems that fold case or
// normalise text keep different keys apart; "=" begins an entry, "+" a folder, and "~" a piece of a segment that is too
// long for one name and goes on inside.
// Must hold: two keys never share a path, and a path gives back its segment byte for byte.

/** Of the 255 that file systems allow. */
const longest = 200;
const plain = /^[a-z0-9._-]+$/;

const encode = (segment: string): string =>
  plain.test(segment)
    ? segment
    : segment.replace(/[^a-z0-9._-]/gu, (one) => Buffer.from(one).toString("hex").replace(/../g, "%$&"));

function place(segment: string, kind: "=" | "+"): string {
  const text = encode(segment);
  let path = "";
  let at = 0;
  for (; text.length - at > longest; at += longest) path += `~${text.slice(at, at + longest)}/`;
  return `${path}${kind}${text.slice(at)}`;
}

/** Where the entry of a key is, below the folder of entries. */
export function entryPath(key: string): string {
  const segments = key.split("/");
  const last = segments.pop() ?? "";
  return [...segments.map((segment) => place(segment, "+")), place(last, "=")].join("/");
}

/** Where the entries below a prefix are; "" for "". */
export const folderPath = (prefix: string): string =>
  prefix
    .split("/")
    .slice(0, -1)
    .map((segment) => place(segment, "+"))
    .join("/");

export type Name =
  | { readonly kind: "entry" | "folder"; readonly segment: string }
  | { readonly kind: "piece"; readonly text: string };

/** What a file's name says; `before` is the text of the pieces that lead to it. Null for what no key has put there. */
export function readName(name: string, before: string): Name | null {
  const text = before + name.slice(1);
  if (name.startsWith("~")) return { kind: "piece", text };
  const kind = name.startsWith("=") ? "entry" : name.startsWith("+") ? "folder" : null;
  if (kind === null) return null;
  if (plain.test(text)) return { kind, segment: text };
  try {
    const segment = decodeURIComponent(text);
    return encode(segment) === text ? { kind, segment } : null;
  } catch {
    return null;
  }
}
