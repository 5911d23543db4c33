// The server's own log (not the audit): one line an event on standard error, as JSON or as text for people.
// Must hold: no secret, token or share is ever printed. Fields are passed by name, names that mean secrets are
// replaced, and anything that looks like a token is masked wherever it stands.

export type Level = "debug" | "info" | "warn" | "error";
export type Format = "json" | "text";
export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** Somebody may be attacking: always printed, marked `"security":true`. */
  security(message: string, fields?: Fields): void;
}

/** The one that the program prints by. */
export interface LeveledLogger extends Logger {
  /** The least that is printed. */
  readonly level: Level;
  /** Until the process ends; null for what it was made with. */
  setLevel(level: Level | null): void;
  /** In place of what it was made with. */
  configure(level: Level): void;
}

const order: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const secretName = /token|secret|password|passphrase|share|private|^key$|authorization/i;
const secretText = /\b(hv[sbr]|s|b|r)\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-[A-Z0-9-]+/g;

function clean(name: string, value: unknown): unknown {
  if (secretName.test(name)) return "[redacted]";
  if (value instanceof Error) return clean("error", value.message);
  if (typeof value === "string") return value.replace(secretText, "[redacted]");
  return value;
}

const escaped = (text: string): string =>
  text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (each) => JSON.stringify(each).slice(1, -1));

/** "2026-01-01T00:00:00.000Z WARN a message name=value": values that could be mistaken for more are JSON. */
function textOf({ time, level, security, message, ...fields }: Readonly<Record<string, unknown>>): string {
  const rest = Object.entries(fields).map(([name, value]) => {
    const word = typeof value === "string" && /^[\w.:/@+,-]+$/.test(value) ? value : JSON.stringify(value);
    return ` ${name}=${escaped(word ?? "null")}`;
  });
  const mark = security === true ? "SECURITY" : String(level).toUpperCase();
  return `${String(time)} ${mark.padEnd(5)} ${escaped(String(message))}${rest.join("")}`;
}

/** `write` receives finished lines; standard error unless given. */
export function createLogger(
  options: { level?: Level; format?: Format; write?: (line: string) => void; now?: () => number } = {},
): LeveledLogger {
  let configured = options.level ?? "info";
  let level = configured;
  const write = options.write ?? ((line) => void process.stderr.write(line));
  const now = options.now ?? Date.now;
  const format = options.format ?? "json";
  const print = (level: Level, message: string, fields: Fields, security: boolean): void => {
    const entry: Record<string, unknown> = { time: new Date(now()).toISOString(), level };
    if (security) entry["security"] = true;
    entry["message"] = message.replace(secretText, "[redacted]");
    for (const [name, value] of Object.entries(fields)) entry[name] = clean(name, value);
    write(`${format === "text" ? textOf(entry) : JSON.stringify(entry)}\n`);
  };
  const at =
    (its: Level) =>
    (message: string, fields: Fields = {}): void => {
      if (order[its] >= order[level]) print(its, message, fields, false);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    security: (message, fields = {}) => print("error", message, fields, true),
    get level() {
      return level;
    },
    setLevel: (to) => {
      level = to ?? configured;
    },
    configure: (to) => {
      configured = to;
      level = to;
    },
  };
}

export const silent: LeveledLogger = createLogger({ write: () => {} });
