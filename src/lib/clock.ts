// Time as an argument. Nothing outside this file reads the system clock, so tests never sleep.
// Must hold: within a run the vault's time never goes back and never stands still, whatever is done to the machine's clock: what
// expires at a time does so at the latest when as much time has really passed.
// Known gap: a clock that was set ahead and back again is ahead for the vault until it is restarted.

export interface Clock {
  /** Milliseconds since 1970, UTC. */
  readonly now: () => number;
}

/** A clock that can be told that it is later than it thinks. */
export interface SteadyClock extends Clock {
  /** From now on it is `ms` at the least. */
  atLeast(ms: number): void;
}

/** Follows `wall` where that goes ahead, and `elapsed` (which nobody can set) where it does not. */
export function steadyClock(wall: () => number, elapsed: () => number): SteadyClock {
  let ahead = wall() - elapsed();
  return {
    now: () => {
      const passed = elapsed();
      ahead = Math.max(ahead, wall() - passed);
      return Math.floor(passed + ahead);
    },
    atLeast: (ms) => {
      ahead = Math.max(ahead, ms - elapsed());
    },
  };
}

export const systemClock: SteadyClock = steadyClock(Date.now, () => performance.now());

/** A clock that stands still until a test moves it. */
export function manualClock(
  start = Date.UTC(2026, 0, 1),
): SteadyClock & { advance(ms: number): void; set(ms: number): void } {
  let at = start;
  return {
    now: () => at,
    atLeast: (ms) => {
      at = Math.max(at, ms);
    },
    advance: (ms) => {
      at += ms;
    },
    set: (ms) => {
      at = ms;
    },
  };
}

/** RFC 3339 with nanoseconds, as Vault prints times. `ms` may carry a fraction. */
export function rfc3339(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, -1)}000000Z`;
}

const instant = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:Z|[+-](\d{2}):(\d{2}))$/;

/** Milliseconds since 1970 of an instant as RFC 3339, section 5.6 has it, with capital T and Z; null where the text is none.
 *  Leap seconds are none. */
export function instantOf(text: string): number | null {
  const found = instant.exec(text);
  if (found === null) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offsetHour = 0, offsetMinute = 0] = found
    .slice(1)
    .map((part: string | undefined) => Number(part ?? 0));
  const date = new Date(Date.UTC(year, month - 1, day));
  const real = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!real || hour > 23 || minute > 59 || second > 59 || offsetHour > 23 || offsetMinute > 59) return null;
  return Date.parse(text);
}
