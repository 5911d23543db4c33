// A push as GitHub tells of it: the payload's form, its signature and its headers.
// https://docs.github.com/webhooks/webhook-events-and-payloads#push

import { createHmac, randomUUID } from "node:crypto";

/** One line of a post-receive hook's input: "OLD NEW REF". */
export interface Update {
  readonly before: string;
  readonly after: string;
  readonly ref: string;
}

export interface Delivery {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The updates of a hook's input; lines that are none are left out. */
export function readUpdates(input: string): readonly Update[] {
  return input.split("\n").flatMap((line) => {
    const match = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (refs\/\S+)$/.exec(line);
    return match === null ? [] : [{ before: match[1] ?? "", after: match[2] ?? "", ref: match[3] ?? "" }];
  });
}

/** `repository` is OWNER/NAME. */
export function signedDelivery(update: Update, repository: string, secret: string): Delivery {
  const { before, after, ref } = update;
  const body = JSON.stringify({
    ref,
    before,
    after,
    created: /^0+$/.test(before),
    deleted: /^0+$/.test(after),
    repository: { name: repository.split("/").at(-1), full_name: repository },
  });
  const signature = createHmac("sha256", secret).update(body).digest("hex");
  return {
    body,
    headers: {
      "Content-Type": "application/json",
      "User-Agent": "GitHub-Hookshot/quickstart",
      "X-GitHub-Event": "push",
      "X-GitHub-Delivery": randomUUID(),
      "X-Hub-Signature-256": `sha256=${signature}`,
    },
  };
}
