// `writ server`: runs in the foreground until it is told to stop.

import { createLogger, type LeveledLogger, type Logger } from "../lib/log.ts";
import { coreDumps } from "../lib/process.ts";
import { isVaultError } from "../sdk/errors.ts";
import { type Config, type Running, startServer } from "../server.ts";
import { CommandError } from "./client.ts";
import { loadConfig } from "./loadConfig.ts";

/** Starts, and explains what commonly hinders it. */
export async function start(config: Config, log: LeveledLogger): Promise<Running> {
  try {
    return await startServer(config, { log });
  } catch (error) {
    const { code, port } = error as NodeJS.ErrnoException & { port?: number };
    if (code === "EADDRINUSE") {
      throw new CommandError(`port ${port ?? "(or socket)"} is in use: stop what listens there, or choose another one`);
    }
    if (isVaultError(error)) {
      const held = isVaultError(error, "conflict") && error.message.includes("in use by");
      throw new CommandError(`${error.message}${held ? ": stop that one, or take another folder" : ""}`);
    }
    throw error;
  }
}

const parentMs = 500;
/** Everything is durable at any time: what does not end by then is cut off. */
const stopMs = 4_000;

/** Resolves once a signal came and everything is closed; a second signal ends the process at once. With `parent` the end of
 *  the process that started this one counts as a signal: npm hands signals to its shell only, which does not pass them on. */
export async function untilStopped(running: Running, log: Logger, options: { parent?: boolean } = {}): Promise<void> {
  const started = process.ppid;
  let watch: NodeJS.Timeout | undefined;
  const signal = await new Promise<string>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, resolve);
    if (options.parent !== true) return;
    watch = setInterval(() => {
      if (process.ppid !== started) resolve("end of the parent process");
    }, parentMs);
  });
  clearInterval(watch);
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => process.exit(1));
  log.info("stopping", { signal });
  const late = setTimeout(() => {
    log.error("not everything ended in time: the process ends as it is");
    // To exit would wait for a thread that a disk does not answer.
    process.kill(process.pid, "SIGKILL");
  }, stopMs);
  await running.close();
  clearTimeout(late);
}

/** Reads the configuration again at each SIGHUP, one after the other. */
function reloadOnHangup(running: Running, file: string, log: Logger): void {
  let turn = Promise.resolve();
  const once = async (): Promise<void> => {
    try {
      await running.reload(await loadConfig(file));
    } catch (error) {
      log.error("the configuration was not read again: what is in use stays", { error });
    }
  };
  process.on("SIGHUP", () => void (turn = turn.then(once)));
}

export async function serve(file: string): Promise<number> {
  const config = await loadConfig(file);
  const log = createLogger(config.log);
  const running = await start(config, log);
  const { initialized, sealed } = running.vault.sealStatus();
  log.info("server started", { addresses: running.addresses, initialized, sealed });
  if (coreDumps()) log.warn("a crash could write keys into a core dump: ulimit -c 0, or LimitCORE=0 in systemd");
  reloadOnHangup(running, file, log);
  await untilStopped(running, log);
  return 0;
}
