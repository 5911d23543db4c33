// Durations as Vault's clients write them: 90, "90", "1h30m", "7d". Always whole seconds inside.

const units: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
  d: 86400,
};
const part = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/y;

/** Seconds (an integer >= 0), or null where the text is no duration. */
export function parseDuration(input: unknown): number | null {
  if (typeof input === "number") return Number.isSafeInteger(input) && input >= 0 ? input : null;
  if (typeof input !== "string") return null;
  const text = input.trim();
  if (/^\d{1,15}$/.test(text)) return Number(text);
  let seconds = 0;
  part.lastIndex = 0;
  let end = 0;
  for (let match = part.exec(text); match !== null; match = part.exec(text)) {
    seconds += Number(match[1]) * (units[match[2] ?? ""] ?? 0);
    end = part.lastIndex;
  }
  return end === text.length && end > 0 && Number.isSafeInteger(Math.floor(seconds)) ? Math.floor(seconds) : null;
}

/** Whole seconds as Vault's clients read them: "0s", "1m30s", "1h0m0s". */
export function durationText(seconds: number): string {
  const whole = Math.abs(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const parts = `${hours > 0 ? `${hours}h` : ""}${whole >= 60 ? `${minutes}m` : ""}${whole % 60}s`;
  return seconds < 0 ? `-${parts}` : parts;
}
