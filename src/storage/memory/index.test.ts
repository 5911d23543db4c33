import { storageConformance } from "../../../test/conformance/storage.ts";
import { silent } from "../../lib/log.ts";
import { plugin } from "./index.ts";

storageConformance("memory", () => ({ open: () => plugin.open({}, silent) }), false);
