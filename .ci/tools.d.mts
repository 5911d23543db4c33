export function environmentOf(name: "age" | "strace" | "wrk"): { PATH: string; LD_LIBRARY_PATH: string } | null;
