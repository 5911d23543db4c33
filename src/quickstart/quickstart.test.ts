import { execFile } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { processIo } from "../cli/io.ts";
import { configSchema, readConfig } from "../config.ts";
import { createAjv } from "../configCheck.ts";
import { gitopsFields } from "../gitops/settings.ts";
import { field } from "../sdk/fields.ts";
import { readUpdates, signedDelivery } from "./delivery.ts";
import { readEnvironment, writeEnvironment } from "./environment.ts";
import { quickstart } from "./index.ts";
import { cloneRepository, seedRepository, writeHook } from "./repository.ts";
import { configText, placeOf } from "./settings.ts";
import { welcome } from "./words.ts";

const run = promisify(execFile);
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "writ-quickstart-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("quickstart.env", () => {
  const written = () => ({
    address: "http://127.0.0.1:8200",
    token: "hvs.token",
    alicePassword: "pass-word_1",
    share: Uint8Array.from([0, 1, 127, 128, 255]),
  });

  test("is what a shell reads, 0600 whatever was there, and comes back as bytes", async () => {
    const file = join(folder, "quickstart.env");
    await writeFile(file, "old", { mode: 0o644 });
    await chmod(file, 0o644);
    await writeEnvironment(file, written());
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readEnvironment(file)).toEqual({ ...written(), share: Buffer.from(written().share) });
    const { stdout } = await run("sh", ["-c", `. ${file}; echo "$VAULT_ADDR $VAULT_TOKEN $UNSEAL_KEY"`]);
    expect(stdout).toBe("http://127.0.0.1:8200 hvs.token 00017f80ff\n");
  });

  test("absent is null; damaged is an error without its content", async () => {
    const file = join(folder, "quickstart.env");
    expect(await readEnvironment(file)).toBeNull();
    await writeEnvironment(file, written());
    const whole = await readFile(file, "utf8");
    for (const bad of [whole.replace("00017f80ff", "00017f80f"), whole.replace("00017f80ff", "00017f80fg"), "", "x"]) {
      await writeFile(file, bad);
      await expect(readEnvironment(file)).rejects.toThrow(/^quickstart.env is damaged: [A-Z_, ]+ or UNSEAL_KEY is/);
    }
  });
});

describe("the settings", () => {
  test.each([
    [{ WRIT_PORT: "0" }, "WRIT_PORT"],
    [{ WRIT_PORT: "65536" }, "WRIT_PORT"],
    [{ WRIT_PORT: "0x50" }, "WRIT_PORT"],
    [{ WRIT_DATA: "with blank" }, "WRIT_DATA"],
    [{ WRIT_DATA: "with$(command)" }, "WRIT_DATA"],
  ])("%j is refused", (env, name) => {
    expect(() => placeOf(env)).toThrow(name);
  });

  test("a data folder that is none is told, with what to do", async () => {
    const file = join(folder, "file");
    await writeFile(file, "mine");
    for (const data of [file, join(file, "below")]) {
      const io = { ...processIo, env: { WRIT_DATA: data } };
      await expect(quickstart(io)).rejects.toThrow(`${data} cannot be the data folder (a file is there): name another`);
    }
    expect(await readFile(file, "utf8")).toBe("mine");
  });

  test("a shell reads each path in the lines to copy as it is", async () => {
    for (const name of ["plain", "R&D;(1)", "~home", "-dash", "a*!{b}", "große|<Daten>"]) {
      for (const data of [join(folder, name), name, "."]) {
        const place = placeOf({ WRIT_DATA: data });
        const text = welcome(place);
        const shell = async (line: string): Promise<string> => (await run("bash", ["-c", line])).stdout;
        const found = [/ \. (.*); set \+a/, /\n {2}cd (.*)\n/, /--git-dir=(.*) log /].map((at) => at.exec(text)?.[1]);
        for (const [at, path] of [place.environmentFile, place.clone, place.audit].entries()) {
          const read = await shell(`printf %s ${at === 2 ? "--git-dir=" : ""}${found[at] ?? ""}`);
          expect(resolve(read.replace(/^--git-dir=/, ""))).toBe(path);
        }
        expect(found[0]).toMatch(/\/|^'/);
        expect(found[1]).not.toMatch(/^-/);
      }
    }
  });

  test("the configuration that is written is one that the server reads", () => {
    const place = placeOf({ WRIT_PORT: "8300", WRIT_DATA: join(folder, "data") });
    const path = { path: field.string("Path", { required: true }) };
    const tables = {
      storage: { sqlite: path },
      seal: { shamir: {} },
      audit: { git: { ...path, interval: field.duration("Interval") } },
      gitops: gitopsFields,
    };
    const validate = createAjv().compile(configSchema(tables));
    const config = readConfig(configText(place), place.configFile, tables, validate);
    expect(config).toMatchObject({
      storage: { settings: { path: place.storage } },
      listeners: [{ address: "127.0.0.1:8300" }],
      audit: [{ settings: { path: place.audit } }],
      gitops: { remote: place.repository, webhook: { secret_files: [place.webhookSecret] } },
    });
  });
});

test("a hook's input becomes a delivery that is signed over its bytes", () => {
  const [before, after] = ["0".repeat(40), "ab".repeat(20)];
  const updates = readUpdates(`${before} ${after} refs/heads/main\nnonsense\n`);
  expect(updates).toEqual([{ before, after, ref: "refs/heads/main" }]);
  const { headers, body } = signedDelivery({ before, after, ref: "refs/heads/main" }, "quickstart/policies", "s");
  const signature = createHmac("sha256", "s").update(body).digest("hex");
  expect(headers).toMatchObject({ "X-GitHub-Event": "push", "X-Hub-Signature-256": `sha256=${signature}` });
  expect(JSON.parse(body)).toMatchObject({
    created: true,
    deleted: false,
    repository: { full_name: "quickstart/policies" },
  });
});

describe("the repository", () => {
  // Nothing of the machine's Git configuration, as on a fresh one.
  const env = { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
  const place = () => ({ bare: join(folder, "policies.git"), clone: join(folder, "policies") });
  const git = async (...args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await run("git", args, { cwd: place().clone, env });
    return stdout + stderr;
  };

  beforeEach(async () => {
    await mkdir(join(folder, "source/team"), { recursive: true });
    await writeFile(join(folder, "source/team/a.yaml"), "a: 1\n");
    await seedRepository(place().bare, join(folder, "source"));
    await cloneRepository(place().clone, place().bare);
  });

  test("is seeded, and somebody without any Git configuration can commit and push", async () => {
    expect(await readFile(join(place().clone, "team/a.yaml"), "utf8")).toBe("a: 1\n");
    await writeFile(join(place().clone, "team/a.yaml"), "a: 2\n");
    await git("commit", "-am", "Two");
    await git("push");
    expect((await run("git", ["log", "--format=%s", "main"], { cwd: place().bare, env })).stdout).toBe(
      "Two\nThe example policies\n",
    );
  });

  test("is not touched by a second start, nor is the clone", async () => {
    const head = await git("rev-parse", "HEAD");
    await writeFile(join(place().clone, "team/a.yaml"), "a: mine\n");
    await writeFile(join(folder, "source/team/a.yaml"), "a: other\n");
    await seedRepository(place().bare, join(folder, "source"));
    await cloneRepository(place().clone, place().bare);
    expect(await git("rev-parse", "origin/main")).toBe(head);
    expect(await readFile(join(place().clone, "team/a.yaml"), "utf8")).toBe("a: mine\n");
  });

  test("what a crash left half-made is made anew", async () => {
    await rm(place().bare, { recursive: true });
    await mkdir(`${place().bare}.new/objects`, { recursive: true });
    await seedRepository(place().bare, join(folder, "source"));
    expect((await run("git", ["rev-parse", "main"], { cwd: place().bare, env })).stdout).toMatch(/^[0-9a-f]{40}\n$/);
  });

  const script = fileURLToPath(new URL("deliver.ts", import.meta.url));
  const push = async (url: string, node = process.execPath): Promise<string> => {
    const secretFile = join(folder, "hook secret's");
    await writeFile(secretFile, "s3cret\n", { mode: 0o600 });
    await writeHook(place().bare, [node, script, url, secretFile, "quickstart/policies"]);
    await git("commit", "--allow-empty", "-m", "x");
    return git("push");
  };

  test("its hook tells of a push as GitHub does", async () => {
    const got = Promise.withResolvers<{ headers: IncomingHttpHeaders; body: string }>();
    const server = createServer((request, response) => {
      text(request).then((body) => got.resolve({ headers: request.headers, body }), got.reject);
      response.writeHead(202).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const bound = server.address();
    const port = typeof bound === "object" ? bound?.port : 0;
    expect(await push(`http://127.0.0.1:${port}/hook`)).toContain("told the vault of refs/heads/main");
    const { headers, body } = await got.promise;
    server.close();
    const signature = `sha256=${createHmac("sha256", "s3cret").update(body).digest("hex")}`;
    expect(headers["x-hub-signature-256"]).toBe(signature);
    expect(JSON.parse(body)).toMatchObject({ ref: "refs/heads/main", after: (await git("rev-parse", "HEAD")).trim() });
  });

  test("a push succeeds where the vault is down, or node is gone", async () => {
    expect(await push("http://127.0.0.1:9/")).toContain("was not reached");
    expect(await push("http://127.0.0.1:9/", join(folder, randomBytes(4).toString("hex")))).toContain("was not told");
  });
});
