import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cidrsWithin, commonCidrs, compileCidrs, foldCidr, wrongCidr } from "./cidr.ts";

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

  test.each([
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["10.1.2.3", "10.1.2.3/32"],
    ["10.1.2.131/25", "10.1.2.128/25"],
    ["1.2.3.4/0", "0.0.0.0/0"],
    ["2001:DB8:0:0:1::/33", "2001:db8::/33"],
    ["::1", "::1/128"],
    ["2001:db8::ffff:ffff/111", "2001:db8::fffe:0/111"],
    ["::ffff:10.1.2.3/104", "10.0.0.0/8"],
    ["::ffff:a01:203", "10.1.2.3/32"],
    ["64:ff9b::10.1.2.3/96", "64:ff9b::/96"],
    ["10.0.0.0/33", null],
    ["fe80::1%eth0", null],
  ])("%s is %s", (text, folded) => expect(foldCidr(text)).toBe(folded));

  test("the one spelling of a range has the same addresses, and is its own", () => {
    const part = fc.oneof(fc.nat(255), fc.constantFrom(0, 255));
    const word = fc.oneof(fc.nat(0xffff), fc.constantFrom(0, 0xffff)).map((one) => one.toString(16));
    const four = fc.tuple(part, part, part, part).map((parts) => parts.join("."));
    // Mapped addresses are IPv4, and a range that has them and others too is one of IPv6 alone.
    const six = fc.array(word, { minLength: 7, maxLength: 7 }).map((words) => ["2a00", ...words].join(":"));
    const asked = fc.oneof(fc.tuple(four, fc.nat(32), fc.array(four)), fc.tuple(six, fc.nat(128), fc.array(six)));
    fc.assert(
      fc.property(asked, ([at, length, others]) => {
        const folded = foldCidr(`${at}/${length}`) ?? "";
        expect(foldCidr(folded)).toBe(folded);
        const [one, other] = [compileCidrs([`${at}/${length}`]), compileCidrs([folded])];
        expect(other?.(at)).toBe(true);
        for (const each of others) expect(other?.(each)).toBe(one?.(each));
      }),
    );
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
