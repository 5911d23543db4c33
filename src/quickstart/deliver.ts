// What the post-receive hook of the quickstart's policy repository runs: node deliver.ts URL SECRET_FILE OWNER/NAME.
// Must hold: a push never fails or hangs because of it; the secret is in a file, never in an argument.

import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { readUpdates, signedDelivery } from "./delivery.ts";

const timeoutMs = 5_000;
const [url = "", secretFile = "", repository = ""] = process.argv.slice(2);

try {
  const secret = (await readFile(secretFile, "utf8")).trim();
  for (const update of readUpdates(await text(process.stdin))) {
    const { headers, body } = signedDelivery(update, repository, secret);
    const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(timeoutMs) });
    await answer.body?.cancel();
    process.stderr.write(
      answer.ok
        ? `writ: told the vault of ${update.ref}; see: writ status\n`
        : `writ: the vault answered ${answer.status} to the delivery; it looks by itself within a minute or so\n`,
    );
  }
} catch {
  process.stderr.write("writ: the vault was not reached; it takes the push up when it runs (npm start)\n");
}
