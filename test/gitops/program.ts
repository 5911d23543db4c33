// What the worker thread imports in these tests.

import { field } from "../../src/sdk/fields.ts";
import type { Kind } from "../../src/sdk/kind.ts";

export { lines as compile } from "./kit.ts";

export const kinds: readonly Kind[] = [
  {
    name: "Rule",
    description: "A kind of the tests",
    mount: null,
    fields: {
      words: field.strings("Words", { default: [] }),
      ttl: field.duration("A time", { default: 0 }),
      password: field.string("A secret", { secret: true }),
    },
  },
];
