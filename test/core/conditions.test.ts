// Conditions through the door: what a request brings as facts, what is withheld, and what the audit tells of it.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Operation, Response } from "../../src/sdk/request.ts";
import { declare, type Harness, harness, refusal, setOf } from "./harness.ts";

const inside = { cidr: [{ var: "request.remote_address" }, "10.0.0.0/8"] };
const rule = (path: string, capabilities: readonly string[], more: object = {}) => ({ path, capabilities, ...more });
const policy = (name: string, rules: readonly object[], more: object = {}) =>
  declare("Policy", name, { rules, ...more });
const mount = declare("SecretEngine", "secret", {
  type: "kv",
  description: "",
  options: { version: "2" },
  config: { default_lease_ttl: 0, max_lease_ttl: 0, listing_visibility: "" },
  on_remove: "retain",
});

type From = { readonly address?: string; readonly token: string };

function ask(
  h: Harness,
  from: From,
  operation: Operation,
  path: string,
  data: Record<string, unknown> = {},
): Promise<Response> {
  return h.vault.handle({
    id: randomUUID(),
    operation,
    path,
    data: Object.assign(Object.create(null) as Record<string, unknown>, data),
    token: from.token,
    connection: { remoteAddress: from.address ?? "10.1.2.3", remotePort: 4711, local: false },
    headers: {},
    time: h.clock.now(),
  });
}

async function prepared(...policies: Parameters<typeof setOf>[1][]): Promise<Harness> {
  const h = await harness();
  await h.target.apply(setOf("aa", mount, ...policies), []);
  await h.ask("update", "secret/data/db", { data: { password: "s3cret" } });
  return h;
}

const tokenOf = async (h: Harness, data: Record<string, unknown>, maker = h.root): Promise<string> =>
  (await h.ask("update", "auth/token/create", data, maker)).auth?.client_token ?? "";

const entriesOf = (h: Harness): readonly Record<string, unknown>[] =>
  h.tape.lines.map((line) => JSON.parse(line) as Record<string, unknown>);

test("a condition withholds what its rule allows, and the audit has the facts that it read", async () => {
  const h = await prepared(
    policy("office", [rule("secret/data/db", ["read"], { when: inside }), rule("secret/*", ["read", "list"])]),
  );
  const token = await tokenOf(h, { policies: ["office"] });
  const from = h.tape.lines.length;
  await ask(h, { token }, "read", "secret/data/db");
  expect(await refusal(ask(h, { token, address: "192.168.0.1" }, "read", "secret/data/db"))).toMatch(/^denied/);
  expect(await refusal(ask(h, { token, address: "" }, "read", "secret/data/db"))).toMatch(/^denied/);
  // Without a condition on its path: the broader rule, and no facts.
  expect(await refusal(ask(h, { token, address: "" }, "read", "secret/data/other"))).toMatch(/^not_found/);
  const told = entriesOf(h)
    .slice(from)
    .map(({ type, rule: decided, facts }) => ({ type, rule: decided, facts }));
  const twice = (facts: unknown, path = "secret/data/db") =>
    ["request", "response"].map((type) => ({ type, rule: `office ${path}`, facts }));
  expect(told).toEqual([
    ...twice({ "request.remote_address": "10.1.2.3" }),
    ...twice({ "request.remote_address": "192.168.0.1" }),
    ...twice({ "request.remote_address": null }),
    ...twice(undefined, "secret/*"),
  ]);
});

test("weekdays and hours are those of the policy's zone; a rule ends at its instant", async () => {
  const when = { and: [{ "==": [{ var: "time.weekday" }, "fri"] }, { "<": [{ var: "time.hour" }, 1] }] };
  const h = await prepared(
    policy("early", [rule("secret/data/db", ["read"], { when })], { time_zone: "Europe/Zurich" }),
    policy("until", [rule("secret/data/db", ["read"], { expires: "2026-01-01T00:30:00+01:00" })]),
    policy("for-now", [rule("secret/data/db", ["read"], { expires: "2026-01-02T00:00:00Z" })]),
  );
  const early = await tokenOf(h, { policies: ["early"] });
  const until = await tokenOf(h, { policies: ["until"] });
  const forNow = await tokenOf(h, { policies: ["for-now"] });
  const reads = async (token: string): Promise<boolean> =>
    ask(h, { token }, "read", "secret/data/db").then(
      () => true,
      () => false,
    );
  // A Thursday, midnight in UTC.
  h.clock.set(Date.UTC(2026, 0, 1));
  expect([await reads(early), await reads(until), await reads(forNow)]).toEqual([false, false, true]);
  h.clock.set(Date.UTC(2026, 0, 1, 23, 59));
  h.tape.lines.length = 0;
  // Tokens of an hour are over by now.
  const late = await tokenOf(h, { policies: ["early"] });
  expect(await reads(late)).toBe(true);
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({
    "time.weekday (Europe/Zurich)": "fri",
    "time.hour (Europe/Zurich)": 0,
  });
  h.clock.set(Date.UTC(2026, 0, 2));
  expect([await reads(late), await reads(await tokenOf(h, { policies: ["for-now"] }))]).toEqual([false, false]);
});

test("what a login says of itself is the login's, and no token below it can say otherwise", async () => {
  const when = { "==": [{ var: "auth.metadata.username" }, "ada"] };
  const h = await prepared(
    policy("ada-only", [
      rule("secret/data/db", ["read"], { when }),
      rule("auth/token/create", ["update"]),
      rule("sys/capabilities-self", ["update"]),
    ]),
  );
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  const login = async (name: string): Promise<string> => {
    await h.ask("update", `auth/userpass/users/${name}`, { password: "correct horse", token_policies: ["ada-only"] });
    const answer = await h.ask("update", `auth/userpass/login/${name}`, { password: "correct horse" }, null);
    return answer.auth?.client_token ?? "";
  };
  const [ada, eve] = [await login("ada"), await login("eve")];
  const child = await tokenOf(h, { meta: { username: "eve" } }, ada);
  await ask(h, { token: ada }, "read", "secret/data/db");
  await ask(h, { token: child }, "read", "secret/data/db");
  expect(await refusal(ask(h, { token: eve }, "read", "secret/data/db"))).toMatch(/^denied/);
  const forged = await tokenOf(h, { meta: { username: "ada" }, display_name: "userpass-ada" }, eve);
  expect(await refusal(ask(h, { token: forged }, "read", "secret/data/db"))).toMatch(/^denied/);
  const orphan = await tokenOf(h, { policies: ["ada-only"], meta: { username: "ada" } });
  expect(await refusal(ask(h, { token: orphan }, "read", "secret/data/db"))).toMatch(/^denied/);
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({ "auth.metadata.username": null });
});

test("a batch token is one, a role says who it is, and a token role is no login", async () => {
  const role = { "==": [{ var: "auth.metadata.role_name" }, "payer"] };
  const h = await prepared(
    policy("payer-only", [
      rule("secret/data/db", ["read"], { when: { and: [role, { "==": [{ var: "auth.type" }, "approle"] }] } }),
      rule("secret/data/other", ["read"], { when: { "==": [{ var: "token.type" }, "batch"] } }),
      rule("auth/token/create/child", ["update"]),
    ]),
  );
  await h.ask("update", "sys/auth/machines", { type: "approle" });
  await h.ask("update", "auth/token/roles/child", { allowed_policies: ["payer-only"], token_type: "service" });
  await h.ask("update", "auth/token/roles/stray", { allowed_policies: ["payer-only"], orphan: true });
  const login = async (name: string, type: string, metadata: object): Promise<string> => {
    const at = `auth/machines/role/${name}`;
    await h.ask("update", at, { token_policies: ["payer-only"], token_type: type });
    const { role_id } = (await h.ask("read", `${at}/role-id`)).data ?? {};
    const made = await h.ask("update", `${at}/secret-id`, { metadata: JSON.stringify(metadata) });
    const data = { role_id, secret_id: made.data?.["secret_id"] };
    return (await h.ask("update", "auth/machines/login", data, null)).auth?.client_token ?? "";
  };
  const payer = await login("payer", "batch", {});
  const other = await login("other", "service", { role_name: "payer" });
  await ask(h, { token: payer }, "read", "secret/data/db");
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({ "auth.metadata.role_name": "payer", "auth.type": "approle" });
  expect(await refusal(ask(h, { token: payer }, "read", "secret/data/other"))).toMatch(/^not_found/);
  expect(await refusal(ask(h, { token: other }, "read", "secret/data/other"))).toMatch(/^denied/);
  expect(await refusal(ask(h, { token: other }, "read", "secret/data/db"))).toMatch(/^denied/);
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({ "auth.metadata.role_name": "other" });
  const child = await h.ask("update", "auth/token/create/child", { meta: { role_name: "payer" } }, other);
  expect(await refusal(ask(h, { token: child.auth?.client_token ?? "" }, "read", "secret/data/db"))).toMatch(/^denied/);
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({ "auth.metadata.role_name": "other" });
  const stray = await h.ask("update", "auth/token/create/stray", {
    meta: { role_name: "payer" },
    policies: ["payer-only"],
  });
  expect(await refusal(ask(h, { token: stray.auth?.client_token ?? "" }, "read", "secret/data/db"))).toMatch(/^denied/);
  expect(entriesOf(h).at(-1)?.["facts"]).toEqual({ "auth.metadata.role_name": null });
});

test("capabilities are what holds now: from here for one's own token, from nowhere for another's", async () => {
  const reads = { in: [{ var: "request.operation" }, ["read", "list"]] };
  const young = { "<": [{ var: "token.age" }, 60] };
  const h = await prepared(
    policy("some", [
      rule("secret/data/db", ["read", "update", "list"], { when: { and: [inside, reads] } }),
      rule("secret/data/fresh", ["read", "update"], { when: young }),
      rule("sys/capabilities*", ["update"]),
    ]),
    policy("more", [rule("secret/data/db", ["delete"])]),
  );
  const token = await tokenOf(h, { policies: ["some", "more"] });
  const paths = ["secret/data/db", "/secret/data/fresh"];
  const shown = async (from: From, path: string, data: object = {}): Promise<unknown[]> => {
    const { data: found } = await ask(h, from, "update", path, { paths, ...data });
    return paths.map((each) => found?.[each]);
  };
  expect(await shown({ token }, "sys/capabilities-self")).toEqual([
    ["delete", "list", "read"],
    ["read", "update"],
  ]);
  expect(await shown({ token, address: "192.168.0.1" }, "sys/capabilities-self")).toEqual([
    ["delete"],
    ["read", "update"],
  ]);
  expect(await shown({ token }, "sys/capabilities", { token })).toEqual([
    ["delete", "list", "read"],
    ["read", "update"],
  ]);
  expect(await shown({ token: h.root }, "sys/capabilities", { token })).toEqual([["delete"], ["read", "update"]]);
  h.clock.advance(60_000);
  expect(await shown({ token }, "sys/capabilities-self")).toEqual([["delete", "list", "read"], ["deny"]]);
});

test("sudo under a condition is had where it holds, and lets nobody choose policies", async () => {
  const when = inside;
  const h = await prepared(
    policy("ops", [
      rule("sys/audit", ["read", "sudo"], { when }),
      rule("auth/token/create", ["update", "sudo"], { when }),
    ]),
    policy("other", [rule("secret/data/db", ["read"])]),
  );
  const token = await tokenOf(h, { policies: ["ops"] });
  await ask(h, { token }, "read", "sys/audit");
  expect(await refusal(ask(h, { token, address: "192.168.0.1" }, "read", "sys/audit"))).toMatch(/^denied/);
  expect(await refusal(ask(h, { token }, "update", "auth/token/create", { policies: ["other"] }))).toMatch(
    /^invalid: child policies must be subset of parent/,
  );
});

test("a policy of the API keeps its text, and one of Git is printed with its conditions", async () => {
  const h = await prepared(
    policy("office", [rule("secret/*", ["read"], { when: inside, expires: "2027-01-31T00:00:00Z" })], {
      time_zone: "Europe/Zurich",
    }),
  );
  const text = `time_zone = "Asia/Tokyo"
path "secret/data/db" {
  capabilities = ["read"]
  when = { "==" = [{ "var" = "time.hour" }, 9] }
}
`;
  await h.ask("update", "sys/policies/acl/tokyo", { policy: text });
  expect((await h.ask("read", "sys/policies/acl/tokyo")).data?.["policy"]).toBe(text);
  const printed = (await h.ask("read", "sys/policies/acl/office")).data?.["policy"];
  expect(printed).toBe(`time_zone = "Europe/Zurich"

path "secret/*" {
  capabilities = ["read"]
  when = { "cidr" = [{ "var" = "request.remote_address" }, "10.0.0.0/8"] }
  expires = "2027-01-31T00:00:00Z"
}
`);
  await h.ask("update", "sys/policies/acl/copy", { policy: printed });
  const copy = await tokenOf(h, { policies: ["copy"] });
  await ask(h, { token: copy }, "read", "secret/data/db");
  expect(await refusal(ask(h, { token: copy, address: "11.0.0.1" }, "read", "secret/data/db"))).toMatch(/^denied/);
  const tokyo = await tokenOf(h, { policies: ["tokyo"] });
  await ask(h, { token: tokyo }, "read", "secret/data/db");
  h.clock.advance(3_000_000);
  await ask(h, { token: tokyo }, "read", "secret/data/db");
  h.clock.advance(601_000);
  expect(await refusal(ask(h, { token: await tokenOf(h, { policies: ["tokyo"] }) }, "read", "secret/data/db"))).toMatch(
    /^denied/,
  );
  expect(await refusal(h.ask("update", "sys/policies/acl/bad", { policy: text.replace("9", '"9"') }))).toMatch(
    /^invalid: failed to parse policy "bad": 4:45: when\.==\.1: is text, compared with a number/,
  );
  const next = await h.reopen();
  await next.unseal();
  expect((await next.ask("read", "sys/policies/acl/tokyo")).data?.["policy"]).toBe(text);
});
