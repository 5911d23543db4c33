#!/usr/bin/env node
// The `age-plugin-writ` command: `age -d -i KEYRING FILE` runs it. It is found where it is on the PATH.

import { createInterface } from "node:readline";
import { unwrapFileKeys } from "./cli/agePlugin.ts";

if (process.argv[2] !== "--age-plugin=identity-v1") {
  process.stderr.write(
    "age-plugin-writ: run by the age command, for an identity that `writ operator export-keyring` gave:\n" +
      "  age -d -i KEYRING STORED_VALUE\n",
  );
  process.exit(2);
}
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
try {
  await unwrapFileKeys({
    line: async () => {
      const { done, value } = await lines.next();
      if (done === true) throw new Error("age ended before it was done");
      return value;
    },
    write: (text) => void process.stdout.write(text),
  });
} catch (error) {
  process.stderr.write(`age-plugin-writ: ${error instanceof Error ? error.message : "failed"}\n`);
  process.exitCode = 1;
}
process.stdin.destroy();
