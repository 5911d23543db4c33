import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedConformance } from "../../../test/conformance/embedded.ts";
import { storageConformance } from "../../../test/conformance/storage.ts";
import { silent } from "../../lib/log.ts";
import { plugin } from "./index.ts";

storageConformance(
  "file",
  () => {
    const path = mkdtempSync(join(tmpdir(), "writ-file-"));
    const open = (): ReturnType<typeof plugin.open> => plugin.open({ path }, silent);
    return { open, reopen: open, remove: async () => rmSync(path, { recursive: true }) };
  },
  true,
);

embeddedConformance(plugin, new URL("index.ts", import.meta.url), "writ.lock");
