// Facts of this process that the operating system decides.

import { readFileSync } from "node:fs";

/** Whether a crash may write this process's memory to disk. False where that cannot be told. */
export function coreDumps(): boolean {
  try {
    const line = /^Max core file size +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return line !== null && line[1] !== "0";
  } catch {
    return false;
  }
}
