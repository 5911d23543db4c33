// Audit devices that the API makes: where config allows it, and nowhere else.

import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { plugin as file } from "../../src/audit/file/index.ts";
import { plugin as git } from "../../src/audit/git/index.ts";
import { type Harness, harness, refusal } from "./harness.ts";

let place = "";
let folder = "";
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "writ-audit-"));
  folder = join(place, "allowed");
  mkdirSync(folder);
});
afterEach(() => rmSync(place, { recursive: true }));

const open = (folders: readonly string[] = [folder]): Promise<Harness> =>
  harness({ apiAudit: { plugins: [file, git], folders } });

const enable = (h: Harness, name: string, path: string, more: Record<string, string> = {}, type = "file") =>
  h.ask("update", `sys/audit/${name}`, { type, description: "more", options: { file_path: path, ...more } });

const linesOf = (path: string): { seq: number; prev: string; request?: { path: string } }[] =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { seq: number; prev: string });

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("a device made by the API", () => {
  it("keeps the chain from then on, also after a restart, until it is disabled", async () => {
    const h = await open();
    const path = join(folder, "more.log");
    await enable(h, "base", join(folder, "base.log"));
    await enable(h, "more", path, { mode: "0640" });
    await h.ask("read", "sys/mounts");
    expect((await h.ask("read", "sys/audit")).data?.["more/"]).toMatchObject({
      type: "file",
      description: "more",
      options: { file_path: path, mode: "0640", state: "ok", required: "false" },
    });
    const { hash } = (await h.ask("update", "sys/audit-hash/more", { input: "x" })).data ?? {};
    expect(hash).toEqual((await h.ask("update", "sys/audit-hash/tape", { input: "x" })).data?.["hash"]);
    await h.vault.seal();
    expect(statSync(path).mode & 0o777).toBe(0o640);

    const again = await h.reopen();
    await again.ask("read", "sys/auth");
    await expect.poll(() => linesOf(path).at(-1)?.request?.path).toBe("sys/auth");
    const text = readFileSync(path, "utf8").trimEnd().split("\n");
    for (const [at, line] of linesOf(path).entries()) {
      if (at > 0) expect(line.prev).toBe(sha256(text[at - 1] ?? ""));
    }
    await again.ask("delete", "sys/audit/more");
    const kept = readFileSync(path, "utf8");
    await again.ask("read", "sys/auth");
    expect(readFileSync(path, "utf8")).toBe(kept);
    expect(Object.keys((await again.ask("read", "sys/audit")).data ?? {})).toEqual(["tape/", "base/"]);
    await again.ask("delete", "sys/audit/more"); // nothing there: disabled already
    // Another device knows its lines: they are taken up again.
    await enable(again, "once-more", path);
    await again.ask("read", "sys/auth");
    await expect.poll(() => linesOf(path).at(-1)?.request?.path).toBe("sys/auth");
    const { seq } = linesOf(path)[0] ?? {};
    expect(linesOf(path).map((line) => line.seq - (seq ?? 0))).toEqual(linesOf(path).map((_line, at) => at));
    const last = await again.reopen();
    expect(Object.keys((await last.ask("read", "sys/audit")).data ?? {}).sort()).toEqual([
      "base/",
      "once-more/",
      "tape/",
    ]);
    await last.vault.seal();
  });

  it("is refused where config names no folder, and needs sudo", async () => {
    const h = await open([]);
    expect(await refusal(enable(h, "more", join(folder, "a.log")))).toMatch(/^invalid: the API makes no audit devices/);
    expect(await refusal(h.ask("delete", "sys/audit/tape"))).toMatch(/stands in the server config/);
    const other = await open();
    const policy = 'path "sys/audit/*" { capabilities = ["create", "update", "delete"] }';
    await other.ask("update", "sys/policies/acl/auditor", { policy });
    const token = (await other.ask("update", "auth/token/create", { policies: ["auditor"] })).auth?.client_token;
    const asked = other.ask(
      "update",
      "sys/audit/x",
      { type: "file", options: { file_path: join(folder, "x") } },
      token,
    );
    expect(await refusal(asked)).toMatch(/^denied/);
    expect(existsSync(join(folder, "x"))).toBe(false);
  });

  it("never leaves the folders, whatever leads out of them", async () => {
    const h = await open();
    const outside = join(place, "outside");
    mkdirSync(outside);
    symlinkSync(outside, join(folder, "way"));
    symlinkSync(join(outside, "target.log"), join(folder, "link.log"));
    mkdirSync(`${folder}-not`);
    const refused = async (path: string): Promise<string> => refusal(enable(h, "more", path));
    for (const path of [
      join(outside, "a.log"),
      join(folder, "way/a.log"),
      `${folder}/../outside/a.log`,
      `${folder}-not/a.log`,
      join(folder, "none/a.log"),
    ]) {
      expect(await refused(path), path).toMatch(/in no folder that the server config names/);
    }
    expect(await refused(join(folder, "link.log"))).toMatch(/no file to append to/);
    expect(await refused("stdout")).toMatch(/absolute path/);
    expect(await refused("")).toMatch(/file_path is required/);
    expect(await refused(`${folder}/`)).toMatch(/absolute path/);
    expect(existsSync(join(outside, "a.log")) || existsSync(join(outside, "target.log"))).toBe(false);
    // A folder of config that is a link itself is what it leads to.
    const linked = await open([join(folder, "way")]);
    await enable(linked, "more", join(outside, "b.log"));
    await linked.vault.seal();
  });

  it("takes no file that is something else's, and changes none", async () => {
    const h = await open();
    const path = join(folder, "a.log");
    const refused = async (more: Record<string, string> = {}, type = "file"): Promise<string> =>
      refusal(enable(h, "more", path, more, type));
    writeFileSync(path, "keep me\nhalf a line", { mode: 0o644 });
    expect(await refused()).toMatch(/something other than audit lines/);
    writeFileSync(path, "");
    linkSync(path, join(place, "other-name"));
    expect(await refused()).toMatch(/no plain file of its own/);
    rmSync(join(place, "other-name"));
    chmodSync(path, 0o755);
    expect(await refused()).toMatch(/no plain file of its own/);
    rmSync(path);
    mkdirSync(path);
    expect(await refused()).toMatch(/no plain file/);
    rmSync(path, { recursive: true });
    // Another vault's audit.
    const other = await open();
    await enable(other, "own", path);
    await other.ask("read", "sys/mounts");
    await other.vault.seal();
    const before = readFileSync(path, "utf8");
    expect(await refused()).toMatch(/not known to be of this vault's audit/);
    expect(readFileSync(path, "utf8")).toBe(before);
    for (const mode of ["0700", "0601", "0666", "0000", "rw"]) expect(await refused({ mode })).toMatch(/"mode"/);
    expect(await refused({ log_raw: "true" })).toMatch(/"log_raw" can only be "false"/);
    expect(await refused({ prefix: "x" })).toMatch(/"prefix"/);
    expect(await refused({ filter: "x" })).toMatch(/no option "filter"/);
    expect(await refused({}, "git")).toMatch(/makes no audit device of type "git"; it makes: file/);
    expect(await refused({}, "socket")).toMatch(/it makes: file/);
    expect(await refusal(enable(h, "UP/per", join(folder, "b.log")))).toMatch(/one word/);
    expect(Object.keys((await h.ask("read", "sys/audit")).data ?? {})).toEqual(["tape/"]);
  });

  it("has a name and a file of its own", async () => {
    const h = await open();
    await enable(h, "more", join(folder, "a.log"));
    expect(await refusal(enable(h, "more", join(folder, "b.log")))).toMatch(/path already in use/);
    expect(await refusal(enable(h, "tape", join(folder, "b.log")))).toMatch(/path already in use/);
    symlinkSync(folder, join(folder, "self"));
    for (const path of ["a.log", "self/a.log"]) {
      expect(await refusal(enable(h, "other", join(folder, path)))).toMatch(/another audit device has that file/);
    }
    await h.vault.seal();
  });

  it("is left out, and does not keep the vault sealed, where it cannot be opened or config allows it no more", async () => {
    const h = await open();
    await enable(h, "more", join(folder, "a.log"));
    await h.vault.seal();
    rmSync(folder, { recursive: true });
    const again = await h.reopen();
    const shown = (await again.ask("read", "sys/audit")).data?.["more/"] as { options: Record<string, string> };
    expect(shown.options["state"]).toBe("left out");
    expect(again.log.join("")).toContain("an audit device that the API made is left out");
    await again.ask("delete", "sys/audit/more");
    expect((await again.ask("read", "sys/audit")).data).not.toHaveProperty("more/");
  });

  it("is not let go of while it alone keeps the newest lines", async () => {
    const h = await open();
    await enable(h, "more", join(folder, "a.log"));
    h.tape.fail = true;
    const asked = h.ask("delete", "sys/audit/more");
    expect(await refusal(asked)).toMatch(/do not keep yet what this one does/);
    await h.ask("read", "sys/mounts"); // kept by it alone
    h.tape.fail = false;
    await h.vault.seal();
  });
});
