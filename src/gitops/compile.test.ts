// The cases of test/cases/gitops (one YAML file each: files in, problems and declarations out), and what holds for any
// input: no secret in a problem, no throw, bounded time.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { kinds } from "../../test/cases/gitops/kinds.ts";
import { cpuOf } from "../../test/cpu.ts";
import { type Compilation, compile, type DocumentFile } from "./compile.ts";

interface Case {
  readonly name: string;
  readonly files: Readonly<Record<string, string | { readonly base64: string }>>;
  readonly allow?: readonly string[];
  readonly directory?: string;
  readonly problems: readonly { readonly at: string; readonly message: string; readonly excerpt?: string }[];
  /** Kind, name, mount and place of what is declared. */
  readonly declares: readonly string[];
  readonly declarations?: readonly unknown[];
  readonly externals?: readonly { readonly key: string; readonly source: unknown }[];
}

const folder = join(import.meta.dirname, "../../test/cases/gitops");
const cases = readdirSync(folder)
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => [name, parse(readFileSync(join(folder, name), "utf8")) as Case] as const);

const bytesOf = (content: Case["files"][string]): Buffer =>
  typeof content === "string" ? Buffer.from(content) : Buffer.from(content.base64, "base64");

const one = (text: string | Uint8Array): Compilation => compile([{ path: "a.yaml", bytes: Buffer.from(text) }], kinds);

describe("cases", () => {
  test("there are at least forty", () => expect(cases.length).toBeGreaterThanOrEqual(40));

  test.each(cases)("%s", (_file, given) => {
    const files = Object.entries(given.files).map(([path, content]) => ({ path, bytes: bytesOf(content) }));
    const { allow = [], directory = "" } = given;
    const result = compile(files, kinds, { allow, directory });
    const problems = result.problems.map(({ file, line, column, message, excerpt }) => ({
      at: `${file}:${line}:${column}`,
      message,
      ...(excerpt !== undefined && { excerpt }),
    }));
    expect(problems).toEqual(given.problems);
    // The word that stands for a secret in every case.
    expect(JSON.stringify(problems)).not.toContain("hunter");
    const declares = result.declarations.map(
      ({ kind, name, mount, source }) =>
        `${kind} ${name}${mount === null ? "" : ` on ${mount}`} ${source?.file}:${source?.line}`,
    );
    expect(declares).toEqual(given.declares);
    if (given.declarations !== undefined) expect(result.declarations).toEqual(given.declarations);
    if (given.externals === undefined) return;
    const externals = result.externals.map(({ key, source }) => ({ key: key.replaceAll("\n", "|"), source }));
    expect(externals).toEqual(given.externals);
  });
});

test("a list with a limit says how many it takes", () => {
  const problemsOf = (count: number): readonly string[] => {
    const ranges = Array.from({ length: count }, (_none, at) => `10.0.${at >> 8}.${at & 255}`);
    const text = `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: userpass }
spec: { type: userpass }
---
apiVersion: writ/v1
kind: UserpassUser
metadata: { name: alice }
spec:
  mount: userpass
  password: { from_secret: { path: secret/data/a, key: b } }
  token_bound_cidrs: [${ranges.join(", ")}]
`;
    return one(text).problems.map(({ line, message }) => `${line}: ${message}`);
  };
  expect(problemsOf(1_024)).toEqual([]);
  expect(problemsOf(1_025)).toEqual(["12: spec.token_bound_cidrs takes at most 1024"]);
});

const template = (holes: Readonly<Record<string, string>>): string => `apiVersion: writ/v1
kind: AuthMethod
metadata: { name: userpass }
spec: { type: userpass }
--- ${holes["afterMark"] ?? ""}
${holes["top"] ?? ""}
apiVersion: writ/v1 ${holes["comment"] ?? ""}
kind: ${holes["kind"] ?? "UserpassUser"}
metadata:
  name: alice
  ${holes["metadata"] ?? ""}
spec:
  mount: userpass
  ${holes["spec"] ?? ""}
  password: ${holes["password"] ?? "{ from_secret: { path: secret/data/x, key: y } }"}
  token_ttl: soon ${holes["lateComment"] ?? ""}
`;

/** Ways to put a secret where it should not be; each must leave the commit with a problem. */
const leaks: readonly ((secret: string) => Readonly<Record<string, string>>)[] = [
  (secret) => ({ password: secret }),
  (secret) => ({ password: JSON.stringify(secret) }),
  (secret) => ({ password: `'${secret.replaceAll("'", "''")}'` }),
  (secret) => ({ password: `"${secret}` }),
  (secret) => ({ password: `|\n    ${secret}` }),
  (secret) => ({ password: `>-\n    mount: ${secret}\n   ${secret}` }),
  (secret) => ({ password: `[${secret}, ${JSON.stringify(secret)}]` }),
  (secret) => ({ password: `{ ${JSON.stringify(secret)}: { from_secret: ${secret} } }` }),
  (secret) => ({ password: `{ from_secret: { path: [${JSON.stringify(secret)}], key: ${secret} } }` }),
  (secret) => ({ password: `&${secret} x` }),
  (secret) => ({ password: `!${secret} x` }),
  (secret) => ({ password: `*${secret}` }),
  (secret) => ({ password: `{ from_secret: ${JSON.stringify(secret)} }\n  password: ${secret}` }),
  (secret) => ({ spec: `pasword: ${secret}` }),
  (secret) => ({ spec: `pasword: { deep: [${JSON.stringify(secret)}] }` }),
  (secret) => ({ spec: `pasword: |\n    ${secret}\n  tokn_ttl: ${secret}` }),
  (secret) => ({ spec: secret }),
  (secret) => ({ spec: `\t${secret}: ${secret}` }),
  (secret) => ({ spec: ` mount: ${secret}` }),
  (secret) => ({ spec: `- ${secret}` }),
  (secret) => ({ spec: `<<: { password: ${JSON.stringify(secret)} }` }),
  (secret) => ({ spec: `? { ${JSON.stringify(secret)}: x }\n  : ${secret}` }),
  (secret) => ({ spec: `password: ${JSON.stringify(secret)}` }),
  (secret) => ({ metadata: `pass: ${JSON.stringify(secret)}` }),
  (secret) => ({ kind: "Nothing", spec: `token_policies: [${JSON.stringify(secret)}]` }),
  (secret) => ({ kind: "Nothing", top: `mount: ${JSON.stringify(secret)}` }),
  (secret) => ({ top: `%${secret}` }),
  (secret) => ({ top: `password: ${secret}` }),
  (secret) => ({ top: secret }),
  (secret) => ({ afterMark: secret }),
  (secret) => ({ comment: `# ${secret}` }),
  (secret) => ({ lateComment: `# ${secret}` }),
  (secret) => ({ lateComment: `#${secret}`, spec: "bad" }),
  (secret) => ({ spec: `token_num_uses: x # ${secret}\n  pasword: ${secret} # ${secret}` }),
];

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const signed = Array.from(letters + " :#,-{}[]&*!|>'\"%@`\\?=/+_~^$.");
/** Begins with what no message of ours holds, so that finding it means a leak. */
const secrets = fc
  .tuple(
    fc.string({ unit: fc.constantFrom(...Array.from(letters)), minLength: 6, maxLength: 12 }),
    fc.string({ unit: fc.constantFrom(...signed), maxLength: 20 }),
  )
  .map(([head, tail]) => `Q9z${head}${tail}`);

describe("secrets", () => {
  test.each(leaks.map((leak, at) => [at, leak] as const))("a literal put in place %i never shows", (_at, leak) => {
    fc.assert(
      fc.property(secrets, (secret) => {
        const { problems } = one(template(leak(secret)));
        expect(problems.length).toBeGreaterThan(0);
        const shown = problems.map(({ message, excerpt }) => `${message}\n${excerpt ?? ""}`).join("\n");
        expect(shown).not.toContain(secret.slice(0, 9));
        // What comes behind the first sign must not show alone either.
        const tail = secret
          .slice(3)
          .split(/[^A-Za-z0-9]+/)
          .filter((part) => part.length >= 6);
        for (const part of tail) expect(shown).not.toContain(part);
      }),
      { numRuns: 60 },
    );
  });

  test("any text among the lines of a document never shows", () => {
    const lines = template({}).split("\n");
    fc.assert(
      fc.property(secrets, fc.nat(lines.length - 1), fc.nat(12), (secret, at, indent) => {
        const text = lines.toSpliced(at, 0, `${" ".repeat(indent)}${secret.replaceAll(/[:#]/g, "")}`).join("\n");
        const { problems } = one(text);
        const shown = problems.map(({ message, excerpt }) => `${message}\n${excerpt ?? ""}`).join("\n");
        expect(shown).not.toContain(secret.slice(0, 9));
      }),
      { numRuns: 400 },
    );
  });
});

const good = readFileSync(join(folder, "valid.yaml"));

describe("any bytes", () => {
  test("never throw, and give problems at places that exist", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        for (const { line, column, message } of one(bytes).problems) {
          expect(line).toBeGreaterThan(0);
          expect(column).toBeGreaterThan(0);
          expect(message).not.toBe("");
        }
      }),
      { numRuns: 500 },
    );
  });

  test("of YAML's own signs never throw", () => {
    const unit = fc.constantFrom(
      ...Array.from("\n\n\n   :-?,[]{}#&*!|>'\"%@`\t\r\\ab0~.<="),
      "---\n",
      "kind: ",
      "spec:\n",
    );
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 120 }), (text) => {
        one(text);
      }),
      { numRuns: 1_500 },
    );
  });

  test("of a mutated document never throw", () => {
    fc.assert(
      fc.property(fc.nat(good.length), fc.nat(40), fc.uint8Array({ maxLength: 20 }), (at, cut, put) => {
        const rest = good.subarray(Math.min(at + cut, good.length));
        one(Buffer.concat([good.subarray(0, at), put, rest]));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    "- ",
    "[",
    "{",
    "? ",
    "a: b\n",
    "a, ",
    "{a: b}\n",
    "\n",
    "#\n",
    "---\n",
    "a\n",
    "- >\n a\n",
    "'",
    '"',
    "\\",
    "&a ",
    "*",
    "! ",
    "|\n",
    "%\n",
    " ",
    "\t",
    ":",
    "- {",
  ])("repeated for 64 KiB take bounded time: %j", (unit) => {
    const text = `x: ${unit.repeat(Math.ceil((64 * 1024) / unit.length))}`;
    const [, time] = cpuOf(() => [one(text), one(text.slice(3))]);
    expect(time).toBeLessThan(5_000);
  });

  test("of a map with many keys take time in proportion", () => {
    const text = Array.from({ length: 10_000 }, (_, at) => `k${at}: v\n`).join("");
    const [{ problems }, time] = cpuOf(() => one(text));
    expect(problems).toHaveLength(1);
    expect(time).toBeLessThan(5_000);
  });
});

const policy = (at: number): string =>
  `apiVersion: writ/v1\nkind: Policy\nmetadata: { name: p${at} }\nspec:\n  rules:\n    - path: secret/data/${at}/*\n      capabilities: [read]\n`;
const file = (path: string, text: string): DocumentFile => ({
  path,
  bytes: Buffer.from(text),
  blob: createHash("sha1").update(text).digest("hex"),
});

describe("the cache", () => {
  test("keeps the very objects of files that did not change", () => {
    const files = Array.from({ length: 50 }, (_, at) => file(`${at}.yaml`, policy(at)));
    const first = compile(files, kinds);
    const second = compile(files.with(7, file("7.yaml", policy(700))), kinds);
    const kept = second.declarations.filter((each) => first.declarations.includes(each));
    expect(kept).toHaveLength(49);
    expect(second.declarations.map(({ name }) => name)).toContain("p700");
    expect(Object.isFrozen(kept[0]?.spec)).toBe(true);
  });

  test("never gives one file's places to another with the same content, nor problems to a mended one", () => {
    const text = policy(1);
    const moved = compile([file("a.yaml", text)], kinds).declarations[0];
    expect(compile([file("b.yaml", text)], kinds).declarations[0]?.source?.file).toBe("b.yaml");
    expect(moved?.source?.file).toBe("a.yaml");
    const bad = text.replace("read", "raed");
    expect(compile([file("a.yaml", bad)], kinds).problems).toHaveLength(1);
    expect(compile([file("a.yaml", bad)], kinds).problems).toHaveLength(1);
    expect(compile([file("a.yaml", text)], kinds).problems).toHaveLength(0);
  });

  test("does not keep what allow decides", () => {
    const text = policy(1).replace("[read]", "[sudo]");
    expect(compile([file("a.yaml", text)], kinds, { allow: ["sudo"] }).problems).toHaveLength(0);
    expect(compile([file("a.yaml", text)], kinds, { allow: [] }).problems).toHaveLength(1);
  });

  test("is another one for other kinds", () => {
    const files = [file("a.yaml", policy(1))];
    expect(compile(files, kinds).problems).toHaveLength(0);
    expect(compile(files, kinds.slice(1)).problems[0]?.message).toContain("no kind is called");
  });
});

test("problems beyond a thousand are counted, not listed", () => {
  const text = Array.from({ length: 1_200 }, (_, at) => `${policy(at).replace("read", "raed")}---\n`).join("");
  const { problems } = one(text);
  expect(problems).toHaveLength(1_001);
  expect(problems.at(-1)?.message).toBe("and 200 more problems from here on");
});

test("a bound on files holds whatever the server's own are", () => {
  const { problems } = compile([{ path: "a.yaml", bytes: Buffer.alloc(101, "a") }], kinds, {
    limits: { fileBytes: 100 },
  });
  expect(problems).toEqual([
    { file: "a.yaml", line: 1, column: 1, message: "the file has 101 bytes; at most 100 are read" },
  ]);
});

test("a kind that documents cannot have is refused at once", () => {
  const [first] = kinds;
  if (first === undefined) throw new Error("no kinds");
  expect(() => compile([], [first, first])).toThrow("two kinds are called Policy");
});
