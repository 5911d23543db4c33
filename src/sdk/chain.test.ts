import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { firstPrev, lineHash, linesOf, linkOf, linkText, verifyChain, type Broken, type Sound } from "./chain.ts";

function chain(bodies: readonly string[], start = 1, prev = firstPrev): Buffer {
  let before = prev;
  const lines = bodies.map((body, at) => {
    const line = `${linkText(start + at, before)}"type":${JSON.stringify(body)}}`;
    before = createHash("sha256").update(line).digest("hex");
    return `${line}\n`;
  });
  return Buffer.from(lines.join(""));
}

const verify = (bytes: Uint8Array, known?: Map<number, string>): Promise<Sound | Broken> =>
  verifyChain(linesOf("log", [bytes]), known === undefined ? {} : { known });

test("a whole chain gives its count and its head", async () => {
  const bytes = chain(["a", "b", "ü"]);
  const last = bytes.toString().trimEnd().split("\n").at(-1) ?? "";
  const hash = createHash("sha256").update(last).digest("hex");
  expect(await verify(bytes)).toEqual({
    ok: true,
    count: 3,
    first: { seq: 1, prev: firstPrev },
    head: { seq: 3, hash },
  });
  expect(lineHash(Buffer.from(`${last}\n`))).toBe(hash);
  expect(await verify(Buffer.alloc(0))).toEqual({ ok: true, count: 0, first: null, head: null });
});

test("a chain may begin later, but not claim to be the first without the zeros", async () => {
  const prev = "ab".repeat(32);
  expect(await verify(chain(["x"], 7, prev))).toMatchObject({ ok: true, first: { seq: 7, prev } });
  expect(await verify(chain(["x"], 1, prev))).toMatchObject({ ok: false, line: 1, seq: 1 });
});

test.each([
  ["changed", (lines: string[]) => lines.with(1, (lines[1] ?? "").replace('"b"', '"B"')), 3, 3],
  ["dropped", (lines: string[]) => lines.toSpliced(1, 1), 2, 3],
  ["repeated", (lines: string[]) => lines.toSpliced(1, 0, lines[1] ?? ""), 3, 2],
  ["swapped", (lines: string[]) => [lines[1] ?? "", lines[0] ?? "", ...lines.slice(2)], 2, 1],
  ["no JSON", (lines: string[]) => lines.with(2, (lines[2] ?? "").slice(0, -1)), 3, 3],
  ["blank", (lines: string[]) => lines.toSpliced(1, 0, ""), 2, null],
  ["foreign", (lines: string[]) => lines.toSpliced(2, 0, '{"type":"request"}'), 3, null],
] as const)("a line %s is named", async (_name, change, line, seq) => {
  const lines = chain(["a", "b", "c", "d"]).toString().trimEnd().split("\n");
  const bytes = Buffer.from(`${change(lines).join("\n")}\n`);
  expect(await verify(bytes)).toMatchObject({ ok: false, file: "log", line, seq, count: line - 1 });
});

test("a cut last line is no line", async () => {
  const bytes = chain(["a", "b"]);
  expect(await verify(bytes.subarray(0, -1))).toMatchObject({
    ok: false,
    line: 2,
    problem: expect.stringContaining("newline"),
  });
});

test("a second seq inside a line does not pass", async () => {
  const line = `${linkText(1, firstPrev)}"type":"a","seq":2}\n`;
  expect(await verify(Buffer.from(line))).toMatchObject({
    ok: false,
    seq: 1,
    problem: expect.stringContaining("twice"),
  });
});

test("a rewritten chain fails against a hash known from elsewhere", async () => {
  const known = new Map([[2, lineHash(Buffer.from(chain(["a", "b"]).toString().split("\n")[1] ?? ""))]]);
  expect(await verify(chain(["a", "b", "c"]), known)).toMatchObject({ ok: true });
  expect(await verify(chain(["a", "X", "c"]), known)).toMatchObject({ ok: false, line: 2, seq: 2 });
});

test("the opening is read strictly", () => {
  const good = linkText(12, firstPrev);
  expect(linkOf(Buffer.from(`${good}}`))).toEqual({ seq: 12, prev: firstPrev });
  for (const bad of [` ${good}`, good.replace("12", "012"), good.replace("12", "-1"), good.toUpperCase(), "", "{"]) {
    expect(linkOf(Buffer.from(bad))).toBeNull();
  }
});

test("lines come out the same however the bytes are cut, and one flipped bit is always found", async () => {
  const bytes = chain(["a", "b", "c", "€", "e"]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(bytes.length), { maxLength: 8 }),
      fc.nat(bytes.length - 2),
      fc.nat(7),
      async (cuts, at, bit) => {
        const marks = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = marks.slice(1).map((end, index) => bytes.subarray(marks[index], end));
        const whole = await verifyChain(linesOf("log", chunks));
        expect(whole).toEqual(await verify(bytes));
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        const result = await verify(flipped, new Map([[5, whole.ok ? (whole.head?.hash ?? "") : ""]]));
        expect(result.ok).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});
