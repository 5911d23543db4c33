import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "./program.ts";

const folder = mkdtempSync(join(tmpdir(), "search-"));
const file = join(folder, "audit.log");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hash = (name: string): string => `hmac-sha256:${name}`;

interface Asked {
  readonly by: string;
  readonly path: string;
  readonly hour: string;
  readonly type?: "request" | "response";
  readonly error?: string;
  readonly made?: string;
  readonly wrapped?: string;
}

let seq = 0;
/** As the server writes it, as far as it matters. */
function line({ by, path, hour, type = "response", error, made, wrapped }: Asked, id = String(seq)): string {
  const response = {
    ...(made && { auth: { client_token: hash(`${made}-token`), accessor: hash(`${made}-accessor`) } }),
    ...(wrapped && { wrap_info: { token: hash("wrapping"), wrapped_accessor: hash(`${wrapped}-accessor`) } }),
  };
  const entry = {
    time: `2026-11-25T${hour}:00:00.000000000Z`,
    type,
    auth: { client_token: hash(`${by}-token`), accessor: hash(`${by}-accessor`), display_name: by },
    request: { id, operation: "update", path, remote_address: "10.0.0.1" },
    ...(type === "response" && { response }),
    ...(error !== undefined && { error }),
  };
  return `{"seq":${++seq},"prev":"${"0".repeat(64)}",${JSON.stringify(entry).slice(1)}\n`;
}
const event = (type: string, facts: object): string =>
  `{"seq":${++seq},"prev":"${"0".repeat(64)}","time":"2026-11-25T05:00:00Z","type":"${type}","${type}":${JSON.stringify(facts)}}\n`;

beforeAll(() => {
  const lines = [
    event("event", { name: "unseal" }),
    line({ by: "leaked", path: "secret/a", hour: "06", type: "request" }, "one"),
    line({ by: "leaked", path: "secret/a", hour: "06" }, "one"),
    line({ by: "leaked", path: "secret/lost", hour: "07", type: "request" }),
    line({ by: "leaked", path: "auth/token/create-orphan", hour: "08", made: "orphan" }),
    line({ by: "leaked", path: "auth/token/renew-accessor", hour: "08", made: "other" }),
    line({ by: "other", path: "secret/b", hour: "09" }),
    line({ by: "orphan", path: "secret/c", hour: "10", error: "permission denied" }),
    line({ by: "orphan", path: "auth/token/create", hour: "11", wrapped: "grandchild" }),
    line({ by: "grandchild", path: "secret/\u001b[31md", hour: "12" }),
    event("reconcile", { phase: "finished", result: "applied", commit: "c0ffee" }),
    '{"seq":99,"prev":"half a li',
  ];
  writeFileSync(file, lines.join(""));
});

async function search(...options: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: [] as string[], err: [] as string[] };
  const code = await run(["audit", "log", file, ...options], {
    out: (text) => void said.out.push(text),
    raw: (text) => void said.out.push(text),
    err: (text) => void said.err.push(text),
    progress: () => {},
    env: {},
    secret: () => Promise.reject(new Error("nothing is asked for")),
    input: () => Promise.reject(new Error("nothing is read")),
  });
  return { code, out: said.out.join("\n"), err: said.err.join("\n") };
}
const paths = (out: string): string[] => [...out.matchAll(/update +(\S+)/g)].map(([, path = ""]) => path);

test("all lines, each request once; what was not answered says so; half a line at the end is being written", async () => {
  const { code, out } = await search();
  expect(code).toBe(0);
  expect(out).toMatch(/event +unseal +ok/);
  expect(out).toMatch(/reconcile +c0ffee +applied/);
  expect(paths(out).filter((path) => path === "secret/a")).toHaveLength(1);
  expect(out).toMatch(/leaked +10\.0\.0\.1 +update +secret\/lost +no answer in the log/);
  expect(out).toMatch(/orphan +10\.0\.0\.1 +update +secret\/c +permission denied/);
  // Names of others are no terminal control.
  expect(out).not.toContain("\u001b[31m");
});

test("one token's lines; with --follow those of tokens that it made, wrapped ones too, and of nobody else", async () => {
  const mine = ["secret/a", "secret/lost", "auth/token/create-orphan", "auth/token/renew-accessor"];
  expect(paths((await search("--with", hash("leaked-token"))).out)).toEqual(mine);
  const all = [...mine, "secret/c", "auth/token/create", "secret/?[31md"];
  expect(paths((await search("--with", hash("leaked-accessor"), "--follow")).out)).toEqual(all);
});

test("--made gives the accessors' hashes alone, each once; --since leaves out what was before", async () => {
  const { out } = await search("--with", hash("leaked-token"), "--follow", "--made");
  expect(out.split("\n")).toEqual([hash("orphan-accessor"), hash("grandchild-accessor")]);
  expect(paths((await search("--since", "2026-11-25T11")).out)).toEqual(["auth/token/create", "secret/?[31md"]);
  expect((await search("--with", "nobody", "--made")).out).toBe("");
});

test("--format json gives whole entries; what there is none of, and what is no log, is said", async () => {
  const found = JSON.parse((await search("--with", "secret/b", "--format", "json")).out) as { auth: object }[];
  expect(found).toMatchObject([{ auth: { display_name: "other" }, request: { path: "secret/b" } }]);
  expect(await search("--with", "nobody")).toMatchObject({ code: 0, out: "No such line" });
  const other = join(folder, "notes.txt");
  writeFileSync(other, "not a log\n");
  const said = await run(["audit", "log", other], {
    out: () => {},
    raw: () => {},
    err: (text) => expect(text).toContain("notes.txt:1: this is no audit line"),
    progress: () => {},
    env: {},
    secret: () => Promise.reject(new Error("nothing is asked for")),
    input: () => Promise.reject(new Error("nothing is read")),
  });
  expect(said).toBe(1);
});
