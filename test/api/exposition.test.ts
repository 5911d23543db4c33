import { expect, test } from "vitest";
import { counter, exposition, type Family, gauge, Histogram, summary } from "../../src/lib/metrics.ts";
import { parsed } from "../prometheus.ts";

function example(): readonly Family[] {
  const histogram = new Histogram();
  for (const seconds of [0, 0.0005, 0.0006, 0.2, 3, 10, 11]) histogram.observe(seconds);
  return [
    gauge("one_bytes", "A gauge", 3.5),
    counter("two_total", "A counter", [
      { labels: { kind: "a", other: 'quote " backslash \\ line \n end' }, value: 1e21 },
      { labels: { kind: "b" }, value: 0 },
    ]),
    gauge("none", "Without a value", []),
    { name: "three_seconds", help: "A histogram", type: "histogram", series: [{ histogram }] },
  ];
}

test("what is told in Prometheus' format is what its parser reads", () => {
  expect(parsed(exposition(example()))).toEqual([
    { name: "one_bytes", help: "A gauge", type: "GAUGE", metrics: [{ value: "3.5" }] },
    {
      name: "two_total",
      help: "A counter",
      type: "COUNTER",
      metrics: [
        { value: "1e+21", labels: { kind: "a", other: 'quote " backslash \\ line \n end' } },
        { value: "0", labels: { kind: "b" } },
      ],
    },
    { name: "none", help: "Without a value", type: "GAUGE", metrics: [] },
    {
      name: "three_seconds",
      help: "A histogram",
      type: "HISTOGRAM",
      metrics: [
        {
          buckets: expect.objectContaining({
            "0.0005": "2",
            "0.001": "3",
            "0.25": "4",
            "5": "5",
            "10": "6",
            "+Inf": "7",
          }),
          count: "7",
          sum: "24.2011",
        },
      ],
    },
  ]);
});

test("the JSON is Vault's", () => {
  expect(summary(example(), Date.UTC(2026, 0, 2, 3, 4, 5))).toEqual({
    Timestamp: "2026-01-02 03:04:05 +0000 UTC",
    Gauges: [{ Name: "one.bytes", Value: 3.5, Labels: {} }],
    Points: [],
    Counters: [
      { Name: "two.total", Count: 1e21, Sum: 1e21, Labels: { kind: "a", other: expect.any(String) } },
      { Name: "two.total", Count: 0, Sum: 0, Labels: { kind: "b" } },
    ],
    Samples: [{ Name: "three.seconds", Count: 7, Sum: 24.2011, Mean: 24.2011 / 7, Labels: {} }],
  });
});

test("series of one histogram are told apart by their labels", () => {
  const family: Family = {
    name: "x_seconds",
    help: "Two",
    type: "histogram",
    series: ["a", "b"].map((kind) => ({ labels: { kind }, histogram: new Histogram() })),
  };
  const lines = exposition([family]).split("\n");
  expect(lines).toContain('x_seconds_bucket{kind="a",le="0.0005"} 0');
  expect(lines).toContain('x_seconds_bucket{kind="b",le="+Inf"} 0');
  expect(lines).toContain('x_seconds_count{kind="b"} 0');
});
