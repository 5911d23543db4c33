// JSON.parse of Node 24.21 and 26.0 to 26.10 (not of 20) reads a name that is one escaped character, such as a quote or a
// line break, as a backslash once the process has parsed an object with a name that is a backslash alone: one client
// could garble the names of another's. No such text is parsed.

const backslashName = /"(?:\\\\|\\u005[cC])"\s*:/;

/** Whether some object in the text may have such a name. */
export const hasBackslashName = (text: string): boolean => backslashName.test(text);
