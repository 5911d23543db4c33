// Time as an argument. Nothing outside this file reads the system clock, so tests never sleep.

export interface Clock {
  /** Milliseconds since 1970, UTC. */
  readonly now: () => number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** A clock that stands still until a test moves it. */
export function manualClock(
  start = Date.UTC(2026, 0, 1),
): Clock & { advance(ms: number): void; set(ms: number): void } {
  let at = start;
  return {
    now: () => at,
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
