// Deliveries of a forge. A delivery is a knock on the door: signed by a configured secret, about the right repository
// and branch, it wakes the reconciler, which asks the remote itself.
// Must hold: nothing in a delivery is believed beyond that, so a repeated, replayed or late one is harmless; nothing is
// parsed before its signature is verified over the raw bytes; works while the vault is sealed.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { type Event, type Forge, type Headers, single } from "./forges/forge.ts";
import { github } from "./forges/github.ts";
import type { Settings } from "./settings.ts";

/** Bytes of a body. Whoever reads it from the network stops there and answers 413. A push so large that its delivery
 *  exceeds this is found by polling. */
export const maxDelivery = 1024 * 1024;

export interface Delivery {
  readonly method: string;
  /** Names in lower case, as Node gives them. */
  readonly headers: Headers;
  readonly body: Uint8Array;
}

export interface Receipt {
  readonly status: 200 | 202 | 400 | 401 | 403 | 405 | 413 | 415;
  readonly message: string;
}

/** A new forge is a file in forges/ and a row here. */
const forges: Readonly<Record<NonNullable<Settings["webhook"]>["forge"], Forge>> = { github };

/** Refusals are logged at most once in this many milliseconds: a flood must not fill the log. */
const quiet = 10_000;

export interface WebhookOptions {
  readonly webhook: NonNullable<Settings["webhook"]>;
  readonly branch: string;
  readonly wake: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Answers a delivery. Never throws. */
export function createWebhook(options: WebhookOptions): (delivery: Delivery) => Promise<Receipt> {
  const { webhook, branch, clock, log } = options;
  const forge = forges[webhook.forge];
  let refused = 0;
  let told = Number.NEGATIVE_INFINITY;
  const refuse = (status: Receipt["status"], message: string): Receipt => {
    refused += 1;
    const now = clock.now();
    if (Math.abs(now - told) >= quiet) {
      log.security("webhook delivery refused", { status, reason: message, refused_since_last: refused });
      told = now;
      refused = 0;
    }
    return { status, message };
  };
  const act = (event: Event): Receipt => {
    if (event.type === "ping") return { status: 200, message: "pong" };
    if (event.type === "other") return { status: 202, message: "ignored: only pushes matter here" };
    // GitHub's names do not differ in case.
    if (event.repository.toLowerCase() !== webhook.repository.toLowerCase()) {
      return refuse(403, "the delivery is about another repository");
    }
    if (event.ref !== `refs/heads/${branch}`) return { status: 202, message: "ignored: another branch or a tag" };
    if (event.deleted) return { status: 202, message: "ignored: the branch was deleted" };
    options.wake();
    return { status: 202, message: "accepted" };
  };
  return async (delivery) => {
    const fault = form(delivery);
    if (fault !== null) return refuse(fault.status, fault.message);
    const body = decoded(delivery.body);
    if (body === null) return refuse(400, "the body is not UTF-8");
    if (!(await forge.verify(delivery.headers, body, webhook.secrets))) {
      return refuse(401, "the delivery is not signed by a known secret");
    }
    const event = forge.read(delivery.headers, body);
    return event === null ? refuse(400, "this is not a delivery of the configured forge") : act(event);
  };
}

/** What is wrong before the signature is looked at, or null. */
function form({ method, headers, body }: Delivery): Receipt | null {
  if (method !== "POST") return { status: 405, message: "deliveries are posted" };
  if (body.length > maxDelivery) return { status: 413, message: `a delivery has at most ${maxDelivery} bytes` };
  if (body.length === 0) return { status: 400, message: "the body is empty" };
  if (single(headers, "content-encoding") !== null) return { status: 415, message: "the body must not be compressed" };
  const type = single(headers, "content-type") ?? "";
  if (!/^application\/json(?:\s*;\s*charset=utf-8)?$/iu.test(type)) {
    return { status: 415, message: "choose the content type application/json at the forge" };
  }
  return null;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text whose UTF-8 form is exactly these bytes, or null: what is verified is what was sent. */
function decoded(body: Uint8Array): string | null {
  try {
    return decoder.decode(body);
  } catch {
    return null;
  }
}
