// A broker on probes, with time moved by hand, and requests to serve.

import { createSecretKey } from "node:crypto";
import { Broker, type BrokerOptions, type HeadRecord } from "../../src/core/broker.ts";
import type { Exchange } from "../../src/core/exchange.ts";
import { manualClock } from "../../src/lib/clock.ts";
import { createLogger } from "../../src/lib/log.ts";
import type { AuditDevice } from "../../src/sdk/audit.ts";
import { linesOf, verifyChain } from "../../src/sdk/chain.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { Hand, type Probe, turns } from "./probe.ts";

export const rawKey = Buffer.from("0123456789abcdef0123456789abcdef");
export const hashKey = createSecretKey(rawKey);
export const clock = manualClock();
export const deadlineMs = 4000;
export let logs: Record<string, unknown>[] = [];
export let hand = new Hand();
export let requests = 0;

/** Before each test: no log lines, and time at its start. */
export function reset(): void {
  logs = [];
  hand = new Hand();
}

export const log = createLogger({ write: (line) => void logs.push(JSON.parse(line) as Record<string, unknown>) });
export const security = (): unknown[] =>
  logs.filter((line) => line["security"] === true).map((line) => line["message"]);

export function exchangeOf(data: Record<string, unknown> = {}): Exchange {
  return {
    request: {
      id: `00000000-0000-4000-8000-${String(++requests).padStart(12, "0")}`,
      operation: "read",
      path: "secret/data/payments/x",
      data,
      token: "hvs.secret-token",
      connection: { remoteAddress: "127.0.0.1", remotePort: 4711, local: true },
      headers: {},
      time: clock.now(),
    },
    mount: null,
    principal: null,
    fields: null,
    generation: "abc+1",
    rule: null,
    facts: null,
    allowed: true,
  };
}

export type Given = AuditDevice | { device: AuditDevice; required: boolean };
export async function openBroker(
  devices: readonly Given[],
  more: Partial<BrokerOptions> = {},
  record?: HeadRecord,
): Promise<Broker> {
  const broker = new Broker({ log, clock, deadlineMs, timer: hand, ...more });
  const list = devices.map((one) => ("device" in one ? one : { device: one, required: false }));
  await broker.open({ devices: list, hashKey, ...(record !== undefined && { record }) });
  await turns();
  return broker;
}

/** Both entries of one request, waiting as the door does for a read. */
export async function serve(broker: Broker, exchange = exchangeOf()): Promise<void> {
  await broker.response(broker.request(exchange), { response: { data: { answer: "yes" } } });
}

export const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "kept",
    (error: unknown) => (error instanceof VaultError ? error.code : String(error)),
  );
export const sound = async (probe: Probe): Promise<unknown> => verifyChain(linesOf(probe.name, probe.lines));
