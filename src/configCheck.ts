// Whether the server's configuration follows its schema, as ajv finds.

import { Ajv2020, type ErrorObject, type Options } from "ajv/dist/2020.js";

/** True where it does; else `errors` has why. */
export interface Validate {
  (value: unknown): boolean;
  errors?: readonly ErrorObject[] | null;
}

/** `code` says how the code is written that a schema becomes. */
export const createAjv = (code: Options["code"] = {}): Ajv2020 =>
  new Ajv2020({
    strict: true,
    strictRequired: false,
    // A duration with a minimum is a number or a string.
    strictTypes: false,
    allErrors: true,
    verbose: true,
    code,
  });
