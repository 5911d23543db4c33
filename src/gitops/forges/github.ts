// GitHub's deliveries: X-Hub-Signature-256 is the HMAC-SHA256 of the raw body, X-GitHub-Event the event's name.
// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
// Must hold: SHA-256 only, the older X-Hub-Signature (SHA-1) counts for nothing.

import { Webhooks } from "@octokit/webhooks";
import { type Event, type Forge, isRecord, single } from "./forge.ts";

/** Verifiers keep nothing but their secret; there are at most two. */
const verifiers = new Map<string, Webhooks>();

function verifier(secret: string): Webhooks {
  const known = verifiers.get(secret) ?? new Webhooks({ secret });
  verifiers.set(secret, known);
  return known;
}

export const github: Forge = {
  async verify(headers, body, secrets) {
    const signature = single(headers, "x-hub-signature-256");
    // Also where the header came twice: Node joins the two with a comma.
    if (signature === null || !/^sha256=[0-9a-f]{64}$/u.test(signature)) return false;
    const results = await Promise.all(secrets.map((secret) => verifier(secret).verify(body, signature)));
    return results.includes(true);
  },

  read(headers, body): Event | null {
    const name = single(headers, "x-github-event");
    if (name === null || !/^[a-z_]{1,64}$/u.test(name)) return null;
    if (name === "ping") return { type: "ping" };
    if (name !== "push") return { type: "other" };
    const payload = parsed(body);
    const repository = isRecord(payload) ? payload["repository"] : null;
    if (!isRecord(payload) || !isRecord(repository)) return null;
    const { ref, deleted } = payload;
    const { full_name: fullName } = repository;
    if (typeof ref !== "string" || typeof fullName !== "string") return null;
    return { type: "push", repository: fullName, ref, deleted: deleted === true };
  },
};

function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return null;
  }
}
