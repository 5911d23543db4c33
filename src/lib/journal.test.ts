import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Journal, lastLine, seekLine, takeLines } from "./journal.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "journal-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const options = { mode: 0o600, sync: false };
const path = (): string => join(folder, "sub", "log");

test("lines are kept over a restart, in a file and a folder of their own", async () => {
  const first = await Journal.open(path(), { ...options, sync: true });
  await first.append(Buffer.from("a\nb\n"));
  await first.close();
  const again = await Journal.open(path(), options);
  await again.append(Buffer.from("c\n"));
  expect(readFileSync(path(), "utf8")).toBe("a\nb\nc\n");
  expect(again.size).toBe(6);
  expect((await lastLine(again.fd, again.size))?.toString()).toBe("c\n");
  expect(statSync(path()).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, "sub")).mode & 0o777).toBe(0o700);
  await again.close();
});

test("what a crash left behind the last newline is moved aside, as often as it happens", async () => {
  for (const torn of ["half", "half", "", "x".repeat(200_000)]) {
    mkdirSync(join(folder, "sub"), { recursive: true });
    writeFileSync(path(), `one\ntwo\n${torn}`);
    const told: [string, number][] = [];
    const journal = await Journal.open(path(), { ...options, torn: (aside, bytes) => void told.push([aside, bytes]) });
    expect(readFileSync(path(), "utf8")).toBe("one\ntwo\n");
    if (torn !== "") expect(readFileSync(told[0]?.[0] ?? "", "utf8")).toBe(torn);
    expect(told.map(([, bytes]) => bytes)).toEqual(torn === "" ? [] : [torn.length]);
    await journal.append(Buffer.from("three\n"));
    expect(readFileSync(path(), "utf8")).toBe("one\ntwo\nthree\n");
    await journal.close();
  }
  expect(readdirSync(join(folder, "sub")).filter((name) => name.includes("torn"))).toHaveLength(3);
});

test("a link, a pipe, a folder and an executable are refused", async () => {
  const target = join(folder, "target");
  writeFileSync(target, "");
  symlinkSync(target, join(folder, "link"));
  await expect(Journal.open(join(folder, "link"), options)).rejects.toThrow("symbolic link");
  execFileSync("mkfifo", [join(folder, "pipe")]);
  await expect(Journal.open(join(folder, "pipe"), options)).rejects.toThrow("no regular file");
  await expect(Journal.open(folder, options)).rejects.toThrow("EISDIR");
  chmodSync(target, 0o700);
  await expect(Journal.open(target, options)).rejects.toThrow("executed");
  expect(readFileSync(target, "utf8")).toBe("");
});

test("a full disk leaves no half line, and the journal goes on once there is room", async () => {
  // The shell's limit on file size stands in for the disk: the first write comes back short, the next one fails.
  const script = `
    import { statSync } from "node:fs";
    import { Journal } from ${JSON.stringify(new URL("./journal.ts", import.meta.url).href)};
    process.on("SIGXFSZ", () => {});
    const journal = await Journal.open(process.argv[1], { mode: 0o600, sync: false });
    await journal.append(Buffer.from("first\\n"));
    const failed = await journal.append(Buffer.alloc(100_000, 0x61)).then(() => "kept", (error) => error.code);
    const left = statSync(process.argv[1]).size;
    await journal.append(Buffer.from("second\\n"));
    console.log(failed, left, journal.size);
  `;
  const command = `ulimit -f 16 && exec "$0" --input-type=module-typescript --disable-warning=ExperimentalWarning -e "$1" "$2"`;
  const out = execFileSync("bash", ["-c", command, process.execPath, script, path()], { encoding: "utf8" });
  expect(out.trim()).toBe("EFBIG 6 13");
  expect(readFileSync(path(), "utf8")).toBe("first\nsecond\n");
});

test("after a write at once that was slow none is until the disk has been quick for a while", async () => {
  let now = 0;
  let asked = 0;
  const told: [number, number][] = [];
  // Asked before and after each write that is timed, each of which takes 60 ms.
  const clock = (): number => (asked++ % 2 === 0 ? now : (now += 60));
  const slow = (took: number, pause: number): void => void told.push([took, pause]);
  const journal = await Journal.open(path(), { ...options, clock, slow });
  const later = async (ms: number): Promise<number> => {
    now += ms;
    await journal.append(Buffer.from("a\n"));
    return told.length;
  };
  const counts: number[] = [];
  for (const ms of [0, 0, 999, 1_000, 0, 1_999, 2_000]) counts.push(await later(ms));
  for (let more = 0; more < 10; more++) await later(60_000);
  await journal.close();
  // The temporary folder may be on a file system that is not known to be this machine's.
  if (asked > 0) {
    // Those in between, by another thread, were slow too: each puts the next one at once off.
    expect(counts).toEqual([1, 1, 1, 2, 2, 2, 3]);
    expect(told.slice(0, 3)).toEqual([
      [60, 1_000],
      [60, 2_000],
      [60, 4_000],
    ]);
    expect(told.at(-1)).toEqual([60, 60_000]);
  }
  asked = 0;
  const synced = await Journal.open(path(), { ...options, sync: true, clock });
  await synced.append(Buffer.from("b\n"));
  await synced.close();
  expect(asked).toBe(0);
  expect(readFileSync(path(), "utf8")).toBe(`${"a\n".repeat(17)}b\n`);
});

test("a line is found by halving, and lines are taken whole", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { maxLength: 60 }),
      fc.integer({ min: 0, max: 501 }),
      fc.integer({ min: 1, max: 400 }),
      async (numbers, wanted, width) => {
        const sorted = numbers.sort((a, b) => a - b);
        const lines = sorted.map((number) => `${String(number).padEnd(1 + ((number * 7919) % width))}\n`);
        const file = join(folder, "numbers");
        writeFileSync(file, lines.join(""));
        const fd = openSync(file, "r");
        const size = statSync(file).size;
        const at = await seekLine(fd, size, (line) => Number(Buffer.from(line).toString()) - wanted);
        const rest = lines.filter((line) => Number(line) >= wanted);
        expect(at).toBe(size - Buffer.byteLength(rest.join("")));
        const taken = await takeLines(fd, at, 3, 10);
        const text = taken.map((line) => Buffer.from(line).toString());
        expect(text).toEqual(rest.slice(0, text.length));
        expect(text.length).toBeGreaterThanOrEqual(Math.min(1, rest.length));
        (await import("node:fs")).closeSync(fd);
      },
    ),
    { numRuns: 200 },
  );
});
