// All malicious repositories, one row each.

import type { Repository } from "./attack.ts";
import { contents } from "./contents.ts";
import { histories } from "./histories.ts";
import { trees } from "./trees.ts";
import type { Status } from "./world.ts";

export const repositories: readonly Repository[] = [...trees, ...histories, ...contents];

/** What the status says of why. */
export const reason = (status: Status): string => JSON.stringify([status.last_error, status.held]);
