// What `writ doctor` is told of one part of the configuration, without changing anything.

import { accessSync, constants, lstatSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf } from "./folder.ts";

export interface Finding {
  readonly level: "ok" | "warning" | "fault";
  /** What is so, and for a fault what to do. Holds no secret. */
  readonly text: string;
}

export const ok = (text: string): Finding => ({ level: "ok", text });
export const warning = (text: string): Finding => ({ level: "warning", text });
export const fault = (text: string): Finding => ({ level: "fault", text });

/** A fault with the error's own words: those of checks, which name no values. */
export const faultOf = (error: unknown): Finding => fault(error instanceof Error ? error.message : "failed");

const lowBytes = 512 * 1024 * 1024;
const owner = (): string => `user ${process.geteuid?.() ?? 0}`;

/** A folder that the server keeps things in, or where it would make it. */
export function examineFolder(path: string): Finding {
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) return fault(`${path} is no folder: move away what is there`);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") return fault(`${owner()} may not write in ${path}: change its owner or mode`);
    const parent = dirname(path);
    if (parent === path) return fault(`${path} is not there`);
    const above = examineFolder(parent);
    return above.level === "fault" ? above : ok(`${path} is not there yet, and can be made`);
  }
  const { bavail, bsize } = statfsSync(path);
  const free = bavail * bsize;
  const text = `${Math.floor(free / 1024 / 1024)} MiB are free at ${path}`;
  return free < lowBytes ? warning(`only ${text}: a full disk stops every request`) : ok(text);
}
