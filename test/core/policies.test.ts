// Policies that the API writes, where their texts take long to read.

import { expect, test } from "vitest";
import { harness, refusal } from "./harness.ts";

const long = (capability: string): string =>
  Array.from({ length: 4000 }, (_none, at) => `path "secret/${at}/*" { capabilities = ["${capability}"] }`).join("\n");
const short = (capability: string): string => `path "secret/*" { capabilities = ["${capability}"] }`;

test("writes of one policy take effect in the order in which they came, however long each takes to read", async () => {
  const { ask } = await harness();
  const put = (policy: string) => ask("update", "sys/policies/acl/team", { policy });
  const text = async () => (await ask("read", "sys/policies/acl/team")).data?.["policy"];
  await Promise.all([put(long("read")), put(short("list"))]);
  expect(await text()).toBe(short("list"));
  await Promise.all([put(long("read")), ask("delete", "sys/policies/acl/team")]);
  expect(await refusal(text())).toBe("not_found: ");
  await Promise.all([put(long("read")), ask("delete", "sys/policies/acl/team"), put(long("update"))]);
  expect(await text()).toBe(long("update"));
  // What is refused holds nobody up, and changes nothing.
  const wrong = refusal(put(`${long("read")}\npath "x" {\n  capabilities = ["raed"]\n}`));
  await put(short("list"));
  expect(await text()).toBe(short("list"));
  expect(await wrong).toContain('invalid: failed to parse policy "team": 4002:19: no capability is called');
  expect(await text()).toBe(short("list"));
});

test("a long policy decides as it says, also after a restart", async () => {
  const first = await harness();
  await first.ask("update", "sys/policies/acl/team", { policy: long("read") });
  const made = await first.ask("update", "auth/token/create", { policies: ["team"] });
  const token = made.auth?.client_token ?? "";
  const asked = { paths: ["secret/3999/a", "secret/4000/a"] };
  const wanted = { "secret/3999/a": ["read"], "secret/4000/a": ["deny"] };
  for (const { ask } of [first, await first.reopen()]) {
    expect((await ask("update", "sys/capabilities-self", asked, token)).data).toEqual(wanted);
  }
});

test("a seal ends what is being read", async () => {
  const { ask, vault } = await harness();
  await ask("update", "sys/policies/acl/team", { policy: long("read") });
  const reader = vault.core?.policyReader;
  await vault.seal();
  expect(await refusal(reader?.read(long("read"), "team") ?? Promise.reject(new Error("no core")))).toBe(
    "sealed: Vault is sealed",
  );
});
