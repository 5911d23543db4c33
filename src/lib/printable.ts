// Text that people can read on a screen, as Go's unicode.IsPrint has it.

const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

export const isPrintable = (text: string): boolean => !unprintable.test(text);
