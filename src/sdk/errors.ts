// The one error that crosses a layer. Only api/errors knows HTTP numbers; nobody matches an error by its text.

export type ErrorCode =
  | "invalid" // the request is wrong: bad field, bad JSON, failed login, cas mismatch
  | "unauthenticated" // no token, or one that is not valid
  | "denied" // a valid token that may not
  | "not_found"
  | "unsupported" // the path exists, the operation does not
  | "media_type"
  | "too_large"
  | "conflict" // a compare-and-swap lost; the caller may try again
  | "managed" // Git owns it: change it there
  | "sealed"
  | "uninitialized"
  | "rate_limited"
  | "upstream" // somebody else's server failed
  | "audit" // no audit device kept the entry
  | "storage"
  | "internal";

export class VaultError extends Error {
  readonly code: ErrorCode;
  /** What the client reads under `errors`. May be empty (a missing secret is 404 with no text). */
  readonly errors: readonly string[];
  /** A body to send with the error, as a deleted KV version does: 404 with its metadata. */
  readonly data: Readonly<Record<string, unknown>> | undefined;
  /** Hints beside an error without a text. */
  readonly warnings: readonly string[] | undefined;
  /** For the answer's head: names and values in turn. */
  headers: readonly string[] | undefined;
  override readonly name = "VaultError";

  constructor(
    code: ErrorCode,
    errors: string | readonly string[],
    options: { cause?: unknown; data?: Record<string, unknown>; warnings?: readonly string[] } = {},
  ) {
    const list = typeof errors === "string" ? [errors] : errors;
    super(list.join("; ") || code, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.errors = list;
    this.data = options.data;
    this.warnings = options.warnings;
  }
}

export const isVaultError = (error: unknown, code?: ErrorCode): error is VaultError =>
  error instanceof VaultError && (code === undefined || error.code === code);

/** One fault of a document or a config, with the place where a person can mend it. */
export interface Problem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  /** What is wrong and what to do. */
  readonly message: string;
  /** The source line, its scalars masked where they might be secret. */
  readonly excerpt?: string;
}
