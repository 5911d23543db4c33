// `writ doctor`: looks at each part of the server's configuration, and says what is wrong and what to do. Beside a server that
// runs, it changes nothing; where none runs, the storage is opened and closed again.

import { createConnection } from "node:net";
import { readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { explain } from "../gitops/explain.ts";
import { openSettings } from "../gitops/settings.ts";
import { readTls } from "../lib/tls.ts";
import { parsePlace } from "../lib/address.ts";
import { GitError } from "../lib/git.ts";
import { type Fields, silent } from "../lib/log.ts";
import { wrongDeployKey, wrongKnownHosts } from "../lib/sshFiles.ts";
import { probeRemote } from "../lib/remote.ts";
import { audits, seals, storages } from "../registry.ts";
import { isVaultError } from "../sdk/errors.ts";
import { fault, faultOf, type Finding, ok, warning } from "../sdk/examine.ts";
import { coreDumps } from "../lib/process.ts";
import { type Config, one } from "../server.ts";
import { CommandError } from "./client.ts";
import type { Io } from "./io.ts";
import { loadConfig } from "./loadConfig.ts";
import { isTable, json, plain, type ShowOptions } from "./show.ts";

interface Report {
  readonly part: string;
  readonly findings: readonly Finding[];
}

/** What it throws is a fault, too. */
async function report(part: string, look: () => Promise<readonly Finding[]> | readonly Finding[]): Promise<Report> {
  try {
    return { part, findings: await look() };
  } catch (error) {
    return { part, findings: [faultOf(error)] };
  }
}

async function storage({ storage: { type, settings } }: Config): Promise<readonly Finding[]> {
  const plugin = one("storage", storages, type);
  const place = plugin.examine?.(settings);
  const path = settings["path"];
  const there = typeof path !== "string" || statSync(path, { throwIfNoEntry: false }) !== undefined;
  if (place?.level === "fault" || !there) return place === undefined ? [] : [place];
  const findings = place === undefined ? [] : [place];
  try {
    const backend = await plugin.open(settings, silent);
    try {
      const leadership = await backend.lead(() => {});
      await leadership.release();
      return [...findings, ok("it opens, and no server has it")];
    } finally {
      await backend.close();
    }
  } catch (error) {
    // A conflict names the process that has it.
    if (isVaultError(error, "conflict")) return [...findings, ok(error.message)];
    return [...findings, faultOf(error)];
  }
}

/** What is wrong with a file that ssh reads. */
async function wrong(
  name: string,
  file: string | undefined,
  look: (text: Buffer) => string | null,
): Promise<readonly Finding[]> {
  if (file === undefined) return [];
  try {
    const found = look(await readFile(file));
    return found === null ? [] : [fault(`gitops.${name} ${found}`)];
  } catch (error) {
    return [
      fault(
        `gitops.${name} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown"}): is the path right?`,
      ),
    ];
  }
}

async function gitops({ gitops: section }: Config): Promise<readonly Finding[]> {
  if (section === null) return [ok("not configured")];
  const { remote, branch, webhook } = await openSettings(section);
  const keys = [
    ...(await wrong("deploy_key_file", section.deploy_key_file, wrongDeployKey)),
    ...(await wrong("known_hosts_file", section.known_hosts_file, wrongKnownHosts)),
  ];
  const hook =
    webhook === null
      ? warning("no webhook: a push is seen at the next poll only")
      : ok(`deliveries of ${webhook.repository} are verified with ${webhook.secrets.length} secret(s)`);
  try {
    const found = await probeRemote(remote, `refs/heads/${branch}`);
    if (!found)
      return [fault(`${remote.url} answers, but has no branch ${branch}: check gitops.branch, or push it`), hook];
    return [ok(`${remote.url} answers, and has the branch ${branch}`), ...keys, hook];
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    // The cause, where it is known from the files already.
    if (keys.length > 0) return [...keys, hook];
    const message = explain(error).message.replace(/: it is tried again$/, "");
    const more = /cannot be reached/.test(message)
      ? ": is its name right, and the way there open from this machine?"
      : "";
    return [fault(`${remote.url}: ${message}${more}`), hook];
  }
}

/** Whether somebody listens there. */
function answers(address: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection(parsePlace(address));
  const tell = (found: boolean) => (): void => {
    socket.destroy();
    resolve(found);
  };
  socket.once("connect", tell(true)).once("error", tell(false)).setTimeout(2_000, tell(false));
  return promise;
}

async function listener({ address, tls }: Config["listeners"][number]): Promise<readonly Finding[]> {
  const busy = await answers(address);
  const findings = [ok(busy ? "somebody listens there: this server, if it runs" : "free")];
  if (tls === null) return findings;
  const said: Finding[] = [];
  const warn = (message: string, dates: Fields = {}): void => {
    const [date = ""] = Object.values(dates).map(String);
    const useless = /expired|not valid yet/.test(message);
    const what = /expire/.test(message) ? "put a new one in its place and send SIGHUP" : "look at the clock, or wait";
    const text = date === "" ? message : `${message} (${date}): ${what}`;
    said.push(useless ? fault(text) : warning(text));
  };
  await readTls(tls, Date.now(), { ...silent, warn });
  if (said.length === 0) said.push(ok("the certificate and its key fit, and are valid"));
  return [...findings, ...said];
}

const slackMs = 5 * 60 * 1000;

/** Against the newest of the server's own files: a clock that went back makes tokens outlive their time. */
function clock(config: Config): readonly Finding[] {
  const now = Date.now();
  const path = config.storage.settings["path"];
  const written = typeof path === "string" ? (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) : 0;
  if (written > now + slackMs) {
    return [fault(`the clock is behind the storage's newest file: set it (is a time service running?)`)];
  }
  if (statSync("/run/systemd/timesync/synchronized", { throwIfNoEntry: false }) !== undefined) {
    return [ok("set by a time service")];
  }
  return [ok(`${new Date(now).toISOString()}, not behind the storage's newest file`)];
}

function machine(): readonly Finding[] {
  const findings: Finding[] = [ok(`node ${process.version}`)];
  if (process.getuid?.() === 0) findings.push(warning("this is root: run the server as a user of its own"));
  if (coreDumps())
    findings.push(warning("a crash may write keys into a core dump: ulimit -c 0, LimitCORE=0 in systemd"));
  const swaps = readSwaps();
  if (swaps > 0)
    findings.push(warning("memory may be swapped to disk, keys with it: encrypt the swap, or turn it off"));
  return findings;
}

function readSwaps(): number {
  try {
    return readFileSync("/proc/swaps", "utf8").trim().split("\n").length - 1;
  } catch {
    return 0;
  }
}

async function reports(file: string): Promise<readonly Report[]> {
  let config: Config;
  try {
    config = await loadConfig(file);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return [{ part: "config", findings: error.message.split("\n").map(fault) }];
  }
  // Before the storage is opened, which touches its files.
  const time = await report("clock", () => clock(config));
  return [
    { part: "config", findings: [ok(`${file} is valid`)] },
    await report("storage", () => storage(config)),
    await report("seal", async () => {
      const found = await one("seal", seals, config.seal.type).examine?.(config.seal.settings);
      return [found ?? ok(`${config.seal.type}: people bring what opens it`)];
    }),
    ...(await Promise.all(
      config.audit.map(({ name, type, settings }) =>
        report(`audit ${name}`, () => one("audit device", audits, type).examine?.(settings) ?? []),
      ),
    )),
    ...(await Promise.all(config.listeners.map((each) => report(`listener ${each.address}`, () => listener(each))))),
    await report("gitops", () => gitops(config)),
    time,
    await report("machine", machine),
  ];
}

/** Exit code 1 where there is a fault. */
export async function doctor(io: Io, options: ShowOptions & { readonly config: string }): Promise<number> {
  const found = await reports(options.config);
  const faults = found.flatMap(({ findings }) => findings).filter(({ level }) => level === "fault").length;
  if (!isTable(io, options)) json(io, found);
  else {
    for (const { part, findings } of found) {
      for (const { level, text } of findings) io.out(plain(`${level.padEnd(8)} ${part}: ${text}`));
    }
    io.out(faults === 0 ? "nothing is wrong" : `${faults} to mend`);
  }
  return faults === 0 ? 0 : 1;
}
