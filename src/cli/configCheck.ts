// Whether `writ.yaml` follows its schema. The build puts the code that the schema becomes in this file's place: to load
// ajv and to compile the schema was a third of each start, and 17 MB.

import { configSchema } from "../config.ts";
import { createAjv, type Validate } from "../configCheck.ts";
import { tables } from "./tables.ts";

export const validate: Validate = createAjv().compile(configSchema(tables));
