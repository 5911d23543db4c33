// THE list of operators that conditions may use, each with how it is checked and compiled.
// Must hold: types are strict and checked here, once; where json-logic-js gives these operators a meaning, it is the same.

import { foldAddress } from "../lib/address.ts";
import { compileCidrs, wrongCidr } from "../lib/cidr.ts";
import { nearest } from "../lib/nearest.ts";
import { limits, type Operator, type Part, type Read, type Run, type Use, withhold } from "./compiler.ts";
import { declared, factOf, flag, text, type Type, type Value } from "./facts.ts";

/** Null, with a fault, where one of them can only be told by its range. */
function spelled(use: Use, made: readonly Part[] | null): readonly Part[] | null {
  const ranged = made?.findIndex((one) => one.type.byRange === true) ?? -1;
  if (ranged < 0) return made;
  return use.compiler.fault(
    use.at(ranged),
    "is an address, which has several spellings; write cidr, also for a single one",
  );
}

const computed = (type: Type, read: Read): Part => ({ type, literal: null, read });

/** The arguments as parts; null, with a fault, where there are too few or too many, or one is wrong. */
function parts(use: Use, least: number, most: number, example: string): readonly Part[] | null {
  const { compiler, args, path, at } = use;
  if (args.length < least || args.length > most) return compiler.fault(path, `needs ${example}`);
  const made = args.map((arg, index) => compiler.part(arg, at(index)));
  return made.some((part) => part === null) ? null : (made as readonly Part[]);
}

/** Why a text that is written out can never be a value of the type; null where it can. */
function strange(type: Type, value: Value): string | null {
  if (typeof value !== "string") return null;
  if (type.values !== undefined && !type.values.includes(value)) {
    const near = nearest(value, type.values);
    const hint = near === null ? `there are ${type.values.join(", ")}` : `did you mean ${near}?`;
    return `${JSON.stringify(value)} is not ${type.name}; ${hint}`;
  }
  if (type.fits?.(value) === false) return `${JSON.stringify(value)} is not ${type.name}`;
  return null;
}

/** Whether all parts can be compared; a fault where not. The type is that of the fact among them. */
function comparable(use: Use, made: readonly Part[]): Type | null {
  const { compiler, at } = use;
  const special = (type: Type): boolean => type.values !== undefined || type.fits !== undefined;
  const type = (made.find((part) => special(part.type)) ?? made.find((part) => part.literal === null) ?? made[0])?.type;
  if (type === undefined) return null;
  for (const [index, part] of made.entries()) {
    if (part.type.base !== type.base) {
      return compiler.fault(at(index), `is ${part.type.name}, compared with ${type.name}; the two are never equal`);
    }
    if (part.literal === null && part.type !== type && special(part.type)) {
      return compiler.fault(at(index), `is ${part.type.name}, compared with ${type.name}`);
    }
    const fault = part.literal === null ? null : strange(type, part.literal);
    if (fault !== null) return compiler.fault(at(index), fault);
  }
  return type;
}

function equality(wanted: boolean): Operator {
  return (use) => {
    const made = spelled(use, parts(use, 2, 2, "two values to compare"));
    const type = made === null ? null : comparable(use, made);
    if (made === null || type === null) return null;
    if (type.base === "texts" || type.base === "numbers") {
      return use.compiler.fault(use.path, "compares no lists; write in, some, all or none");
    }
    const [one, other] = made.map((part) => part.read) as [Read, Read];
    return computed(flag, (run) => {
      run.spend(1);
      return (one(run) === other(run)) === wanted;
    });
  };
}

/** With three values, the middle one lies between the others, as in JSON Logic. */
function order(most: 2 | 3, holds: (one: Value, other: Value) => boolean): Operator {
  return (use) => {
    const made = parts(use, 2, most, most === 2 ? "two values to compare" : "two or three values to compare");
    const type = made === null ? null : comparable(use, made);
    if (made === null || type === null) return null;
    if (type.ordered !== true) {
      return use.compiler.fault(use.path, `orders numbers, dates and times of day; this is ${type.name}`);
    }
    const loose = made.findIndex((part) => part.literal === null && part.type !== type);
    if (loose >= 0) return use.compiler.fault(use.at(loose), `may be any text, so it is not ordered with ${type.name}`);
    const [one, two, three] = made.map((part) => part.read) as [Read, Read, Read | undefined];
    return computed(flag, (run) => {
      run.spend(1);
      const middle = two(run);
      return holds(one(run), middle) && (three === undefined || holds(middle, three(run)));
    });
  };
}

const variable: Operator = ({ compiler, args, path, at }) => {
  const [name, other] = args;
  if (typeof name !== "string") return compiler.fault(path, "needs the name of a fact, such as { var: time.hour }");
  if (other !== undefined) return compiler.fault(at(1), "takes no default: a fact that is missing withholds");
  if (compiler.item !== null) {
    if (name === "") return computed(compiler.item, (run) => run.item);
    return compiler.fault(at(0), 'inside some, all and none only the member is there: write { var: "" }');
  }
  const fact = name.length <= limits.text ? factOf(name, compiler.zone) : null;
  if (fact === null) {
    const near = nearest(
      name,
      declared.map((one) => one.name),
    );
    const hint = near === null ? `they start with ${roots}` : `did you mean ${near}?`;
    return compiler.fault(at(0), `no fact is called ${JSON.stringify(name.slice(0, 80))}; ${hint}`);
  }
  compiler.readsFacts = true;
  return computed(fact.type, (run) => run.facts.read(fact) ?? withhold());
};

const roots = [...new Set(declared.map(({ name }) => `${name.split(".")[0]}.`))].join(", ");

/** `and` and `or`: what settles them ends them. */
function junction(settles: boolean): Operator {
  return ({ compiler, args, path, at }) => {
    if (args.length === 0) return compiler.fault(path, "needs a list of conditions");
    const made = args.map((arg, index) => compiler.test(arg, at(index)));
    if (made.some((test) => test === null)) return null;
    const tests = made as readonly ((run: Run) => boolean)[];
    return computed(flag, (run) => {
      run.spend(1);
      for (const test of tests) if (test(run) === settles) return settles;
      return !settles;
    });
  };
}

const not: Operator = ({ compiler, args, path, at }) => {
  if (args.length !== 1) return compiler.fault(path, "needs one condition; write and or or for several");
  const test = compiler.test(args[0], at(0));
  return test === null ? null : computed(flag, (run) => !test(run));
};

const isIn: Operator = (use) => {
  const made = spelled(use, parts(use, 2, 2, "a value and a list, such as [{ var: time.weekday }, [mon, tue]]"));
  const [one, list] = made ?? [];
  if (one === undefined || list === undefined) return null;
  const { compiler, at } = use;
  const wanted = list.type.base === "texts" ? "text" : list.type.base === "numbers" ? "number" : null;
  if (wanted === null) {
    return compiler.fault(
      at(1),
      `is ${list.type.name}, where a list is needed; write == for one value, starts_with or ends_with for part of a text`,
    );
  }
  if (one.type.base !== wanted) return compiler.fault(at(0), `is ${one.type.name}, and the list is ${list.type.name}`);
  if (Array.isArray(list.literal)) {
    for (const [index, item] of list.literal.entries()) {
      const fault = strange(one.type, item);
      if (fault !== null) return compiler.fault([...at(1), index], fault);
    }
  }
  const known = list.literal === null ? null : new Set<Value>(list.literal as readonly string[]);
  if (known !== null) return computed(flag, (run) => (run.spend(1), known.has(one.read(run))));
  return computed(flag, (run) => {
    const members = list.read(run) as readonly string[];
    run.spend(1 + members.length);
    return members.includes(one.read(run) as string);
  });
};

const cidr: Operator = (use) => {
  const made = parts(use, 2, 2, "an address and a range, such as [{ var: request.remote_address }, 10.0.0.0/8]");
  const [one, list] = made ?? [];
  if (one === undefined || list === undefined) return null;
  const { compiler, at } = use;
  if (one.type.base !== "text" || one.literal !== null)
    return compiler.fault(at(0), "is no fact that holds an address");
  const { literal } = list;
  const single = typeof literal === "string";
  const ranges: readonly unknown[] = single ? [literal] : Array.isArray(literal) ? literal : [];
  const isRange = (range: unknown): range is string => typeof range === "string" && wrongCidr([range]) === null;
  const wrong = ranges.findIndex((range) => !isRange(range));
  if (ranges.length === 0 || wrong >= 0) {
    const range = ranges[wrong] === undefined ? "" : `${JSON.stringify(ranges[wrong])} is no range; `;
    return compiler.fault(
      single || wrong < 0 ? at(1) : [...at(1), wrong],
      `${range}write one like 10.0.0.0/8, or a list of them`,
    );
  }
  const inside = compileCidrs(ranges.filter(isRange)) ?? withhold;
  return computed(flag, (run) => {
    run.spend(1 + ranges.length);
    const address = one.read(run) as string;
    return foldAddress(address) === null ? withhold() : inside(address);
  });
};

function part(matches: (value: string, end: string) => boolean): Operator {
  return (use) => {
    const made = spelled(use, parts(use, 2, 2, "a text and how it starts or ends"));
    const [one, end] = made ?? [];
    if (one === undefined || end === undefined) return null;
    const { compiler, at } = use;
    if (one.type.base !== "text") return compiler.fault(at(0), `is ${one.type.name}, where a text is needed`);
    const fixed = end.literal;
    if (typeof fixed !== "string" || fixed === "")
      return compiler.fault(at(1), "needs a text of one character or more, written out");
    return computed(flag, (run) => {
      run.spend(1);
      return matches(one.read(run) as string, fixed);
    });
  };
}

/** `some`, `all` and `none`, as in JSON Logic: of an empty list none is true, some and all are not. */
function each(over: (members: readonly string[], test: (member: string) => boolean) => boolean): Operator {
  return (use) => {
    const { compiler, args, path, at } = use;
    const example = '[{ var: identity.groups }, { starts_with: [{ var: "" }, team-] }]';
    if (args.length !== 2)
      return compiler.fault(path, `needs a list and a condition on its members, such as ${example}`);
    if (compiler.item !== null) return compiler.fault(path, "stands inside another of its sort");
    const list = compiler.part(args[0], at(0));
    if (list !== null && list.type.base !== "texts")
      return compiler.fault(at(0), `is ${list.type.name}, where a list of texts is needed`);
    compiler.item = text;
    const test = compiler.test(args[1], at(1));
    compiler.item = null;
    if (list === null || test === null) return null;
    return computed(flag, (run) => {
      const members = list.read(run) as readonly string[];
      return over(members, (member) => {
        run.spend(1);
        run.item = member;
        return test(run);
      });
    });
  };
}

export const operators: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ["var", variable],
  ["and", junction(false)],
  ["or", junction(true)],
  ["!", not],
  ["==", equality(true)],
  ["!=", equality(false)],
  ["===", equality(true)],
  ["!==", equality(false)],
  ["<", order(3, (one, other) => one < other)],
  ["<=", order(3, (one, other) => one <= other)],
  [">", order(2, (one, other) => one > other)],
  [">=", order(2, (one, other) => one >= other)],
  ["in", isIn],
  ["some", each((members, test) => members.some(test))],
  ["all", each((members, test) => members.length > 0 && members.every(test))],
  ["none", each((members, test) => !members.some(test))],
  ["cidr", cidr],
  ["starts_with", part((value, start) => value.startsWith(start))],
  ["ends_with", part((value, end) => value.endsWith(end))],
]);
