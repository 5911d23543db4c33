// Declarations as storage keeps them: 256 pages by the hash of the key, each addressed by the number of the generation that it
// came with and the HMAC of its content, and a root page that lists them. A change writes one page and the root; old roots
// stay readable for as long as generations are kept (collection.ts), so history can be asked.
// Must hold: a page is never changed; whoever holds the root address of a kept generation can read it whole. A page that a
// generation does without is in none that follows.

import { createHmac, hash, type KeyObject } from "node:crypto";
import type { Work } from "../lib/slices.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Declaration } from "../sdk/kind.ts";
import type { View, ViewOp } from "../sdk/view.ts";
import { keyOf, Table } from "./table.ts";

type Page = ReadonlyMap<string, Declaration>;
const empty: Page = new Map();

const bucketOf = (key: string): string => hash("sha256", key).slice(0, 2);

/** The pages of one generation. */
export interface Pages {
  readonly buckets: ReadonlyMap<string, { readonly address: string; readonly page: Page }>;
  readonly root: string;
}

interface Change {
  readonly pages: Pages;
  readonly ops: ViewOp[];
  readonly made: readonly string[];
  readonly replaced: readonly string[];
}

export const noPages: Pages = { buckets: new Map(), root: "" };

/** In an order that is the numbers'. */
export const numbered = (seq: number): string => String(seq).padStart(12, "0");

/** Where it stands below the barrier's root. */
export const pageKey = (address: string): string => `generation/pages/${address}`;

export const addressesOf = ({ buckets, root }: Pages): ReadonlySet<string> =>
  new Set([root, ...[...buckets.values()].map(({ address }) => address)]);

export class PageStore {
  readonly #view: View;
  readonly #key: KeyObject;

  /** `view` is `generation/` below the barrier's root. */
  constructor(view: View, key: KeyObject) {
    this.#view = view;
    this.#key = key;
  }

  /** The pages after a change that makes generation `seq`, the operations (relative to the barrier's root) that write what is
   *  new, and the addresses of what is new and of what it replaces. */
  *change(before: Pages, put: readonly Declaration[], remove: readonly Declaration[], seq: number): Work<Change> {
    const changed = new Map<string, Map<string, Declaration>>();
    const open = (key: string): Map<string, Declaration> => {
      const bucket = bucketOf(key);
      let page = changed.get(bucket);
      if (page === undefined) changed.set(bucket, (page = new Map(before.buckets.get(bucket)?.page ?? empty)));
      return page;
    };
    for (const declaration of remove) {
      const key = keyOf(declaration);
      open(key).delete(key);
      yield;
    }
    for (const declaration of put) {
      const key = keyOf(declaration);
      open(key).set(key, declaration);
      yield;
    }
    const buckets = new Map(before.buckets);
    const made: string[] = [];
    const ops: ViewOp[] = [];
    const write = (content: string): string => {
      const { address, op } = this.#page(content, seq);
      made.push(address);
      ops.push(op);
      return address;
    };
    for (const [bucket, page] of changed) {
      if (page.size === 0) {
        buckets.delete(bucket);
        continue;
      }
      // One after another: a policy may have a megabyte of text, and several such may share a page.
      const parts: string[] = [];
      for (const key of [...page.keys()].sort()) {
        parts.push(JSON.stringify(page.get(key)));
        yield;
      }
      buckets.set(bucket, { address: write(`{"declarations":[${parts.join(",")}]}`), page });
      yield;
    }
    const list = Object.fromEntries([...buckets.keys()].sort().map((bucket) => [bucket, buckets.get(bucket)?.address]));
    const root = write(JSON.stringify({ pages: list }));
    const replaced = [...changed.keys()].flatMap((bucket) => before.buckets.get(bucket)?.address ?? []);
    if (before.root !== "") replaced.push(before.root);
    return { pages: { buckets, root }, ops, made, replaced };
  }

  async read(root: string): Promise<{ pages: Pages; table: Table }> {
    const list = await this.#get<{ pages: Record<string, string> }>(root);
    const buckets = new Map<string, { address: string; page: Page }>();
    const all: Declaration[] = [];
    for (const [bucket, address] of Object.entries(list.pages)) {
      const { declarations } = await this.#get<{ declarations: Declaration[] }>(address);
      buckets.set(bucket, {
        address,
        page: new Map(declarations.map((declaration) => [keyOf(declaration), declaration])),
      });
      all.push(...declarations);
    }
    return { pages: { buckets, root }, table: Table.of(all) };
  }

  #page(content: string, seq: number): { address: string; op: ViewOp } {
    const bytes = Buffer.from(content);
    const address = `${numbered(seq)}-${createHmac("sha256", this.#key).update(bytes).digest("hex")}`;
    return { address, op: { key: pageKey(address), value: bytes } };
  }

  async #get<T>(address: string): Promise<T> {
    const entry = await this.#view.get(`pages/${address}`);
    if (entry === null) throw new VaultError("storage", "a page of the current generation is missing");
    return JSON.parse(Buffer.from(entry.value).toString("utf8")) as T;
  }
}
