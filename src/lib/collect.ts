// Garbage collection on demand, after work that leaves so much that to wait for the next one would count.

let gc: (() => void) | null = null;

/** Blocks for as long as a whole collection takes: some tens of milliseconds. */
export function collect(): void {
  if (gc === null) {
    process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
    gc = process.getBuiltinModule("node:vm").runInNewContext("gc") as () => void;
  }
  gc();
}
