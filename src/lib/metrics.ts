// Measurements, and the two ways of telling them: Prometheus' text format 0.0.4, and the JSON that Vault answers.
// Must hold: what is counted costs its caller an addition; names and labels are texts of this program, never a client's.

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export interface Series {
  readonly labels?: Labels;
  readonly histogram: Histogram;
}

interface About {
  /** As Prometheus has it: words divided by "_", the unit last. */
  readonly name: string;
  readonly help: string;
}

export type Family = About &
  (
    | { readonly type: "counter" | "gauge"; readonly samples: readonly Sample[] }
    | { readonly type: "histogram"; readonly series: readonly Series[] }
  );

/** Upper ends of the buckets, in seconds. */
const ends = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class Histogram {
  /** By bucket; the last is for what is beyond all ends. */
  readonly #counts = new Float64Array(ends.length + 1);
  sum = 0;

  observe(seconds: number): void {
    let at = 0;
    while (at < ends.length && seconds > (ends[at] ?? 0)) at += 1;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.sum += seconds;
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Each end, and how many were not beyond it. */
  buckets(): readonly (readonly [end: number, count: number])[] {
    let below = 0;
    return ends.map((end, at) => [end, (below += this.#counts[at] ?? 0)]);
  }
}

const samplesOf = (value: number | readonly Sample[]): readonly Sample[] =>
  typeof value === "number" ? [{ value }] : value;

export const gauge = (name: string, help: string, value: number | readonly Sample[]): Family => ({
  name,
  help,
  type: "gauge",
  samples: samplesOf(value),
});

export const counter = (name: string, help: string, value: number | readonly Sample[]): Family => ({
  name,
  help,
  type: "counter",
  samples: samplesOf(value),
});

const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function labelled(name: string, labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escaped(value)}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`;
}

function linesOf(name: string, { labels, histogram }: Series): string[] {
  const { count, sum } = histogram;
  return [
    ...histogram
      .buckets()
      .map(([end, below]) => `${labelled(`${name}_bucket`, { ...labels, le: String(end) })} ${below}`),
    `${labelled(`${name}_bucket`, { ...labels, le: "+Inf" })} ${count}`,
    `${labelled(`${name}_sum`, labels)} ${sum}`,
    `${labelled(`${name}_count`, labels)} ${count}`,
  ];
}

export const prometheusType = "text/plain; version=0.0.4; charset=utf-8";

/** The text format. */
export function exposition(families: readonly Family[]): string {
  const lines = families.flatMap((family) => {
    const { name, help, type } = family;
    const values =
      family.type === "histogram"
        ? family.series.flatMap((series) => linesOf(name, series))
        : family.samples.map(({ labels, value }) => `${labelled(name, labels)} ${value}`);
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...values];
  });
  return `${lines.join("\n")}\n`;
}

/** As Vault's sys/metrics answers without a format. `now` is in milliseconds since 1970. */
export function summary(families: readonly Family[], now: number): Readonly<Record<string, unknown>> {
  const of = (type: Family["type"]): readonly Family[] => families.filter((family) => family.type === type);
  const one = (name: string, labels: Labels = {}): object => ({ Name: name.replaceAll("_", "."), Labels: labels });
  const samples = (family: Family): readonly Sample[] => (family.type === "histogram" ? [] : family.samples);
  return {
    Timestamp: `${new Date(now).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`,
    Gauges: of("gauge").flatMap((family) =>
      samples(family).map(({ labels, value }) => ({ ...one(family.name, labels), Value: value })),
    ),
    Points: [],
    Counters: of("counter").flatMap((family) =>
      samples(family).map(({ labels, value }) => ({ ...one(family.name, labels), Count: value, Sum: value })),
    ),
    Samples: of("histogram").flatMap((family) =>
      (family.type === "histogram" ? family.series : []).map(({ labels, histogram: { count, sum } }) => ({
        ...one(family.name, labels),
        Count: count,
        Sum: sum,
        Mean: count === 0 ? 0 : sum / count,
      })),
    ),
  };
}
