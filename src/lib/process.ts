// Facts of this process that the operating system decides.

import { readFileSync } from "node:fs";

/** How many files and connections this process may have open; null where that cannot be told. Node takes all that it may. */
export function openFiles(): number | null {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}

/** Whether a crash may write this process's memory to disk. False where that cannot be told. */
export function coreDumps(): boolean {
  try {
    const line = /^Max core file size +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return line !== null && line[1] !== "0";
  } catch {
    return false;
  }
}
