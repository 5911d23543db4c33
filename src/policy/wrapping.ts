// min_wrapping_ttl and max_wrapping_ttl: that an answer is asked for wrapped, and for how long.
// Must hold: Vault's meaning, merging included: of several on one path the least of each counts. What a rule asks it asks
// whether its condition holds or not; limits that leave no time let nothing through.

/** As declared, in seconds; 0 and left out are no limit. */
export interface WrappingSpec {
  readonly min_wrapping_ttl?: number | undefined;
  readonly max_wrapping_ttl?: number | undefined;
}

export interface WrappingLimits {
  /** Seconds. */
  readonly min: number;
  /** Infinity for none. */
  readonly max: number;
}

// Not as arguments of a call, of which there can be only so many.
const leastOf = (numbers: readonly number[]): number =>
  numbers.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);

/** Null where nothing is asked. */
export function wrappingLimits(specs: readonly WrappingSpec[]): WrappingLimits | null {
  const mins = specs.flatMap(({ min_wrapping_ttl: min }) => (min ? [min] : []));
  const maxes = specs.flatMap(({ max_wrapping_ttl: max }) => (max ? [max] : []));
  if (mins.length + maxes.length === 0) return null;
  return { min: mins.length === 0 ? 0 : leastOf(mins), max: leastOf(maxes) };
}

/** Whether an answer that is wrapped for `seconds`, 0 for not at all, may be asked for. */
export const wrapsWithin = ({ min, max }: WrappingLimits, seconds: number): boolean =>
  seconds > 0 && min <= seconds && seconds <= max;

export function wrappingFault({ min_wrapping_ttl: min, max_wrapping_ttl: max }: WrappingSpec): string | null {
  return min && max && max < min ? "max_wrapping_ttl cannot be less than min_wrapping_ttl" : null;
}
