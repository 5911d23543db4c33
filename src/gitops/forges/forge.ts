// What differs between forges: how a delivery proves where it comes from, and where it says what happened.

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a delivery claims. Never believed further than "look now". */
export type Event =
  | { readonly type: "ping" }
  /** `repository` as OWNER/NAME, `ref` in full; `deleted` where the ref is gone. */
  | { readonly type: "push"; readonly repository: string; readonly ref: string; readonly deleted: boolean }
  | { readonly type: "other" };

export interface Forge {
  /** Whether one of the secrets signed this body. Takes the same time whichever it is. */
  verify(headers: Headers, body: string, secrets: readonly string[]): Promise<boolean>;
  /** Only of verified bodies. Null where it is no delivery of this forge. */
  read(headers: Headers, body: string): Event | null;
}

/** A header that was sent exactly once. */
export function single(headers: Headers, name: string): string | null {
  const value = headers[name];
  return typeof value === "string" ? value : null;
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
