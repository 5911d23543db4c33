// Text that people can read on a screen, and none that drives it.

const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

/** As Go's unicode.IsPrint has it. */
export const isPrintable = (text: string): boolean => !unprintable.test(text);

/** In one line; what a terminal would obey, or would not show, is a question mark. */
export const plain = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "?");

/** The same, but lines and tabs stay. */
export const plainLines = (text: string): string => text.replaceAll(/[^\P{Cc}\n\t]|\p{Cf}/gu, "?");

/** "1 token", "2 tokens". */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;
