import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cidrsWithin, commonCidrs, compileCidrs, wrongCidr } from "./cidr.ts";

const range = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }), fc.constantFrom(0, 7, 8, 15, 16, 24, 32))
  .map(([a, b, length]) => `10.${a}.${b}.0/${length}`);
const address = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 }))
  .map(([a, b]) => `10.${a}.${b}.0`);

describe("address ranges", () => {
  test.each(["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8/8", "::/129", "", "x"])("%j is none", (text) => {
    expect(wrongCidr(["127.0.0.1", text])).toBe(text);
    expect(compileCidrs([text])).toBeNull();
  });

  test("families do not mix, and mapped addresses are IPv4", () => {
    expect(cidrsWithin(["10.0.0.0/8"], ["::/0"])).toBe(false);
    expect(cidrsWithin(["2001:db8:1::/48"], ["2001:db8::/32"])).toBe(true);
    expect(cidrsWithin(["10.0.0.1"], ["10.0.0.0/8"])).toBe(true);
    expect(compileCidrs(["10.0.0.0/8"])?.("::ffff:10.1.2.3")).toBe(true);
  });

  test("within means that no address is gained; in common, that none is gained or lost", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 4 }), fc.array(range, { maxLength: 4 }), address, (some, others, at) => {
        const isIn = (ranges: readonly string[]): boolean => compileCidrs(ranges)?.(at) === true;
        if (cidrsWithin(some, others) && isIn(some)) expect(isIn(others)).toBe(true);
        expect(isIn(commonCidrs(some, others))).toBe(isIn(some) && isIn(others));
      }),
    );
  });
});
