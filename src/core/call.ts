// What handlers of the core get beside what plugins get: the generation, who asks, and the parts of the core.

import type { Exact } from "../lib/exact.ts";
import type { Fields } from "../sdk/fields.ts";
import type { Call, Handler } from "../sdk/mount.ts";
import type { Response } from "../sdk/request.ts";
import type { Core } from "./core.ts";
import type { Generation } from "./generation.ts";
import type { Mounted } from "./mounts.ts";
import type { Session } from "./session.ts";

export interface CoreCall<F extends Fields = Fields> extends Call<F> {
  readonly core: Core;
  readonly generation: Generation;
  readonly mounted: Mounted;
  /** Null on routes without a token. */
  readonly session: Session | null;
}

interface CoreHandler<F extends Fields, R extends Response | null> extends Omit<Handler<F>, "run"> {
  run(call: CoreCall<F>): Promise<R> | R;
}

/** A handler of the core: only the door makes calls, and every call it makes is a CoreCall. */
export const coreHandler = <const F extends Fields, R extends Response | null>(
  handler: CoreHandler<F, R>,
  ..._exact: Exact<R, Response>
): Handler => handler;
