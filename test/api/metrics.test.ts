// What the wire measures of itself, and who gets to see it without a token.

import { expect, test } from "vitest";
import { Meter } from "../../src/api/meter.ts";
import { exposition, gauge } from "../../src/lib/metrics.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { parsed } from "../prometheus.ts";
import { errorsOf, exchange, start } from "./fixture.ts";

test("requests are counted by kind and status, and no path becomes a label", async () => {
  const meter = new Meter();
  const { port } = await start({
    app: { meter },
    handle: async ({ path }) => {
      if (path.endsWith("denied")) throw new VaultError("denied", "permission denied");
      return { data: {} };
    },
  });
  for (const line of [
    "GET /v1/secret/data/a",
    "LIST /v1/secret/metadata",
    "GET /v1/secret/denied",
    "POST /v1/auth/userpass/login/x",
    "GET /v1/sys/mounts",
    "GET /v1/sys/health",
    "GET /v1/identity/entity/id",
    "GET /v1/cubbyhole/a",
    "GET /v1/systems/a",
    "GET /v1/a/../b",
    "GET /elsewhere",
    "GET /v1//a",
  ]) {
    await exchange(port, line);
  }
  const text = exposition(meter.families());
  const [requests] = parsed(text);
  const counts = (requests?.metrics ?? []).map(({ labels, value }) => [
    `${labels?.["route"]} ${labels?.["status"]}`,
    value,
  ]);
  expect(Object.fromEntries(counts)).toEqual({
    "secret 200": "3",
    "secret 307": "1",
    "secret 403": "1",
    "auth 200": "1",
    "sys 200": "2",
    "identity 200": "1",
    "cubbyhole 200": "1",
    "none 400": "1",
    "none 404": "1",
  });
  // The parser knows histograms without labels only.
  const lines = text.matchAll(/^writ_http_request_duration_seconds_count\{route="(\w+)"\} (\d+)$/gm);
  const timed = [...lines].map(([, route, count]) => [route, Number(count)]);
  expect(Object.fromEntries(timed)).toEqual({ secret: 5, auth: 1, sys: 2, identity: 1, cubbyhole: 1, none: 2 });
});

test("without being opened they go through the door like everything else", async () => {
  const { port, seen } = await start();
  await exchange(port, "GET /v1/sys/metrics?format=prometheus");
  expect(seen.map(({ path, data }) => [path, { ...data }])).toEqual([["sys/metrics", { format: "prometheus" }]]);
});

test("opened by config, they need neither a token nor an unsealed vault", async () => {
  const { port, seen } = await start({
    app: { openMetrics: true },
    door: { metrics: async () => [gauge("vault_core_unsealed", "1 while unsealed", 0)] },
  });
  const text = await exchange(port, "GET /v1/sys/metrics?format=prometheus");
  expect([text.status, text.headers["content-type"]]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(text.body).toBe(
    "# HELP vault_core_unsealed 1 while unsealed\n# TYPE vault_core_unsealed gauge\nvault_core_unsealed 0\n",
  );
  const accepted = await exchange(port, "GET /v1/sys/metrics", ["Accept: application/openmetrics-text; version=1.0.0"]);
  expect(accepted.body).toBe(text.body);
  expect(JSON.parse((await exchange(port, "GET /v1/sys/metrics")).body)).toMatchObject({ Gauges: [{ Value: 0 }] });
  const wrong = await exchange(port, "GET /v1/sys/metrics?format=s3cret");
  expect([wrong.status, errorsOf(wrong)]).toEqual([400, [expect.not.stringContaining("s3cret")]]);
  expect((await exchange(port, "POST /v1/sys/metrics")).status).toBe(405);
  expect(seen).toEqual([]);
});
