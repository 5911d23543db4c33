import { expect, test } from "vitest";
import { createLogger, type Format, type Logger } from "./log.ts";

function lines(format: Format, use: (log: Logger) => void): string[] {
  const written: string[] = [];
  use(createLogger({ format, level: "debug", write: (line) => void written.push(line), now: () => 0 }));
  return written;
}

const secret = "hvs.abcdefghijklmnopqrstuvwxyz";
const speak = (log: Logger): void => {
  log.info("a plain one", { path: "/var/x", count: 3, none: null });
  log.warn("with spaces", { name: 'a "b" c', list: ["a", 1] });
  log.error(`token ${secret}`, { token: "t", detail: `sent ${secret}`, error: new Error(`no ${secret}`) });
  log.security("two\nlines \u001b[2J", { who: "eve\nINFO forged" });
};

test("JSON: one object a line, secrets masked", () => {
  const [info, , error, security] = lines("json", speak).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(info).toEqual({
    time: "1970-01-01T00:00:00.000Z",
    level: "info",
    message: "a plain one",
    path: "/var/x",
    count: 3,
    none: null,
  });
  expect(error).toMatchObject({
    message: "token [redacted]",
    token: "[redacted]",
    detail: "sent [redacted]",
    error: "no [redacted]",
  });
  expect(security).toMatchObject({ level: "error", security: true });
});

test("text: one line each, whatever is in it, secrets masked", () => {
  expect(lines("text", speak)).toEqual([
    "1970-01-01T00:00:00.000Z INFO  a plain one path=/var/x count=3 none=null\n",
    '1970-01-01T00:00:00.000Z WARN  with spaces name="a \\"b\\" c" list=["a",1]\n',
    '1970-01-01T00:00:00.000Z ERROR token [redacted] token="[redacted]" detail="sent [redacted]" error="no [redacted]"\n',
    '1970-01-01T00:00:00.000Z SECURITY two\\nlines \\u001b[2J who="eve\\nINFO forged"\n',
  ]);
});
