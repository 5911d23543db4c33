// What a running vault adds to a plan, which is made offline: that what a commit says does not act now.
// Must hold: only a vault that the environment names is asked, by whoever has a token there, and shortly; a plan is never
// wrong or late because of it.

import { blocksIn, blockText } from "./blocks.ts";
import { createClient } from "./client.ts";
import type { Io } from "./io.ts";
import { plain } from "./show.ts";
import { dataOf, type GitStatus, pinText } from "./status.ts";

const patience = 2_000;

/** Prints what stands in the way of what was planned. */
export async function beside(io: Io): Promise<void> {
  if (!io.env["VAULT_ADDR"]?.trim()) return;
  try {
    const client = (await createClient(io.env)).within(patience);
    if (client.token === null) return;
    const [{ status, body }, blocked] = await Promise.all([
      client.send("GET", "sys/gitops/status?documents=false"),
      client.send("GET", "sys/blocks?list=true"),
    ]);
    const blocks = blocked.status === 200 ? blocksIn(blocked) : [];
    if (blocks.length > 0) io.out("");
    for (const block of blocks) io.out(plain(`Blocked, whatever is declared: ${blockText(block)}`));
    if (blocked.status !== 200 && blocked.status !== 404) {
      io.err(`writ: what is blocked is not shown: sys/blocks answers ${blocked.status}`);
    }
    const { pinned } = status === 200 ? (dataOf(body) as GitStatus) : {};
    if (pinned) {
      io.out("");
      io.out(plain(`${client.address} is pinned to ${pinText(pinned)}. Nothing of this acts before writ unpin.`));
    }
  } catch (error) {
    io.err(
      `writ: the vault could not be asked what stands beside this: ${error instanceof Error ? error.message : ""}`,
    );
  }
}
