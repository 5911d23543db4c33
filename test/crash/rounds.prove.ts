// A real server under eight writers, killed at any moment, 200 times on each storage, also while it mounts, unmounts, rotates
// its keys and applies commits.
// Must hold after each start on what the kill left: the share unseals; every answered write is there; what
// was not answered is there whole or not at all.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { git } from "../e2e/server.ts";
import { Model } from "./model.ts";
import { build, Server } from "./server.ts";

const rounds = 200;
const writers = 8;
/** What else is under way in a round. */
const works = ["nothing", "mount", "unmount", "rotate", "commit"] as const;
type Work = (typeof works)[number];

beforeAll(build);

let server: Server;
afterAll(() => server?.remove());

const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: writ/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

/** A commit whose documents all say `number`. */
async function commit(number: number): Promise<void> {
  const work = join(server.folder, "work");
  const rules = `{ rules: [{ path: "round/${number}", capabilities: [read] }] }`;
  const documents = ["one", "two", "three"].map((name) => document("Policy", `git-${name}`, rules));
  await writeFile(join(work, "all.yaml"), documents.join("---\n"));
  await git(work, "add", ".");
  await git(work, "commit", "--quiet", "-m", `Round ${number}`);
  await git(work, "push", "--quiet", "origin", "HEAD:main");
}

async function makeRepository(): Promise<void> {
  await git(server.folder, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git");
  await git(server.folder, "clone", "--quiet", "remote.git", "work");
  await mkdir(join(server.folder, "cache"), { recursive: true });
  await commit(0);
}

/** Which number the policies from Git say; all the same one, unless a commit came between the questions. */
async function applied(tries = 3): Promise<number> {
  const found = await Promise.all(
    ["one", "two", "three"].map(async (name) => {
      const { status, body } = await server.ask("GET", `sys/policies/acl/git-${name}`);
      if (status === 404) return -1;
      const { policy } = (body as { data: { policy: string } }).data;
      return Number(/round\/(\d+)/.exec(policy)?.[1]);
    }),
  );
  if (new Set(found).size > 1 && tries > 1) return applied(tries - 1);
  expect(new Set(found).size, `policies of one commit: ${found.join(", ")}`).toBe(1);
  return found[0] ?? -1;
}

interface Known {
  /** Answered. */
  term: number;
  commit: number;
  pushed: number;
  rotations: number;
}

const known: Known = { term: 1, commit: 0, pushed: 0, rotations: 0 };

async function run(work: Work, round: number, model: Model): Promise<void> {
  if (work === "mount" || work === "unmount") await model.mounting(round, work === "unmount");
  else if (work === "rotate") {
    await server.must("PUT", "sys/rotate");
    known.term += 1;
    known.rotations += 1;
  } else if (work === "commit") {
    await server.must("POST", "sys/gitops/sync");
    known.commit = known.pushed;
  }
}

async function check(model: Model): Promise<void> {
  server.shares = [await server.unseal()];
  const { term } = (await server.must("GET", "sys/key-status")) as { term: number };
  expect(term).toBeGreaterThanOrEqual(known.term);
  known.term = term;
  const number = await applied();
  expect([known.commit, known.pushed]).toContain(number);
  known.commit = number;
  await model.check();
}

test.each(["sqlite", "file"])(
  `on %s: no answered write lost, nothing half visible, in ${rounds} rounds`,
  async (type) => {
    const gitops = `cache_path: cache
gitops: { remote: "FOLDER/remote.git", allow_file_remote: true, poll_interval: 1h }
`;
    server = await Server.make(`{ type: ${type}, path: storage }`);
    const config = join(server.folder, "writ.yaml");
    await writeFile(config, gitops.replace("FOLDER", server.folder), { flag: "a" });
    await makeRepository();
    await server.start();
    await server.initialize();
    // What the kills end is started often: a stop keeps what was compiled.
    await server.stop();
    await server.start();
    await server.unseal();
    Object.assign(known, { term: 1, commit: 0, pushed: 0, rotations: 0 });
    const model = new Model(server, writers);
    await model.prepare();
    await server.must("POST", "sys/gitops/sync");
    expect(await applied()).toBe(0);
    const before = Date.now();
    for (let round = 0; round < rounds; round++) {
      const work = works[round % works.length] ?? "nothing";
      if (work === "commit") {
        await commit(round + 1);
        known.pushed = round + 1;
      }
      const writing = model.write();
      const working = pause(Math.random() * 60).then(() => run(work, round, model));
      // Whatever fails, fails because of the kill: what is there is looked at after it.
      working.catch(() => {});
      await Promise.race([model.answer(), pause(3_000)]);
      await pause(Math.random() * (work === "commit" ? 1_500 : 250));
      await server.kill();
      await Promise.all([writing, working.catch(() => {})]);
      await server.start();
      try {
        await check(model);
      } catch (error) {
        throw new Error(`round ${round} (${work}): ${String(error)}\n${server.running.output()}`, { cause: error });
      }
    }
    await model.checkAll();
    expect(await server.stop()).toBe(0);
    const seconds = Math.round((Date.now() - before) / 1000);
    const { rotations, commit: last } = known;
    console.log(
      `${type}: ${rounds} kills in ${seconds} s; ${model.summary()}; ${rotations} rotations answered, commit ${last} live`,
    );
    expect(model.answered).toBeGreaterThan(rounds * writers);
    expect(Math.min(rotations, last)).toBeGreaterThan(0);
    await server.remove();
  },
  600_000,
);
