// Where the chain goes on after a start. Each device says where it stands; the furthest is believed, except where it
// contradicts what the vault itself remembers (a head kept in its encrypted storage) or what the others hold.
// Known gap: the vault's own memory is up to a minute old after a crash. Who could write to every device may rewrite that
// minute.

import type { Logger } from "../../lib/log.ts";
import type { AuditDevice, Head } from "../../sdk/audit.ts";
import { lineHash } from "../../sdk/chain.ts";
import { VaultError } from "../../sdk/errors.ts";

export interface Standing {
  readonly device: AuditDevice;
  readonly required: boolean;
  readonly head: Head | null;
}

export interface Start {
  readonly head: Head | null;
  /** Devices whose lines are not the chain's. */
  readonly refused: ReadonlySet<AuditDevice>;
}

/** The hash of line `seq` at a device; null where it does not hold it (any more). */
async function hashAt(standing: Standing, seq: number): Promise<string | null> {
  if (standing.head?.seq === seq) return standing.head.hash;
  if (standing.head === null || standing.head.seq < seq) return null;
  const [line] = await standing.device.read(seq, 1);
  return line === undefined ? null : lineHash(line);
}

const agree = (a: string | null, b: string | null): boolean => a === null || b === null || a === b;

/** Throws VaultError `audit` where no device is left to go on with, or a required one is not. */
export async function chooseStart(
  standings: readonly Standing[],
  remembered: Head | null,
  log: Logger,
): Promise<Start> {
  const refused = new Set<AuditDevice>();
  const refuse = (device: AuditDevice, seq: number, against: string): void => {
    refused.add(device);
    log.security("audit device holds another line than expected: it is not used", {
      device: device.name,
      seq,
      against,
    });
  };
  const order = standings.toSorted(
    (a, b) => (b.head?.seq ?? 0) - (a.head?.seq ?? 0) || Number(b.required) - Number(a.required),
  );
  if (remembered !== null) {
    for (const standing of order) {
      if (agree(await hashAt(standing, remembered.seq), remembered.hash)) continue;
      refuse(standing.device, remembered.seq, "the vault's own record");
    }
  }
  const best = order.find((standing) => !refused.has(standing.device));
  for (const standing of order) {
    const { head, device } = standing;
    if (best === undefined || standing === best || head === null || refused.has(device)) continue;
    if (!agree(await hashAt(best, head.seq), head.hash)) refuse(device, head.seq, best.device.name);
  }
  for (const { device, required } of standings) {
    if (!refused.has(device) || (!required && refused.size < standings.length)) continue;
    throw new VaultError(
      "audit",
      `audit device "${device.name}" holds other lines than this vault wrote: keep them as evidence, give the device a new ` +
        `place in the server config, and restart`,
    );
  }
  const found = best?.head ?? null;
  if (remembered === null || (found !== null && found.seq >= remembered.seq)) {
    return { head: found, refused };
  }
  log.security("audit lines are missing: the devices end before what the vault remembers", {
    remembered: remembered.seq,
    found: found?.seq ?? 0,
  });
  return { head: remembered, refused };
}
