// The compiler lets a function return an object with more members than the type says that it is to return: a member that is
// misspelled, or that nothing reads any more, would be lost in silence. A function that takes such a callback refuses it with
// `..._exact: Exact<R, T>` behind its parameters, where R is what the callback returns and T what it may.

type Extra<R, T> = R extends object ? Exclude<keyof R, keyof T> : never;

/** Nothing where R has no member that T has not; otherwise what no caller can give. */
export type Exact<R, T> = [Extra<R, T>] extends [never] ? [] : [unknown: Extra<R, T>, error: "is no member"];
