// Clocks on walls: what time it is in an IANA time zone.
// Must hold: no call into Intl for each request; one a minute and zone is enough, since no zone shifts within a minute.
// Known gap: the rules of zones are those that the running Node has.

import { nearest } from "../lib/nearest.ts";

export interface LocalTime {
  /** 2026-12-24 */
  readonly date: string;
  /** 08:30 */
  readonly clock: string;
  readonly hour: number;
  readonly weekday: string;
}

export const weekdays: readonly string[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

export class Zone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;
  #minute = Number.NaN;
  #local: LocalTime | null = null;

  /** Throws RangeError where there is no such zone. */
  constructor(name: string) {
    this.name = name;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      weekday: "short",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
    });
  }

  /** `time` is milliseconds since 1970. */
  at(time: number): LocalTime {
    const minute = Math.floor(time / 60_000);
    if (this.#local === null || minute !== this.#minute) {
      this.#local = this.#read(minute * 60_000);
      this.#minute = minute;
    }
    return this.#local;
  }

  #read(time: number): LocalTime {
    const parts = new Map(this.#format.formatToParts(time).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? "";
    return {
      date: `${part("year").padStart(4, "0")}-${part("month")}-${part("day")}`,
      clock: `${part("hour")}:${part("minute")}`,
      hour: Number(part("hour")),
      weekday: part("weekday").toLowerCase(),
    };
  }
}

/** By name; only names that there are get in. */
const zones = new Map<string, Zone>();

/** Null where there is no such zone. An offset such as +01:00 is none: it knows no summer. */
function find(name: string): Zone | null {
  let zone = zones.get(name);
  if (zone !== undefined) return zone;
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return null;
  try {
    zone = new Zone(name);
  } catch {
    return null;
  }
  if (zones.size >= 1000) zones.clear();
  zones.set(name, zone);
  return zone;
}

export function zoneFault(name: string): string | null {
  if (find(name) !== null) return null;
  const near = nearest(name, Intl.supportedValuesOf("timeZone"));
  const hint = near === null ? "such as Europe/Zurich" : `did you mean ${near}?`;
  return `no time zone is called ${JSON.stringify(name)}; names are those of the IANA database, ${hint}`;
}

/** Call `zoneFault` first: throws where it has one. */
export function zoneOf(name: string): Zone {
  const zone = find(name);
  if (zone === null) throw new RangeError("no such time zone");
  return zone;
}
