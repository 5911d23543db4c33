// What a running vault adds to a plan, which is made offline: that what a commit says does not act now.
// Must hold: only a vault that the environment names is asked, by whoever has a token there, and shortly; a plan is never
// wrong or late because of it.

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
    const { status, body } = await client.send("GET", "sys/gitops/status?documents=false");
    if (status !== 200) return;
    const { pinned } = dataOf(body) as GitStatus;
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
