// Thousands of requests at once, pipelined on many connections, by many tokens, each to a path of its own: every answer is
// the one to its request, whatever runs beside it.

import { afterAll, beforeAll, expect, test } from "vitest";
import { build, Server } from "../crash/server.ts";
import { type Answered, requestText, Wire } from "./fixture.ts";

const [people, keys] = [40, 250];
const [connections, depth, rounds] = [60, 100, 5];

interface Question {
  readonly text: string;
  /** What is wrong with an answer; null where nothing is. */
  readonly fault: (answer: Answered) => string | null;
}

let server: Server;
/** By number. Each may read below its own folder and nowhere else. */
const tokens: string[] = [];

/** The same numbers in the same order on every machine. */
function* numbers(start: number): Generator<number> {
  for (let state = start; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state;
  }
}

beforeAll(async () => {
  build();
  server = await Server.make("{ type: sqlite, path: storage }");
  await server.start();
  await server.initialize();
  await server.must("POST", "sys/mounts/plain", { type: "kv", options: { version: "1" } });
  await server.must("POST", "sys/mounts/versions", { type: "kv", options: { version: "2" } });
  const each = Array.from({ length: people }, async (_, who) => {
    const policy = `path "plain/${who}/*" { capabilities = ["read", "list"] }
      path "versions/data/${who}/*" { capabilities = ["read"] }`;
    await server.must("PUT", `sys/policies/acl/p${who}`, { policy });
    const made = await server.must("POST", "auth/token/create", { policies: [`p${who}`], display_name: `n${who}` });
    tokens[who] = (made as { auth: { client_token: string } }).auth.client_token;
    for (let key = 0; key < keys; key++) {
      await server.must("PUT", `plain/${who}/k${key}`, { value: `plain ${who} ${key}`, more: "x".repeat(key * 3) });
      if (key % 10 === 0)
        await server.must("PUT", `versions/data/${who}/k${key}`, { data: { value: `two ${who} ${key}` } });
    }
  });
  await Promise.all(each);
});
afterAll(() => server?.remove());

interface Body {
  readonly data?: Readonly<Record<string, unknown>>;
  readonly errors?: readonly string[];
}

const ask = (method: string, path: string, who: number, holds: (status: number, body: Body) => boolean): Question => ({
  text: requestText(`${method} /v1/${path}`, [`X-Vault-Token: ${tokens[who] ?? ""}`]),
  fault: ({ status, body }) => {
    if (holds(status, JSON.parse(body) as Body)) return null;
    return `${method} ${path} by ${who}: ${status} ${body.slice(0, 200)}`;
  },
});

/** One request of the kinds that there are, each with an answer that fits no other. */
function question(next: () => number): Question {
  const [kind, who, key] = [next() % 7, next() % people, next() % keys];
  const other = (who + 1 + (next() % (people - 1))) % people;
  const wanted = `plain ${who} ${key}`;
  if (kind <= 1)
    return ask("GET", `plain/${who}/k${key}`, who, (status, { data }) => status === 200 && data?.["value"] === wanted);
  if (kind === 2) {
    const tenth = key - (key % 10);
    return ask("GET", `versions/data/${who}/k${tenth}`, who, (status, { data }) => {
      const inner = data?.["data"] as { value?: string } | undefined;
      return status === 200 && inner?.value === `two ${who} ${tenth}`;
    });
  }
  if (kind === 3) {
    return ask("GET", "auth/token/lookup-self", who, (status, { data }) => {
      return status === 200 && data?.["id"] === tokens[who] && data?.["display_name"] === `token-n${who}`;
    });
  }
  if (kind === 4) {
    const path = `plain/${other}/k${key}`;
    return ask("GET", path, who, (status, { errors }) => {
      return status === 403 && errors?.[0] === "permission denied" && errors.join().includes(`"${path}"`);
    });
  }
  if (kind === 5)
    return ask(
      "LIST",
      `plain/${who}`,
      who,
      (status, { data }) => status === 200 && (data?.["keys"] as string[] | undefined)?.length === keys,
    );
  return ask("GET", `plain/${who}/none${key}`, who, (status, { errors }) => status === 404 && errors?.length === 0);
}

test("each of thousands of pipelined requests gets its own answer", async () => {
  let count = 0;
  const faults: string[] = [];
  const began = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async (_, connection) => {
      const random = numbers(connection);
      const next = (): number => Math.floor(random.next().value / 256);
      const wire = new Wire(server.port);
      for (let round = 0; round < rounds; round++) {
        const questions = Array.from({ length: depth }, () => question(next));
        // LIST goes through a connection that is handed over, with what stands behind it.
        await wire.send(questions.map(({ text }) => text).join(""));
        for (const { fault } of questions) {
          const answer = await wire.answer();
          const found = answer === null ? `the connection ended after ${count} answers` : fault(answer);
          if (found !== null) faults.push(found);
          count += 1;
        }
      }
      wire.socket.destroy();
    }),
  );
  console.log(`  ${count} answers on ${connections} connections in ${Math.round(performance.now() - began)} ms`);
  expect(faults.slice(0, 10)).toEqual([]);
  expect(count).toBe(connections * depth * rounds);
  expect(server.running.child.exitCode).toBeNull();
});
