// The server's own log (not the audit): one JSON object a line on standard error.
// Must hold: no secret, token or share is ever printed. Fields are passed by name, names that mean secrets are
// replaced, and anything that looks like a token is masked wherever it stands.

export type Level = "debug" | "info" | "warn" | "error";
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

/** `write` receives finished lines; standard error unless given. */
export function createLogger(
  options: { level?: Level; write?: (line: string) => void; now?: () => number } = {},
): LeveledLogger {
  const configured = options.level ?? "info";
  let level = configured;
  const write = options.write ?? ((line) => void process.stderr.write(line));
  const now = options.now ?? Date.now;
  const print = (level: Level, message: string, fields: Fields, security: boolean): void => {
    const entry: Record<string, unknown> = { time: new Date(now()).toISOString(), level };
    if (security) entry["security"] = true;
    entry["message"] = message.replace(secretText, "[redacted]");
    for (const [name, value] of Object.entries(fields)) entry[name] = clean(name, value);
    write(`${JSON.stringify(entry)}\n`);
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
  };
}

export const silent: LeveledLogger = createLogger({ write: () => {} });
