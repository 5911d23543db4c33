// `npm start`: a whole vault in one command, to try things out. Everything is in one data folder; a second start finds it.
// Must hold: nothing but loopback is listened on; the unseal key is on disk before the vault holds anything; what a crash
// leaves at any moment, the next start completes.
// Known gap: it unseals itself with a key that lies beside the data, so its encryption protects nothing. It says so.

import { randomBytes } from "node:crypto";
import { chmod, cp, mkdir, rm, writeFile } from "node:fs/promises";
import { extname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, CommandError, createClient } from "../cli/client.ts";
import type { Io } from "../cli/io.ts";
import { start, untilStopped } from "../cli/server.ts";
import type { GitStatus } from "../cli/status.ts";
import { loadConfig } from "../cli/loadConfig.ts";
import { isLocal, parsePlace } from "../lib/address.ts";
import { zero } from "../lib/bytes.ts";
import { createLogger, type LeveledLogger } from "../lib/log.ts";
import type { Config, Running } from "../server.ts";
import { type Environment, readEnvironment, renameDurable, writeDurable, writeEnvironment } from "./environment.ts";
import { cloneRepository, exists, seedRepository, writeHook } from "./repository.ts";
import { configText, type Place, placeOf, repositoryName } from "./settings.ts";
import { farewell, warning, welcome } from "./words.ts";

const ofPackage = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Throws CommandError. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const why = ["EEXIST", "ENOTDIR"].includes(code) ? "a file is there" : code || message;
    throw new CommandError(`${folder} cannot be the data folder (${why}): name another one in WRIT_DATA`);
  }
}

/** The files beside the vault: repository, clone, secret, configuration, schemas for editors. */
async function prepare(place: Place): Promise<void> {
  await makeFolder(place.data);
  if (!(await exists(place.webhookSecret))) {
    await writeDurable(place.webhookSecret, Buffer.from(`${randomBytes(32).toString("hex")}\n`));
  }
  await seedRepository(place.repository, ofPackage("policies"));
  await cloneRepository(place.clone, place.repository);
  await cp(ofPackage("schemas"), place.schemas, { recursive: true, force: true });
  await writeFile(place.configFile, configText(place));
}

/** Only once this process has the storage: another one that runs with the same folder keeps its hook. */
async function connect(place: Place): Promise<void> {
  const script = new URL(`deliver${extname(import.meta.url)}`, import.meta.url);
  const url = `${place.address}/v1/sys/gitops/webhook`;
  await writeHook(place.repository, [
    process.execPath,
    fileURLToPath(script),
    url,
    place.webhookSecret,
    repositoryName,
  ]);
}

/** Throws CommandError where somebody else could reach a listener: the unseal key lies in a file here. */
export function refuseOthers(config: Pick<Config, "listeners">): void {
  for (const { address } of config.listeners) {
    if (!isLocal(parsePlace(address))) {
      throw new CommandError(`the quickstart listens on loopback only, not on ${address}: use writ server for more`);
    }
  }
}

/** The vault whose keys quickstart.env has, initialised where there is none yet. An initialisation that was cut off
 *  before its key was on disk left a vault that nobody can open and that never held anything: it is made anew. */
async function openVault(config: Config, place: Place, log: LeveledLogger): Promise<Running> {
  const running = await start(config, log);
  try {
    const known = await exists(place.environmentFile);
    if (!running.vault.initialized) {
      await initialise(running, place);
      return running;
    }
    if (known) {
      await rm(place.marker, { force: true });
      return running;
    }
    if (!(await exists(place.marker))) {
      throw new CommandError(
        "quickstart.env is missing from the data folder, and with it the key of the vault there: put it back, or remove the folder to start anew",
      );
    }
  } catch (error) {
    await running.close();
    throw error;
  }
  await running.close();
  await rm(place.storage, { recursive: true, force: true });
  return openVault(config, place, log);
}

async function initialise(running: Running, place: Place): Promise<void> {
  // A file that is left from a storage that is gone opens nothing; it must not pass for this vault's.
  if (await exists(place.environmentFile)) await renameDurable(place.environmentFile, `${place.environmentFile}.old`);
  await writeDurable(place.marker, Buffer.from("an initialisation is under way\n"));
  const { shares, rootToken } = await running.vault.initialize({ shares: 1, threshold: 1 });
  try {
    const [share] = shares;
    if (share === undefined) throw new Error("the vault was initialised without a share");
    await writeEnvironment(place.environmentFile, {
      address: place.address,
      token: rootToken,
      alicePassword: randomBytes(12).toString("base64url"),
      share,
    });
  } finally {
    zero(...shares);
  }
  await rm(place.marker, { force: true });
}

/** The development unsealer. */
async function unseal(running: Running, place: Place): Promise<Environment> {
  const environment = await readEnvironment(place.environmentFile);
  if (environment === null) throw new Error("quickstart.env is gone");
  if (environment.address !== place.address) {
    await writeEnvironment(place.environmentFile, { ...environment, address: place.address });
  }
  const { sealed } = await running.vault.unseal(environment.share, { reset: false });
  zero(environment.share);
  if (sealed) throw new CommandError("the key in quickstart.env does not open the vault in the data folder");
  return environment;
}

const settleMs = 250;
const settleTries = 40;

/** Until what the commit asks for beyond the documents is done, such as giving alice the password written a moment ago. */
async function settle(client: Client): Promise<string | null> {
  for (let tries = 0; tries < settleTries; tries++) {
    const { body } = await client.call("GET", "sys/gitops/status?documents=false");
    const { in_sync: inSync, pending = [] } = (body?.["data"] ?? {}) as Partial<GitStatus>;
    if (inSync !== true) return "the policy repository's newest commit is not applied: see writ status";
    if (pending.length === 0) return null;
    await sleep(settleMs);
  }
  return "some work of the commit is not done yet: see writ status";
}

/** Waits until the branch was looked at, then writes what the examples read, where it was never written. Gives what is not
 *  as it should be, for the user. */
async function fill(client: Client, alicePassword: string): Promise<string | null> {
  await client.call("POST", "sys/gitops/sync", {});
  const examples = {
    "quickstart/alice": { password: alicePassword },
    "payments/db": { username: "payments", password: randomBytes(12).toString("base64url") },
    "reports/q3": { summary: "a good quarter" },
  };
  for (const [path, data] of Object.entries(examples)) {
    const { status } = await client.call("GET", `secret/metadata/${path}`, undefined, [404]);
    if (status === 404) await client.call("POST", `secret/data/${path}`, { data, options: { cas: 0 } });
  }
  return settle(client);
}

/** Runs until it is told to stop. */
export async function quickstart(io: Io): Promise<number> {
  const place = placeOf(io.env);
  await prepare(place);
  const config = await loadConfig(place.configFile);
  refuseOthers(config);
  const log = createLogger(config.log);
  io.err(warning);
  const running = await openVault(config, place, log);
  try {
    await connect(place);
    const { token, alicePassword } = await unseal(running, place);
    const client = await createClient({ VAULT_ADDR: place.address, VAULT_TOKEN: token });
    const trouble = await fill(client, alicePassword).catch((error: unknown) => {
      return error instanceof Error ? error.message : "the examples could not be written";
    });
    if (trouble !== null) io.err(`writ: ${trouble}`);
    io.out(welcome(place));
  } catch (error) {
    await running.close();
    throw error;
  }
  await untilStopped(running, log, { parent: io.env["npm_lifecycle_event"] !== undefined });
  io.out(farewell);
  return 0;
}
