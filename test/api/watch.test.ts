import { describe, expect, test } from "vitest";
import { type Answered, type Asked, faultOf } from "./watch.ts";

const options = { port: 0, folders: ["/srv/vault"], vocabulary: "token_policies service", documented: [] };
const asked = (more: Partial<Asked> = {}): Asked => ({
  method: "POST",
  url: "/v1/kv/a",
  headers: [],
  body: "",
  ...more,
});
const refusal = (...errors: string[]): Answered => ({
  status: 400,
  type: "application/json",
  body: JSON.stringify({ errors }),
});
const fault = (question: Partial<Asked>, answer: Partial<Answered>): string | null =>
  faultOf(asked(question), { ...refusal("wrong"), ...answer }, options);

describe("the watch of a fuzzer", () => {
  test.each<[string, Partial<Asked>, Partial<Answered>]>([
    ["a status of 500", {}, { status: 500 }],
    ["503", {}, { status: 503 }],
    ["a value of the body", { body: '{"type":"hunter2"}' }, refusal("no type hunter2")],
    ["one deep inside", { body: '{"a":[{"b":"hunter2"}]}' }, refusal("hunter2?")],
    ["a long number", { body: '{"a":123456789}' }, refusal("123456789 is too large")],
    ["a value with a quote in it", { body: '{"a":"hunt\\"er2"}' }, refusal('no hunt"er2')],
    ["a value of the query", { url: "/v1/kv/a?x=hunter2" }, refusal("hunter2?")],
    ["a value of a form", { body: "x=hunter2" }, refusal("hunter2?")],
    ["a body that is no JSON", { body: "hunter2 {" }, refusal("Unexpected token in hunter2 {")],
    ["a header's value", { headers: ["x-vault-token", "hunter2"] }, refusal("bad token hunter2")],
    ["a stack", {}, refusal("x\n    at run (dist/core.js:1:2)")],
    ["a place in the code", {}, refusal("handle.ts:12 says no")],
    ["a path of the server's", {}, refusal("cannot open /srv/vault/storage/db")],
    ["an error that is no JSON", {}, { body: "<html>" }],
    ["an error without a list", {}, { body: '{"error":"x"}' }],
  ])("finds %s", (_what, question, answer) => {
    expect(fault(question, answer)).not.toBeNull();
  });

  test.each<[string, Partial<Asked>, Partial<Answered>]>([
    ["an answer", { body: '{"a":"hunter2"}' }, { status: 200, body: '{"data":{"a":"hunter2"}}' }],
    [
      "the request's path",
      { url: "/v1/kv/hunter2", body: '{"a":"hunter2"}' },
      refusal('no handler for route "kv/hunter2"'),
    ],
    ["the name of a field", { body: '{"hunter2":1}' }, refusal('unknown field "hunter2"')],
    ["the server's own words", { body: '{"a":"service"}' }, refusal("a service token")],
    ["what is short", { body: '{"a":"no"}' }, refusal("no such thing")],
    ["an absent secret", {}, { status: 404, body: '{"errors":[]}' }],
    ["a deleted version", {}, { status: 404, body: '{"data":null}' }],
    ["a health that was asked to be 500", { url: "/v1/sys/health?activecode=500" }, { status: 500, body: "{}" }],
  ])("takes no fault with %s", (_what, question, answer) => {
    expect(fault(question, answer)).toBeNull();
  });
});
